"""Which tensors differ between two files, told from their manifests; and by how much, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mvc.dtypes import DTYPES
from mvc.errors import CorruptObject, UnsupportedFeature, UsageError
from mvc.history.reader import ObjectReader, PartTable, Piece, read_piece, read_range
from mvc.objects import Manifest
from mvc.spans import NotTileable, Span, check_span, element_count, row_major_strides

if TYPE_CHECKING:
    import numpy as np

_BLOCK_BYTES = 1 << 20
_MOST_STRIDED_BYTES = 256 << 20


class SpanPair(NamedTuple):
    """One tensor's places in the old and in the new file."""

    old: Span
    new: Span


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """Two files' tensors by name, each group in the order of the file that has them (the new one for pairs).

    ``reshaped`` have another dtype or shape. ``unchanged`` have the same bits for certain. ``maybe_changed``
    are stored in other pieces: nearly always changed, but equal bits may have been cut differently or laid
    out with other strides; :func:`moved_share` tells.
    """

    added: tuple[Span, ...]
    removed: tuple[Span, ...]
    reshaped: tuple[SpanPair, ...]
    maybe_changed: tuple[SpanPair, ...]
    unchanged: tuple[SpanPair, ...]


def diff_tensors(old: Manifest, new: Manifest) -> TensorDiff:
    """Compare two files' tensors by name without reading any blob."""
    old_spans, new_spans = _by_name(old), _by_name(new)
    old_parts, new_parts = PartTable(old), PartTable(new)
    reshaped, maybe_changed, unchanged = [], [], []
    for key, span in new_spans.items():
        if key not in old_spans:
            continue
        pair = SpanPair(old_spans[key], span)
        if not _same_form(pair):
            reshaped.append(pair)
        elif _same_layout(pair) and next(_unequal_ranges(old_parts, new_parts, pair), None) is None:
            unchanged.append(pair)
        else:
            maybe_changed.append(pair)
    return TensorDiff(
        added=tuple(span for key, span in new_spans.items() if key not in old_spans),
        removed=tuple(span for key, span in old_spans.items() if key not in new_spans),
        reshaped=tuple(reshaped),
        maybe_changed=tuple(maybe_changed),
        unchanged=tuple(unchanged),
    )


def moved_share(reader: ObjectReader, old: Manifest, new: Manifest, name: str) -> float:
    """Share, 0 to 1, of a tensor's elements whose bits differ; 0 for a tensor without elements.

    Elements of a block type are counted by block, those of less than a byte by byte.

    Only pieces whose ids differ are decoded, in blocks of 1 MiB, unless the tensor is a strided view that
    skips or repeats elements or has other strides in the two files: then both copies are held whole, up to
    256 MiB each.

    Raises:
        UsageError: one file has no tensor of that name, or their dtypes or shapes differ.
        UnsupportedFeature: a dtype that this mvc does not know, or a strided view of over 256 MiB.
        CorruptObject: a tensor's length contradicts its shape or strides.
    """
    pair = SpanPair(_span_named(old, name), _span_named(new, name))
    return pair_moved_share(reader, PartTable(old), PartTable(new), pair)


def pair_moved_share(reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair) -> float:
    """:func:`moved_share` of a tensor whose places are known; the tables serve all tensors of two files."""
    check_spans(old, new, pair)
    if not _same_form(pair):
        raise UsageError(f"tensor {pair.new.name!r} has another dtype or shape in the other file")
    dtype = DTYPES[pair.new.dtype]
    width = dtype.unit
    if dtype.elements > 1:  # contiguous, as check_span has seen to
        total = pair.new.length // width
    else:
        total = element_count(pair.new.shape)
    if not total:
        return 0.0
    if dtype.elements > 1 or (_same_layout(pair) and _is_dense(pair.new, width)):
        return _count_streaming(reader, old, new, pair, width) / total
    return _share_strided(reader, old, new, pair, width)


