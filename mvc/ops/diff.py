"""What differs between two versions, or a version and the work tree: files, and the tensors in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mvc.describing import Describer
from mvc.dtypes import DTYPES
from mvc.errors import UserError
from mvc.fileio import storage_errors
from mvc.history.ancestry import merge_bases
from mvc.history.reader import ObjectReader, PartTable, read_or_gap
from mvc.history.revisions import resolve_commit
from mvc.history.tensordiff import SpanPair, TensorDiff, diff_tensors
from mvc.history.treediff import Change, diff_trees, flatten, pair_renames
from mvc.ingest import measure_file
from mvc.objectid import ManifestId
from mvc.objects import Manifest, TreeEntry
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.paths import is_wanted
from mvc.repo import Repository
from mvc.same_weights import SameWeights, of_changes, reading
from mvc.spans import Span
from mvc.store import Store
from mvc.view import View
from mvc.weighing import Weigher
from mvc.workspace import Workspace, files_left, locked
from mvc.worktree.compare import mode_of
from mvc.worktree.overlay import WorkFileReader
from mvc.worktree.renames import renames

if TYPE_CHECKING:
    from mvc.history.tensorstats import TensorStats

BINS = 61
"""Bins of a histogram of changes; the one in the middle has those around zero."""


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor that differs. ``kind`` is added, removed, reshaped, cast (another dtype, the same shape) or
    changed; ``moved`` the share, 0 to 1, of a changed tensor's elements whose bits differ (None for a strided
    view of more than 256 MiB, and for what was purged). ``stats`` say how far it moved, where both sides are
    known; ``histogram`` counts the changes that its elements made, in :data:`BINS` equal bins from
    −``stats.largest`` to ``stats.largest``, where that was asked for."""

    kind: str
    name: str
    old: Span | None
    new: Span | None
    moved: float | None = None
    stats: TensorStats | None = None
    histogram: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How closely tensors are looked at. ``rank`` asks for effective ranks of changes, ``histograms`` for
    those of so many tensors of each file, which moved furthest."""

    rank: bool = False
    histograms: int = 0


_USUAL = Depth()


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that differs. ``kind`` is added, removed, modified, mode or renamed; sizes are in bytes.
    ``same_weights`` is the old file (at its own path, or another one) whose tensors it holds in other bytes;
    those are not listed then, nor as removed where they were."""

    path: str
    kind: str
    old_path: str | None
    old: Manifest | None
    new: Manifest | None
    tensors: tuple[TensorChange, ...] = ()
    same_weights: str | None = None


def diff_versions(
    repository: Store,
    view: View,
    old: str,
    new: str,
    paths: Sequence[str] = (),
    *,
    tensors: bool = True,
    depth: Depth = _USUAL,
) -> Iterator[FileChange]:
    """From one version to another, by path."""
    before = view.commit(resolve_commit(old, view.objects, view)).tree
    after = view.commit(resolve_commit(new, view.objects, view)).tree
    objects = view.manifests
    changes = pair_renames(objects, diff_trees(objects, before, after))
    same: dict[str, str] = {}
    if tensors:
        weigher = Weigher(repository, objects)
        same = of_changes(weigher, objects, changes, lambda: flatten(objects, before))
    for change in changes:
        if any(is_wanted(path, paths) for path in (change.path, change.old_path) if path is not None):
            # the tensors of what was only saved otherwise are not news
            told = tensors and change.path not in same and change.path not in same.values()
            yield replace(
                _file_change(view, objects, change, told, depth), same_weights=same.get(change.path)
            )


