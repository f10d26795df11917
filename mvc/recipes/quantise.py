"""A tensor of few bits that was made from a float one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.elements import unsigned
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Recipe
from mvc.odb.writer import Hint
from mvc.predictors import absmax, q8_0, quantise
from mvc.predictors.floats import F32, load
from mvc.recipes.known import KnownTensor, hint, plain
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, Candidate, Target, TensorRecipe
from mvc.sketch import RUN, RUNS, VALUES, Sketch, numbers
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

SOURCES = ("F32", "BF16", "F16")
"""Element types that are quantised."""

_ROUNDING = {"I8": (0.75, 0.01), "Q8_0": (0.75, 0.01), "F8_E4M3": (0.0, 0.08), "F8_E5M2": (0.0, 0.15)}
"""For each target, how far x over its scale may be from it: in units, and as a share of it. A little more
than half a unit in the last place, because a sketch is coarse too."""

_LOOKED_AT = 256
_TRIED = 3  # of each float type
_SAMPLE = 1 << 15  # elements of a piece that parameters are looked for on


class Quantised(TensorRecipe):
    """The recipe ``quantise``: the float tensor, scaled and rounded group by group."""

    relation = "quantise"
    exact = True

    def __init__(self, source: KnownTensor, span: Span) -> None:
        self.operands = (source,)
        self._dtype = span.dtype
        self._columns = span.shape[-1] if span.shape else 1
        self._params: dict[str, Any] | None = None

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """All groups that the piece touches, as the first piece shows them."""
        if self._dtype == "Q8_0":
            return self._blocks(database, position, piece)
        length = len(memoryview(piece))
        params = self._params = self._params or self._find(database, position, piece)
        if params is None:
            return None
        size = int(params["group"])
        first, last = position // size, -(-(position + length) // size)
        recipe = Recipe("quantise", 1, params | {"skip": position - first * size})
        (source,) = self.operands
        width = source.width
        bases = source.stretches(first * size * width, (last - first) * size * width)
        return hint(database, self._dtype, bases, recipe, MAX_RECIPE_DEPTH)

    def _blocks(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        (source,) = self.operands
        block = DTYPES[self._dtype]
        scale = block.elements * source.width
        length = len(memoryview(piece))
        bases = source.stretches(position // block.width * scale, length // block.width * scale)
        if self._params is None:
            data = plain(database, bases)
            if data is None:
                return None
            target = np.frombuffer(memoryview(piece), np.uint8)
            self._params = q8_0.find(target, np.frombuffer(data, unsigned(source.width)), source.span.dtype)
        if self._params is None:
            return None
        return hint(database, self._dtype, bases, Recipe("q8_0", 1, self._params), MAX_RECIPE_DEPTH)

    def _find(self, database: ObjectDatabase, position: int, piece: Buffer) -> dict[str, Any] | None:
        """Parameters from the whole rows that a piece has."""
        (source,) = self.operands
        columns, width = self._columns, source.width
        first, last = -(-position // columns), (position + len(memoryview(piece))) // columns
        last = min(last, first + max(_SAMPLE // columns, 1))
        if last <= first:
            return None
        data = plain(database, source.stretches(first * columns * width, (last - first) * columns * width))
        if data is None:
            return None
        rows = memoryview(piece)[first * columns - position : last * columns - position]
        base = np.frombuffer(data, unsigned(width))
        target = np.frombuffer(rows, np.uint8)
        found = quantise.find(target, self._dtype, base, source.span.dtype, columns)
        if found is None and self._dtype == "I8":
            found = self._with_one_scale(database, position, piece)
        return found

    def _with_one_scale(
        self, database: ObjectDatabase, position: int, piece: Buffer
    ) -> dict[str, Any] | None:
        """Parameters with the one scale that all of a piece of int8 shows. That of a tool is the tensor's
        greatest magnitude over 127, which a piece need not hold."""
        (source,) = self.operands
        target = np.frombuffer(memoryview(piece), np.uint8)
        data = plain(database, source.stretches(position * source.width, target.size * source.width))
        if data is None:
            return None
        base = np.frombuffer(data, unsigned(source.width))
        values = np.empty(base.size, F32)
        load(base, source.span.dtype, values)
        scale = one_scale(target.view(np.int8), values)
        if scale is None:
            return None
        stored = np.array([scale], "<f4").view("<u4")
        sample = slice(0, _SAMPLE)
        return quantise.find(
            target[sample], self._dtype, base[sample], source.span.dtype, base[sample].size, (stored, "F32")
        )


def one_scale(codes: NDArray[np.int8], values: NDArray[np.float32]) -> float | None:
    """The scale over which all values, rounded to whole numbers, are these codes; None where there is none.

    |code| − ½ ≤ |value| / scale ≤ |code| + ½ bounds the scale from both sides, the closer the more elements
    there are; codes at the end of their range say nothing of larger values.
    """
    sizes, magnitudes = np.abs(codes.astype(F32)), np.abs(values)
    inside, some = sizes < 127, sizes > 0
    if not np.isfinite(magnitudes).all() or not (inside & some).any():
        return None
    low = float((magnitudes[inside] / (sizes[inside] + F32.type(0.5))).max())
    high = float((magnitudes[some] / (sizes[some] - F32.type(0.5))).min())
    # ties, and quotients that were rounded, may cross a little
    return (low + high) / 2 if 0 < low <= high * 1.00001 else None


class Scales(TensorRecipe):
    """The recipe ``absmax``: the scales of a quantised tensor, from the float one."""

    relation = "quantise"
    exact = True

    def __init__(self, source: KnownTensor, span: Span) -> None:
        self.operands = (source,)
        self._dtype = span.dtype
        self._group = source.span.length // source.width // (span.length // DTYPES[span.dtype].width)

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The groups of the piece's scales."""
        (source,) = self.operands
        width = DTYPES[self._dtype].width
        row = self._group * source.width
        bases = source.stretches(position // width * row, len(memoryview(piece)) // width * row)
        data = plain(database, bases)
        if data is None:
            return None
        target = np.frombuffer(memoryview(piece), unsigned(width))
        params = absmax.find(
            target, self._dtype, np.frombuffer(data, unsigned(source.width)), source.span.dtype
        )
        if params is None:
            return None
        return hint(database, self._dtype, bases, Recipe("absmax", 1, params), MAX_RECIPE_DEPTH)


def find(target: Target) -> Iterator[TensorRecipe]:
    """The tensors of each float type that the target is likeliest a quantisation of: which of them it was
    made from, only the bytes say, since a fine-tune can be nearer to its base than rounding is."""
    if target.span.dtype not in _ROUNDING:
        return
    values = numbers(target.values)
    for dtype in SOURCES:
        fitting: list[tuple[float, Candidate]] = []
        for candidate in islice(target.all_of(dtype), _LOOKED_AT):
            apart = _misfit(values, candidate.values, target.span.dtype)
            if apart is not None:
                fitting.append((apart, candidate))
        fitting.sort(key=itemgetter(0))  # stable, so the newest of equals comes first
        tensors = (candidate.tensor() for _apart, candidate in fitting)
        for tensor in islice((found for found in tensors if found is not None), _TRIED):
            yield Quantised(tensor, target.span)


def _misfit(values: NDArray[np.float64], source: Sketch, dtype: str) -> float | None:
    """How far values are from those of a source, over a scale for each run, as a share of what rounding
    allows: the mean. None where they are not the source's, rounded."""
    now, before = values.reshape(RUNS, RUN), numbers(source).reshape(RUNS, RUN)
    if not (np.isfinite(now).all() and np.isfinite(before).all()) or np.count_nonzero(now) < VALUES // 4:
        return None
    units, share = _ROUNDING[dtype]
    weight = (now * now).sum(axis=1, keepdims=True)
    scale = np.where(weight > 0, (now * before).sum(axis=1, keepdims=True) / np.maximum(weight, 1e-300), 0)
    # one unit of a scaled number: 1 of an integer, a part of the greatest in a block that has a scale
    unit = np.abs(now).max(axis=1, keepdims=True) / 60 if dtype == "Q8_0" else 1.0
    room = np.abs(scale) * unit * units + share * np.abs(before) + 1e-30
    apart = np.abs(before - scale * now) / room
    fits = (apart <= 1) & (weight > 0)
    return float(apart.mean()) if np.count_nonzero(fits) >= VALUES - 2 else None
