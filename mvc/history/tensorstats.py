"""How far tensors moved: statistics of what lies between two versions of them, in one pass over their blocks.

Of two tensors W and W + Δ: the share of elements that changed, ‖Δ‖, max |Δ|, ‖Δ‖ / ‖W‖, the cosine of W and
W + Δ, the effective rank of Δ. All sums are of binary64, of elements that are finite on both sides, block by
block in the order of the file, so that the number of threads does not change them; what overflows binary64
is not told (None). Blocks are of 1 MiB; a stretch that both versions store as one is decoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite, prod, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.elements import scratch
from mvc.errors import UnsupportedFeature
from mvc.history.numeric import Reals, differences, is_numeric, reals_in, to_reals
from mvc.history.reader import ObjectReader, PartTable, read_range
from mvc.history.spectrum import Grid, effective_rank, low_rank, rounding_noise, singular_values
from mvc.history.tensordiff import (
    SpanPair,
    check_spans,
    count_unequal,
    dense_order,
    pair_moved_share,
    same_stored,
    strided_blocks,
)
from mvc.parallel import batches, ordered_map
from mvc.spans import element_count

BLOCK_BYTES = 1 << 20
_STEP = 1 << 16  # elements that are calculated with at a time, so that they stay in a core's cache
_F64 = np.dtype(np.float64)
_MOST_SAMPLED = 1 << 48


class Compared(NamedTuple):
    """A tensor in two files: each file's parts, and where the tensor lies in it."""

    old_parts: PartTable
    new_parts: PartTable
    pair: SpanPair


@dataclass(frozen=True, slots=True)
class TensorStats:
    """How far a tensor moved.

    ``elements`` were compared: all, or of a tensor that gained or lost rows those of the rows that both have.
    ``moved`` is the share of them that changed, 0 to 1: whose bits differ, or, where dtypes differ, whose
    number does; of blocks (ggml's types) the share of blocks, and nothing else is known then. ``l2`` is ‖Δ‖,
    ``largest`` max |Δ| (of complex numbers their absolute value), ``norm`` ‖W‖ of the old tensor,
    ``relative`` ‖Δ‖ / ‖W‖, ``rank`` the effective rank of Δ on at most 256 rows and columns
    (:mod:`mvc.history.spectrum`), ``low_rank`` how many directions Δ has there, if they are few and the
    rest is no more than rounding.
    ``nans`` and ``infinities`` count elements (parts of complex ones) before and after. None is what is not
    defined, not asked for, or too large for binary64.
    """

    elements: int
    moved: float | None = None
    l2: float | None = None
    largest: float | None = None
    norm: float | None = None
    relative: float | None = None
    cosine: float | None = None
    rank: float | None = None
    low_rank: int | None = None
    nans: tuple[int, int] = (0, 0)
    infinities: tuple[int, int] = (0, 0)


def compare(
    reader: ObjectReader,
    tensors: Sequence[Compared],
    *,
    rank: bool = False,
    ahead: Callable[[Sequence[Compared]], object] | None = None,
) -> Iterator[TensorStats | None]:
    """Statistics for each of some tensors, in their order; None where nothing can be said: other extents, a
    dtype that holds no plain numbers, a strided view of more than 256 MiB.

    ``rank`` asks for effective ranks; ``ahead`` is told which tensors are about to be read.

    Raises:
        CorruptObject: a tensor's length contradicts its shape or strides.
        DamageError: stored bytes are missing or wrong.
    """
    # made when their turn comes, and let go of when they are done: a sample of ranks takes a megabyte
    totals: dict[int, _Total | None] = {}

    def jobs() -> Iterator[_Job]:
        for number, one in enumerate(tensors):
            total = totals[number] = _total(one, rank)
            if total is not None:
                yield from total.jobs(number)

    def work(group: list[_Job]) -> list[_Sums]:
        if ahead is not None:
            ahead([tensors[number] for number in dict.fromkeys(job.number for job in group)])
        with np.errstate(all="ignore"):  # weights may hold anything
            return [job.run(reader) for job in group]

    def done(number: int) -> TensorStats | None:
        total = totals.pop(number)
        return None if total is None else total.finished()

    groups = batches(jobs(), lambda job: job.size, BLOCK_BYTES)
    few = sum(one.pair.new.length for one in tensors) <= BLOCK_BYTES  # less than threads cost
    waiting = 0
    for sums in map(work, groups) if few else ordered_map(work, groups):
        for one in sums:
            while waiting < one.number:
                yield done(waiting)
                waiting += 1
            total = totals[one.number]
            if total is not None:
                total.add(one)
    while waiting < len(tensors):
        yield done(waiting)
        waiting += 1


