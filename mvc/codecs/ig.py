"""``ig`` version 1: the residual against a base of equal length, grouped by the base's exponent.

Residual: ``(t - b) mod 2^w`` on little-endian unsigned elements of w bits, then zigzag (0, -1, 1, -2, …
become 0, 1, 2, 3, …). A step in weight space is of much the same size everywhere, so in units of an element's
last place it depends on the element's exponent: elements of one exponent have residuals of one distribution.
The decoder has the base, so it knows the order and nothing is stored for it. Integer subtraction is exact on
every bit pattern.

Stored bytes: as many as the plain ones. The elements fall into blocks of ``block`` bytes (the last may be
shorter); inside each, residuals are sorted by the key of their base element, equal keys in their old order.
What follows the last whole element is kept as it is. Parameters:

- ``width``: bytes per element: 1, 2, 4 or 8;
- ``shift``, ``bits``: the exponent occupies so many bits of the base element from bit ``shift`` up; of more
  than 8 the top 8 are the key. ``bits`` = 0 (then ``shift`` = 0): residuals stay in their order;
- ``block``: bytes, a multiple of ``width``, 4,096 to 16 MiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.codecs.params import WIDTHS, block_size, expect_keys, integer
from mvc.elements import Elements, scratch, signed, unsigned, view
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_MAX_KEY_BITS = 8
_INDEX_BITS = 24  # positions within a block; the rest of a 32-bit word holds the key
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class Ig:
    """The codec ``ig``."""

    name = "ig"
    version = 1
    needs_prediction = True

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> memoryview:
        """Subtract the prediction, zigzag, group."""
        cut = layout(params)
        target, tail = view(data, cut.width)
        base = base_of(prediction, cut.width, target, tail)
        out = np.empty(target.nbytes + len(tail), np.uint8)
        coded = out[: target.nbytes].view(unsigned(cut.width))
        for block in _blocks(target.size, cut):
            if cut.bits:
                residual = scratch("ig.residual", block.stop - block.start, coded.dtype)
                np.subtract(target[block], base[block], out=residual)
                _zigzag(residual)
                order = exponent_order(base[block], cut.shift, cut.bits)
                np.take(residual, order, out=coded[block], mode="clip")  # "clip": "raise" buffers the output
            else:
                np.subtract(target[block], base[block], out=coded[block])
                _zigzag(coded[block])
        out[target.nbytes :] = tail
        return out.data

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> memoryview:
        """Ungroup, undo zigzag, add the prediction."""
        cut = layout(params)
        coded, tail = view(data, cut.width)
        if coded.nbytes + len(tail) != length:
            raise CorruptObject(f"ig: {coded.nbytes + len(tail)} bytes where {length} belong")
        base = base_of(prediction, cut.width, coded, tail)
        out = np.empty(length, np.uint8)
        target = out[: coded.nbytes].view(unsigned(cut.width))
        for block in _blocks(coded.size, cut):
            if cut.bits:
                order = exponent_order(base[block], cut.shift, cut.bits)
                target[block][order] = coded[block]
            else:
                target[block] = coded[block]
            _unzigzag(target[block])
            np.add(target[block], base[block], out=target[block])
        out[coded.nbytes :] = tail
        return out.data


class Layout(NamedTuple):
    """The parameters."""

    width: int
    shift: int
    bits: int
    block: int


def layout(params: Mapping[str, Any]) -> Layout:
    """Read a step's parameters.

    Raises:
        CorruptObject: they are not those of ``ig``.
    """
    expect_keys("ig", params, {"width", "shift", "bits", "block"})
    width = integer("ig", params, "width", WIDTHS)
    bits = integer("ig", params, "bits", range(8 * width + 1))
    shift = integer("ig", params, "shift", range(8 * width - bits + 1) if bits else (0,))
    return Layout(width, shift, bits, block_size("ig", params, width))


def base_of(prediction: Buffer | None, width: int, target: Elements, tail: memoryview) -> Elements:
    """The elements of the prediction of ``target`` and ``tail``.

    Raises:
        CorruptObject: there is none, or it has another length.
    """
    if prediction is None:
        raise CorruptObject("ig: the prediction is missing")
    base, base_tail = view(prediction, width)
    if (base.size, len(base_tail)) != (target.size, len(tail)):
        raise CorruptObject(
            f"ig: a prediction of {base.nbytes + len(base_tail)} bytes for {target.nbytes + len(tail)} bytes"
        )
    return base


def _blocks(count: int, cut: Layout) -> Iterator[slice]:
    step = cut.block // cut.width
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _zigzag(values: Elements) -> None:
    """In place: a small signed difference, kept as unsigned, becomes a small unsigned number."""
    width = values.dtype.itemsize
    sign = scratch("ig.sign", values.size, signed(width))
    np.right_shift(values.view(signed(width)), 8 * width - 1, out=sign)
    np.left_shift(values, 1, out=values)
    np.bitwise_xor(values, sign.view(unsigned(width)), out=values)


def _unzigzag(values: Elements) -> None:
    sign = scratch("ig.sign", values.size, values.dtype)
    np.bitwise_and(values, 1, out=sign)
    np.negative(sign, out=sign)
    np.right_shift(values, 1, out=values)
    np.bitwise_xor(values, sign, out=values)


def residual(target: Elements, base: Elements) -> Elements:
    """The zigzag residuals in their own order, as a new array; for estimates."""
    values = np.subtract(target, base)
    _zigzag(values)
    return values


def exponent_order(base: Elements, shift: int, bits: int) -> NDArray[np.intp]:
    """The stable order of a block's elements by their key, as positions; scratch, valid until the next call.

    ``base`` has at most 2^24 elements.
    """
    keyed = _keys(base, shift, bits)
    order = scratch("ig.order", base.size, np.dtype(np.intp))
    if _vector_sort_pays():
        # with the position below the key, any sort is a stable one
        np.bitwise_or(keyed, _positions(base.size), out=keyed)
        keyed.sort()
        np.bitwise_and(keyed, _INDEX_MASK, out=keyed)
        np.copyto(order, keyed)
        return order
    return np.argsort(_narrow(keyed), kind="stable")


def exponent_keys(base: Elements, shift: int, bits: int) -> NDArray[np.uint8]:
    """Each element's key, its highest bits foremost; scratch, valid until the next call."""
    return _narrow(_keys(base, shift, bits))


