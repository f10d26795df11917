"""The index as it is to be: every record in it stands in a sound pack and can be decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice

from mvc.errors import MvcError
from mvc.objectid import KINDS, BlobId, ObjectId
from mvc.odb.header import read_headers
from mvc.odb.index import Index, Keep
from mvc.odb.pack import PackWriter, read_record
from mvc.odb.record import Base, Record
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.repairing.kept import Kept
from mvc.repairing.walk import Walk
from mvc.tombstones import Tombstones
from mvc.upkeep.patched import PatchedDatabase
from mvc.upkeep.unsound import Place, live_entries

_AT_ONCE = 10_000
"""Headers that are read together."""


class Assembly:
    """Puts an index together out of what the old one has, what lies elsewhere in the store, and what came
    back.

    ``good`` are the packs that stay where they are; records that are needed and lie in others are copied, as
    they are where what they lean on is there, else encoded anew.
    """

    def __init__(
        self,
        old: Index,
        other: Index,
        database: PatchedDatabase,
        writer: ObjectWriter,
        kept: Kept,
        good: Collection[bytes],
        dead: Collection[Place],
    ) -> None:
        self._old = old
        self._other = other
        self._database = database
        self._writer = writer
        self._kept = kept
        self._good = good
        self._dead = dead
        self._copies = PackWriter(database.backend)
        self._depths: dict[ObjectId, set[int]] = {}
        self._found: set[Entry] = set()
        self._dropped: set[ObjectId] = set()
        self._baseless: set[Entry] = set()

    # --- what goes into it -------------------------------------------------------------------------------
    def build(self, walk: Walk, gone: Tombstones) -> None:
        """Copy and find records until all that was reached has one."""
        self._save_copies()
        for identity in walk.reached:
            if self._depth(identity) is None:
                self._supply(identity, walk.reached)
        self._drop_incomplete(walk, gone)
        self._settle_bases(walk.reached)

    def _stays(self, entry: Entry) -> bool:
        return (
            entry.pack in self._good
            and (entry.pack, entry.offset) not in self._dead
            and entry not in self._baseless
        )

    def _save_copies(self) -> None:
        """Sound records of packs that do not stay."""
        for entry in live_entries(self._old):
            if (
                entry.pack in self._good
                or (entry.pack, entry.offset) in self._dead
                or entry.kind not in KINDS
            ):
                continue
            try:
                self._copy(read_record(self._database.backend, entry))
            except MvcError:
                continue  # of an object that nothing leads to, or of which there is another record

    def _copy(self, record: Record) -> None:
        self._copies.add(record)
        self._note(record.id, record.depth)

    def _note(self, identity: ObjectId, depth: int) -> None:
        self._depths.setdefault(identity, set()).add(depth)

    def _depth(self, identity: ObjectId) -> int | None:
        """The depth of the best record that the new index will have; None without any."""
        if identity in self._kept.sources:
            return 0
        if identity in self._dropped:
            return None
        depths = [entry.depth for entry in self._old.find(identity) if self._stays(entry)]
        depths += self._depths.get(identity, ())
        return min(depths, default=None)

    def _supply(self, identity: ObjectId, reached: Collection[ObjectId]) -> int:
        """Give an object a record, out of what the old index does not know; returns its depth."""
        for entry in self._other.find(identity):
            try:
                record = read_record(self._database.backend, entry)
                if not self._carried(record, reached):
                    continue
                self._database.decode(record)
            except MvcError:
                continue  # another one is sound, or it is encoded anew below
            if entry.pack in self._good:
                self._found.add(entry)
                self._note(identity, entry.depth)
            else:
                self._copy(record)
            return record.depth
        self._kept.keep(identity, self._database.get(identity), "")
        return 0

    def _carried(self, record: Record, reached: Collection[ObjectId]) -> bool:
        """Whether all that a record leans on is there, or comes, at less depth."""
        for base in record.bases:
            if not isinstance(base.id, BlobId) and base.id not in reached:
                return False  # it would have to come with all that it refers to
            depth = self._depth(base.id)
            if depth is None or depth >= record.depth:
                if not any(entry.depth < record.depth for entry in self._other.find(base.id)):
                    return False
                depth = self._supply(base.id, reached)
            if depth >= record.depth:
                return False
        return True

    def _drop_incomplete(self, walk: Walk, gone: Tombstones) -> None:
        """Leave out what nothing leads to and refers to what is lost: who finds an object in the index takes
        all that it refers to for given."""
        others = {
            KINDS[entry.kind](entry.id)
            for entry in live_entries(self._old)
            if entry.kind in KINDS and entry.kind != BlobId.kind and self._stays(entry)
        } | {identity for identity in self._depths if not isinstance(identity, BlobId)}
        others -= walk.reached
        if not others:
            return
        rest = Walk(self._database, self._old, (), gone, had=walk.reached, edges=True)
        rest.run(others)
        above: dict[ObjectId, list[ObjectId]] = {}
        bad: list[ObjectId] = [identity for identity in others if identity in rest.missing]
        for parent, children in (rest.edges or {}).items():
            for child in children:
                above.setdefault(child, []).append(parent)
                if self._depth(child) is None and child not in gone:
                    bad.append(child)
        while bad:
            identity = bad.pop()
            if identity not in self._dropped:
                self._dropped.add(identity)
                bad += above.get(identity, ())

    def _settle_bases(self, reached: Collection[ObjectId]) -> None:
        """Leave out records that lean on what the new index does not have: it was dropped, or stood in a part
        of the old one that is lost. What is reached is encoded anew where it has no other."""
        self._copies.flush()
        while bad := [entry for entry, bases in self._deep() if not self._holds(entry, bases)]:
            self._baseless.update(bad)
            for entry in bad:
                identity = KINDS[entry.kind](entry.id)
                self._depths.get(identity, set()).discard(entry.depth)
                if identity in reached and self._depth(identity) is None:
                    self._kept.keep(identity, self._database.get(identity), "")

    def _deep(self) -> Iterator[tuple[Entry, tuple[Base, ...]]]:
        """Records of the new index that lean on others, with what they lean on; a few at a time in memory."""
        old = (entry for entry in live_entries(self._old) if self._stays(entry))
        new = (entry for entry in (*self._found, *self._copies.entries) if entry not in self._baseless)
        deep = (
            entry
            for entry in chain(old, new)
            if entry.depth and entry.kind in KINDS and KINDS[entry.kind](entry.id) not in self._dropped
        )
        while batch := list(islice(deep, _AT_ONCE)):
            for entry, header in read_headers(self._database.backend, batch):
                yield entry, header.bases

    def _holds(self, entry: Entry, bases: Iterable[Base]) -> bool:
        return all((depth := self._depth(base.id)) is not None and depth < entry.depth for base in bases)

    # --- what comes out ----------------------------------------------------------------------------------
    def finish(self) -> tuple[list[Entry], Keep, bool]:
        """New entries, whose packs are durable now; a byte for each old row, 0 where it goes; and whether
        that changes anything."""
        new = {*self._found, *self._copies.entries, *self._writer.flush()} - self._baseless
        entries = [entry for entry in new if KINDS[entry.kind](entry.id) not in self._dropped]
        keep: dict[bytes, bytes] = {}
        changed = bool(entries)
        for row in self._old.rows:
            marks = bytes(self._row_stays(entry) for entry in self._old.segment(row.name))
            changed = changed or 0 in marks
            keep[row.name] = marks
        return entries, keep, changed

    def _row_stays(self, entry: Entry) -> bool:
        if entry.pack in self._old.dead_packs:
            return True  # the merge leaves it out
        if entry.kind not in KINDS:
            return entry.pack in self._good
        return self._stays(entry) and KINDS[entry.kind](entry.id) not in self._dropped

    def close(self) -> None:
        """Forget what was not finished."""
        self._copies.close()
        self._writer.close()
