"""A file as rows, its tensors and what lies between them; and which of them an older version has too.

Made for walks through many versions: of a manifest only the parts are parsed as long as its table of tensors
is, byte for byte, one that is known already. That takes a fortieth of the time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple

import msgpack

from mvc.errors import CorruptObject
from mvc.history.reader import ObjectReader, PartTable, Piece
from mvc.history.tensordiff import SpanPair, has_same_bits, same_pieces
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from mvc.spans import Span


class Row(NamedTuple):
    """A tensor by its name and, should several have it, its occurrence; :data:`REST` has no name."""

    tensor: str | None
    occurrence: int = 0


REST = Row(None)
"""What lies between the tensors; all of a file that has none."""

_Range = tuple[int, int]
_END = itemgetter(1)  # of what is in order by start, and does not overlap


class _Table:
    """What a manifest says of tensors: spans, and the stretches of bytes (start, end) of each row."""

    def __init__(self, manifest: Manifest) -> None:
        self.spans: dict[Row, Span] = {}
        seen: dict[str, int] = {}
        self.gaps: list[_Range] = []
        end = 0
        for span in manifest.tensors:
            occurrence = seen.get(span.name, 0)
            seen[span.name] = occurrence + 1
            self.spans[Row(span.name, occurrence)] = span
            if span.offset > end:
                self.gaps.append((end, span.offset))
            end = max(end, span.offset + span.length)
        if manifest.size > end:
            self.gaps.append((end, manifest.size))


class _Outline(NamedTuple):
    """A tensor as it stands in a manifest: its form, and the parts that hold it."""

    dtype: Any
    shape: Any
    strides: list[Any]
    parts: list[Any]

    def same_bits(self, other: _Outline) -> bool | None:
        """Whether both have the same form and bits; None where that cannot be told from this."""
        if self == other:
            return True
        if (self.dtype, self.shape) != (other.dtype, other.shape):
            return False
        if self.strides or other.strides or len(self.parts) != len(other.parts):
            return None
        for one, two in zip(self.parts, other.parts, strict=True):
            if type(one) is not type(two) or _length(one) != _length(two):
                return None
        return False  # cut alike, and every part stands there itself or is named by its hash


class OpenManifest:
    """A file's description, parsed as far as it is asked for."""

    def __init__(self, identity: ManifestId, data: bytes) -> None:
        self._name = f"manifest {identity.short}"
        self._data = data
        self._table: _Table | None = None
        found = self._outline(data)
        self.size: object = found["size"]
        self.sha256: object = found["sha256"]
        self._cut: list[Any] = found["parts"]
        self._tensors: bytes = found["tensors"]

    def _outline(self, data: bytes) -> dict[str, Any]:
        """The manifest's map, with the table of tensors as it stands."""
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=len(data))
        unpacker.feed(data)
        found: dict[str, Any] = {}
        try:
            for _ in range(unpacker.read_map_header()):
                key = unpacker.unpack()
                start = unpacker.tell()
                if key == "tensors":
                    unpacker.skip()
                    found[key] = data[start : unpacker.tell()]
                else:
                    found[key] = unpacker.unpack()
        except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
            raise CorruptObject(f"{self._name} is damaged: {error}") from None
        if not {"parts", "sha256", "size", "tensors"} <= found.keys() or type(found["parts"]) is not list:
            raise CorruptObject(f"{self._name} is damaged: it lacks what every manifest has")
        return found

    @cached_property
    def manifest(self) -> Manifest:
        """All of it.

        Raises:
            CorruptObject: it is not a manifest in its canonical form.
        """
        try:
            return Manifest.from_bytes(self._data)
        except CorruptObject as error:
            raise CorruptObject(f"{self._name} is damaged: {error.message}", hint=error.hint) from error

    @cached_property
    def parts(self) -> PartTable:
        """Its parts, searchable by offset."""
        return PartTable(self.manifest)

    @cached_property
    def outlines(self) -> dict[Row, _Outline]:
        """The tensors that begin and end with a part, as they stand in the manifest; none where it is not
        sound. Nothing is checked: two that are equal mean the same, and no more is told from them."""
        try:
            return dict(self._outlines())
        except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException):
            return {}

    def _outlines(self) -> Iterator[tuple[Row, _Outline]]:
        borders = {start: at for at, start in enumerate(accumulate(map(_length, self._cut), initial=0))}
        seen: dict[str, int] = {}
        for name, dtype, shape, offset, length, *strides in msgpack.unpackb(self._tensors, raw=False):
            occurrence = seen.get(name, 0)
            seen[name] = occurrence + 1
            first, last = borders.get(offset), borders.get(offset + length)
            if first is not None and last is not None:
                yield Row(name, occurrence), _Outline(dtype, shape, strides, self._cut[first:last])

    @property
    def spans(self) -> dict[Row, Span]:
        """Its tensors in the order of the file."""
        return self._tables().spans

    @property
    def rows(self) -> list[Row]:
        """Its tensors in the order of the file, then what lies between them."""
        return [*self.spans, *([REST] if self._tables().gaps or not self.spans else [])]

    def same_file(self, other: OpenManifest) -> bool:
        """Whether both describe the same bytes."""
        return (self.size, self.sha256) == (other.size, other.sha256)

    def same_table(self, other: OpenManifest) -> bool:
        """Whether both files have the same tensors at the same places."""
        if self._tensors != other._tensors or self.size != other.size:
            return False
        # What one has parsed serves the other.
        self._table = other._table = self._table or other._table
        return True

    def gap_pieces(self) -> Iterator[Piece]:
        """What lies between the tensors, end to end."""
        for start, end in self._tables().gaps:
            yield from self.parts.pieces(start, end - start)

    def gap_bytes(self) -> int:
        """How much that is."""
        return sum(end - start for start, end in self._tables().gaps)

    def ranges(self, row: Row) -> list[_Range]:
        """Where a row's bytes lie."""
        if row == REST:
            return self._tables().gaps
        span = self.spans[row]
        return [(span.offset, span.offset + span.length)]

    def changed_parts(self, other: OpenManifest) -> list[tuple[int, int, Any, Any]] | None:
        """Start, end and both forms of the parts that differ; None if the files are not cut alike."""
        ours, theirs = self._cut, other._cut
        if len(ours) != len(theirs):
            return None
        found, offset = [], 0
        for one, two in zip(ours, theirs, strict=True):
            length = _length(one)
            if one != two:
                if _length(two) != length:
                    return None
                found.append((offset, offset + length, one, two))
            offset += length
        return found

    def _tables(self) -> _Table:
        if self._table is None:
            self._table = _Table(self.manifest)
        return self._table