def histogram(reader: ObjectReader, one: Compared, largest: float, bins: int) -> tuple[int, ...]:
    """How many elements changed by how much: counts in so many equal bins from −``largest`` to ``largest``,
    of the elements whose number changed."""
    counts = np.zeros(bins, np.int64)
    for delta in delta_blocks(reader, one):
        counts += np.histogram(delta[delta != 0], bins, (-largest, largest))[0]
    return tuple(counts.tolist())


def beyond_rounding(reader: ObjectReader, one: Compared) -> int:
    """Of two tensors of float types, the elements that are further apart than both may be from what they are
    roundings of: half a unit in the last place of each."""
    total = _total(one, False)
    kinds = [DTYPES[span.dtype.removesuffix(":be")] for span in one.pair]
    found = 0
    for job in () if total is None else total.jobs(0):
        for old, new in job.blocks(reader):
            with np.errstate(all="ignore"):
                step = _Step(old, new, job.dtypes)
                units = np.zeros(step.elements)
                for kind, numbers in zip(kinds, (step.first, step.second), strict=True):
                    least = 2 - (1 << (kind.exponent_bits - 1))  # the exponent of subnormal numbers
                    exponents = np.maximum(np.frexp(numbers)[1] - 1, least)
                    units += np.ldexp(0.5, exponents - kind.exponent_shift)
                good = np.isfinite(step.first) & np.isfinite(step.second)
                found += int(np.count_nonzero((np.abs(step.delta) > units) & good))
    return found


def delta_blocks(reader: ObjectReader, one: Compared) -> Iterator[Reals]:
    """The finite differences of a tensor's elements, block by block; nothing where :func:`compare` says
    nothing. Each array is good until the next is asked for."""
    total = _total(one, False)
    for job in () if total is None else total.jobs(0):
        for old, new in job.blocks(reader):
            with np.errstate(all="ignore"):
                step = _Step(old, new, job.dtypes)
                yield step.delta if step.finite is None else step.delta[step.finite]


def _total(one: Compared, rank: bool) -> _Total | None:
    try:
        return _Total(one, rank)
    except UnsupportedFeature:  # a dtype of a newer mvc
        return None


# --- one tensor --------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Sums:
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


