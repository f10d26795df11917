"""What a store far away says of its versions: its records fetched many at a time, decoded here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mvc.backends import Backend
from mvc.monitor import Monitor
from mvc.objectid import KINDS, ObjectId
from mvc.odb.cache import PlainCache
from mvc.odb.database import Budget, ObjectDatabase
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.remotes.lookup import ANY_DEPTH, Lookup
from mvc.remotes.ranges import coalesce, fetch

HELD_BYTES = 64 << 20
"""Of records that were read ahead and are kept for the transfer, which would fetch them again."""

_CACHE_BYTES = 32 << 20


class ReadAhead(ObjectDatabase):
    """A source's objects, read in bulk by :meth:`prepare`; what ``near`` has is read there instead, also
    where something at the source leans on it."""

    def __init__(self, source: ObjectDatabase, near: ObjectDatabase | None, monitor: Monitor) -> None:
        super().__init__(source.backend, source.index, monitor, PlainCache(_CACHE_BYTES), source.refusal)
        self._source = source
        self._near = near
        self.lookup = Lookup(source.index)
        self._held: dict[ObjectId, tuple[Entry, Record]] = {}
        self._held_bytes = 0

    def prepare(self, wanted: Iterable[ObjectId], *, around: bool = False) -> bool:
        """Fetch the records of some objects, and of what they lean on, before they are asked for; ``around``
        with others beside them. False where all are at hand.

        What is not found, or damaged, is left to :meth:`get`, which says why.

        Raises:
            StorageError: the store refuses.
        """
        if self.backend.near:
            return False
        self._make_room()
        asked = dict.fromkeys(wanted, ANY_DEPTH)
        followed: dict[ObjectId, int] = {}
        fetched = False
        while asked:
            lacking = {identity: below for identity, below in asked.items() if not self.has(identity, below)}
            if lacking:
                fetched = True
                found = self.lookup.find(lacking)
                fitting = (
                    next((entry for entry in found.get(identity, ()) if entry.depth < below), None)
                    for identity, below in lacking.items()
                )
                self._fetch((entry for entry in fitting if entry is not None), around=around)
            followed |= asked
            asked = self._bases(asked, followed)
        return fetched

    def _bases(self, asked: Iterable[ObjectId], followed: Mapping[ObjectId, int]) -> dict[ObjectId, int]:
        """What the records that are held of some objects lean on and was not followed yet, each with the
        depth that it must be below."""
        found: dict[ObjectId, int] = {}
        for identity in asked:
            if identity in self._held and not self._is_near(identity):
                record = self._held[identity][1]
                for base in record.bases:
                    below = min(record.depth, found.get(base.id, ANY_DEPTH))
                    if below < followed.get(base.id, ANY_DEPTH + 1):
                        found[base.id] = below
        return found

    def read_along(self, entries: Iterable[Entry]) -> None:
        """Fetch records that may be asked for soon.

        Raises:
            StorageError: the store refuses.
        """
        self._fetch(entries, around=True)

    def held(self, entry: Entry) -> Record | None:
        """A record that was fetched."""
        found = self._held.get(KINDS[entry.kind](entry.id))
        return found[1] if found is not None and found[0] == entry else None

    def entries(self, identity: ObjectId) -> list[Entry]:
        """Where the object's records lie: the one that was fetched, else all."""
        found = self._held.get(identity)
        return [found[0]] if found is not None else super().entries(identity)

    def has(self, identity: ObjectId, below: int = ANY_DEPTH) -> bool:
        """Whether an object, or a record of it of less than that depth, is at hand without a request."""
        held = self._held.get(identity)
        return (held is not None and held[0].depth < below) or self._is_near(identity)

    def _is_near(self, identity: ObjectId) -> bool:
        return self._near is not None and identity in self._near

    def _fetch(self, entries: Iterable[Entry], *, around: bool) -> None:
        """Fetch records, as many as may be held; what is left is fetched when it is asked for."""
        wanted = list(entries)
        if around:
            wanted += (one for one in self.lookup.beside(wanted) if not self.has(KINDS[one.kind](one.id)))
        room = HELD_BYTES
        chosen = []
        for entry in wanted:
            room -= entry.length
            if room < 0:
                break
            chosen.append(entry)
        ranges = coalesce(chosen, self.backend.request_bytes)
        for entry, record in fetch(self.backend, ranges, lambda _entry, record: record):
            if isinstance(record, Record):
                self._let_go(record.id)
                self._held[record.id] = entry, record
                self._held_bytes += entry.length

    def _let_go(self, identity: ObjectId) -> None:
        held = self._held.pop(identity, None)
        if held is not None:
            self._held_bytes -= held[0].length

    def _make_room(self) -> None:
        """Let go of what was fetched first."""
        while self._held_bytes > HELD_BYTES:
            self._let_go(next(iter(self._held)))

    def _record(self, identity: ObjectId, entry: Entry, *, verify: bool = True) -> Record:
        found = self.held(entry)
        return found if found is not None else super()._record(identity, entry, verify=verify)

    def record(self, identity: ObjectId) -> Record:
        """The record that would be read first."""
        return self._source.record(identity) if self.backend.near else super().record(identity)

    def get(self, identity: ObjectId) -> bytes:
        """An object's plain bytes."""
        # what is near may be in part elsewhere, and knows how to get that
        return self._source.get(identity) if self.backend.near else super().get(identity)

    def _get(self, identity: ObjectId, below: int, budget: Budget) -> bytes:
        if self._near is not None and identity in self._near:
            return self._near.get(identity)
        held = self._held.get(identity)
        if held is not None and held[0].depth >= below:
            self._let_go(identity)  # another record is needed
        return super()._get(identity, below, budget)


def reader_of(source: ObjectDatabase, target: ObjectDatabase, monitor: Monitor) -> ReadAhead:
    """A reader of a source for who copies to a target."""
    return ReadAhead(source, target if _nearer(target.backend, source.backend) else None, monitor)


def _nearer(one: Backend, other: Backend) -> bool:
    return one.near and not other.near