def _length(part: Any) -> int:
    """Bytes of a part as it stands in the manifest."""
    if type(part) is bytes:
        return len(part)
    if type(part) is list and len(part) == 2 and type(part[1]) is int and type(part[0]) is bytes:
        return part[1]
    raise CorruptObject("a manifest is damaged: a part is neither bytes nor [id, length]")


class OpenManifests:
    """The few manifests that a walk compares at a time."""

    MOST = 8

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._open: OrderedDict[ManifestId, OpenManifest] = OrderedDict()

    def __getitem__(self, identity: ManifestId) -> OpenManifest:
        found = self._open.get(identity)
        if found is None:
            found = self._open[identity] = OpenManifest(identity, self._reader.get(identity))
            while len(self._open) > self.MOST:
                self._open.popitem(last=False)
        self._open.move_to_end(identity)
        return found

    def tensors(self, identity: ManifestId, name: str) -> set[Row]:
        """The rows of a name."""
        return {row for row in self[identity].spans if row.tensor == name}


def kept_rows(reader: ObjectReader, old: OpenManifest, new: OpenManifest, rows: Collection[Row]) -> set[Row]:
    """Those of the new file's rows that the old one has with the same bits.

    A tensor is the same if dtype, shape and bits are, wherever it lies and however it was cut; what lies
    between tensors, if its bytes end to end are.
    """
    changed = new.changed_parts(old) if new.same_table(old) else None
    if changed is None:
        return {row for row in rows if _is_kept(reader, old, new, row)}
    if not changed:
        return set(rows)
    return {row for row in rows if _is_untouched(reader, old, new, row, changed)}


def _is_untouched(
    reader: ObjectReader,
    old: OpenManifest,
    new: OpenManifest,
    row: Row,
    changed: list[tuple[int, int, Any, Any]],
) -> bool:
    """Whether a row has the same bits in two files with one table that are cut alike but for some parts."""
    touched = [
        (max(start, first), min(end, last), start, end, one, two)
        for first, last in new.ranges(row)
        for start, end, one, two in _overlapping(changed, first, last)
    ]
    if not touched:
        return True
    if row == REST or new.spans[row].strides is None:
        for first, last, start, end, one, two in touched:
            if type(one) is bytes and type(two) is bytes:
                if one[first - start : last - start] != two[first - start : last - start]:
                    return False
            elif type(one) is not bytes and type(two) is not bytes and (first, last) == (start, end):
                return False  # named by hashes of just these bytes
    return _is_kept(reader, old, new, row)


def _overlapping(
    changed: Sequence[tuple[int, int, Any, Any]], first: int, last: int
) -> Iterator[tuple[int, int, Any, Any]]:
    """Those parts, of many in order, that hold bytes of a range; a file may have 100,000 of either."""
    for at in range(bisect_right(changed, first, key=_END), len(changed)):
        if changed[at][0] >= last:
            break
        yield changed[at]


def _is_kept(reader: ObjectReader, old: OpenManifest, new: OpenManifest, row: Row) -> bool:
    if row == REST:
        same_length = old.gap_bytes() == new.gap_bytes()
        return same_length and same_pieces(reader, old.gap_pieces(), new.gap_pieces())
    before, after = old.outlines.get(row), new.outlines.get(row)
    told = None if before is None or after is None else before.same_bits(after)
    if told is not None:
        return told
    if row not in old.spans:
        return False
    return has_same_bits(reader, old.parts, new.parts, SpanPair(old.spans[row], new.spans[row]))


class RowComparison:
    """Compares files by :class:`Row`, for :func:`mvc.history.blame.blame`."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._files = OpenManifests(reader)

    def rows(self, file: ManifestId) -> list[Row]:
        """A file's tensors in their order, then what lies between them."""
        return self._files[file].rows

    def spans(self, file: ManifestId) -> dict[Row, Span]:
        """Where a file's tensors lie."""
        return self._files[file].spans

    def same_file(self, old: ManifestId, new: ManifestId) -> bool:
        """Whether both have the same bytes."""
        return old == new or self._files[old].same_file(self._files[new])

    def kept(self, old: ManifestId, new: ManifestId, rows: Mapping[Row, Row]) -> dict[Row, Row]:
        """Those of the new file's rows that the old one has with the same bits."""
        kept = kept_rows(self._reader, self._files[old], self._files[new], rows.values())
        return {row: there for row, there in rows.items() if there in kept}

    def likeness(self, old: ManifestId, new: ManifestId) -> float:
        """Share of the new file's tensors that the old one has; 0 for a file without tensors."""
        tensors = self._files[new].spans
        return len(kept_rows(self._reader, self._files[old], self._files[new], tensors)) / max(
            len(tensors), 1
        )