class _Total:
    """A tensor while its blocks come in."""

    def __init__(self, one: Compared, rank: bool) -> None:
        check_spans(one.old_parts, one.new_parts, one.pair)
        self._one = one
        old, new = one.pair
        self._numeric = (
            is_numeric(old.dtype) and is_numeric(new.dtype) and reals_in(old.dtype) == reals_in(new.dtype)
        )
        self._order = dense_order(one.pair)
        self.elements = self._common()
        self.size = self.elements * max(DTYPES[side.dtype].unit for side in one.pair)
        shape = old.shape
        if self._order is not None:
            shape = tuple(old.shape[axis] for axis in self._order)
        elif self._numeric and not self._strided:
            shape = old.shape if self.elements == element_count(old.shape) else new.shape
        # a view that repeats elements may claim any extent
        wanted = rank and self._numeric and reals_in(old.dtype) == 1 and self.elements <= _MOST_SAMPLED
        self.grid = Grid.of(shape) if wanted else None
        self._places = np.empty(0, np.int64) if self.grid is None else self.grid.places()
        self.sample = np.zeros(self._places.size)
        self.values = np.zeros(self._places.size if rank else 0)
        self._sums = _Sums(0)
        self._share: float | None = None
        self._unknown = False

    @property
    def _strided(self) -> bool:
        old, new = self._one.pair
        return self._order is None and (old.strides is not None or new.strides is not None)

    def _common(self) -> int:
        """Elements that are compared; 0 where extents do not go together."""
        old, new = self._one.pair
        if old.shape == new.shape:
            return element_count(old.shape)
        if old.strides is not None or new.strides is not None:
            return 0
        if element_count(old.shape) == element_count(new.shape):
            return element_count(old.shape)
        if old.shape[1:] == new.shape[1:] and old.shape and new.shape:
            return min(old.shape[0], new.shape[0]) * prod(old.shape[1:])
        return 0

    def jobs(self, number: int) -> Iterator[_Job]:
        """Its stretches, in order."""
        old, new = self._one.pair
        dtypes = old.dtype, new.dtype
        if not self.elements:
            return
        if not self._numeric or self._strided:
            if self._numeric or old.dtype == new.dtype:
                yield _Job(self._one, number, dtypes, 0, self.elements, self._places, self._numeric)
            return
        count = max(1, BLOCK_BYTES // min(DTYPES[dtype].width for dtype in dtypes))
        for start in range(0, self.elements, count):
            taken = min(count, self.elements - start)
            low, high = np.searchsorted(self._places, (start, start + taken)).tolist()
            yield _Job(self._one, number, dtypes, start, taken, self._places[low:high], True, low, True)

    def add(self, sums: _Sums) -> None:
        """The next stretch."""
        total = self._sums
        total.seen += sums.seen
        total.moved += sums.moved
        total.old += sums.old
        total.new += sums.new
        total.delta += sums.delta
        total.product += sums.product
        total.largest = max(total.largest, sums.largest)
        total.lost = [one + other for one, other in zip(total.lost, sums.lost, strict=True)]
        for at, delta, values in sums.sampled:
            self.sample[at : at + delta.size] = delta
            self.values[at : at + values.size] = values
        self._share = sums.share
        self._unknown = self._unknown or sums.moved < 0

    def finished(self) -> TensorStats | None:
        """All of it together."""
        old, new = self._one.pair
        if self._unknown or (not self.elements and old.shape != new.shape):
            return None
        if not self._numeric:
            return None if old.dtype != new.dtype else TensorStats(self.elements, self._share or 0.0)
        sums = self._sums
        rank, few = self._ranks() if sums.seen == self.elements else (None, None)
        norms = sqrt(sums.old) * sqrt(sums.new)
        cosine = sums.product / norms if norms and isfinite(norms) else None
        times = self.elements / sums.seen if sums.seen else 1.0  # a view passes what it repeats once
        return TensorStats(
            elements=self.elements,
            moved=sums.moved / sums.seen if sums.seen else 0.0,
            l2=_known(sqrt(sums.delta * times)),
            largest=_known(sums.largest),
            norm=_known(sqrt(sums.old * times)),
            relative=_known(sqrt(sums.delta) / sqrt(sums.old)) if sums.old and isfinite(sums.old) else None,
            cosine=None if cosine is None or not isfinite(cosine) else max(-1.0, min(1.0, cosine)),
            rank=rank,
            low_rank=few,
            nans=(sums.lost[0], sums.lost[2]),
            infinities=(sums.lost[1], sums.lost[3]),
        )

    def _ranks(self) -> tuple[float | None, int | None]:
        if self.grid is None:
            return None, None
        matrix = self.sample.reshape(self.grid.shape)
        values = singular_values(matrix)
        dtype, few = DTYPES[self._one.pair.new.dtype.removesuffix(":be")], None
        if dtype.exponent_bits:
            few = low_rank(matrix, rounding_noise(self.values, dtype.exponent_shift), values)
        return effective_rank(values), few


def _known(number: float) -> float | None:
    return number if isfinite(number) else None


# --- a stretch of one --------------------------------------------------------------------------------------
class _Job(NamedTuple):
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

    def run(self, reader: ObjectReader) -> _Sums:
        """The stretch's sums."""
        sums = _Sums(self.number)
        try:
            if not self.numeric:
                sums.share = pair_moved_share(reader, self.one.old_parts, self.one.new_parts, self.one.pair)
                return sums
            done, taken = self.start, 0
            for old, new in self.blocks(reader):
                step = _Step(old, new, self.dtypes)
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
            return _Sums(self.number, moved=-1)
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


class _Step:
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

    def add_to(self, sums: _Sums) -> None:
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
