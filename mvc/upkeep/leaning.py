"""What cannot be read because of what it leans on: the dependants of damaged objects."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

from mvc.errors import MvcError
from mvc.objectid import KINDS, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.header import read_header, read_headers
from mvc.odb.record import MAX_DEPTH, Base
from mvc.odb.segment import Entry
from mvc.upkeep.unsound import Place, Unsound, live_entries

_AT_ONCE = 10_000
_NEVER = MAX_DEPTH + 1


class Lost:
    """The objects that no record gives, and why.

    ``objects`` are all of them, those that ``unsound`` names and those that lean on them; ``places`` the
    records that do not serve. A record serves only where each of its bases has one of less depth that serves.
    """

    def __init__(self, database: ObjectDatabase, unsound: Unsound) -> None:
        self._database = database
        self._unsound = unsound
        self._leaning = _Leaning(database, unsound)
        self.places: set[Place] = set(unsound.places)
        self._hurts: dict[ObjectId, dict[ObjectId, None]] = {}
        self.objects: set[ObjectId] = set(unsound.malformed)
        self._spread()

    def dependants(self, identity: ObjectId) -> list[ObjectId]:
        """The objects that are lost because this one is, itself left out."""
        found: dict[ObjectId, None] = {}
        stack = [identity]
        while stack:
            for other in self._hurts.get(stack.pop(), ()):
                if other not in found and other != identity:
                    found[other] = None
                    stack.append(other)
        return [other for other in found if other in self.objects]

    def _spread(self) -> None:
        waiting = [identity for identity in self._unsound.objects if identity not in self._unsound.malformed]
        while waiting:
            identity = waiting.pop()
            least = self._least_depth(identity)
            if least == _NEVER:
                self.objects.add(identity)
            for other, entry in self._leaning.on(identity):
                place = (entry.pack, entry.offset)
                if entry.depth > least or place in self._unsound.places:
                    continue
                self._hurts.setdefault(identity, {})[other] = None
                if place not in self.places:
                    self.places.add(place)
                    waiting.append(other)

    def _least_depth(self, identity: ObjectId) -> int:
        """The depth of the record that serves best; more than any depth where none does."""
        try:
            entries = self._database.entries(identity)
        except MvcError:
            return _NEVER  # the index is damaged there: no look-up finds it
        return min(
            (entry.depth for entry in entries if (entry.pack, entry.offset) not in self.places),
            default=_NEVER,
        )


class _Leaning:
    """Which objects lean on which: for each base of each record the first eight bytes of both ids, 16 bytes
    in all; made by one pass over the headers of the records that have bases."""

    def __init__(self, database: ObjectDatabase, unsound: Unsound) -> None:
        self._database = database
        bases, objects = array("Q"), array("Q")
        deep = (
            entry
            for entry in live_entries(database.index)
            if entry.depth and entry.kind in KINDS and (entry.pack, entry.offset) not in unsound.places
        )
        while batch := list(islice(deep, _AT_ONCE)):
            for entry, needed in self._bases_of(batch, unsound):
                for base in needed:
                    bases.append(int.from_bytes(base.id[:8], "big"))
                    objects.append(int.from_bytes(entry.id[:8], "big"))
        order = sorted(range(len(bases)), key=bases.__getitem__)
        self._sorted = array("Q", (bases[at] for at in order))
        self._objects = array("Q", (objects[at] for at in order))

    def _bases_of(self, batch: list[Entry], unsound: Unsound) -> Iterator[tuple[Entry, tuple[Base, ...]]]:
        try:
            yield from [
                (entry, header.bases) for entry, header in read_headers(self._database.backend, batch)
            ]
            return
        except MvcError:
            pass  # one of them is damaged: below each is read by itself
        for entry in batch:
            try:
                yield entry, read_header(self._database.backend, entry).bases
            except MvcError as error:
                unsound.object(KINDS[entry.kind](entry.id), error.message)

    def on(self, identity: ObjectId) -> Iterator[tuple[ObjectId, Entry]]:
        """Every record that leans on an object, with its object."""
        prefix = int.from_bytes(identity[:8], "big")
        at = bisect_left(self._sorted, prefix)
        seen: set[int] = set()
        while at < len(self._sorted) and self._sorted[at] == prefix:
            seen.add(self._objects[at])
            at += 1
        for number in sorted(seen):
            for other in self._database.find_prefix(f"{number:016x}"):
                for entry in self._database.entries(other):
                    if entry.depth and self._leans(entry, identity):
                        yield other, entry

    def _leans(self, entry: Entry, identity: ObjectId) -> bool:
        try:
            bases = read_header(self._database.backend, entry).bases
        except MvcError:
            return False  # damaged in itself, which is known
        return any(base.id == identity for base in bases)
