"""``buckets`` version 1: each element's upper bits coded by rANS, its lower ones kept as they are.

Each element of w bits is rotated left by one bit, as ``rot`` does it, so that the exponent and the mantissa's
upper bits stand in front: together they are the element's bucket, w - ``low`` bits long. In weights the
exponent is far from evenly spread, and so are the upper bits of the mantissa within one exponent. Symbols:

- 0: the rotated element is 0, so that zeros cost what a mask of them says and no more;
- 1: another element, in no listed bucket; its extra bits are all w bits of the rotated element;
- 2 and up: an element in the first, second, ... listed bucket; its extra bits are the ``low`` lower bits.

Parameters: ``width``: 1, 2, 4 or 8 bytes per little-endian element; ``low``: bits, such that a bucket has at
least 1 and at most 16.

Stored bytes, for n elements: n (4 bytes, little-endian); if that is not 0:

- the number of listed buckets (one byte, at most 254), then these (2 bytes each, little-endian), ascending;
- the symbols (:mod:`mvc.codecs.symbols`), of which there are 2 more than buckets, with all keys 0;
- the extra bits of all elements in their order (:mod:`mvc.codecs.bits`), up to the tail;

and what follows the last whole element, as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import bits, native, symbols
from mvc.codecs.params import WIDTHS, expect_keys, integer
from mvc.codecs.plane import Reader
from mvc.elements import U8, Elements, octets, scratch, unsigned, view
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

OTHER = 1
LISTED = 2
MOST_LISTED = 254
_MOST_BITS = 16
_ID = np.dtype("<u2")

Bytes = NDArray[np.uint8]


class Layout(NamedTuple):
    """The parameters."""

    width: int
    low: int


class Buckets:
    """The codec ``buckets``.

    ``precision`` steers the encoder only: shares are parts of 2^precision, at least 8.
    """

    name = "buckets"
    version = 1
    needs_prediction = False

    def __init__(self, precision: int = 12) -> None:
        self._precision = precision

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> bytes:
        """List the buckets that pay, code each element's."""
        cut = layout(params)
        target, tail = view(data, cut.width)
        head = target.size.to_bytes(4, "little")
        if target.size == 0:
            return b"".join((head, tail))
        listed = _worth_listing(target, cut)
        symbol_of = np.full(1 << _MOST_BITS, OTHER, np.uint8)
        symbol_of[listed] = np.arange(LISTED, LISTED + listed.size)
        found, counts, extras = bucketise(target, cut, symbol_of)
        keys = scratch("buckets.keys", target.size, U8)
        keys.fill(0)
        by_key = np.zeros((256, LISTED + listed.size), np.uint32)
        by_key[0] = counts[: LISTED + listed.size]
        pieces = symbols.encode(found, keys, by_key, self._precision)
        return b"".join((head, bytes((listed.size,)), listed.tobytes(), *pieces, extras, tail))

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> bytes:
        """Decode the symbols, put the lower bits behind them."""
        cut = layout(params)
        made, out = native.new_bytes(length)
        count, rest = divmod(length, cut.width)
        reader = Reader(memoryview(data).cast("B"))
        if reader.length() != count:
            raise CorruptObject(f"buckets: not {count} elements")
        if count:
            number = reader.byte()
            listed = np.frombuffer(reader.take(2 * number), _ID)
            if number > MOST_LISTED or (np.diff(listed.astype(np.int64)) <= 0).any():
                raise CorruptObject("buckets: the list is out of order")
            if number and int(listed[-1]) >> (8 * cut.width - cut.low):
                raise CorruptObject("buckets: a bucket is out of range")
            found, keys = scratch("buckets.symbols", count, U8), scratch("buckets.keys", count, U8)
            keys.fill(0)
            symbols.decode(reader, keys, LISTED + number, found)
            if reader.left < rest:
                raise CorruptObject("buckets: cut short")
            upper = np.zeros(256, np.uint64)
            upper[LISTED : LISTED + number] = listed.astype(np.uint64) << np.uint64(cut.low)
            unbucketise(found, cut, upper, reader.take(reader.left - rest), out[: count * cut.width])
        tail = reader.take(rest)
        if reader.left:
            raise CorruptObject(f"buckets: {reader.left} bytes too many")
        out[count * cut.width :] = np.frombuffer(tail, np.uint8)
        return made


