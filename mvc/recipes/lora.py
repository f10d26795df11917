"""A weight into which a low-rank adapter was merged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mvc.elements import unsigned
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Recipe
from mvc.odb.writer import Hint
from mvc.predictors import lora
from mvc.predictors.floats import elements, load
from mvc.recipes.known import KnownTensor, hint, plain
from mvc.recipes.quantise import SOURCES
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, NEAR, Candidate, Target, TensorRecipe
from mvc.sketch import RUN, RUNS, count_of, numbers, places
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_SAMPLE = 1 << 12  # elements of a piece that parameters are looked for on
_LIKELY = 0.5
"""Correlation of a weight's move, at 32 places, with an adapter's product: chance gives 0.18, and the
rounding of a merged weight leaves some 0.9."""

_TRIED = 3
_ADAPTERS = 4


class Merged(TensorRecipe):
    """The recipe ``lora``: a weight, and the product of an adapter's two matrices."""

    relation = "LoRA merge"
    exact = True

    def __init__(self, weight: KnownTensor, down: KnownTensor, up: KnownTensor, span: Span) -> None:
        self.operands = (weight, down, up)
        self._dtype = span.dtype
        self._columns = span.shape[-1]
        self._rank = down.span.shape[0]
        self._params: dict[str, Any] | None = None

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The piece of the weight, all of A, and of B the rows that the piece touches."""
        weight, _down, _up = self.operands
        start, count = position // weight.width, len(memoryview(piece)) // weight.width
        params = self._params = self._params or self._find(database, start, piece)
        if params is None:
            return None
        first, last = start // self._columns, -(-(start + count) // self._columns)
        stretches = [
            weight.stretches(position, count * weight.width),
            *self._adapter(first, last),
        ]
        bases = [base for part in stretches if part is not None for base in part]
        if any(part is None for part in stretches):
            return None
        recipe = Recipe("lora", 1, params | {"skip": start - first * self._columns})
        return hint(database, self._dtype, bases, recipe, MAX_RECIPE_DEPTH)

    def _adapter(self, first: int, last: int) -> list[Any]:
        """Stretches of all of A, and of B's rows from ``first`` up to ``last``."""
        _weight, down, up = self.operands
        row = self._rank * up.width
        return [down.stretches(0, down.span.length), up.stretches(first * row, (last - first) * row)]

    def _find(self, database: ObjectDatabase, start: int, piece: Buffer) -> dict[str, Any] | None:
        """Parameters from the whole rows that a piece has."""
        weight, down, _up = self.operands
        columns, width = self._columns, weight.width
        end = start + len(memoryview(piece)) // width
        first, last = -(-start // columns), end // columns
        last = min(last, first + max(_SAMPLE // columns, 1))
        if last <= first:
            return None
        low, length = first * columns * width, (last - first) * columns * width
        before = plain(database, weight.stretches(low, length))
        adapter = [plain(database, part) for part in self._adapter(first, last)]
        if before is None or adapter[0] is None or adapter[1] is None:
            return None
        dtype, bits = unsigned(width), unsigned(down.width)
        return lora.find(
            np.frombuffer(memoryview(piece)[low - start * width :][:length], dtype),
            np.frombuffer(before, dtype),
            self._dtype,
            np.frombuffer(adapter[0], bits),
            np.frombuffer(adapter[1], bits),
            down.span.dtype,
            self._rank,
        )


def find(target: Target) -> Iterator[TensorRecipe]:
    """Near weights with adapters of that name, the newest first."""
    span = target.span
    if span.dtype not in SOURCES or len(span.shape) != 2:
        return
    adapters = [pair for pair in target.adapters() if _fits(*pair, span)][:_ADAPTERS]
    if not adapters:
        return
    near = [c for c in target.near if c.dtype == span.dtype and 0 < c.distance <= NEAR]
    found: list[tuple[float, int, int]] = []
    for place, (down, up) in enumerate(adapters):
        moved = _product(target, down, up)
        if moved is not None:
            likely = [(_correlation(target, c, moved), number, place) for number, c in enumerate(near)]
            found += [item for item in likely if item[0] >= _LIKELY]
    for _likeness, number, place in sorted(found, reverse=True)[:_TRIED]:
        weight = near[number].tensor()
        if weight is not None:
            yield Merged(weight, *adapters[place], span)


def _product(target: Target, down: KnownTensor, up: KnownTensor) -> NDArray[np.float64] | None:
    """What the adapter adds, but for its scale, at the places of the target's sketch; of a run that goes on
    in the next row only the beginning, and NaN for the rest."""
    columns, rank = target.span.shape[1], down.span.shape[0]
    width, dtype = down.width, down.span.dtype
    product = np.full((RUNS, RUN), np.nan)
    for number, place in enumerate(places(count_of(target.span))):
        row, column = divmod(place, columns)
        count = min(RUN, columns - column)
        parts = [target.plain(up, row * rank * width, rank * width)]
        parts += [target.plain(down, (k * columns + column) * width, count * width) for k in range(rank)]
        data = [part for part in parts if part is not None]
        if len(data) <= rank:
            return None
        weights = _numbers(data[0], dtype)
        product[number, :count] = weights @ _numbers(b"".join(data[1:]), dtype).reshape(rank, count)
    return product.reshape(-1)


def _correlation(target: Target, candidate: Candidate, moved: NDArray[np.float64]) -> float:
    """How far the move from a candidate to the target goes along with what an adapter adds, -1 to 1."""
    known = np.isfinite(moved)
    moved = moved[known]
    move = (numbers(target.values) - numbers(candidate.values))[known]
    scale = float(np.sqrt((move @ move) * (moved @ moved)))
    return float(move @ moved) / scale if np.isfinite(scale) and scale > 0 else 0.0


def _numbers(data: bytes, dtype: str) -> NDArray[np.float64]:
    bits = elements(memoryview(data), dtype)
    values = np.empty(bits.size, np.float64)
    load(bits, dtype, values)
    return values


def _fits(down: KnownTensor, up: KnownTensor, span: Span) -> bool:
    """Whether A and B have one type, and shapes whose product is the weight's."""
    first, second = down.span, up.span
    if (
        first.dtype != second.dtype
        or first.dtype not in SOURCES
        or not len(first.shape) == len(second.shape) == 2
    ):
        return False
    rank = first.shape[0]
    return 0 < rank <= lora.MAX_RANK and (first.shape[1], second.shape) == (
        span.shape[1],
        (span.shape[0], rank),
    )
