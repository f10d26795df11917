"""Between the bits of float types and the numbers that recipes calculate with.

Numbers are IEEE 754 binary32 or binary64. Widening is exact. Rounding is to the nearest, ties to even, to
infinity above the greatest number (F8_E4M3 has none: to its NaN). A result's NaN is always the same one:
positive, quiet, without payload, because processors differ in which NaN they make.

``store`` of F16, F8 and from binary64, and ``load`` of F16, use float instructions: see
:mod:`mvc.predictors.ieee`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.elements import Elements, scratch, signed, unsigned

Numbers = NDArray[Any]
"""An array of :data:`F32` or :data:`F64`."""

F32 = np.dtype("<f4")
F64 = np.dtype("<f8")

STEP = 1 << 16
"""Elements that are calculated with at a time: a few arrays of so many numbers stay in a core's cache."""


class _Small(NamedTuple):
    """A type narrower than BF16 or of another exponent: bits of its mantissa, its exponent's bias, and the
    bits of the binary32 number from which on everything becomes what that number becomes."""

    mantissa: int
    bias: int
    ceiling: int


_SMALL = {
    "F16": _Small(10, 15, 0x47800000),  # 65,536, which overflows
    "F8_E5M2": _Small(2, 15, 0x47800000),
    "F8_E4M3": _Small(3, 7, 0x43F00000),  # 480, which would be the bits of its NaN
}

NAN = {
    "F64": 0x7FF8000000000000,
    "F32": 0x7FC00000,
    "F16": 0x7E00,
    "BF16": 0x7FC0,
    "F8_E5M2": 0x7F,
    "F8_E4M3": 0x7F,
}
"""Each float type's canonical NaN, as bits; mostly those that torch writes."""

FLOATS = frozenset(NAN)
"""The float types that recipes know, by name."""


PARENTS = frozenset({"F32", "F16", "BF16"})
"""Those that models are quantised from and adapted in; binary32 holds all of their numbers."""


def width_of(dtype: str) -> int:
    """Bytes of an element of a float type."""
    return DTYPES[dtype].width


def elements(data: memoryview, dtype: str) -> Elements:
    """The bits of whole elements; copies nothing."""
    return np.frombuffer(data, unsigned(width_of(dtype)))


def steps(count: int) -> Iterator[slice]:
    """``count`` elements, so many at a time as stay in a core's cache."""
    return (slice(start, min(start + STEP, count)) for start in range(0, count, STEP))


def load(bits: Elements, dtype: str, out: Numbers) -> None:
    """The numbers that these bits are; exact, except that binary64 is rounded where ``out`` is binary32."""
    if dtype == "BF16" and out.dtype == F32:
        words = out.view(unsigned(4))
        np.copyto(words, bits)
        np.left_shift(words, 16, out=words)
    elif dtype == "BF16":
        narrow = scratch("floats.narrow", bits.size, F32)
        load(bits, dtype, narrow)
        np.copyto(out, narrow)
    elif dtype.startswith("F8"):
        np.take(_EIGHT_BITS[dtype].astype(out.dtype), bits, out=out, mode="clip")
    else:
        np.copyto(out, bits.view(f"<f{bits.dtype.itemsize}"), casting="unsafe")


def store(numbers: Numbers, dtype: str, out: Elements) -> None:
    """The bits of these numbers, rounded; ``numbers`` are used up.

    From binary64 to less than binary32 the way is through binary32, as in torch: two roundings.
    """
    if dtype == "F64":
        wide = out.view(F64)
        np.copyto(wide, numbers)
        _settle_nans(wide, out, dtype)
        return
    if numbers.dtype == F64:
        narrow = scratch("floats.narrow", numbers.size, F32)
        np.copyto(narrow, numbers, casting="same_kind")
        numbers = narrow
    if dtype == "F32":
        np.copyto(out.view(F32), numbers)
        _settle_nans(numbers, out, dtype)
        return
    lost = np.isnan(numbers, out=scratch("floats.nan", numbers.size, np.dtype(bool)))
    any_lost = lost.any()
    if dtype == "BF16":
        words = numbers.view(unsigned(4))
        _round_words(words)
        np.right_shift(words, 16, out=words)
        np.copyto(out, words, casting="unsafe")
    else:
        _store_small(numbers, _SMALL[dtype], out)
    if any_lost:
        out[lost] = NAN[dtype]


