"""What a stretch of a tensor that lies in two files adds to the statistics of its move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.elements import scratch
from mvc.errors import UnsupportedFeature
from mvc.history.numeric import Reals, differences, reals_in, to_reals
from mvc.history.reader import ObjectReader, PartTable, read_range
from mvc.history.tensordiff import SpanPair, count_unequal, pair_moved_share, same_stored, strided_blocks

_STEP = 1 << 16  # elements that are calculated with at a time, so that they stay in a core's cache
_F64 = np.dtype(np.float64)


class Compared(NamedTuple):
    """A tensor in two files: each file's parts, and where the tensor lies in it."""

    old_parts: PartTable
    new_parts: PartTable
    pair: SpanPair


@dataclass(slots=True)
class Sums:
    """What a stretch of a tensor adds."""

    number: int
    seen: int = 0
    moved: int = 0
    old: float = 0.0
    new: float = 0.0
    delta: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    lost: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    sampled: list[tuple[int, Reals, Reals]] = field(default_factory=list)
    share: float | None = None


class Stretch(NamedTuple):
    """Elements ``start`` and so many more of a tensor, all of it where it does not lie in one stretch."""

    one: Compared
    number: int
    dtypes: tuple[str, str]
    start: int
    elements: int
    places: NDArray[np.int64]
    numeric: bool
    sample_at: int = 0
    streams: bool = False

    @property
    def size(self) -> int:
        """Bytes that are read, about."""
        return self.elements * max(DTYPES[dtype].unit for dtype in self.dtypes)

    def run(self, reader: ObjectReader) -> Sums:
        """The stretch's sums."""
        sums = Sums(self.number)
        try:
            if not self.numeric:
                sums.share = pair_moved_share(reader, self.one.old_parts, self.one.new_parts, self.one.pair)
                return sums
            done, taken = self.start, 0
            for old, new in self.blocks(reader):
                step = Step(old, new, self.dtypes)
                step.add_to(sums)
                end = int(np.searchsorted(self.places, done + step.elements))
                if end > taken:
                    where = self.places[taken:end] - done
                    sums.sampled.append(
                        (
                            self.sample_at + taken,
                            step.finite_at(step.delta, where),
                            step.finite_at(step.second, where),
                        )
                    )
                done, taken = done + step.elements, end
        except UnsupportedFeature:  # a strided view of more than 256 MiB
            return Sums(self.number, moved=-1)
        return sums

    def blocks(self, reader: ObjectReader) -> Iterator[tuple[memoryview, memoryview]]:
        """Its elements in short runs of whole ones, both sides."""
        old, new = self.one.pair
        if not self.streams:
            yield from strided_blocks(reader, self.one.old_parts, self.one.new_parts, self.one.pair, _STEP)
            return
        widths = DTYPES[old.dtype].width, DTYPES[new.dtype].width
        ranges = [
            (span.offset + self.start * width, self.elements * width)
            for span, width in zip(self.one.pair, widths, strict=True)
        ]
        first = _joined(read_range(reader, self.one.old_parts, *ranges[0]))
        same = widths[0] == widths[1] and same_stored(
            self.one.old_parts, self.one.new_parts, ranges[0][0], ranges[1][0], ranges[0][1]
        )
        second = first if same else _joined(read_range(reader, self.one.new_parts, *ranges[1]))
        for at in range(0, self.elements, _STEP):
            end = min(at + _STEP, self.elements)
            yield first[at * widths[0] : end * widths[0]], second[at * widths[1] : end * widths[1]]


def _joined(pieces: Iterable[bytes]) -> memoryview:
    every = list(pieces)
    return memoryview(every[0] if len(every) == 1 else b"".join(every))


class Step:
    """A few elements of both sides, as numbers; scratch."""

    def __init__(self, old: memoryview, new: memoryview, dtypes: tuple[str, str]) -> None:
        self.elements = len(old) // DTYPES[dtypes[0]].width
        self._parts = reals_in(dtypes[0])
        count = self.elements * self._parts
        self.first, self.second, self.delta = (
            scratch(f"tensorstats.{name}", count, _F64) for name in ("first", "second", "delta")
        )
        self._old, self._new, self._dtypes = old, new, dtypes
        to_reals(old, dtypes[0], self.first)
        to_reals(new, dtypes[1], self.second)
        differences(old, new, dtypes, self.first, self.second, self.delta)
        self.finite: NDArray[np.bool_] | None = None
        # a NaN or infinity anywhere leaves its mark on the sum of the differences
        if not isfinite(float(np.add.reduce(self.delta))):
            both = np.isfinite(self.first) & np.isfinite(self.second)
            self.finite = None if both.all() else both

    def finite_at(self, numbers: Reals, where: NDArray[np.int64]) -> Reals:
        """Numbers at some places; 0 where there is none."""
        found: Reals = numbers[where]
        return np.where(np.isfinite(found), found, 0.0)

    def add_to(self, sums: Sums) -> None:
        """Take the elements into account."""
        sums.seen += self.elements
        sums.moved += self._moved()
        first, second, delta = self.first, self.second, self.delta
        if self.finite is not None:
            for place, side in enumerate((first, second)):
                sums.lost[2 * place] += int(np.count_nonzero(np.isnan(side)))
                sums.lost[2 * place + 1] += int(np.count_nonzero(np.isinf(side)))
            first, second, delta = (np.where(self.finite, side, 0.0) for side in (first, second, delta))
        # einsum adds without BLAS, whose order of additions depends on the number of its threads
        sums.old += float(np.einsum("i,i->", first, first))
        sums.new += float(np.einsum("i,i->", second, second))
        sums.delta += float(np.einsum("i,i->", delta, delta))
        sums.product += float(np.einsum("i,i->", first, second))
        if self._parts == 2:
            sizes = np.hypot(delta[0::2], delta[1::2])
            sums.largest = max(sums.largest, float(sizes.max(initial=0.0)))
        else:
            sums.largest = max(sums.largest, float(delta.max(initial=0.0)), -float(delta.min(initial=0.0)))

    def _moved(self) -> int:
        old, new = self._dtypes
        if old == new:
            return count_unequal(self._old, self._new, DTYPES[old].width)
        unequal = (self.first != self.second) & ~(np.isnan(self.first) & np.isnan(self.second))
        if self._parts == 2:
            unequal = unequal.reshape(-1, 2).any(axis=1)
        return int(np.count_nonzero(unequal))