def diff_worktree(
    repository: Repository,
    old: str | None,
    paths: Sequence[str] = (),
    *,
    tensors: bool = True,
    depth: Depth = _USUAL,
) -> Iterator[FileChange]:
    """From a version (None: HEAD, or nothing before the first commit) to the work tree, by path."""
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        commit = view.head_commit() if old is None else resolve_commit(old, view.objects, view)
        before = files_left(view, commit)
        state = workspace.state(view, before, workspace.scan())
        workspace.remember(state.fresh)
        with storage_errors("cannot read the work tree"):
            moved = renames(workspace.io, workspace.root, state, before, view.manifests.manifest)
        gone = set(state.deleted).difference(moved.values())
        every = dict(sorted(before.items(), key=lambda item: item[0] not in gone))
        work = _WorkTree(workspace, view, every, tensors, depth)
        found: list[FileChange] = []
        for path in sorted({*state.added, *state.modified, *gone}):
            old = moved.get(path)
            if is_wanted(path, paths) or (old is not None and is_wanted(old, paths)):
                change = work.change(path, before.get(path) if old is None else before[old], old)
                if tensors:
                    found.append(change)
                else:
                    yield change
        sources = {change.same_weights for change in found}
        for change in found:
            # the tensors of what was only saved otherwise are not news
            yield replace(change, tensors=()) if change.path in sources else change


def fork_point(view: View, ours: str, theirs: str) -> str:
    """The id of the merge base of two revisions; the first of several, as in Git.

    Raises:
        UserError: they have no common ancestor.
    """
    ends = [resolve_commit(one, view.objects, view) for one in (ours, theirs)]
    bases = merge_bases(view.objects, *ends)
    if not bases:
        raise UserError(
            f"{ours} and {theirs} have no common ancestor", hint="mvc diff A B compares them all the same"
        )
    return bases[0].hex()


def _file_change(
    view: View, objects: ObjectReader, change: Change, tensors: bool, depth: Depth
) -> FileChange:
    old, new = _manifest(objects, change.old), _manifest(objects, change.new)
    same = change.same_content
    rows = () if same or not tensors else tuple(_tensor_changes(objects, view.objects, old, new, depth))
    return FileChange(change.path, change.kind, change.old_path, old, new, rows)


class _WorkTree:
    """The work tree while it is compared with the files of a version."""

    def __init__(
        self, workspace: Workspace, view: View, files: Mapping[str, TreeEntry], tensors: bool, depth: Depth
    ) -> None:
        self._workspace = workspace
        self._objects = view.objects
        self._tensors = tensors
        self._depth = depth
        self._describer = Describer(workspace.io, workspace.root)
        self._weigher = Weigher(workspace.repository, view.objects)
        self._files = files
        self._committed = SameWeights(self._weigher, view.objects, files)

    def change(self, path: str, entry: TreeEntry | None, old_path: str | None) -> FileChange:
        """What differs at a path from the version's entry there, or from that of ``old_path``."""
        workspace = self._workspace
        old = _manifest(self._objects, entry)
        file = workspace.scan((path,)).files.get(path)
        if file is None:
            rows = (
                tuple(_tensor_changes(self._objects, self._objects, old, None, self._depth))
                if self._tensors
                else ()
            )
            return FileChange(path, "removed", None, old, None, rows)
        place = workspace.root / path
        with storage_errors(f"cannot read {path}"):
            new = measure_file(workspace.io, place, path, workspace.monitor, describer=self._describer)
            if entry is not None and old is not None and old.same_file(new):
                if old_path is not None:
                    return FileChange(path, "renamed", old_path, old, new)
                if mode_of(file) != entry.mode:
                    return FileChange(path, "mode", None, old, new)
            kind = "added" if old is None or old_path is not None else "modified"
            if not self._tensors:
                return FileChange(path, kind, None, old, new)
            among = self._committed
            if entry is not None:
                among = SameWeights(self._weigher, self._objects, {path: entry})
            alike = among.of_file(new.tensors, reading(workspace.io, place))
            if alike is not None:
                other = _manifest(self._objects, self._files[alike])
                if other is None or not other.same_file(new):
                    return FileChange(path, kind, None, old, new, (), alike)
            reader = WorkFileReader(workspace.io, place, new, self._objects)
            rows = tuple(_tensor_changes(reader, self._objects, old, new, self._depth))
        return FileChange(path, kind, None, old, new, rows)