def has_same_bits(reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair) -> bool:
    """Whether a tensor has the same dtype, shape and bits at its two places.

    Ids tell it nearly always: blobs are read only where equal bytes may have been cut differently, or where
    a strided view's own elements must be told from what lies between them. A strided view that this mvc
    cannot read (an unknown dtype, over 256 MiB) counts as changed when its bytes or strides did.
    """
    if not _same_form(pair):
        return False
    if _same_layout(pair) and _equal_bytes(reader, old, new, pair):
        return True
    if pair.old.strides is None and pair.new.strides is None:
        return False
    try:
        return not pair_moved_share(reader, old, new, pair)
    except UnsupportedFeature:
        return False


def _equal_bytes(reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair) -> bool:
    """Whether two equally long spans hold the same bytes."""
    return same_pieces(
        reader, old.pieces(pair.old.offset, pair.old.length), new.pieces(pair.new.offset, pair.new.length)
    )


def same_pieces(reader: ObjectReader, old: Iterable[Piece], new: Iterable[Piece]) -> bool:
    """Whether pieces of equal length in all hold the same bytes; blobs are read only where ids cannot
    tell."""
    unsettled = []
    for left, right, count in _overlaps(iter(old), iter(new)):
        if not _same_bytes(left, right, count):
            if _surely_differ(left, right, count):
                return False
            unsettled.append((left, right, count))
    return all(
        read_piece(reader, left._replace(length=count)) == read_piece(reader, right._replace(length=count))
        for left, right, count in unsettled
    )


def _surely_differ(left: Piece, right: Piece, count: int) -> bool:
    """Whether unequal pieces have unequal bytes for certain: both known, or each named by a hash of it."""
    if left.part.blob is None or right.part.blob is None:
        return left.part.blob is right.part.blob
    return left.part.length == count == right.part.length


# --- forms and layouts -------------------------------------------------------------------------------------
def _by_name(manifest: Manifest) -> dict[tuple[str, int], Span]:
    """Spans by name and occurrence: two tensors should not share a name, but none may vanish if they do."""
    spans: dict[tuple[str, int], Span] = {}
    seen: dict[str, int] = {}
    for span in manifest.tensors:
        occurrence = seen.get(span.name, 0)
        spans[span.name, occurrence] = span
        seen[span.name] = occurrence + 1
    return spans


def _span_named(manifest: Manifest, name: str) -> Span:
    span = next((span for span in manifest.tensors if span.name == name), None)
    if span is None:
        raise UsageError(f"the file has no tensor {name!r}")
    return span


def check_spans(old: PartTable, new: PartTable, pair: SpanPair) -> None:
    """Refuse tensors that contradict themselves.

    Raises:
        UnsupportedFeature: a dtype that this mvc does not know.
        CorruptObject: a length that shape or strides contradict.
    """
    _check_span(old, pair.old)
    _check_span(new, pair.new)


def dense_order(pair: SpanPair) -> tuple[int, ...] | None:
    """The axes in the order in which they lie in both files, outermost first, where each byte of both spans
    is an element's and lies at the same place; None where that is not so."""
    old, new = pair
    dense = old.shape == new.shape and all(
        DTYPES[span.dtype].elements == 1 and _is_dense(span, DTYPES[span.dtype].width) for span in pair
    )
    if not dense or _strides(old) != _strides(new):
        return None
    strides = _strides(new)
    return tuple(sorted(range(len(strides)), key=lambda axis: (-strides[axis], axis)))


def same_stored(old: PartTable, new: PartTable, old_offset: int, new_offset: int, length: int) -> bool:
    """Whether both files store a stretch of bytes as the same ones."""
    pieces = _aligned(old.pieces(old_offset, length), new.pieces(new_offset, length))
    return all(equal for _count, equal in pieces)