def round_to(numbers: Numbers, dtype: str) -> None:
    """Each number becomes the nearest one that the type has, in place."""
    if dtype == "BF16" and numbers.dtype == F32:
        lost = np.isnan(numbers, out=scratch("floats.nan", numbers.size, np.dtype(bool)))
        any_lost = lost.any()
        words = numbers.view(unsigned(4))
        _round_words(words)
        np.bitwise_and(words, 0xFFFF0000, out=words)
        if any_lost:
            words[lost] = NAN["F32"]
    elif width_of(dtype) < numbers.dtype.itemsize:
        bits = scratch("floats.bits", numbers.size, unsigned(width_of(dtype)))
        store(numbers, dtype, bits)
        load(bits, dtype, numbers)


def _round_words(words: Elements) -> None:
    """Round binary32 to what its upper 16 bits can say; the lower ones are left as they fall."""
    odd = scratch("floats.odd", words.size, words.dtype)
    np.right_shift(words, 16, out=odd)
    np.bitwise_and(odd, 1, out=odd)
    np.add(words, odd, out=words)
    np.add(words, 0x7FFF, out=words)


def _store_small(numbers: Numbers, kind: _Small, out: Elements) -> None:
    """Round binary32 to a type of fewer exponent bits.

    Method: F. Giesen, "Float->half variants" (https://gist.github.com/rygorous/2156668), ``fast3_rtne``.
    Normal results are rounded as integers. For subnormal ones a power of two is added whose last place is
    that of the result, so that the addition rounds. Each way gives, outside of its range, no more than the
    other one or than the least normal result, so a maximum joins them.
    """
    shift = 23 - kind.mantissa
    rebias = (127 - kind.bias) << 23
    magic = np.uint32(rebias + ((shift + 1) << 23))
    top = 8 * out.dtype.itemsize - 1
    words = numbers.view(unsigned(4))
    sign = scratch("floats.sign", words.size, words.dtype)
    np.right_shift(words, 31 - top, out=sign)
    np.bitwise_and(sign, 1 << top, out=sign)
    np.bitwise_and(words, 0x7FFFFFFF, out=words)
    np.minimum(words, _filled(kind.ceiling, words.size), out=words)
    low = scratch("floats.low", words.size, words.dtype)
    np.add(numbers, magic.view(np.float32), out=low.view(F32))
    np.subtract(low, magic, out=low)
    np.minimum(low, _filled(1 << kind.mantissa, words.size), out=low)
    odd = scratch("floats.odd", words.size, words.dtype)
    np.right_shift(words, shift, out=odd)
    np.bitwise_and(odd, 1, out=odd)
    np.add(words, odd, out=words)
    np.add(words, np.uint32(((1 << (shift - 1)) - 1 - rebias) & 0xFFFFFFFF), out=words)
    high = words.view(signed(4))  # subnormal numbers are negative here
    np.right_shift(high, shift, out=high)
    np.maximum(high, low.view(signed(4)), out=high)
    np.bitwise_or(words, sign, out=words)
    np.copyto(out, words, casting="unsafe")


@cache
def _constant(value: int) -> Elements:
    return np.full(STEP, value, unsigned(4))


def _filled(value: int, count: int) -> Elements:
    """So many elements of one value: numpy compares arrays three times as fast as an array and a number."""
    return _constant(value)[:count] if count <= STEP else np.full(count, value, unsigned(4))


def _settle_nans(numbers: Numbers, out: Elements, dtype: str) -> None:
    lost = np.isnan(numbers)
    if lost.any():
        out[lost] = NAN[dtype]


def _table(dtype: str) -> NDArray[np.float32]:
    """The numbers of all 256 bit patterns of an 8-bit type (OCP 8-bit Floating Point Specification 1.0)."""
    kind = _SMALL[dtype]
    top = (1 << (7 - kind.mantissa)) - 1
    found = []
    for bits in range(256):
        exponent, mantissa = (bits >> kind.mantissa) & top, bits & ((1 << kind.mantissa) - 1)
        unit = 2.0 ** (max(exponent, 1) - kind.bias - kind.mantissa)
        size = ((bool(exponent) << kind.mantissa) + mantissa) * unit
        if dtype == "F8_E5M2" and exponent == top:
            size = float("nan") if mantissa else float("inf")
        if dtype == "F8_E4M3" and bits & 0x7F == 0x7F:
            size = float("nan")
        found.append(-size if bits & 0x80 else size)
    return np.array(found, F32)


_EIGHT_BITS = {dtype: _table(dtype) for dtype in ("F8_E4M3", "F8_E5M2")}
