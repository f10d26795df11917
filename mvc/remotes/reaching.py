"""A few objects out of a store that lies behind a network, in few round trips: look-ups of all of them at
once, their records by joined ranges, then what those lean on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.objectid import ObjectId
from mvc.odb.index import Index
from mvc.odb.ranged import RangedSegment, least_bytes
from mvc.odb.record import Record
from mvc.odb.segment import Entry, Segment, SegmentRow
from mvc.parallel import ordered_map
from mvc.remotes.ranges import IN_FLIGHT, coalesce, fetch

WHOLE_BYTES = 2 << 20
"""Of segments up to which one is fetched whole: less than what passes while a second request is under way,
on a fast link."""

_GAP = 4 << 10  # bytes between two records that are fetched along

_In = TypeVar("_In")
_Out = TypeVar("_Out")

Depth = Callable[[ObjectId], "int | None"]
"""The least depth at which an object is at hand already, None where it is not."""


LOOKED_AT_BYTES = 16 << 20
"""Of a run of segments up to which who only looks at a store fetches each of them whole: who reads a tensor
asks for so many ids that ranges of each would be more requests."""


def whole_rows(rows: Sequence[SegmentRow]) -> frozenset[bytes]:
    """Names of segments whose runs are small enough to be fetched whole by who looks at a store."""
    sizes: Counter[int] = Counter()
    for row in rows:
        sizes[row.run] += least_bytes(row)
    return frozenset(row.name for row in rows if sizes[row.run] <= LOOKED_AT_BYTES)


def open_segment(backend: Backend, row: SegmentRow, key: str, *, whole: bool = False) -> Segment:
    """A segment of a store behind a network: whole where it is small or is to be, else to be read by ranges.

    Raises:
        CorruptFile: it is missing or damaged.
    """
    try:
        if whole or least_bytes(row) <= WHOLE_BYTES:
            return Segment.open(row.name, backend.get(key))
        return RangedSegment(row, lambda offset, length: backend.get_range(key, offset, length))
    except NotFound:
        # root names it, so this is damage, not something that the user asked for and that is not there
        raise CorruptFile(f"index segment {row.name.hex()[:12]} is missing", hint="run 'mvc fsck'") from None


def look_up(
    index: Index, wanted: Iterable[ObjectId], request_bytes: int = Backend.request_bytes
) -> dict[ObjectId, Entry]:
    """Each object's record of least depth, of those that there are, in two round trips once heads are here.
    ``request_bytes`` are worth one request less."""
    ids = list(wanted)
    rows = index.covering(ids)
    segments = list(_at_once(lambda row: index.segment(row.name), rows))
    ranges = [
        (segment, part)
        for segment, some in zip(segments, rows.values(), strict=True)
        if isinstance(segment, RangedSegment)
        for part in segment.wanted(some, request_bytes)
    ]
    both = [(segment, part, column) for segment, part in ranges for column in (0, 1)]
    for _loaded in _at_once(lambda item: item[0].load_column(item[1], item[2]), both):
        pass
    for segment, part in ranges:
        segment.loaded(part)
    found = {}
    for identity in ids:
        entry = next((one for one in index.find(identity) if one.kind == identity.kind), None)
        if entry is not None:
            found[identity] = entry
    return found


def reach(backend: Backend, index: Index, wanted: Iterable[ObjectId], depth: Depth) -> Iterator[Record]:
    """The records of these objects and of all that they lean on, as far as they are not at hand.

    Each is checked against its checksum and its place. What the index does not know is passed over. What a
    record leans on comes in a later round, so that a receiver makes all of them visible together.

    Raises:
        StorageError: the store cannot be reached.
        CorruptFile, CorruptObject: a record is missing or damaged.
    """
    # the depth below which each must be had; none is asked for twice unless a lesser one is needed
    asked: dict[ObjectId, int] = {}
    needed = dict.fromkeys(wanted, _ANY)
    while needed:
        asked.update(needed)
        found = look_up(index, needed, backend.request_bytes)
        needed = {}
        for record in read_records(backend, found.values()):
            if record.depth >= asked[record.id]:
                raise CorruptObject(f"{record.id.word} {record.id.short} leans on what leans on it")
            yield record
            for base in record.bases:
                at_hand = depth(base.id)
                if (at_hand is None or at_hand >= record.depth) and asked.get(base.id, _ANY) > record.depth:
                    needed[base.id] = min(record.depth, needed.get(base.id, _ANY))


_ANY = 1 << 30


def read_records(backend: Backend, entries: Iterable[Entry]) -> Iterator[Record]:
    """The records of these entries, many requests under way at once.

    Raises:
        StorageError: the store cannot be reached.
        CorruptFile, CorruptObject: one is missing or damaged.
    """
    for _entry, record in fetch(backend, coalesce(entries, _GAP), lambda _entry, record: record):
        if not isinstance(record, Record):
            raise record
        yield record


def _at_once(function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterable[_Out]:
    """Results in order; several at a time where there are several."""
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    return ordered_map(function, items, workers=min(IN_FLIGHT, len(items)))
