"""How far tensors moved: statistics of what lies between two versions of them, in one pass over their blocks.

Of two tensors W and W + Δ: the share of elements that changed, ‖Δ‖, max |Δ|, ‖Δ‖ / ‖W‖, the cosine of W and
W + Δ, the effective rank of Δ. All sums are of binary64, of elements that are finite on both sides, block by
block in the order of the file, so that the number of threads does not change them; what overflows binary64
is not told (None). Blocks are of 1 MiB; a stretch that both versions store as one is decoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, prod, sqrt

import numpy as np

from mvc.dtypes import DTYPES
from mvc.errors import UnsupportedFeature
from mvc.history.numeric import Reals, is_numeric, reals_in
from mvc.history.reader import ObjectReader
from mvc.history.spectrum import Grid, effective_rank, low_rank, rounding_noise, singular_values
from mvc.history.stretches import Compared, Step, Stretch, Sums
from mvc.history.tensordiff import check_spans, dense_order
from mvc.parallel import batches, ordered_map
from mvc.spans import element_count

BLOCK_BYTES = 1 << 20
_MOST_SAMPLED = 1 << 48


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

    def jobs() -> Iterator[Stretch]:
        for number, one in enumerate(tensors):
            total = totals[number] = _total(one, rank)
            if total is not None:
                yield from total.jobs(number)

    def work(group: list[Stretch]) -> list[Sums]:
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
                step = Step(old, new, job.dtypes)
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
                step = Step(old, new, job.dtypes)
                yield step.delta if step.finite is None else step.delta[step.finite]


def _total(one: Compared, rank: bool) -> _Total | None:
    try:
        return _Total(one, rank)
    except UnsupportedFeature:  # a dtype of a newer mvc
        return None


# --- one tensor --------------------------------------------------------------------------------------------
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
        self._sums = Sums(0)
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

    def jobs(self, number: int) -> Iterator[Stretch]:
        """Its stretches, in order."""
        old, new = self._one.pair
        dtypes = old.dtype, new.dtype
        if not self.elements:
            return
        if not self._numeric or self._strided:
            if self._numeric or old.dtype == new.dtype:
                yield Stretch(self._one, number, dtypes, 0, self.elements, self._places, self._numeric)
            return
        count = max(1, BLOCK_BYTES // min(DTYPES[dtype].width for dtype in dtypes))
        for start in range(0, self.elements, count):
            taken = min(count, self.elements - start)
            low, high = np.searchsorted(self._places, (start, start + taken)).tolist()
            yield Stretch(self._one, number, dtypes, start, taken, self._places[low:high], True, low, True)

    def add(self, sums: Sums) -> None:
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
