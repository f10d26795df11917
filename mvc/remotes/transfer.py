"""Records from one store's packs into another's, as they are; nothing is visible before root names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

from mvc.errors import (
    Busy,
    CorruptFile,
    CorruptObject,
    DamageError,
    MvcError,
    StorageError,
    UnsupportedFeature,
)
from mvc.monitor import Monitor
from mvc.objectid import KINDS, BlobId, ObjectId
from mvc.odb.database import ObjectDatabase, PendingRecords
from mvc.odb.header import read_headers
from mvc.odb.pack import read_record
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.parallel import batches, ordered_map
from mvc.remotes.anew import base_at_target, coded_anew
from mvc.remotes.closure import least_deep, may_come_along
from mvc.remotes.lookup import ANY_DEPTH
from mvc.remotes.needing import needed_for
from mvc.remotes.planning import Plan, order, plan
from mvc.remotes.ranges import IN_FLIGHT, RANGE_BYTES, checked, fetch, stretches
from mvc.remotes.sink import Sink

__all__ = ["Plan", "plan", "transfer"]

_Item = TypeVar("_Item")
_Arrived = tuple[Record, bool]
"""A record, and whether it is known to give its object."""

_TOGETHER_BYTES = 1 << 20
"""Of records that wait for their bases, which are fetched together where they do not come by themselves."""

_SHARE = 24
_LEAST_ROOM = 2 << 20
"""At most so large a part of what has come is on its way at once, or so many bytes: a cut loses no more
(docs/design/0028-resuming.md)."""


def transfer(
    source: ObjectDatabase,
    target: ObjectDatabase,
    planned: Plan,
    sink: Sink,
    monitor: Monitor,
    *,
    verify: bool = True,
) -> list[Entry]:
    """Carry out a plan; returns where the records lie, durable, in packs of the target that root has yet to
    name (:meth:`mvc.transaction.Transaction.adopt`).

    Every record's checksum is verified, and that what it leans on is there at a smaller depth. With
    ``verify`` every record is decoded and compared with its id too, before anything is returned: one under
    a false id would be taken for that object for ever. Commits, folders and files always are.

    Raises:
        CorruptObject: a record is damaged, also when fetched again, or is not what it says.
        Busy: what an earlier attempt left leans on what the target has no more; the next one goes without.
        DamageError, StorageError: a store has damage, or refuses; what arrived waits for the next attempt.
    """
    kept = sink.kept_bytes
    monitor.start("transfer", planned.bytes + kept)
    monitor.advance(kept)
    carrier = _Carrier(source, target, planned, sink, monitor, verify=verify)
    carrier.anew(planned.anew)
    pieces = [entry for entry in planned.copies if entry.kind == BlobId.kind]
    carrier.copy(pieces)
    carrier.copy(planned.copies[len(pieces) :])
    entries = carrier.settled(sink.finish())
    monitor.finish()
    return entries


class _Carrier:
    def __init__(
        self,
        source: ObjectDatabase,
        target: ObjectDatabase,
        planned: Plan,
        sink: Sink,
        monitor: Monitor,
        *,
        verify: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._plan = planned
        self._reader = planned.reader
        self._grounds = planned.grounds
        self._sink = sink
        self._monitor = monitor
        self._verify = verify
        self._sound: set[ObjectId] = set()  # of what was added here, what is known to give its object
        self._added: set[ObjectId] = set()
        self._damaged: set[Entry] = set()
        self._done = 0

    # --- copying -------------------------------------------------------------------------------------------
    def copy(self, entries: Iterable[Entry]) -> None:
        """Copy records, in the order of a plan."""
        for _kind_and_depth, group in groupby(entries, key=lambda entry: (entry.kind, entry.depth)):
            # none of them leans on another, so all bases are there by now, or are not among them
            waiting = [entry for entry in group if self._sink.depth(_typed(entry)) is None]
            held = [(entry, record) for entry in waiting if (record := self._reader.held(entry)) is not None]
            self._place([(entry, (record, False)) for entry, record in held])
            at_hand = {entry for entry, _record in held}
            far = [entry for entry in waiting if entry not in at_hand]
            backend = self._source.backend
            ranges = stretches(far, backend.request_bytes, lambda: min(self._room() // 4, RANGE_BYTES))
            failed: list[StorageError] = []
            arriving = _until_failure(fetch(backend, ranges, self._looked_at, self._room), failed)
            for arrived in batches(arriving, lambda item: item[0].length, _TOGETHER_BYTES):
                self._place(arrived)
            if failed:
                raise failed[0]  # behind what came before

    def _room(self) -> int:
        """Bytes that may be on their way: what a kill or a cut would lose. From nearby that costs nothing."""
        if self._source.backend.near:
            return IN_FLIGHT * RANGE_BYTES
        return max(self._done // _SHARE, _LEAST_ROOM)

    def _looked_at(self, _entry: Entry, record: Record) -> _Arrived:
        """A record that came, decoded where all that it leans on is at hand; in a thread."""
        if record.id.kind == BlobId.kind and not self._verify:
            return record, False
        if self._source.backend.near:
            self._source.decode(record)
            return record, True
        if self._target.backend.near and all(base.id in self._target for base in record.bases):
            self._target.decode(replace(record, depth=ANY_DEPTH))  # whatever depth those are at
            return record, True
        return record, False

    def _place(self, batch: Sequence[tuple[Entry, _Arrived | CorruptObject | CorruptFile]]) -> None:
        """Add records to the sink, behind what they lean on."""
        lacking: dict[ObjectId, int] = {}
        for _entry, arrived in batch:
            if isinstance(arrived, tuple):
                for base in self._grounds.lacking(arrived[0].bases):
                    lacking[base] = min(arrived[0].depth, lacking.get(base, ANY_DEPTH))
        if lacking:
            self._bring(lacking)
        for entry, arrived in batch:
            self._monitor.advance(entry.length)
            self._done += entry.length
            if not isinstance(arrived, tuple):
                self._replace_damaged(entry, arrived)
                continue
            record, sound = arrived
            if self._sink.depth(record.id) is not None:
                continue  # it came along before its turn
            fitted = None if self._grounds.lacking(record.bases) else self._grounds.fitted(record)
            if fitted is None:
                self.anew([record.id])
            else:
                self._add(fitted, sound=sound)

    def _bring(self, lacking: Mapping[ObjectId, int]) -> None:
        """Copy what others lean on, a record of less than the given depth each, where that may be."""
        wanted = {
            base: below
            for base, below in lacking.items()
            if base in self._plan.wanted or may_come_along(base, self._grounds)
        }
        found = self._reader.lookup.find(wanted)
        entries = []
        for base, below in wanted.items():
            fitting = [entry for entry in found.get(base, ()) if entry.depth < below]
            if fitting:
                entries.append(least_deep(fitting))
        self.copy(sorted(entries, key=order))  # depths fall, so this ends

    def _replace_damaged(self, entry: Entry, damage: CorruptObject | CorruptFile) -> None:
        """Copy another record of an object whose first one is damaged.

        Raises:
            CorruptObject: there is none.
        """
        identity = _typed(entry)
        if self._sink.depth(identity) is not None:
            return
        name = f"{identity.word} {identity.short}"
        self._damaged.add(entry)
        for other in self._source.index.find(identity):
            if other.kind == entry.kind and other not in self._damaged:
                self._monitor.note_damage(f"{name}: {damage.message}; used another record")
                self.copy([other])
                return
        place = needed_for(self._reader, self._plan.commits, identity)
        raise CorruptObject(
            f"{name}{place} cannot be taken over: {damage.message}",
            hint="run 'mvc fsck' on the store that it comes from",
        ) from damage

    def anew(self, identities: Iterable[ObjectId]) -> None:
        """Code objects anew, against what the target has, and add them."""
        waiting = [identity for identity in identities if self._sink.depth(identity) is None]
        self._reader.prepare(waiting)
        bases = [base_at_target(self._reader, self._grounds, identity) for identity in waiting]

        def code(number: int) -> Record:
            base = bases[number]
            depth = 0 if base is None else self._grounds.at_target(base.id)
            return coded_anew(self._reader, waiting[number], base, depth or 0)

        for record in ordered_map(code, range(len(waiting))):
            fitted = self._grounds.fitted(record)
            assert fitted is not None  # what is coded anew is no deeper than writers go
            self._add(fitted, sound=True)
            self._monitor.count("recoded_objects")

    def _add(self, record: Record, *, sound: bool) -> None:
        self._sink.add(record)
        self._added.add(record.id)
        if sound:
            self._sound.add(record.id)

    # --- the end -------------------------------------------------------------------------------------------
    def settled(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of all that the sink has what is to be taken over, when all of it is proven.

        Raises:
            Busy, CorruptObject: as :func:`transfer`; the sink forgets everything then.
        """
        entries = list(entries)
        try:
            entries = self._needed(entries)
            self._prove([entry for entry in entries if self._is_unproven(entry)], entries)
        except (DamageError, Busy):
            self._sink.done()
            raise
        return entries

    def _needed(self, entries: list[Entry]) -> list[Entry]:
        """Entries of wanted objects and of what they lean on. Records of an earlier attempt, which may have
        been for other versions, are looked at: what they leaned on may have gone since."""
        needed = {*self._added, *self._plan.wanted}
        earlier = [entry for entry in entries if _typed(entry) not in self._added and entry.depth]
        known: dict[ObjectId, int] = {}
        for entry in entries:
            known[_typed(entry)] = min(entry.depth, known.get(_typed(entry), ANY_DEPTH))
        headers = [header for _entry, header in read_headers(self._target.backend, earlier)]
        self._grounds.look(base.id for header in headers for base in header.bases)
        for header in sorted(headers, key=lambda header: -header.depth):
            if header.id not in needed:
                continue
            for base in header.bases:
                if known.get(base.id, ANY_DEPTH) < header.depth:
                    needed.add(base.id)
                    continue
                at_target = self._grounds.at_target(base.id)
                if at_target is None or at_target >= header.depth:
                    raise Busy(
                        "what an earlier attempt brought leans on what is not here any more",
                        hint="run it again",
                    )
                known_depth = self._grounds.leaned_on.get(base.id, header.depth - 1)
                self._grounds.leaned_on[base.id] = min(known_depth, header.depth - 1)
        return [entry for entry in entries if _typed(entry) in needed]

    def _is_unproven(self, entry: Entry) -> bool:
        return _typed(entry) not in self._sound and (self._verify or entry.kind != BlobId.kind)

    def _prove(self, unproven: list[Entry], entries: list[Entry]) -> None:
        """Decode records where they are now, and compare what comes out with their ids."""
        pending = PendingRecords()
        pending.packed(sorted(entries, key=lambda entry: -entry.depth))  # of several the least deep one
        objects = self._target.with_pending(pending)

        def prove(entry: Entry) -> MvcError | None:
            try:
                objects.decode(checked(entry, read_record(self._target.backend, entry)))
            except (DamageError, UnsupportedFeature) as error:
                return error
            return None

        ordered = sorted(unproven, key=order)
        for entry, error in zip(ordered, ordered_map(prove, ordered), strict=True):
            if isinstance(error, UnsupportedFeature):
                raise error
            if error is not None:
                identity = _typed(entry)
                place = needed_for(self._reader, self._plan.commits, identity)
                raise CorruptObject(
                    f"{identity.word} {identity.short}{place} is not taken over: {error.message}",
                    hint="the store that it comes from is damaged, or lies",
                )


def _until_failure(items: Iterable[_Item], failed: list[StorageError]) -> Iterator[_Item]:
    """The items that come before the store refuses, which is noted."""
    try:
        yield from items
    except StorageError as error:
        failed.append(error)


def _typed(entry: Entry) -> ObjectId:
    return KINDS[entry.kind](entry.id)
