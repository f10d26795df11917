"""Which stored objects are damaged in themselves, told from those that only lean on such a one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from mvc.errors import CorruptFile, MvcError, StorageError
from mvc.objectid import KINDS, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.pack import read_record
from mvc.odb.record import MAX_DEPTH
from mvc.odb.segment import Entry

Place = tuple[bytes, int]
"""A pack's name and an offset in it."""


class Unsound:
    """Collects what a check meets, and finds the objects where the damage lies.

    ``objects`` are those, each with what is wrong; ``places`` the records that cannot be used, whatever they
    lean on; ``malformed`` objects whose bytes are those that their id names, and make no sense all the same.
    Memory: in proportion to the damage.
    """

    def __init__(self, database: ObjectDatabase) -> None:
        self._database = database
        self._packs: set[bytes] = set()
        self._examined: dict[ObjectId, bool] = {}
        self.objects: dict[ObjectId, str] = {}
        self.places: set[Place] = set()
        self.malformed: set[ObjectId] = set()

    def pack(self, name: bytes) -> None:
        """A pack in which something is wrong: :meth:`settle` looks at each record of it."""
        self._packs.add(name)

    def object(self, identity: ObjectId, how: str) -> None:
        """An object that could not be read or understood; what it leans on is looked at too."""
        if self._readable(identity, []) and identity not in self.objects:
            self.malformed.add(identity)
            self.objects[identity] = how

    def record(self, identity: ObjectId) -> None:
        """An object of which some record could not be decoded; others of it may be sound."""
        self._readable(identity, [])

    def missing(self, identity: ObjectId, how: str = "is missing") -> None:
        """An object that the index does not know."""
        self.objects.setdefault(identity, how)

    def settle(self) -> None:
        """Find the damaged records of the packs that were told, by one pass over the index."""
        if not self._packs:
            return
        for entry in live_entries(self._database.index):
            if entry.pack in self._packs and entry.kind in KINDS:
                self._usable(KINDS[entry.kind](entry.id), entry, [])

    def _readable(self, identity: ObjectId, above: list[ObjectId]) -> bool:
        """Whether an object can be read; the records that hinder it are noted, bases before what leans on
        them. ``above`` are the objects that ask, which records may not lean on."""
        known = self._examined.get(identity)
        if known is not None:
            return known
        if identity in above or len(above) > MAX_DEPTH:
            return False
        try:
            entries = self._database.entries(identity)
        except (CorruptFile, StorageError) as error:
            self.missing(identity, error.message)
            entries = []
        if not entries:
            self.missing(identity)
        # all of them, because every damaged record is to be named
        usable = [self._usable(identity, entry, above) for entry in entries]
        readable = any(usable)
        self._examined[identity] = readable
        return readable

    def _usable(self, identity: ObjectId, entry: Entry, above: list[ObjectId]) -> bool:
        place = (entry.pack, entry.offset)
        if place in self.places:
            return False
        try:
            record = read_record(self._database.backend, entry)
        except (MvcError, ValueError) as error:
            self._note(identity, place, error)
            return False
        readable = [self._readable(base.id, [*above, identity]) for base in record.bases]
        if not all(readable):
            return False
        try:
            self._database.decode(record)
        except MvcError as error:
            self._note(identity, place, error)
            return False
        return True

    def _note(self, identity: ObjectId, place: Place, error: Exception) -> None:
        self.places.add(place)
        how = error.message if isinstance(error, MvcError) else str(error)
        self.objects.setdefault(identity, f"{how} (pack {place[0].hex()[:12]} at {place[1]:,})")


def live_entries(index: Index) -> Iterator[Entry]:
    """The entries of every segment that can be read, those of dead packs left out."""
    for row in index.rows:
        # what is wrong with a segment, the check of the index says
        with suppress(CorruptFile, StorageError):
            for entry in index.segment(row.name):
                if entry.pack not in index.dead_packs:
                    yield entry


def openable(index: Index) -> Index:
    """An index without the segments that cannot be opened, which would hide what stands in others."""
    rows = []
    for row in index.rows:
        with suppress(CorruptFile, StorageError):
            index.segment(row.name)
            rows.append(row)
    return index if len(rows) == len(index.rows) else index.of_rows(rows)
