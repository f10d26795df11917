"""Changes a repository all at once: new objects durable first, then one swap of root."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mvc.afterwards import FAILURES, unfinished
from mvc.backends import Backend
from mvc.errors import (
    Busy,
    CorruptFile,
    MvcError,
    ObjectPurged,
    RefMoved,
    RootMoved,
    StorageError,
    TakenForGarbage,
)
from mvc.locators import segments_needed, write_locator
from mvc.objectid import KINDS, CommitId, ObjectId, OperationId, TreeId
from mvc.objects import Person, Timestamp
from mvc.odb.index import Merge, merge, plan_merge
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.oplog import Operation, RefChange, head_value, piece_key, read_piece, write_piece
from mvc.parallel import ordered_map
from mvc.root import Retired, Root
from mvc.store import Announcement, Store
from mvc.sweep import sweep
from mvc.tombstones import Purge, purged_error
from mvc.view import View, segment_key

ATTEMPTS = 200
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.25
"""Seconds, at most, between two tries to swap root; each time half as long again, so that many who meet make
room for each other."""

_LOCATING = 8  # threads that write locators

FEW = 16  # entries, up to which a command must not pay for importing numpy


@dataclass(frozen=True, slots=True)
class Update:
    """What a command wants changed.

    ``refs`` maps full names to the new value (:func:`mvc.refs.encode_target`; None deletes); ``head`` is the
    new HEAD, None to leave it; ``worktree`` tells the trees before and after where the work tree changed;
    ``locate`` names a new commit and its parents: its locator is to be written; ``also_located`` are more of
    them. ``undoes`` is the operation that this one takes back; ``default_branch`` the one that copies of a
    shared store begin with.
    """

    refs: Mapping[str, bytes | None] = field(default_factory=dict)
    head: str | CommitId | None = None
    worktree: tuple[TreeId, TreeId] | None = None
    locate: tuple[CommitId, tuple[CommitId, ...]] | None = None
    undoes: OperationId | None = None
    also_located: Sequence[tuple[CommitId, tuple[CommitId, ...]]] = ()
    default_branch: str | None = None


class _Learned(NamedTuple):
    """Purges of another store, the ids that each took, and where its pieces lie."""

    purges: Sequence[Purge]
    ids: Mapping[ObjectId, Purge]
    backend: Backend


class Transaction:
    """One command's changes; made by :func:`begin`. ``view`` is the state that they start from; its objects
    are also those that were written here."""

    def __init__(
        self, store: Store, announcement: Announcement, command: str, who: Person, now: Timestamp
    ) -> None:
        self._store = store
        self._command = command
        self._who = who
        self._now = now
        self.token = os.urandom(16)
        self.view = store.read()
        announcement.announce_epoch(self.view.root.epoch)
        self.writer = ObjectWriter(self.view.objects, store.monitor)
        self.view.objects = self.writer.database
        self._adopted: list[Entry] = []
        self._learned = _Learned((), {}, store.backend)

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Take in records that somebody else put into packs of this store, durable: ``view`` has them at
        once, and with the next :meth:`publish` everybody.

        Who calls this answers for it that with them everything is there that they refer to and lean on.
        """
        taken = list(entries)
        self._adopted += taken
        self.writer.know(taken)

    def learn(self, purges: Sequence[Purge], ids: Mapping[ObjectId, Purge], backend: Backend) -> None:
        """Take purges over from another store, whose ``backend`` has their pieces: ``view`` knows of them at
        once, and with the next :meth:`publish` everybody. Nothing with one of these ``ids`` is here.
        """
        self._learned = _Learned(purges, ids, backend)
        if purges:
            self.view.objects = self.view.objects.with_refusal(self._refusal)

    def _refusal(self, identity: ObjectId, *, missing: bool = False) -> ObjectPurged | None:
        purge = self._learned.ids.get(identity)
        if purge is None or (purge.lifted and not missing):
            return self.view.tombstones.refusal(identity, missing=missing)
        return purged_error(f"{identity.word} {identity.short}", purge)

    def publish(self, build: Callable[[View], Update | None]) -> Operation | None:
        """Make the changes visible, all or none.

        ``build`` gets the state as it is now and says what to change; it runs again when somebody else was
        faster, and may put more objects. None from it means that nothing is to be done.

        Raises:
            Busy: others kept being faster.
            Unfinished: the change is made, but the disk did not confirm it.
            RefMoved: from ``build``, when a ref is no longer where it must be.
        """
        for attempt in range(ATTEMPTS):
            view = self._store.read()
            update = build(view)
            if update is None:
                return None
            self._check_relied(view)
            root, operation = self._next_root(view, update)
            try:
                self._store.roots.swap(view.raw, root)
            except RootMoved as moved:
                if moved.perhaps_done and self.is_published():
                    self._store.published.append(operation)
                    return operation
                if not moved.perhaps_done:
                    discard_segments(self._store, view.root, root)
                # jitter, so that two that meet do not meet again; imported only where it happens
                import random

                time.sleep(random.uniform(0, min(SHORTEST_PAUSE * 1.5**attempt, LONGEST_PAUSE)))
                continue
            except BaseException as error:
                self._tell_outcome(operation, error)
                raise
            self._store.published.append(operation)
            return operation
        raise Busy("others keep changing the repository", hint="try again")

    def _tell_outcome(self, operation: Operation, error: BaseException) -> None:
        """After a swap that failed: it may have taken place all the same, and only root can tell.

        Raises:
            Unfinished: it has.
            StorageError: root cannot be read.
        """
        try:
            published = self.is_published()
        except MvcError as second:
            if isinstance(error, Exception):
                raise StorageError(
                    f"{error}; and whether it was recorded cannot be told: {second.message}",
                    hint="'mvc oplog' tells as soon as the disk answers",
                ) from error
            return
        if published:
            self._store.published.append(operation)
            if isinstance(error, Exception):
                raise unfinished(self._store, operation, error) from error

    def is_published(self) -> bool:
        """Whether root holds this transaction's operation, asked of root itself."""
        return any(operation.token == self.token for operation in self._store.read().operations())

    def check_alive(self) -> None:
        """Make sure that no other machine took this process for dead.

        Raises:
            LeaseLost: one did.
        """
        self._store.check_alive()

    def _check_relied(self, view: View) -> None:
        """Look up again what was found instead of written, if packs were condemned since."""
        if view.root.epoch == self.view.root.epoch:
            return
        self._check_own(view)
        for identity in self.writer.relied:
            view.objects.refuse_purged(identity)
            if identity not in view.objects:
                raise _moved(identity)
        for identity, depth in self.writer.leaned_on.items():
            found = view.objects.entries(identity)
            if not found or found[0].depth > depth:
                raise _moved(identity)

    def _check_own(self, view: View) -> None:
        """Look again for the packs that were put here.

        Where nobody can be asked who writes now, a collection takes packs for garbage that no root names yet,
        and condemns them. One that is not listed as condemned may have been: then it was deleted before it
        left that list.
        """
        own = {entry.pack for entry in (*self._adopted, *self.writer.flushed)}
        if not own.isdisjoint(view.index.dead_packs) or self._store.lost_packs(own):
            raise TakenForGarbage(
                "a collection took what this command had written for garbage", hint="run it again"
            )

    def _next_root(self, view: View, update: Update) -> tuple[Root, Operation]:
        refs, replaced = view.refs.changed(update.refs)
        operation = Operation(
            view.root.oplog.head,
            self._command,
            self._who,
            self._now,
            _changes(view, update),
            self.token,
            update.worktree,
            update.undoes,
        )
        entries = [*self._adopted, *self.writer.flush()]
        root = add_entries(self._store, view, entries)
        self._locate(view, [*([] if update.locate is None else [update.locate]), *update.also_located], root)
        if update.default_branch is not None:
            root = root.with_changes(extra={**root.extra, "default_branch": update.default_branch})
        root = _with_retired(root, [piece_key(name) for name in replaced])
        root = root.with_changes(tombstones=self._tombstones(view))
        oplog = root.oplog.append(operation, self._store.backend)
        root = root.with_changes(refs=refs, oplog=oplog, head=update.head or root.head)
        return sweep(self._store, view.root, root), operation

    def _tombstones(self, view: View) -> Mapping[str, Any]:
        """Root's purges and those taken over, whose pieces are put; one whose objects came here meanwhile is
        left for the next time, because what is here is not to become unreadable by a fetch."""
        known = {purge.name for purge in view.tombstones.purges}
        here = {purge.name for identity, purge in self._learned.ids.items() if identity in view.index}
        new = [purge for purge in self._learned.purges if purge.name not in known | here]
        for purge in new:
            for name in purge.pieces:
                write_piece(self._store.backend, read_piece(self._learned.backend, name))
        return view.tombstones.added(*new) if new else view.root.tombstones

    def _locate(
        self, view: View, versions: Sequence[tuple[CommitId, tuple[CommitId, ...]]], root: Root
    ) -> None:
        """Write the locators of new versions: needed before root names them, rebuilt when they are lost."""
        if not versions:
            return
        backend = self._store.backend
        index = self._store.index_of(root)
        before = {row.name for row in view.root.segments}
        own = [row.name for row in root.segments if row.name not in before]
        # those that came together mostly have the same parents, and what they need is told by segments
        needed: dict[tuple[CommitId, ...], list[bytes]] = {}
        for _commit, parents in versions:
            if parents not in needed:
                needed[parents] = segments_needed(backend, index, own, parents, self.writer.relied)

        def write(version: tuple[CommitId, tuple[CommitId, ...]]) -> None:
            write_locator(backend, version[0], needed[version[1]])

        if len(versions) == 1:
            write(versions[0])
        else:
            for _written in ordered_map(write, versions, workers=min(_LOCATING, len(versions))):
                pass


