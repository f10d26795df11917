"""Records of a store behind a network, fetched together before they are read and held for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable

from mvc.backends import Backend
from mvc.objectid import CommitId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.remotes.reaching import reach

HELD_BYTES = 96 << 20
"""Of records that are held in memory; readers ask for less at a time."""


class Ahead:
    """The :class:`mvc.odb.supply.Supply` of a store that is read where it lies: nothing is kept on disk.

    What was fetched longest ago is let go of where there is more than ``held_bytes``; who needs it then reads
    it alone.
    """

    def __init__(self, backend: Backend, index: Index, held_bytes: int = HELD_BYTES) -> None:
        self._backend = backend
        self._index = index
        self._most = held_bytes
        self._records: OrderedDict[ObjectId, Record] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._fetching = threading.Lock()

    @property
    def shallow(self) -> Collection[CommitId]:
        """None: what people share has all of its history."""
        return ()

    @property
    def is_far(self) -> bool:
        """Everything is."""
        return True

    def expects(self, _identity: ObjectId, /) -> bool:
        """What is missing here is missing."""
        return False

    def bring(self, wanted: Collection[ObjectId], _database: ObjectDatabase, /) -> None:
        """Fetch what is not held yet, with what it leans on."""
        if not self._lacking(wanted):
            return
        with self._fetching:
            lacking = self._lacking(wanted)  # another thread may have been faster
            for record in reach(self._backend, self._index, lacking, self._depth):
                self._hold(record)

    def entries(self, _identity: ObjectId, /) -> list[Entry]:
        """The index names all that is held."""
        return []

    def record(self, identity: ObjectId, /) -> Record | None:
        """A record that is held."""
        return self._records.get(identity)

    def _lacking(self, wanted: Iterable[ObjectId]) -> list[ObjectId]:
        return [identity for identity in wanted if identity not in self._records]

    def _depth(self, identity: ObjectId) -> int | None:
        record = self._records.get(identity)
        return None if record is None else record.depth

    def _hold(self, record: Record) -> None:
        with self._lock:
            before = self._records.pop(record.id, None)
            self._records[record.id] = record
            self._bytes += _size(record) - (0 if before is None else _size(before))
            while self._bytes > self._most and len(self._records) > 1:
                self._bytes -= _size(self._records.popitem(last=False)[1])


def _size(record: Record) -> int:
    return len(memoryview(record.stored)) + 512
