"""How large a change must be to be among the largest of its tensor, found without holding the tensor.

Bits of floats without the sign are ordered as magnitudes are, so the k-th largest is found as a radix search
does: passes over the tensor count how often each value of 16 bits occurs, the topmost first, among those
whose higher bits are known by then. Counting is of integers, so that every machine finds the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mvc.elements import Elements, unsigned
from mvc.merging.sides import Operand
from mvc.predictors.floats import F32, F64, elements, load, width_of
from mvc.predictors.ties import task_vector

_DIGIT = 16
_READ = 1 << 20


def thresholds(base: Operand, sides: tuple[Operand, ...], density: float) -> list[int]:
    """For each side the bits, without the sign, of the least of its ⌈density · n⌉ largest changes since
    ``base``, of infinity where that is a NaN; 0 for a tensor without elements. ``density`` is the decimal
    number that it is written as.

    Reads each tensor twice, four times where it is of F64.
    """
    dtype = base.span.dtype
    count = base.span.length // width_of(dtype)
    if not count:
        return [0] * len(sides)
    kept = ceil(Fraction(repr(density)) * count)
    kind = F64 if dtype == "F64" else F32
    width = 8 * kind.itemsize
    known, wanted = [0] * len(sides), [kept] * len(sides)
    for shift in range(width - _DIGIT, -1, -_DIGIT):
        counts = np.zeros((len(sides), 1 << _DIGIT), np.int64)
        with np.errstate(all="ignore"):  # infinities, and the NaNs that they leave, are changes like others
            for index, sizes in _sizes(base, sides):
                among = sizes if shift + _DIGIT == width else sizes[sizes >> (shift + _DIGIT) == known[index]]
                digits = (among >> shift & ((1 << _DIGIT) - 1)).astype(np.int64)
                counts[index] += np.bincount(digits, minlength=1 << _DIGIT)
        for index in range(len(sides)):
            digit, above = _digit(counts[index], wanted[index])
            known[index] = known[index] << _DIGIT | digit
            wanted[index] -= above
    infinity = int(np.array(np.inf, kind).view(unsigned(kind.itemsize)))
    return [min(size, infinity) for size in known]  # NaNs differ between processors, and all of them are kept


def _digit(counts: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """The digit of the ``wanted``-th largest, and how many have a larger one."""
    from_above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_above, wanted))
    digit = counts.size - 1 - place
    return digit, int(from_above[place] - counts[digit])


def _sizes(base: Operand, sides: tuple[Operand, ...]) -> Iterator[tuple[int, Elements]]:
    """The bits, without the sign, of the changes of some elements: each side's in turn, good until the
    next."""
    dtype = base.span.dtype
    kind = F64 if dtype == "F64" else F32
    origin, move = (np.empty(_READ // width_of(dtype), kind) for _ in range(2))
    words = move.view(unsigned(kind.itemsize))
    for position in range(0, base.span.length, _READ):
        length = min(_READ, base.span.length - position)
        before = elements(memoryview(base.read(position, length)), dtype)
        load(before, dtype, origin[: before.size])
        for index, side in enumerate(sides):
            now = elements(memoryview(side.read(position, length)), dtype)
            task_vector(now, origin[: now.size], dtype, move[: now.size])
            found = words[: now.size]
            yield index, np.bitwise_and(found, (1 << (8 * kind.itemsize - 1)) - 1, out=found)
