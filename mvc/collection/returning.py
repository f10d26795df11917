"""Brings back what a collection threw away: objects into the index, operations into the log, in one swap.

Records go into new packs, never under their old names, which somebody may be about to delete. They are
taken as they are, but for the depth that they state where what they lean on lies deeper by now. An object
comes back only together with all that it refers to, as the protocol has it (docs/format.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mvc.collection.needs import named_by
from mvc.collection.swapping import condemning, swap
from mvc.collection.trash import Trash, TrashEntry, pack_name
from mvc.errors import Busy, CorruptFile, DamageError, UnsupportedFeature
from mvc.fileio import storage_errors
from mvc.objectid import BlobId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.pack import PackWriter, scan_pack
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.oplog import HeadValue, Operation, piece_key
from mvc.repo import Repository
from mvc.root import Root
from mvc.tombstones import Tombstones
from mvc.transaction import add_entries
from mvc.upkeep.expire import relinked
from mvc.upkeep.mark import references
from mvc.view import View
from mvc.workspace import locked

DEEPEST = 8
"""The greatest depth that a record gets here; what would lie deeper is coded anew, alone. No writer goes
further."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What came back from the trash: how many objects, in how many bytes, and how many operations; ``lost``
    objects and ``lost_operations`` could not, and stay in the trash."""

    time: int | None
    objects: int
    bytes: int
    operations: int
    lost: int = 0
    lost_operations: int = 0


class _Place(NamedTuple):
    """Where a record lies in the trash; by ascending depth, so that bases come first."""

    depth: int
    pack: int
    offset: int
    length: int
    id: ObjectId


def newest(repository: Repository) -> TrashEntry | None:
    """The entry that :func:`bring_back` would take: the newest one that was not brought back yet; where there
    is none, the newest of those of which something could not come back."""
    entries = Trash(repository.io, repository.store).entries()
    waiting = [entry for entry in entries if entry.state != "returned"]
    return next(reversed(waiting or entries), None)


def bring_back(repository: Repository, entry: TrashEntry) -> Returned:
    """Bring back what lies in an entry of the trash, and delete it if nothing is left there that is not in
    the store. To be called while nobody collects.

    Raises:
        Busy: others kept changing the repository.
        StorageError: the disk is full, or refuses; nothing changed.
    """
    trash = Trash(repository.io, repository.store)
    arrival: _Arrival | None = None
    operations: list[Operation] = []

    def change(view: View) -> Root | None:
        nonlocal arrival, operations
        if arrival is None:
            arrival = _Arrival(repository, view, trash.packs_of(entry))
        arrival.check(view)
        old = view.root.oplog
        present = list(view.operations())[::-1]
        operations = _fitting(view, present, entry.operations, arrival.accepted)
        root = add_entries(repository, view, arrival.entries)
        if operations:
            log = relinked([*operations, *present], view.backend)
            kept = set(log.piece_names(view.backend))
            gone = [piece_key(name) for name in old.piece_names(view.backend) if name not in kept]
            root = condemning(root.with_changes(oplog=log), (), gone)
        return None if root == view.root else root

    # a checkout that was killed finds its token in the log, and an undo the ids of operations
    with locked(repository, exclusive=False):
        swap(repository, change)
    if arrival is None:
        raise Busy("others keep changing the repository", hint="try again")
    with repository.reading() as view:
        logged = {operation.token for operation in view.operations()}
    missing = sum(1 for operation in entry.operations if operation.token not in logged)
    _settle(repository, entry, nothing_left=not (arrival.lost or missing or entry.damage))
    size = sum(item.length for item in arrival.entries)
    return Returned(entry.time, len(arrival.accepted), size, len(operations), len(arrival.lost), missing)


def foreseen(repository: Repository, entry: TrashEntry) -> Returned:
    """What :func:`bring_back` would try to bring back: what lies there and the store has not."""
    trash = Trash(repository.io, repository.store)
    with repository.reading() as view:
        found = {place.id: place.length for place in _places(repository, view, trash.packs_of(entry))}
        logged = {operation.token for operation in view.operations()}
        operations = sum(1 for operation in entry.operations if operation.token not in logged)
    return Returned(entry.time, len(found), sum(found.values()), operations)


class _Arrival:
    """The objects of some packs in the trash, stored anew in packs that no index names yet."""

    def __init__(self, repository: Repository, view: View, packs: Sequence[Path]) -> None:
        self._view = view
        self._monitor = repository.monitor
        self._writer = ObjectWriter(view.objects, repository.monitor)
        self._on_texts: dict[ObjectId, list[ObjectId]] = {}
        self.lost: set[ObjectId] = set()
        places = sorted(_places(repository, view, packs))
        stored: set[ObjectId] = set()
        for place in places:
            if place.id not in stored and self._store(_read_record(repository, packs[place.pack], place)):
                stored.add(place.id)
        entries = self._writer.flush()
        wanted = {place.id for place in places}
        self.accepted = _closed(self._writer.database, stored, view.tombstones)
        self.lost = wanted - self.accepted
        anew = self._alone(self.accepted)
        again = {bytes(item.id) for item in anew}
        names = {bytes(identity) for identity in self.accepted}
        self.entries = [item for item in entries if item.id in names - again] + anew

    def check(self, view: View) -> None:
        """Refuse if what new records lean on, or new objects refer to, was moved or went meanwhile.

        Raises:
            Busy: it did.
        """
        if view.root.epoch == self._view.root.epoch:
            return
        for identity, depth in self._writer.leaned_on.items():
            found = view.objects.entries(identity)
            if not found or found[0].depth > depth:
                raise Busy(f"{identity.word} {identity.short} was moved meanwhile", hint="run it again")

    def _store(self, record: Record) -> bool:
        """Add a record, as it is or stated deeper, once it was decoded; False where that cannot be."""
        objects = self._writer.database
        found = [objects.entries(base.id) for base in record.bases]
        if not all(found):
            return False
        depth = 1 + max((entries[0].depth for entries in found), default=-1)
        if depth > record.depth:
            record = replace(record, depth=depth)
        try:
            plain = objects.decode(record)
        except (DamageError, UnsupportedFeature) as error:
            self._monitor.note_damage(f"{record.id.word} {record.id.short} in the trash: {error.message}")
            return False
        if record.depth > DEEPEST:
            record = self._writer.prepare(record.id, plain)
        texts = [base.id for base in record.bases if not isinstance(base.id, BlobId)]
        if texts:
            self._on_texts[record.id] = texts
        self._writer.add(record)
        return True

    def _alone(self, accepted: Collection[ObjectId]) -> list[Entry]:
        """Store those anew that come back and lean on text that does not."""
        packs = PackWriter(self._view.backend)
        for identity, bases in self._on_texts.items():
            if identity in accepted and not all(
                base in accepted or base in self._view.objects for base in bases
            ):
                packs.add(self._writer.prepare(identity, self._writer.database.get(identity)))
        packs.flush()
        return packs.entries


def _places(repository: Repository, view: View, packs: Sequence[Path]) -> Iterator[_Place]:
    """Sound records of objects that the store has not, and that were not purged."""
    for number, path in enumerate(packs):
        what = f"trash {path.parent.parent.name}, pack {path.stem[:12]}"
        with storage_errors("cannot read the trash"):
            data = repository.io.map_read(path)
        if blake3(data).digest() != pack_name(path):
            repository.monitor.note_damage(f"{what} does not hash to its name; what is sound of it is used")
        try:
            for offset, length, record in scan_pack(pack_name(path), data):
                if not isinstance(record, Record):
                    repository.monitor.note_damage(f"{what} at {offset}: {record.message}")
                elif record.id not in view.objects and record.id not in view.tombstones:
                    yield _Place(record.depth, number, offset, length, record.id)
        except CorruptFile as error:
            repository.monitor.note_damage(f"{what}: {error.message}")


def _read_record(repository: Repository, path: Path, place: _Place) -> Record:
    """Read a record again that was found sound: it is checked once more, as another read may differ."""
    io = repository.io
    with storage_errors("cannot read the trash"):
        handle = io.open_read(path, follow=False)
        try:
            data = io.read_at(handle, place.length, place.offset)
        finally:
            io.close(handle)
    return Record.from_bytes(data)


def _closed(objects: ObjectDatabase, stored: set[ObjectId], purged: Tombstones) -> set[ObjectId]:
    """Those of the objects that were stored whose references are all there, down to the last, or were
    purged."""
    known: dict[ObjectId, bool] = {}
    for start in stored:
        waiting: list[tuple[ObjectId, list[ObjectId] | None]] = [(start, None)]
        while waiting:
            identity, named = waiting.pop()
            if named is not None:
                known[identity] = all(known[other] for other in named)
            elif identity in known:
                continue
            elif identity not in stored:
                # what was in the index before has all that it refers to there
                known[identity] = identity in objects or identity in purged
            else:
                named = _references(objects, identity)
                if named is None:
                    known[identity] = False
                    continue
                waiting.append((identity, named))
                waiting += [(other, None) for other in named]
    return {identity for identity in stored if known[identity]}


def _references(objects: ObjectDatabase, identity: ObjectId) -> list[ObjectId] | None:
    """What an object refers to; None where its bytes, which are those that were hashed, say nothing."""
    try:
        return [] if isinstance(identity, BlobId) else references(objects, identity)
    except DamageError:
        return None


def _fitting(
    view: View, present: Sequence[Operation], thrown: Sequence[Operation], arrived: Collection[ObjectId]
) -> list[Operation]:
    """The operations, oldest first, that can be put before those of the log: all that they name is there,
    and each ref is as the next operation that changed it found it, so that undoing goes through."""
    logged = {operation.token for operation in present}
    state: dict[str, HeadValue] = {}
    for operation in reversed(present):
        state.update({change.name: change.before for change in operation.changes})
    found: list[Operation] = []
    for operation in reversed([item for item in thrown if item.token not in logged]):
        if not all(_is_there(view, arrived, name) for name in named_by(operation)):
            break
        if any(_value(view, state, change.name) != change.after for change in operation.changes):
            break
        state.update({change.name: change.before for change in operation.changes})
        found.append(operation)
    return found[::-1]


def _is_there(view: View, arrived: Collection[ObjectId], identity: ObjectId) -> bool:
    return identity in arrived or identity in view.objects or identity in view.tombstones


def _value(view: View, state: Mapping[str, HeadValue], name: str) -> HeadValue:
    """What a ref or HEAD was where the log begins."""
    if name in state:
        return state[name]
    if name != "HEAD":
        return view.refs.value(name)
    head = view.root.head
    return head if isinstance(head, str) or head is None else bytes(head)


def _settle(repository: Repository, entry: TrashEntry, *, nothing_left: bool) -> None:
    """Delete an entry that was brought back, or keep what could not come back and say so."""
    trash = Trash(repository.io, repository.store)
    if nothing_left:
        trash.empty([entry])
    elif entry.damage is None:
        trash.write(repository.temporary, replace(entry, state="returned"))
