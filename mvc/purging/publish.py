"""The one swap of root that takes purged objects out: index, tombstones, refs and operation log together."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mvc.bisecting.state import read_bisection
from mvc.collection.index import merged
from mvc.collection.needs import needed, refuse_damage, uses
from mvc.collection.swapping import condemning, swap
from mvc.errors import ConflictError, ObjectPurged, RevisionNotFound, StorageError, UserError
from mvc.history.reader import read_manifest
from mvc.objectid import CommitId, ManifestId, ObjectId
from mvc.objects import Person, Timestamp
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES, Refusal
from mvc.odb.pack import PackWriter, pack_key
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.oplog import FINAL, Operation, OpLog, piece_key
from mvc.purging.aims import Versions, find_aim
from mvc.purging.dependants import store_anew
from mvc.purging.history import Rewritten, rewrite
from mvc.purging.survey import Survey, look
from mvc.refs import decode_target
from mvc.restore import file_pieces
from mvc.root import Root
from mvc.store import FolderStore, Store
from mvc.tombstones import Purge
from mvc.transaction import add_entries
from mvc.underway.pending import read_pending
from mvc.upkeep.expire import newest
from mvc.upkeep.usage import unused
from mvc.view import View

VERIFY_UP_TO = 256 << 20
"""Bytes of packs up to which every file that stays is read before root is swapped, unless somebody says."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to purge, and how: see :func:`mvc.ops.purge.purge`."""

    targets: tuple[str, ...]
    who: Person
    time: Timestamp
    reason: str = ""
    rewrite: bool = False
    everywhere: bool = False
    verify: bool | None = None

    @property
    def what(self) -> str:
        """The targets, in one line."""
        return " ".join(self.targets)

    @property
    def command(self) -> str:
        """What the operation log calls it."""
        words = ["purge", *(["--rewrite"] if self.rewrite else []), *self.targets]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a purge takes, and does beside: ``commits`` maps rewritten versions to new ones (None: they drop
    out), ``moved`` are refs that move, ``removed`` those that go, ``forgotten`` operations leave the log.
    ``stored_anew`` objects leaned on what goes; ``verified`` files were read whole, as they are to be stored
    then."""

    survey: Survey
    commits: Mapping[CommitId, CommitId | None] = field(default_factory=dict)
    moved: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    forgotten: int = 0
    stored_anew: int = 0
    verified: int = 0
    purge: Purge | None = None


def plan(store: Store, view: View, request: Request) -> Planned:
    """What :func:`publish` would do, as far as it can be told without storing anything.

    Raises:
        RevisionNotFound: nothing is called as one of the targets.
        UserError: the targets do not go with what is asked for.
    """
    writer = ObjectWriter(view.objects, store.monitor)
    try:
        return _planned(view, request, writer)[0]
    finally:
        writer.close()


def _planned(view: View, request: Request, writer: ObjectWriter) -> tuple[Planned, Rewritten | None]:
    versions = Versions(view)
    aims = tuple(find_aim(view, versions, text) for text in request.targets)
    if request.rewrite and any(aim.tensor is not None for aim in aims):
        raise UserError(
            "a file without one of its tensors would be another file, so no history is rewritten for it",
            hint="leave --rewrite out, or purge the whole file",
        )
    survey = look(view, versions, aims, everywhere=request.everywhere, rewrite=request.rewrite)
    if not request.rewrite:
        return Planned(survey, forgotten=_cut(view, survey.gone)[1]), None
    rewritten = rewrite(view, versions, aims, writer, request.who, request.time)
    return _with_history(view, versions, survey, rewritten), rewritten


def _with_history(view: View, versions: Versions, survey: Survey, rewritten: Rewritten) -> Planned:
    gone = (survey.gone | rewritten.replaced) - rewritten.used
    gone |= _followers(versions, gone) - rewritten.used
    survey = replace(survey, gone=frozenset(one for one in gone if one in view.index))
    return Planned(
        survey,
        rewritten.commits,
        tuple(sorted(name for name, value in rewritten.refs.items() if value is not None)),
        tuple(sorted(name for name, value in rewritten.refs.items() if value is None)),
        _cut(view, survey.gone)[1],
    )


def _followers(versions: Versions, gone: Collection[ObjectId]) -> set[ObjectId]:
    """Versions that only the operation log has and that follow one that goes: nobody could read their history
    any more."""
    children: dict[CommitId, list[CommitId]] = {}
    for identity, commit in versions.logged.items():
        for parent in commit.parents:
            children.setdefault(parent, []).append(identity)
    found: set[ObjectId] = set()
    stack = [one for one in gone if isinstance(one, CommitId)]
    while stack:
        for child in children.get(stack.pop(), ()):
            if child not in found:
                found.add(child)
                stack.append(child)
    return found


def _cut(view: View, gone: Collection[ObjectId]) -> tuple[int, int]:
    """How many of the newest operations name nothing of what goes, and how many leave the log."""
    kept = total = 0
    clean = True
    for operation in view.operations():
        total += 1
        clean = clean and not any(one in gone for one in _named(operation))
        kept += clean
    return kept, total - kept


def _named(operation: Operation) -> Iterator[ObjectId]:
    for change in operation.changes:
        for state in (change.before, change.after):
            if isinstance(state, bytes) and len(state) == 32:
                yield CommitId(state)
            elif isinstance(state, bytes):
                yield decode_target(state)
                if len(state) > 33:
                    yield CommitId(state[33:])
    yield from operation.worktree or ()


def refuse_unfinished(view: View) -> None:
    """Refuse a purge while something is under way that names versions and files.

    Raises:
        ConflictError: there is something.
    """
    pending = read_pending(view)
    if pending is not None:
        raise ConflictError(
            f"nothing can be purged: a {pending.kind} is under way",
            hint=f"conclude it (mvc {pending.kind} --continue) or take it back (mvc {pending.kind} --abort)",
        )
    if read_bisection(view) is not None:
        raise ConflictError(
            "nothing can be purged: a bisection is under way", hint="mvc bisect reset ends it"
        )


def publish(store: Store, request: Request) -> Planned | None:
    """Take the targets out of the repository in one swap of root; None where nothing of them is left to take.

    Before the swap everything that is new is durable, decodes, and with ``verify`` (None: in small stores)
    every file that stays was read through the new index. The bytes of what is gone are deleted by
    :mod:`.ending`.

    Raises:
        RevisionNotFound: nothing is called as one of the targets.
        ConflictError: a merge or bisection is under way.
        DamageError: something that stays is missing or damaged; nothing changed.
        StorageError: the disk is full, or refuses; nothing changed.
    """
    done: Planned | None = None
    attempt: _Attempt | None = None

    def change(view: View) -> Root | None:
        nonlocal done, attempt
        if attempt is not None and isinstance(store, FolderStore):
            # somebody was faster; in a bucket perhaps only a reply was lost, and collections take the rest
            attempt.discard()
        refuse_damage(view)
        refuse_unfinished(view)
        attempt = _Attempt(store, view, request)
        done, root = attempt.made()
        return root

    swap(store, change)
    return done


class _Attempt:
    """One try, on one state of the repository."""

    def __init__(self, store: Store, view: View, request: Request) -> None:
        self._store = store
        self._view = view
        self._request = request
        self._writer = ObjectWriter(view.objects, store.monitor)
        self._packs = PackWriter(view.backend)
        self._pieces: tuple[bytes, ...] = ()

    def made(self) -> tuple[Planned | None, Root | None]:
        """What is done, and root that does it; what was written is deleted again where that fails."""
        try:
            return self._made()
        except BaseException:
            self._writer.close()
            self._packs.close()
            self.discard()
            raise

    def discard(self) -> None:
        """Delete what was written: root will never name it."""
        written = {entry.pack for entry in (*self._writer.flushed, *self._packs.entries)}
        for key in (*map(pack_key, written), *map(piece_key, self._pieces)):
            with suppress(StorageError):  # of no use to anybody: a later collection tries again
                self._view.backend.delete(key)

    def _made(self) -> tuple[Planned | None, Root | None]:
        store, view, request = self._store, self._view, self._request
        try:
            planned, rewritten = _planned(view, request, self._writer)
        except RevisionNotFound:
            if _done_before(view, request):
                return None, None  # a rewritten history does not even name it any more
            raise
        gone = planned.survey.gone
        if not gone:
            _refuse_nothing(view, request, planned.survey)
            return None, None
        now = _now(store, view, self._writer.flush())
        refusal = _refusing(view, gone)
        start = self._start(now, planned, rewritten)
        marks = needed(store, start, refusal=refusal)
        store_anew(now.objects, marks.again, planned.survey.kept_files, self._packs)
        self._packs.flush()
        condemned = unused(uses(now, marks))
        purge = Purge.store(
            view.backend,
            gone,
            time=request.time,
            who=request.who,
            what=request.what,
            why=request.reason,
        )
        self._pieces = purge.pieces
        root = merged(store, start, self._packs.entries, condemned, marks.rows)
        root = root.with_changes(tombstones=view.tombstones.added(purge))
        verified = _verify(store, view, root, marks.again, planned.survey.kept_files, request.verify)
        return (
            replace(planned, stored_anew=len(marks.again), verified=verified, purge=purge),
            root,
        )

    def _start(self, now: View, planned: Planned, rewritten: Rewritten | None) -> View:
        """The state with refs, HEAD and log as they are to be, and the index as it was."""
        view, request = self._view, self._request
        kept, forgotten = _cut(view, planned.survey.gone)
        old = view.root.oplog
        log = newest(old, view.backend, kept, kept + forgotten)[0] if kept else OpLog()
        operation = Operation(
            log.head, request.command, request.who, request.time, (), os.urandom(16), extra={FINAL: True}
        )
        log = log.append(operation, view.backend)
        changes = {} if rewritten is None else rewritten.refs
        refs, replaced = view.refs.changed(changes)
        head = None if rewritten is None else rewritten.head
        pieces = set(log.piece_names(view.backend))
        retired = [piece_key(name) for name in old.piece_names(view.backend) if name not in pieces]
        retired += [piece_key(name) for name in replaced]
        root = now.root.with_changes(refs=refs, oplog=log, head=head or view.root.head)
        root = condemning(root, (), retired)
        return now.with_root(root)


def _done_before(view: View, request: Request) -> bool:
    return any(item.what == request.what and not item.lifted for item in view.tombstones.purges)


def _refuse_nothing(view: View, request: Request, survey: Survey) -> None:
    """Refuse a purge that would take nothing, unless it is one that took it before."""
    if survey.shared.count:
        places = ", ".join(survey.shared.places)
        raise UserError(
            f"nothing is only there: {survey.shared.count:,} of its pieces are also in {places}",
            hint="name those too, or purge them --everywhere",
        )
    if not _done_before(view, request) and not view.tombstones.refused():
        raise UserError("there is nothing to purge", hint="'mvc ls' lists files, 'mvc log' versions")


def _now(store: Store, view: View, entries: list[Entry]) -> View:
    """The state with the objects of a rewritten history in its index, which nobody else sees yet."""
    return view.with_root(add_entries(store, view, entries)) if entries else view


def _refusing(view: View, gone: Collection[ObjectId]) -> Refusal:
    """Tells what was purged before, and what goes now."""
    going = ObjectPurged("it is being purged")

    def refusal(identity: ObjectId, /, *, missing: bool = False) -> ObjectPurged | None:
        return going if identity in gone else view.tombstones.refusal(identity, missing=missing)

    return refusal


def _verify(
    store: Store,
    view: View,
    root: Root,
    again: Collection[ObjectId],
    files: Collection[ManifestId],
    verify: bool | None,
) -> int:
    """Read, as they are to be stored then, all objects that were stored anew, and the files that stay;
    returns how many files.

    Raises:
        DamageError: something would be lost, or different.
    """
    after = view.with_root(root, PlainCache(CACHE_BYTES))
    for identity in again:
        after.objects.get(identity)
    if verify is None:
        verify = sum(size for _key, size in view.backend.list("packs/")) <= VERIFY_UP_TO
    if not verify:
        return 0
    read = 0
    store.monitor.start("verify", None)
    for file in sorted(files):
        if file not in after.index:
            continue  # of nothing but notes as they were before
        manifest = read_manifest(after.objects, file)
        try:
            for piece in file_pieces(after.objects, manifest, verify=True):
                store.monitor.advance(len(piece))
        except ObjectPurged:
            continue  # this very purge, or an earlier one, took a part of it
        read += 1
    store.monitor.finish()
    return read