def _keys(base: Elements, shift: int, bits: int) -> NDArray[np.uint32]:
    """Each element's key in the top bits of a 32-bit word, zeros below."""
    keyed = scratch("ig.keyed", base.size, np.dtype(np.uint32))
    lift = 32 - (shift + bits)
    if lift >= 0:
        np.copyto(keyed, base, casting="unsafe")
        np.left_shift(keyed, lift, out=keyed)
    else:
        lowered = scratch("ig.lowered", base.size, base.dtype)
        np.right_shift(base, -lift, out=lowered)
        np.copyto(keyed, lowered, casting="unsafe")
    kept = min(bits, _MAX_KEY_BITS)
    np.bitwise_and(keyed, ((1 << kept) - 1) << (32 - kept), out=keyed)
    return keyed


def _narrow(keyed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    np.right_shift(keyed, _INDEX_BITS, out=keyed)
    keys = scratch("ig.keys", keyed.size, np.dtype(np.uint8))
    np.copyto(keys, keyed, casting="unsafe")
    return keys


_positions_so_far = np.arange(0, dtype=np.uint32)


def _positions(count: int) -> NDArray[np.uint32]:
    """0, 1, 2, … below ``count``; shared by all threads and never written to."""
    global _positions_so_far
    positions = _positions_so_far
    if positions.size < count:
        positions = _positions_so_far = np.arange(count, dtype=np.uint32)
    return positions[:count]


@cache
def _vector_sort_pays() -> bool:
    """Whether sorting keyed positions beats numpy's radix argsort here; both give the same order.

    numpy sorts 32-bit words with vector instructions where the processor and its own version have them (twice
    as fast as the radix sort), and by comparisons elsewhere (many times slower). It has no call that says
    which, so try.
    """
    words = np.arange(1 << 14, dtype=np.uint32) * np.uint32(
        2654435761
    )  # spread by Knuth's multiplicative hash
    keys = (words >> np.uint32(24)).astype(np.uint8)

    def seconds(sort: Callable[[], object]) -> float:
        times = []
        for _ in range(3):  # the first one pays for loading code
            started = perf_counter()
            sort()
            times.append(perf_counter() - started)
        return min(times)

    return seconds(lambda: np.sort(words)) < seconds(lambda: np.argsort(keys, kind="stable"))


CODEC = Ig()
