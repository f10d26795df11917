"""What a store far away says of its versions: its records fetched many at a time, decoded here."""

from __future__ import annotations

from collections.abc import Iterable

from mvc.backends import Backend
from mvc.monitor import Monitor
from mvc.objectid import KINDS, ObjectId
from mvc.odb.cache import PlainCache
from mvc.odb.database import ObjectDatabase, _Budget
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
        self._near = near
        self.lookup = Lookup(source.index)
        self._held: dict[ObjectId, tuple[Entry, Record]] = {}
        self._held_bytes = 0

    def prepare(self, wanted: Iterable[ObjectId]) -> None:
        """Fetch the records of some objects, and of what they lean on, before they are asked for.

        What is not found, or damaged, is left to :meth:`get`, which says why.

        Raises:
            StorageError: the store refuses.
        """
        if self.backend.near:
            return
        self._make_room()
        waiting = {identity: ANY_DEPTH for identity in wanted if not self._has(identity)}
        while waiting:
            found = self.lookup.find(waiting)
            entries = [
                next((entry for entry in found.get(identity, ()) if entry.depth < below), None)
                for identity, below in waiting.items()
            ]
            waiting = {}
            for record in self._fetch([entry for entry in entries if entry is not None]):
                for base in record.bases:
                    if not self._has(base.id):
                        waiting[base.id] = min(record.depth, waiting.get(base.id, ANY_DEPTH))

    def read_along(self, entries: Iterable[Entry]) -> None:
        """Fetch records that may be asked for soon.

        Raises:
            StorageError: the store refuses.
        """
        for _record in self._fetch(entries):
            pass

    def held(self, entry: Entry) -> Record | None:
        """A record that was fetched."""
        found = self._held.get(KINDS[entry.kind](entry.id))
        return found[1] if found is not None and found[0] == entry else None

    def entries(self, identity: ObjectId) -> list[Entry]:
        """Where the object's records lie: the one that was fetched, else all."""
        found = self._held.get(identity)
        return [found[0]] if found is not None else super().entries(identity)

    def _has(self, identity: ObjectId) -> bool:
        return identity in self._held or (self._near is not None and identity in self._near)

    def _fetch(self, entries: Iterable[Entry]) -> list[Record]:
        records = []
        ranges = coalesce(entries, self.backend.request_bytes)
        for entry, record in fetch(self.backend, ranges, lambda _entry, record: record):
            if isinstance(record, Record):
                self._held[record.id] = entry, record
                self._held_bytes += entry.length
                records.append(record)
        return records

    def _make_room(self) -> None:
        """Let go of what was fetched first."""
        while self._held_bytes > HELD_BYTES:
            entry, _record = self._held.pop(next(iter(self._held)))
            self._held_bytes -= entry.length

    def _record(self, identity: ObjectId, entry: Entry, *, verify: bool = True) -> Record:
        found = self.held(entry)
        return found if found is not None else super()._record(identity, entry, verify=verify)

    def _get(self, identity: ObjectId, below: int, budget: _Budget) -> bytes:
        if self._near is not None and identity in self._near:
            return self._near.get(identity)
        return super()._get(identity, below, budget)


def reader_of(source: ObjectDatabase, target: ObjectDatabase, monitor: Monitor) -> ReadAhead:
    """A reader of a source for who copies to a target."""
    return ReadAhead(source, target if _nearer(target.backend, source.backend) else None, monitor)


def _nearer(one: Backend, other: Backend) -> bool:
    return one.near and not other.near
