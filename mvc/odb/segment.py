"""Index segments: write-once tables that say where each object's records lie (docs/format.md, *Segments*).

A look-up costs two struct unpacks and one search of a few hundred bytes, straight in the mapped file: the
prefix of an id picks a bucket of the fan-out table, the bucket a short stretch of the sorted id column.
Nothing is loaded, so a program that asks once pays once, and numpy (80 ms to import) is not needed.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from mvc.errors import CorruptFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_BYTES = 8 << 20
MAX_SUPERSEDED = (
    1024  # 16 KiB, 0.2 % of a full segment; an older name means "look everywhere", which is right too
)
IDS_PER_BUCKET = 8  # at least; up to twice as many, because buckets are halved

MAX_DEPTH = 64
MAX_PACK_BYTES = 64 << 20
PACK_HEAD = 24  # a pack's magic and nonce, before its first record
RECORD_HEAD = 26  # the fixed part of a record

_MAGIC = b"mvcSEG_1"
_HEAD = struct.Struct("<8s16s8s8sIIIIB7s")  # 64 bytes
_CHECKED_FROM = 24  # the checksum covers what follows it
_PAIR = struct.Struct("<II").unpack_from
_ROW = struct.Struct("<IIIBB")  # pack ordinal, offset, length, depth, kind
_ID = 32
_PACK_NAME = 32
SHORT_NAME = 16  # bytes of a superseded segment's name that are kept
NONCE_BYTES = 12
_NONCE_MARK = bytes(SHORT_NAME - NONCE_BYTES)
"""So begins one in 2^32 real names, too; what such a segment held is looked for in all segments then."""

_BISECT_ABOVE = 64  # rows of a bucket; honest ids never crowd so
_BLOCK = 1024  # rows read at once when iterating

HINT = "run `mvc fsck`; `mvc repair` builds the index anew from the packs"


class Entry(NamedTuple):
    """Where one record of an object lies.

    ``id`` and ``pack`` are 32 raw bytes; ``offset`` and ``length`` in bytes within the pack, ``length`` that
    of the whole record with its header. A damaged column can put any number here, so a reader checks the
    record that it finds there against the id.
    """

    id: bytes
    kind: int
    pack: bytes
    offset: int
    length: int
    depth: int


class SegmentRow(NamedTuple):
    """A live segment as ``root`` lists it.

    Rows of equal ``run`` are one run: segments that cover ascending ranges of ids, so that a look-up probes
    one of them. ``entries`` is their number; ``first`` and ``last`` are the first 8 bytes of the least and
    greatest id.
    """

    name: bytes
    run: int
    entries: int
    first: bytes
    last: bytes


def segment_name(data: Buffer) -> bytes:
    """The 32 bytes under which a segment is stored."""
    return blake3(data).digest()


def segment_lengths(name: bytes, first: bytes) -> tuple[int, int]:
    """The lengths in bytes of the head and of the whole segment, as its first bytes say.

    Raises:
        CorruptFile: it does not begin like a segment.
    """
    if len(first) < _HEAD.size or first[: len(_MAGIC)] != _MAGIC:
        raise CorruptFile(f"index segment {name.hex()[:12]} does not begin like a segment", hint=HINT)
    _, _, _, _, count, packs, superseded, buckets, _, _ = _HEAD.unpack_from(first)
    head = _HEAD.size + SHORT_NAME * superseded + _PACK_NAME * packs + 4 * (buckets + 1)
    return head, head + (_ID + _ROW.size) * count


def entry_order(entry: Entry) -> tuple[bytes, int, bytes, int, int, int]:
    """The order of a segment's rows: by id, an id's records by depth, then by place."""
    return entry.id, entry.depth, entry.pack, entry.offset, entry.length, entry.kind


class Segment:
    """Reads one segment in place.

    ``name`` is the segment's name, ``count`` its number of entries, ``first`` and ``last`` the first 8 bytes
    of its least and greatest id. ``data`` is the buffer; ``ids_at`` and ``rows_at`` are where its two columns
    start.
    """

    __slots__ = (
        "_buckets", "_fanout_at", "_find", "_first", "_last", "_pack_count", "_packs_at", "_shift",
        "_superseded", "count", "data", "first", "ids_at", "last", "name", "rows_at",
    )  # fmt: skip

    def __init__(self, name: bytes, data: bytes | mmap.mmap) -> None:
        self.name = name
        self.data = data
        if len(data) < _HEAD.size:
            raise self.damaged("is cut short")
        magic, checksum, first, last, count, packs, superseded, buckets, shift, zero = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise self.damaged("does not begin like a segment")
        self.count: int = count
        self.first: bytes = first
        self.last: bytes = last
        self._first = int.from_bytes(first, "big")
        self._last = int.from_bytes(last, "big")
        self._shift: int = shift
        self._buckets: int = buckets
        self._pack_count: int = packs
        self._superseded: int = superseded
        self._packs_at = _HEAD.size + SHORT_NAME * superseded
        self._fanout_at = self._packs_at + _PACK_NAME * packs
        self.ids_at: int = self._fanout_at + 4 * (buckets + 1)
        self.rows_at: int = self.ids_at + _ID * count
        if self.rows_at + _ROW.size * count != len(data):
            raise self.damaged("has the wrong length")
        if not count or not packs or shift > 64 or zero != bytes(7):
            raise self.damaged("has an impossible head")
        if self._first > self._last or (self._last - self._first >> shift) + 1 != buckets:
            raise self.damaged("has a fan-out that does not fit its range")
        with memoryview(data) as view, view[_CHECKED_FROM : self.ids_at] as head:
            if blake3(head).digest(length=16) != checksum:
                raise self.damaged("has a damaged head")
        self._find = data.find

    @classmethod
    def open(cls, name: bytes, buffer: Buffer) -> Segment:
        """Read a segment's head and check it; the columns are not touched (see :meth:`verify`).

        ``buffer`` is used in place when it is bytes or a memory map, and copied otherwise.

        Raises:
            CorruptFile: the head is damaged or the length does not fit it.
        """
        return cls(name, buffer if isinstance(buffer, bytes | mmap.mmap) else bytes(buffer))

    def damaged(self, how: str) -> CorruptFile:
        """The error that says what is wrong with this segment."""
        return CorruptFile(f"index segment {self.name.hex()[:12]} {how}", hint=HINT)

    @property
    def packs(self) -> tuple[bytes, ...]:
        """Names of the packs that the entries point into, ascending."""
        blob = self.data[self._packs_at : self._fanout_at]
        return tuple(blob[at : at + _PACK_NAME] for at in range(0, len(blob), _PACK_NAME))

    @property
    def supersedes(self) -> tuple[bytes, ...]:
        """First 16 bytes of the names of segments whose entries are in this run now, latest merge first."""
        blob = self.data[_HEAD.size : self._packs_at]
        return tuple(blob[at : at + SHORT_NAME] for at in range(0, len(blob), SHORT_NAME))

    # --- look-up -------------------------------------------------------------------------------------------
    def locate(self, id: bytes, prefix: int) -> int:
        """Row of an id's first record, or -1.

        ``id`` has 32 bytes; ``prefix`` is its first 8 as a big-endian integer, which the caller has at hand.

        Raises:
            CorruptFile: the fan-out table points out of the column.
        """
        if prefix < self._first or prefix > self._last:
            return -1
        low, high = self.bucket(prefix)
        if high - low > _BISECT_ABOVE:
            low, stop = self._narrow(id, low, high, _BISECT_ABOVE // 2)
            high = min(stop + 1, high)  # the row where it stopped may be the one
        start = self.ids_at
        end = start + _ID * high
        position = self._find(id, start + _ID * low, end)
        while position >= 0:
            if not (position - start) % _ID:
                return (position - start) // _ID
            position = self._find(id, position + 1, end)  # the bytes straddle two ids
        return -1

    def bucket(self, prefix: int) -> tuple[int, int]:
        """The rows, from the first to before the second, of the bucket of a prefix in the segment's range.

        Raises:
            CorruptFile: the fan-out table points out of the column.
        """
        low, high = _PAIR(self.data, self._fanout_at + ((prefix - self._first >> self._shift) << 2))
        if low > high or high > self.count:
            raise self.damaged("has a fan-out that leaves the id column")
        return low, high

    def _narrow(self, id: bytes, low: int, high: int, width: int) -> tuple[int, int]:
        """Halve a range of rows around the place where an id is or would be, down to ``width`` rows."""
        data, start = self.data, self.ids_at
        while high - low > width:
            middle = (low + high) // 2
            at = start + _ID * middle
            if data[at : at + _ID] < id:
                low = middle + 1
            else:
                high = middle
        return low, high

    def entry(self, row: int) -> Entry:
        """The entry of a row in 0 … ``count`` - 1.

        Raises:
            CorruptFile: it names a pack that the segment does not have.
        """
        pack, offset, length, depth, kind = _ROW.unpack_from(self.data, self.rows_at + _ROW.size * row)
        if pack >= self._pack_count:
            raise self.damaged("has an entry without a pack")
        at = self.ids_at + _ID * row
        name_at = self._packs_at + _PACK_NAME * pack
        data = self.data
        return Entry(data[at : at + _ID], kind, data[name_at : name_at + _PACK_NAME], offset, length, depth)

    def entries_from(self, row: int) -> Iterator[Entry]:
        """The entry of a row, and those after it that have the same id."""
        entry = self.entry(row)
        id = entry.id
        yield entry
        for other in range(row + 1, self.count):
            at = self.ids_at + _ID * other
            if self.data[at : at + _ID] != id:
                return
            yield self.entry(other)

    def find(self, id: bytes) -> list[Entry]:
        """Every record of an id (32 bytes), least depth first; empty if it has none here.

        Raises:
            CorruptFile: damage was met on the way. Damage in the id column can also hide an id; see
            :meth:`verify`.
        """
        if len(id) != _ID:
            raise ValueError(f"an id has {_ID} bytes, not {len(id)}")
        row = self.locate(id, int.from_bytes(id[:8], "big"))
        return [] if row < 0 else list(self.entries_from(row))

    def find_prefix(self, low: bytes, high: bytes) -> Iterator[tuple[int, bytes]]:
        """Kind and id of all from ``low`` to ``high`` (32 bytes, both included), each id once, ascending.

        Raises:
            CorruptFile: the ids are not in order.
        """
        before = b""
        for row in range(*self._rows_of(low, high)):
            at = self.ids_at + _ID * row
            id = self.data[at : at + _ID]
            if id < before:
                # bytes that rotted: what is looked for may be among them
                raise self.damaged("has ids out of order")
            if low <= id <= high and id != before:
                yield self.data[self.rows_at + _ROW.size * (row + 1) - 1], id
            before = id

    def _rows_of(self, low: bytes, high: bytes) -> tuple[int, int]:
        """The rows of all buckets that hold ids from ``low`` to ``high``, told by the table of the head."""
        first, last = (int.from_bytes(id[:8], "big") for id in (low, high))
        if first > self._last or last < self._first:
            return 0, 0
        start, stop = max(first, self._first), min(last, self._last)
        least, end = _PAIR(self.data, self._fanout_at + ((start - self._first >> self._shift) << 2))
        _, most = _PAIR(self.data, self._fanout_at + ((stop - self._first >> self._shift) << 2))
        if not least <= end <= most <= self.count:
            raise self.damaged("has a fan-out that leaves the id column")
        if end - least > _BISECT_ABOVE:
            least, _ = self._narrow(low, least, end, 0)
        return least, most

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, in the order of the rows.

        Raises:
            CorruptFile: an entry is out of the format's ranges.
        """
        packs = self.packs
        for low in range(0, self.count, _BLOCK):
            high = min(low + _BLOCK, self.count)
            ids = self.data[self.ids_at + _ID * low : self.ids_at + _ID * high]
            rows = self.data[self.rows_at + _ROW.size * low : self.rows_at + _ROW.size * high]
            for at, (pack, offset, length, depth, kind) in enumerate(_ROW.iter_unpack(rows)):
                if pack >= len(packs) or not _possible(offset, length, depth):
                    raise self.damaged("has an entry that no pack can hold")
                yield Entry(ids[_ID * at : _ID * at + _ID], kind, packs[pack], offset, length, depth)

    # --- care ----------------------------------------------------------------------------------------------
    def verify_name(self) -> None:
        """Check every byte against the name: finds any damage since the segment was written.

        Raises:
            CorruptFile: it is not what was written.
        """
        if segment_name(self.data) != self.name:
            raise self.damaged("does not hash to its name")

    def verify(self) -> None:
        """Check every byte against the name, and that the writer kept the rules: order, ranges, fan-out.

        Takes about a second for a hundred megabytes.

        Raises:
            CorruptFile: it is not what was written, or it was written wrongly.
        """
        self.verify_name()
        packs = self.packs
        if any(a >= b for a, b in pairwise(packs)):
            raise self.damaged("has packs out of order")
        blob = self.data[self.ids_at : self.rows_at]
        ids = [blob[at : at + _ID] for at in range(0, len(blob), _ID)]
        if ids != sorted(ids):
            raise self.damaged("has ids out of order")
        if ids[0][:8] != self.first or ids[-1][:8] != self.last:
            raise self.damaged("has a head that names another range")
        rows = list(_ROW.iter_unpack(self.data[self.rows_at :]))
        if {row[0] for row in rows} != set(range(len(packs))):
            raise self.damaged("has entries without a pack or packs without an entry")
        for _, offset, length, depth, _ in rows:
            if not _possible(offset, length, depth):
                raise self.damaged("has an entry that no pack can hold")
        for at in range(1, len(ids)):
            if ids[at] == ids[at - 1] and _row_order(rows[at - 1]) >= _row_order(rows[at]):
                raise self.damaged("has records of one id out of order")
        prefixes = [int.from_bytes(id[:8], "big") for id in ids]
        if fan_out(prefixes, self._shift, self._buckets) != self.data[self._fanout_at : self.ids_at]:
            raise self.damaged("has a fan-out that does not fit its ids")

    def forget_pages(self) -> None:
        """Let go of the memory that the map holds; the next look-up reads from the system's cache again."""
        if isinstance(self.data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self.data.madvise(mmap.MADV_DONTNEED)


def _possible(offset: int, length: int, depth: int) -> bool:
    """Whether a record of that size can lie there in a pack."""
    fits = offset >= PACK_HEAD and length >= RECORD_HEAD and offset + length <= MAX_PACK_BYTES
    return fits and 0 <= depth <= MAX_DEPTH


def _row_order(row: tuple[int, ...]) -> tuple[int, ...]:
    """:func:`entry_order` for rows of one id: packs ascend by name, so their ordinals do."""
    pack, offset, length, depth, kind = row
    return depth, pack, offset, length, kind


# --- writing -----------------------------------------------------------------------------------------------
def bucket_shift(first: int, last: int, count: int) -> int:
    """How far a prefix, less the first one, is shifted to give its bucket: the least that fills buckets."""
    extent = last - first
    most = max(1, count // IDS_PER_BUCKET)
    shift = max(0, (extent // most).bit_length() - 1)
    while (extent >> shift) + 1 > most:
        shift += 1
    return shift


def fan_out(prefixes: Sequence[int], shift: int, buckets: int) -> bytes:
    """The fan-out table of ascending prefixes: for each bucket its first row, then the number of rows."""
    counts = [0] * (buckets + 1)
    first = prefixes[0]
    for prefix in prefixes:
        counts[(prefix - first >> shift) + 1] += 1
    return struct.pack(f"<{buckets + 1}I", *accumulate(counts))


def shorten(supersedes: Iterable[bytes]) -> list[bytes]:
    """Names of superseded segments as a segment keeps them: cut to 16 bytes, each once, the first 1,024."""
    return list(dict.fromkeys(name[:SHORT_NAME] for name in supersedes))[:MAX_SUPERSEDED]


def nonce_name(nonce: bytes) -> bytes:
    """A name among the superseded ones that no segment has: it makes a segment one of its kind."""
    return _NONCE_MARK + nonce


def is_nonce(name: bytes) -> bool:
    """Whether a superseded name is one of :func:`nonce_name`."""
    return name.startswith(_NONCE_MARK)


def capacity(packs: int, superseded: int, max_bytes: int) -> int:
    """How many entries fit into a segment whatever they are, when all entries name so many packs.

    A bound instead of an exact account (at most one pack name per entry, one fan-out slot per four entries),
    so that a writer that streams and one that sorts in memory cut at the same rows.
    """
    room = max_bytes - _HEAD.size - SHORT_NAME * superseded - 8
    per_entry = _ID + _ROW.size + 1
    count = room // (per_entry + _PACK_NAME)
    if count > packs:
        count = (room - _PACK_NAME * packs) // per_entry
    return max(1, count)


def assemble(
    count: int,
    packs: Sequence[bytes],
    superseded: Sequence[bytes],
    shift: int,
    fan_out: bytes,
    ids: bytes | memoryview,
    rows: bytes | memoryview,
) -> bytes:
    """Put the pieces of a segment together behind its head. ``ids`` and ``rows`` are read byte by byte."""
    buckets = len(fan_out) // 4 - 1
    first, last = bytes(ids[:8]), bytes(ids[-_ID : 8 - _ID])
    head = _HEAD.pack(
        _MAGIC, bytes(16), first, last, count, len(packs), len(superseded), buckets, shift, bytes(7)
    )
    checked = b"".join((head[_CHECKED_FROM:], *superseded, *packs, fan_out))
    return b"".join((_MAGIC, blake3(checked).digest(length=16), checked, ids, rows))


def _encode(entries: Sequence[Entry], superseded: Sequence[bytes]) -> bytes:
    """One segment of sorted entries."""
    packs = sorted({entry.pack for entry in entries})
    ordinal = {pack: number for number, pack in enumerate(packs)}
    prefixes = [int.from_bytes(entry.id[:8], "big") for entry in entries]
    shift = bucket_shift(prefixes[0], prefixes[-1], len(entries))
    buckets = (prefixes[-1] - prefixes[0] >> shift) + 1
    return assemble(
        len(entries),
        packs,
        superseded,
        shift,
        fan_out(prefixes, shift, buckets),
        b"".join([entry.id for entry in entries]),
        b"".join([_ROW.pack(ordinal[e.pack], e.offset, e.length, e.depth, e.kind) for e in entries]),
    )


def _check(entry: Entry) -> None:
    """Refuse what a segment cannot say."""
    if len(entry.id) != _ID or len(entry.pack) != _PACK_NAME:
        raise ValueError("ids and pack names have 32 bytes")
    if not _possible(entry.offset, entry.length, entry.depth) or not 0 <= entry.kind <= 255:
        raise ValueError(f"no pack can hold this record: {entry}")


def build_segments(
    entries: Iterable[Entry], supersedes: Iterable[bytes] = (), max_bytes: int = MAX_BYTES
) -> list[bytes]:
    """Encode entries in any order as segments of at most ``max_bytes``, by ascending ranges of ids.

    Exact duplicates are dropped; all records of one id stay in one segment (which may therefore exceed the
    bound when a single id has more records than fit). ``supersedes`` are names of segments whose entries
    these are, latest first. No entries make no segment.

    Raises:
        ValueError: an entry is out of the format's ranges.
    """
    rows = sorted(set(entries), key=entry_order)
    for entry in rows:
        _check(entry)
    superseded = shorten(supersedes)
    room = capacity(len({entry.pack for entry in rows}), len(superseded), max_bytes)
    segments = []
    start = 0
    while start < len(rows):
        end = start + room
        if end < len(rows):
            while end > start and rows[end].id == rows[end - 1].id:
                end -= 1
            if end == start:
                end = start + room
                while end < len(rows) and rows[end].id == rows[end - 1].id:
                    end += 1
        segments.append(_encode(rows[start:end], superseded))
        start = end
    return segments