def _check_span(parts: PartTable, span: Span) -> None:
    if span.dtype not in DTYPES:
        raise UnsupportedFeature(
            f"tensor {span.name!r} has the unknown dtype {span.dtype!r}", hint="upgrade mvc"
        )
    try:
        check_span(parts.size, span)
    except NotTileable as error:
        raise CorruptObject(f"manifest: {error}") from None


def _same_form(pair: SpanPair) -> bool:
    return pair.old.dtype == pair.new.dtype and pair.old.shape == pair.new.shape


def _strides(span: Span) -> tuple[int, ...]:
    """Strides in elements; those of extents up to one never matter and are given as zero."""
    strides = row_major_strides(span.shape) if span.strides is None else span.strides
    if len(strides) != len(span.shape):
        raise CorruptObject(f"tensor {span.name!r} has {len(span.shape)} extents and {len(strides)} strides")
    return tuple(stride if extent > 1 else 0 for stride, extent in zip(strides, span.shape, strict=True))


def _same_layout(pair: SpanPair) -> bool:
    """Whether equal bytes mean equal elements: same strides over the same stretch of bytes."""
    if pair.old.strides is None and pair.new.strides is None:
        return pair.old.length == pair.new.length
    return pair.old.length == pair.new.length and _strides(pair.old) == _strides(pair.new)


def _is_dense(span: Span, width: int) -> bool:
    """Whether every element of the span's bytes is exactly one of the tensor's, in whatever order."""
    if span.length != element_count(span.shape) * width:
        return False
    step = 1
    for stride, extent in sorted(zip(_strides(span), span.shape, strict=True)):
        if extent > 1:
            if stride != step:
                return False
            step *= extent
    return True


# --- where bytes may differ --------------------------------------------------------------------------------
def _unequal_ranges(old: PartTable, new: PartTable, pair: SpanPair) -> Iterator[tuple[int, int]]:
    """Stretches of two equally long spans, from the span's start, that are not stored as the same bytes."""
    start = position = 0
    for count, equal in _aligned(
        old.pieces(pair.old.offset, pair.old.length), new.pieces(pair.new.offset, pair.new.length)
    ):
        if equal:
            if start < position:
                yield start, position
            start = position + count
        position += count
    if start < position:
        yield start, position


def _aligned(old: Iterator[Piece], new: Iterator[Piece]) -> Iterator[tuple[int, bool]]:
    """Cut two lists of pieces at each other's borders: byte counts, and whether both are the same bytes."""
    for left, right, count in _overlaps(old, new):
        yield count, _same_bytes(left, right, count)


def _overlaps(old: Iterator[Piece], new: Iterator[Piece]) -> Iterator[tuple[Piece, Piece, int]]:
    """Two lists of pieces, cut at each other's borders: the rests of both, and how many bytes they share."""
    left, right = next(old, None), next(new, None)
    while left is not None and right is not None:
        count = min(left.length, right.length)
        yield left, right, count
        left, right = _advance(left, count, old), _advance(right, count, new)


def _advance(piece: Piece, count: int, rest: Iterator[Piece]) -> Piece | None:
    if count == piece.length:
        return next(rest, None)
    return Piece(piece.part, piece.start + count, piece.length - count)


def _same_bytes(left: Piece, right: Piece, count: int) -> bool:
    if left.part.blob is not None or right.part.blob is not None:
        return left.part.blob == right.part.blob and left.start == right.start
    return (
        left.part.inline[left.start : left.start + count]
        == right.part.inline[right.start : right.start + count]
    )


# --- counting elements -------------------------------------------------------------------------------------
def _count_streaming(reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair, width: int) -> int:
    moved = 0
    for start, end in _whole_elements(_unequal_ranges(old, new, pair), width):
        left = _blocks(read_range(reader, old, pair.old.offset + start, end - start), width)
        right = _blocks(read_range(reader, new, pair.new.offset + start, end - start), width)
        moved += sum(count_unequal(*blocks, width) for blocks in zip(left, right, strict=True))
    return moved