def _manifest(objects: ObjectReader, entry: TreeEntry | None) -> Manifest | None:
    return None if entry is None else read_or_gap(objects, ManifestId(entry.id))


def _tensor_changes(
    reader: ObjectReader, database: ObjectDatabase, old: Manifest | None, new: Manifest | None, depth: Depth
) -> Iterator[TensorChange]:
    if old is None or new is None:
        for span in () if new is None else new.tensors:
            yield TensorChange("added", span.name, None, span)
        for span in () if old is None else old.tensors:
            yield TensorChange("removed", span.name, span, None)
        return
    found = diff_tensors(old, new)
    for span in found.removed:
        yield TensorChange("removed", span.name, span, None)
    for span in found.added:
        yield TensorChange("added", span.name, None, span)
    if found.reshaped or found.maybe_changed:
        yield from _compared(reader, database, PartTable(old), PartTable(new), found, depth)


def _kind(pair: SpanPair) -> str:
    """How a tensor of another dtype or shape is called."""
    return "cast" if pair.old.shape == pair.new.shape else "reshaped"


def _compared(
    reader: ObjectReader,
    database: ObjectDatabase,
    before: PartTable,
    after: PartTable,
    found: TensorDiff,
    depth: Depth,
) -> Iterator[TensorChange]:
    """The tensors that both files have, and how far they moved."""
    # here: what differs is told by ids alone, and importing numpy takes 0.1 s
    from mvc.history.stretches import Compared
    from mvc.history.tensorstats import compare, histogram

    def is_gone(table: PartTable, span: Span) -> bool:
        blobs = (piece.part.blob for piece in table.pieces(span.offset, span.length))
        return any(blob is not None and database.is_gone(blob) for blob in blobs)

    shapes, others = list(found.reshaped), list(found.maybe_changed)
    for pairs in (shapes, others):
        for pair in [one for one in pairs if is_gone(before, one.old) or is_gone(after, one.new)]:
            pairs.remove(pair)  # purged: how far it moved nobody can tell
            yield TensorChange(
                _kind(pair) if pairs is shapes else "changed", pair.new.name, pair.old, pair.new
            )
    every = [Compared(before, after, pair) for pair in (*shapes, *others)]

    def ahead(tensors: Sequence[Compared]) -> None:
        """Small tensors are in the database's cache when their turn comes, read together: to look for each
        would take longer than to compare it."""
        places = [(one.old_parts, one.pair.old) for one in tensors]
        places += [(one.new_parts, one.pair.new) for one in tensors]
        parts = (piece.part for table, span in places for piece in table.pieces(span.offset, span.length))
        database.get_small(
            (part.blob for part in parts if part.blob and part.length <= SMALL_BYTES), keep=True
        )

    changes: list[TensorChange] = []
    for place, stats in enumerate(compare(reader, every, rank=depth.rank, ahead=ahead)):
        pair = every[place].pair
        if place < len(shapes):
            changes.append(TensorChange(_kind(pair), pair.new.name, pair.old, pair.new, None, stats))
        elif stats is None or stats.moved != 0:
            moved = None if stats is None else stats.moved
            changes.append(TensorChange("changed", pair.new.name, pair.old, pair.new, moved, stats))
        else:
            continue
        if not depth.histograms:
            yield changes.pop()
    if depth.histograms:
        known = {id(one.pair.new): one for one in every}
        floats = [change for change in changes if change.new and _is_float(change.new.dtype)]
        for change in sorted(floats or changes, key=_distance, reverse=True)[: depth.histograms]:
            if change.stats is not None and change.stats.largest and change.new is not None:
                counts = histogram(reader, known[id(change.new)], change.stats.largest, BINS)
                changes[changes.index(change)] = replace(change, histogram=counts)
        yield from changes


def _distance(change: TensorChange) -> float:
    return (change.stats.relative or 0.0) if change.stats is not None else 0.0


def _is_float(dtype: str) -> bool:
    return dtype in DTYPES and DTYPES[dtype].exponent_bits > 0