def _moved(identity: ObjectId) -> TakenForGarbage:
    return TakenForGarbage(
        f"{identity.word} {identity.short} was moved while this command ran", hint="run it again"
    )


def discard_segments(store: Store, before: Root, never: Root) -> None:
    """Delete the index segments of a root that was never swapped in: nobody else can know their names."""
    known = {row.name for row in before.segments}
    for row in never.segments:
        if row.name not in known:
            store.backend.delete(segment_key(row.name))


def _changes(view: View, update: Update) -> tuple[RefChange, ...]:
    changes = [RefChange(name, view.refs.value(name), value) for name, value in sorted(update.refs.items())]
    if update.head is not None and update.head != view.root.head:
        changes.append(RefChange("HEAD", head_value(view.root.head), head_value(update.head)))
    return tuple(change for change in changes if change.before != change.after)


def add_entries(store: Store, view: View, entries: list[Entry]) -> Root:
    """Root with new index entries: a segment of their own, merged with others as the policy says.

    Raises:
        ObjectPurged: one of them is of an object that may not come back.
    """
    if not entries:
        return view.root
    if view.tombstones:
        # a purge that was faster; whatever has an index entry made comes through here
        for entry in entries:
            view.objects.refuse_purged(KINDS[entry.kind](entry.id))

    def put(name: bytes, data: bytes) -> None:
        store.backend.put(segment_key(name), [data])

    rows = view.root.segments
    try:
        merged = merge(plan_merge(rows, len(entries), light=len(entries) <= FEW), entries, view.index, put)
    except CorruptFile as error:
        # what is new must be stored even where the index of old versions is damaged
        store.monitor.note_damage(f"{error.message}; not merged")
        merged = merge(Merge(()), entries, view.index, put)
    after = merged.apply(rows)
    if after is None:
        raise RootMoved("the index changed while it was merged")
    kept = {row.name for row in after}
    retired = [segment_key(row.name) for row in rows if row.name not in kept]
    return _with_retired(view.root.with_changes(segments=after), retired)


def _with_retired(root: Root, keys: list[str]) -> Root:
    if not keys:
        return root
    epoch = root.epoch + 1
    return root.with_changes(epoch=epoch, retired=(*root.retired, *(Retired(key, epoch) for key in keys)))


@contextmanager
def begin(store: Store, command: str, who: Person, now: Timestamp) -> Iterator[Transaction]:
    """Start a command's changes. Nothing is visible until :meth:`Transaction.publish` returns.

    Raises:
        Unfinished: something failed behind that.
    """
    before = len(store.published)
    with store.announce("writer") as announcement:
        transaction = Transaction(store, announcement, command, who, now)
        try:
            try:
                yield transaction
            finally:
                transaction.writer.close()
                store.keep_fetched()
        except FAILURES as error:
            if len(store.published) == before:
                store.check_alive()  # what is missing may have gone because we were taken for dead
                raise
            raise unfinished(store, store.published[-1], error) from error


def expect(view: View, name: str, before: ObjectId | None) -> None:
    """Refuse when a ref is not where the command believes.

    Raises:
        RefMoved: it moved.
    """
    if view.refs.get(name) != before:
        raise RefMoved(f"{name} was moved by somebody else", hint="look at 'mvc log', then try again")