def layout(params: Mapping[str, Any]) -> Layout:
    """Read a step's parameters.

    Raises:
        CorruptObject: they are not those of ``buckets``.
    """
    expect_keys("buckets", params, {"width", "low"})
    width = integer("buckets", params, "width", WIDTHS)
    return Layout(width, integer("buckets", params, "low", range(max(0, 8 * width - _MOST_BITS), 8 * width)))


def low_bits(width: int, shift: int, bits: int) -> int:
    """The ``low`` that suits elements with such an exponent: three bits of the mantissa go with it."""
    return max(0, 8 * width - min(_MOST_BITS, bits + 3)) if bits and width > 1 else max(0, 8 * width - 8)


def bucket_counts(target: Elements, cut: Layout) -> NDArray[np.intp]:
    """How many elements other than 0 each bucket has, from bucket 0 to the last that has any."""
    values = _rotated(target)
    counts = np.bincount((values >> cut.low).astype(np.uint16), minlength=1)
    counts[0] -= np.count_nonzero(values == 0)
    return counts


def _worth_listing(target: Elements, cut: Layout) -> NDArray[np.uint16]:
    """The buckets with the most elements, where listing one is less than its elements cost as others."""
    counts = bucket_counts(target, cut)
    worth = np.flatnonzero(counts * (8 * cut.width - cut.low) > 24)
    if worth.size > MOST_LISTED:
        worth = np.sort(worth[np.argsort(-counts[worth], kind="stable")[:MOST_LISTED]])
    return worth.astype(_ID)


def _rotated(target: Elements) -> Elements:
    rotated: Elements = (target << 1) | (target >> (8 * target.dtype.itemsize - 1))
    return rotated


def bucketise(target: Elements, cut: Layout, symbol_of: Bytes) -> tuple[Bytes, NDArray[np.uint32], Buffer]:
    """The symbol of each element (scratch), how often each of 256 occurs, and the extra bits.

    ``symbol_of`` has the symbol of each bucket, at least ``OTHER``.
    """
    if native.KERNEL is not None:
        found = scratch("buckets.symbols", target.size, U8)
        counts = np.empty(256, np.uint32)
        room = scratch("buckets.extras", target.nbytes + 8, U8)
        total = native.KERNEL.bucketise(*cut, octets(target), symbol_of, found, counts, room)
        return found, counts, room[: (total + 7) // 8].data
    values = _rotated(target)
    found = symbol_of[(values >> cut.low).astype(np.uint16)]
    found[values == 0] = 0
    wide, other = values.astype(np.uint64), found == OTHER
    kept = np.where(other, wide, wide & np.uint64((1 << cut.low) - 1))
    # halves of at most 32 bits each, because 64 at once are too many
    lengths = np.where(other, 8 * cut.width, np.where(found > 0, cut.low, 0))
    first = np.minimum(lengths, 32)
    halves = np.stack((kept & np.uint64(0xFFFFFFFF), kept >> np.uint64(32)), axis=1).reshape(-1)
    extras = bits.pack(halves, np.stack((first, lengths - first), axis=1).reshape(-1))
    return found, np.bincount(found, minlength=256).astype(np.uint32), extras


def unbucketise(found: Bytes, cut: Layout, upper: NDArray[np.uint64], extras: memoryview, out: Bytes) -> None:
    """The elements of which :func:`bucketise` made these symbols, into ``out``; each of 256 has upper bits.

    Raises:
        CorruptObject: other extra bits belong to them.
    """
    if native.KERNEL is not None:
        packed = np.frombuffer(extras, np.uint8)
        if not native.KERNEL.unbucketise(*cut, found, upper, packed, out):
            raise CorruptObject("buckets: extra bits are damaged")
        return
    lengths = np.where(found == OTHER, 8 * cut.width, np.where(found > 0, cut.low, 0))
    first = np.minimum(lengths, 32)
    halves = bits.unpack(extras, np.stack((first, lengths - first), axis=1).reshape(-1)).reshape(-1, 2)
    values = (upper[found] | halves[:, 0] | halves[:, 1] << np.uint64(32)).astype(unsigned(cut.width))
    out.view(unsigned(cut.width))[:] = (values >> 1) | (values << (8 * cut.width - 1))


CODEC = Buckets()
