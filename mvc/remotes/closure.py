"""What records lean on, where they are going: what the target has, what comes along, what is coded anew.

A copied record leans on records of smaller depth that are at the target, or in the sink, before it is added.
So no cycle can arise, whatever the source says and whoever else writes to the target.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mvc.objectid import BlobId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Record
from mvc.odb.segment import Entry
from mvc.remotes.lookup import Lookup
from mvc.remotes.sink import Sink

WRITTEN_DEPTH = 8
"""Writers go no deeper; a record that came deeper may stay as deep as it was."""


@dataclass
class Grounds:
    """What is at the target, or on its way there for good: what records may lean on.

    ``leaned_on`` notes for each object of the target that was leaned on the greatest depth at which it must
    be found: as in :class:`mvc.odb.writer.ObjectWriter`, to be looked up again if packs were condemned.
    """

    target: ObjectDatabase
    sink: Sink
    leaned_on: dict[ObjectId, int] = field(default_factory=dict)
    _depths: dict[ObjectId, int] = field(default_factory=dict)
    _looked: set[ObjectId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lookup = Lookup(self.target.index)

    def look(self, identities: Iterable[ObjectId]) -> None:
        """Look many objects up at the target at once."""
        fresh = {identity for identity in identities if identity not in self._looked}
        self._looked |= fresh
        for identity, entries in self._lookup.find(fresh).items():
            if self.target.refusal(identity) is None:
                self._depths[identity] = entries[0].depth

    def depth(self, identity: ObjectId) -> int | None:
        """The least depth at which an object can be leaned on; None where it cannot."""
        in_sink = self.sink.depth(identity)
        at_target = self.at_target(identity)
        if in_sink is None or at_target is None:
            return in_sink if at_target is None else at_target
        return min(in_sink, at_target)

    def at_target(self, identity: ObjectId) -> int | None:
        """The least depth of an object's records that are at the target."""
        if identity not in self._looked:
            self.look([identity])
        return self._depths.get(identity)

    def lacking(self, bases: Iterable[Base]) -> list[ObjectId]:
        """Those of some bases that are not there."""
        bases = list(bases)
        self.look(base.id for base in bases if self.sink.depth(base.id) is None)
        return list(dict.fromkeys(base.id for base in bases if self.depth(base.id) is None))

    def fitted(self, record: Record) -> Record | None:
        """A record with the depth that it has there; None where it would be too deep. What it leans on is
        there."""
        least = max((self._found(base.id) + 1 for base in record.bases), default=0)
        if least > max(WRITTEN_DEPTH, record.depth):
            return None
        fitted = record if least <= record.depth else replace(record, depth=least)
        for base in fitted.bases:
            if self.sink.depth(base.id) is None:
                known = self.leaned_on.get(base.id, fitted.depth - 1)
                self.leaned_on[base.id] = min(known, fitted.depth - 1)
        return fitted

    def _found(self, identity: ObjectId) -> int:
        depth = self.depth(identity)
        if depth is None:
            raise ValueError(f"{identity!r} is not there to be leaned on")
        return depth


def may_come_along(identity: ObjectId, grounds: Grounds) -> bool:
    """Whether an object may be copied only because something leans on it.

    A piece may. What refers to other objects may not: whoever finds it at the target takes it for given that
    they are there too. Nor may what was purged there.
    """
    return isinstance(identity, BlobId) and grounds.target.refusal(identity) is None


def least_deep(entries: Iterable[Entry]) -> Entry:
    """Of an object's records the one that is copied: of least depth, because others may lean on what leans on
    it; of these the shortest."""
    return min(entries, key=lambda entry: (entry.depth, entry.length, entry.pack, entry.offset))
