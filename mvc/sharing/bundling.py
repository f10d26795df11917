"""Makes a bundle: some refs of a store with all that they lead to, or with what others do not have yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mvc.backends.base import Backend, NotFound
from mvc.backends.bundle import MAX_SUBJECT, Need
from mvc.backends.bundling import BundleWriter
from mvc.errors import AnswerIsNo
from mvc.fileio import FileIO
from mvc.history.reader import read_commit
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES, ObjectDatabase
from mvc.odb.index import Index, Merge, SegmentRow, merge, plan_full_merge
from mvc.odb.segment import Entry, Segment
from mvc.oplog import piece_key
from mvc.refs import BRANCHES, RefTable, decode_target, peeled_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.negotiate import missing
from mvc.remotes.planning import plan
from mvc.remotes.transfer import transfer
from mvc.root import Root, RootStore
from mvc.text import one_line
from mvc.tombstones import Tombstones
from mvc.upkeep.mark import mark_reached
from mvc.view import View, segment_key

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Bundled(NamedTuple):
    """What a bundle holds: refs (full name → the commit that it means), versions, objects, the versions that
    it builds on, and the bytes of the file."""

    refs: Mapping[str, CommitId]
    commits: int
    objects: int
    needs: tuple[Need, ...]
    bytes: int


def write_bundle(
    io: FileIO,
    view: View,
    path: Path,
    refs: Mapping[str, bytes],
    since: Sequence[CommitId],
    monitor: Monitor,
    *,
    replace: bool = False,
) -> Bundled:
    """Write a bundle of refs, given by full names with their values.

    With ``since`` only what these versions and all before them do not have; whoever takes the bundle in must
    have them. Records go as they are; one that leans on what neither the bundle nor ``since`` has is coded
    anew. Nothing else of the store gets in: no settings, no log, no other refs; what was purged is named
    where a version that goes along lacks it.

    Raises:
        AnswerIsNo: ``since`` has everything already.
        UserError: there is a file of that name, and ``replace`` is not set.
        DamageError: something of it is missing or damaged.
        StorageError: the disk refuses.
    """
    needs = [_need(view, commit) for commit in dict.fromkeys(since)]
    with BundleWriter(io, path, replace=replace) as writer:
        target = _target(view, writer, since, monitor)
        wanted = missing(
            view.objects, target, (decode_target(value) for value in refs.values()), monitor=monitor
        )
        if since and not wanted.objects:
            raise AnswerIsNo("there is nothing to bundle: what --since names has it all")
        sink = DirectSink(writer)
        try:
            planned = plan(view.objects, target, wanted, sink, monitor=monitor)
            entries = transfer(view.objects, target, planned, sink, monitor, verify=False)
        finally:
            sink.close()
        RootStore(writer).swap(None, _root(view, writer, refs, entries, gone=bool(wanted.gone)))
        total = writer.finish(needs)
    meant = {name: peeled_target(value) for name, value in refs.items()}
    return Bundled(
        {name: commit for name, commit in meant.items() if commit is not None},
        len(wanted.commits),
        len(wanted.objects),
        tuple(needs),
        total,
    )


def _need(view: View, commit: CommitId) -> Need:
    return Need(commit, one_line(read_commit(view.objects, commit).subject)[:MAX_SUBJECT])


# --- what others have --------------------------------------------------------------------------------------
def _target(view: View, writer: BundleWriter, since: Sequence[CommitId], monitor: Monitor) -> ObjectDatabase:
    """What whoever takes the bundle in has: nothing, or all that ``since`` reaches."""
    segments: dict[bytes, Segment] = {}
    rows: tuple[SegmentRow, ...] = ()
    if since:
        marks = mark_reached(view.objects, since)

        def keep_segment(name: bytes, data: bytes) -> None:
            segments[name] = Segment.open(name, data)

        merged = merge(plan_full_merge(view.index.rows), (), view.index, keep_segment, keep=marks.rows)
        rows = merged.apply(view.index.rows) or ()
    index = Index(rows, segments.__getitem__)
    return ObjectDatabase(_Both(writer, view.backend), index, monitor, PlainCache(CACHE_BYTES))


class _Both(Backend):
    """The packs of a bundle that is being written, and those of the store that it is made from."""

    def __init__(self, writer: BundleWriter, source: Backend) -> None:
        self._writer = writer
        self._source = source
        self.request_bytes = source.request_bytes

    def get(self, key: str) -> bytes:
        try:
            return self._writer.get(key)
        except NotFound:
            return self._source.get(key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        try:
            return self._writer.get_range(key, offset, length)
        except NotFound:
            return self._source.get_range(key, offset, length)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        return self._writer.list(prefix)

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        return self._writer.put(key, pieces)

    def delete(self, key: str) -> None:
        self._writer.delete(key)

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        self._writer.replace(key, expected, data)


# --- what the bundle is ------------------------------------------------------------------------------------
def _root(
    view: View, writer: BundleWriter, refs: Mapping[str, bytes], entries: Sequence[Entry], *, gone: bool
) -> Root:
    """The bundle's root; its segments and pieces are put."""

    def put(name: bytes, data: bytes) -> None:
        writer.put(segment_key(name), [data])

    empty = Index((), _no_segment)
    rows = merge(Merge(()), entries, empty, put).apply(()) if entries else ()
    pieces, _replaced = RefTable(Root().refs, writer).changed(dict(refs))
    root = Root(refs=pieces, segments=rows or ())
    if gone:
        root = root.with_changes(tombstones=_copied_tombstones(view, writer))
    branch = _default_branch(view, refs)
    return root if branch is None else root.with_changes(extra={"default_branch": branch})


def _no_segment(_name: bytes) -> Segment:
    raise AssertionError("there are no segments")


def _copied_tombstones(view: View, writer: BundleWriter) -> Mapping[str, object]:
    """What says which objects were purged, so that versions that lack some can be taken in."""
    for name in Tombstones(view.root.tombstones, view.backend).piece_names():
        writer.put(piece_key(name), [view.backend.get(piece_key(name))])
    return view.root.tombstones


def _default_branch(view: View, refs: Mapping[str, bytes]) -> str | None:
    """The branch that a copy of the bundle begins with: what the store says, or its current one, else the
    first."""
    named = view.root.extra.get("default_branch")
    said = named if isinstance(named, str) else view.branch()
    if said is not None and BRANCHES + said in refs:
        return said
    first = next((name for name in sorted(refs) if name.startswith(BRANCHES)), None)
    return None if first is None else first.removeprefix(BRANCHES)