def _whole_elements(ranges: Iterable[tuple[int, int]], width: int) -> Iterator[tuple[int, int]]:
    """Widen ranges to element borders and join those that then touch."""
    held: tuple[int, int] | None = None
    for start, end in ranges:
        start, end = start // width * width, -(-end // width) * width
        if held is not None and start <= held[1]:
            start = held[0]
        elif held is not None:
            yield held
        held = (start, end)
    if held is not None:
        yield held


def _blocks(pieces: Iterable[bytes], width: int) -> Iterator[bytes]:
    """The same bytes in blocks of 1 MiB, the last one shorter, so that two sides pair up."""
    size = _BLOCK_BYTES // width * width
    pending = bytearray()
    for piece in pieces:
        if not pending and len(piece) == size:
            yield piece
            continue
        pending += piece
        while len(pending) >= size:
            yield bytes(pending[:size])
            del pending[:size]
    if pending:
        yield bytes(pending)


def count_unequal(left: bytes | memoryview, right: bytes | memoryview, width: int) -> int:
    """Number of ``width``-byte elements that differ between two equally long stretches."""
    if left == right:
        return 0
    import numpy as np  # here: what differs is told by ids alone, and importing numpy takes 0.1 s

    word = next(word for word in (8, 4, 2, 1) if width % word == 0)
    unequal = np.frombuffer(left, f"<u{word}") != np.frombuffer(right, f"<u{word}")
    if width > word:
        unequal = unequal.reshape(-1, width // word).any(axis=1)
    return int(np.count_nonzero(unequal))


def _share_strided(reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair, width: int) -> float:
    moved = seen = 0
    for left, right in strided_blocks(reader, old, new, pair):
        moved += count_unequal(left, right, width)
        seen += len(left) // width
    return moved / seen


def strided_blocks(
    reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair, count: int = 1 << 16
) -> Iterator[tuple[memoryview, memoryview]]:
    """The elements of two tensors of one shape in their logical order, ``count`` at a time. Axes along which
    both repeat their elements are passed once: they change no share, and may claim any extent.

    Raises:
        UnsupportedFeature: a strided view of over 256 MiB.
        CorruptObject: a shape that its bytes cannot have.
    """
    import numpy as np  # here: as above

    strides = zip(_strides(pair.old), _strides(pair.new), pair.new.shape, strict=True)
    axes = [axis for axis in strides if axis[0] or axis[1]]
    widths = [DTYPES[span.dtype].width for span in pair]
    left = _strided(reader, old, pair.old, widths[0], [axis[2] for axis in axes], [axis[0] for axis in axes])
    right = _strided(reader, new, pair.new, widths[1], [axis[2] for axis in axes], [axis[1] for axis in axes])
    # Buffered iteration: whole arrays would copy a view that repeats its elements.
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    for a, b in np.nditer([left, right], flags=flags, order="C", buffersize=count):
        yield memoryview(a.tobytes()), memoryview(b.tobytes())


def _strided(
    reader: ObjectReader, parts: PartTable, span: Span, width: int, shape: list[int], strides: list[int]
) -> np.ndarray[Any, Any]:
    """A tensor's elements in their logical order, each one an opaque item of ``width`` bytes."""
    import numpy as np  # here: as above

    # Both counts: a view that skips elements has fewer than its bytes hold, one that repeats them more.
    if max(span.length, element_count(shape) * width) > _MOST_STRIDED_BYTES:
        raise UnsupportedFeature(f"tensor {span.name!r} is a strided view of over 256 MiB")
    data = b"".join(read_range(reader, parts, span.offset, span.length))
    try:
        # This constructor checks the strides against the buffer; as_strided would read past its end.
        return np.ndarray(shape, f"V{width}", data, strides=[stride * width for stride in strides])
    except ValueError as error:  # such a view as numpy itself could not have made
        raise CorruptObject(f"tensor {span.name!r} has an impossible shape: {error}") from error
