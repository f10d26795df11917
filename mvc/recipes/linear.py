"""A tensor that is a linear combination of others: averages, merges, task arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mvc.elements import Elements, unsigned
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Recipe
from mvc.odb.writer import Hint
from mvc.predictors import linear
from mvc.predictors.floats import FLOATS
from mvc.recipes.known import KnownTensor, hint, plain
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, NEAR, Target, TensorRecipe
from mvc.sketch import bits, numbers, ordered

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_NEAREST = 8
"""Candidates that are combined."""

_FIT = 0.25
"""Bits (:func:`mvc.sketch.bits`) between a tensor and the combination that it is, by rounding alone."""

_CUT = 0.6
"""As much of that a sketch cuts off where values have more bits than it keeps."""

_BETTER = 0.4
"""A combination must come this much nearer than its nearest operand."""

_PERMUTED, _FRONTS = 3, 4
"""So many operands are tried in every order; of more, whose orders nobody could wait for, so many of them."""

_SAMPLE = 4096  # elements of a piece that a fit is tried on


class Combined(TensorRecipe):
    """The recipe ``linear``: the same elements of several tensors, weighted."""

    relation = "merge"
    exact = True

    def __init__(self, operands: Sequence[KnownTensor], dtype: str) -> None:
        self.operands = tuple(operands)
        self._dtype = dtype
        self._found: tuple[tuple[int, ...], dict[str, Any]] | None = None

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The operands' stretches, in the order and with the weights that fit this piece, or fitted an
        earlier one."""
        length = len(memoryview(piece))
        bases = [operand.stretches(position, length) for operand in self.operands]
        found = self._found or self._fit(database, piece, bases)
        if found is None:
            return None
        self._found = found
        order, params = found
        stretches: list[Base] = []
        for place in order:
            stretches += bases[place] or ()
        recipe = Recipe("linear", 1, params)
        return hint(database, self._dtype, stretches, recipe, MAX_RECIPE_DEPTH)

    def _fit(
        self, database: ObjectDatabase, piece: Buffer, bases: Sequence[list[Base] | None]
    ) -> tuple[tuple[int, ...], dict[str, Any]] | None:
        """In which order the operands make the piece, and how; None where they do not."""
        dtype = unsigned(self.operands[0].width)
        target = np.frombuffer(memoryview(piece), dtype)
        step = max(target.size // _SAMPLE, 1)
        samples: list[Elements] = []
        for stretches in bases:
            data = plain(database, stretches)
            if data is None:
                return None
            samples.append(np.frombuffer(data, dtype)[::step])
        for order in _orders(len(samples)):
            params = linear.fit(target[::step], [samples[place] for place in order], self._dtype)
            if params is not None:
                return order, params
        return None


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    """Orders of so many operands that are tried: every one of few; of many, as they were given, and each of
    the first ones in front, where task arithmetic has its base."""
    if count <= _PERMUTED:
        yield from permutations(range(count))
        return
    for first in range(_FRONTS):
        yield (first, *(place for place in range(count) if place != first))


def find(target: Target) -> Iterator[TensorRecipe]:
    """The combination of two or three near tensors that comes nearest, if it is as near as rounding."""
    dtype = target.span.dtype
    if dtype not in FLOATS:
        return
    near = list(
        {c.values.tobytes(): c for c in target.near if c.dtype == dtype and c.distance <= NEAR}.values()
    )
    near = near[:_NEAREST]
    if len(near) < 2 or near[0].distance == 0:
        return
    fit = _FIT if dtype == "BF16" else _FIT + _CUT
    values = numbers(np.stack([target.values, *(c.values for c in near)]))
    for size in (2, 3):
        chosen, distance = _best(values[0], values[1:], ordered(target.values), size)
        if chosen is None or distance > min(fit, _BETTER * min(c.distance for c in near)):
            continue
        tensors = [near[place].tensor() for place in chosen]
        if all(tensor is not None for tensor in tensors):
            yield Combined([tensor for tensor in tensors if tensor is not None], dtype)
            return


def _best(
    wanted: NDArray[np.float64], given: NDArray[np.float64], exact: NDArray[np.int32], size: int
) -> tuple[tuple[int, ...] | None, float]:
    """Which ``size`` of the tensors, by a least-squares fit of their values, come nearest; and how near, in
    bits. Weights add up to one, so what is fitted are moves away from the first."""
    subsets = list(combinations(range(len(given)), size))
    if not subsets or not np.isfinite(wanted).all() or not np.isfinite(given).all():
        return None, np.inf
    scale = 1 / np.maximum(np.abs(wanted), np.abs(wanted).mean() * 1e-3 + 1e-30)
    places = np.array(subsets)
    origin = given[places[:, 0]]
    columns = (given[places[:, 1:]] - origin[:, None]) * scale
    rest = (wanted - origin) * scale
    normal = columns @ columns.transpose(0, 2, 1)
    normal += np.eye(size - 1) * (1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-30)
    weights = np.linalg.solve(normal, (columns @ rest[:, :, None]))[:, :, 0]
    # what is written is a round number, and nearly that is wrong in the last place of many values
    tried = [weights, np.round(weights, 2), np.round(weights, 1), np.full_like(weights, 1 / size)]
    moves = given[places[:, 1:]] - origin[:, None]
    apart = np.min([_apart(origin, moves, each, exact) for each in tried], axis=0)
    best = int(apart.argmin())
    return subsets[best], float(apart[best])


def _apart(
    origin: NDArray[np.float64],
    moves: NDArray[np.float64],
    weights: NDArray[np.float64],
    exact: NDArray[np.int32],
) -> NDArray[np.float64]:
    """How far each subset's combination is from the tensor, in bits."""
    made = origin + np.einsum("sk,skv->sv", weights, moves)
    with np.errstate(over="ignore"):
        exactly = np.ascontiguousarray(made, "<f4").view("<u4")
    rounded = ((exactly + 0x7FFF + (exactly >> 16 & 1)) >> 16).astype(np.uint16)
    return bits(ordered(rounded) - exact)
