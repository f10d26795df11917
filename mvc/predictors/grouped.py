"""Rows and groups: arithmetic that needs some elements together, on pieces that begin and end within them.

Elements of a tensor in row-major order fall into groups of equal size: rows, or parts of rows. A piece of the
tensor begins ``skip`` elements after a group's start, and its bases hold every group that it touches, whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mvc.elements import Elements, scratch
from mvc.predictors.floats import F32, STEP, Numbers, load, round_to
from mvc.predictors.params import Params

MAX_GROUP = 1 << 20
"""Greatest number of elements in a group; all of one are calculated with at a time."""


class Part(NamedTuple):
    """Some groups of a piece: which ones, which of their elements the piece has, and where it has them."""

    groups: slice
    inside: slice
    outside: slice


class Groups(NamedTuple):
    """The groups of ``size`` elements that a piece of so many ``elements`` touches."""

    size: int
    skip: int
    elements: int

    @classmethod
    def read(cls, read: Params, key: str, elements: int) -> Groups:
        """From the parameters ``key`` (elements of a group) and ``skip``."""
        size = read.integer(key, 1, MAX_GROUP)
        return cls(size, read.integer("skip", 0, size - 1), elements)

    @property
    def number(self) -> int:
        """How many groups."""
        return -(-(self.skip + self.elements) // self.size) if self.elements else 0

    def parts(self) -> Iterator[Part]:
        """All of them, some at a time, so that what is calculated with stays in a core's cache."""
        step = max(1, STEP // self.size)
        for first in range(0, self.number, step):
            stop = min(first + step, self.number)
            start, end = first * self.size, stop * self.size
            low, high = max(start, self.skip), min(end, self.skip + self.elements)
            yield Part(
                slice(first, stop), slice(low - start, high - start), slice(low - self.skip, high - self.skip)
            )


def load_groups(bits: Elements, dtype: str, size: int, groups: slice) -> Numbers:
    """The numbers of these groups, one row each, as binary32; scratch."""
    given = bits[groups.start * size : groups.stop * size]
    numbers = scratch("grouped.numbers", given.size, F32)
    load(given, dtype, numbers)
    return numbers.reshape(-1, size)


def absmax(numbers: Numbers, divisor: float, dtype: str) -> Numbers:
    """For each row the greatest magnitude over the divisor, rounded to a float type; new binary32 numbers."""
    sizes = np.abs(numbers, out=scratch("grouped.sizes", numbers.size, F32).reshape(numbers.shape))
    starts = np.arange(0, numbers.size, numbers.shape[1])  # twice as fast as a maximum along short rows
    greatest = np.maximum.reduceat(sizes.reshape(-1), starts)
    scales: Numbers = np.divide(greatest, np.float32(divisor), dtype=F32)
    if dtype != "F32":
        round_to(scales, dtype)
    return scales


def round_away(numbers: Numbers) -> None:
    """Each finite number to the nearest whole one, ties away from zero as C's ``roundf``, in place."""
    whole = scratch("grouped.whole", numbers.size, F32).reshape(numbers.shape)
    np.trunc(numbers, out=whole)
    np.subtract(numbers, whole, out=numbers)
    np.add(numbers, numbers, out=numbers)  # exact, and at least 1 from a half on
    np.trunc(numbers, out=numbers)
    np.add(whole, numbers, out=numbers)


def clip(numbers: Numbers, low: float, high: float) -> None:
    """Each number into a range, and NaNs to zero, in place."""
    np.clip(numbers, np.float32(low), np.float32(high), out=numbers)
    lost = np.isnan(numbers)
    if lost.any():
        numbers[lost] = 0
