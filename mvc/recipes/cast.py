"""A tensor that was rounded or widened from one of another float type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mvc.dtypes import DTYPES
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Recipe
from mvc.odb.writer import Hint
from mvc.recipes.known import KnownTensor, hint
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, NEAR, Candidate, Target, TensorRecipe
from mvc.sketch import Sketch, ordered

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_STRAYS = 2  # values of a sketch that a type of fewer exponents may have flushed or saturated
_MANTISSA = {"F64": 52, "F32": 23, "F16": 10, "BF16": 7, "F8_E4M3": 3, "F8_E5M2": 2}


CASTS = frozenset(_MANTISSA)
"""Element types that are cast from each other."""


class Cast(TensorRecipe):
    """The recipe ``cast``: the other tensor, each element rounded to this one's type."""

    relation = "cast"
    exact = True

    def __init__(self, source: KnownTensor, dtype: str) -> None:
        self.operands = (source,)
        self._dtype = dtype

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The same elements of the other tensor."""
        (source,) = self.operands
        width = DTYPES[self._dtype].width
        start, length = position // width, len(memoryview(piece)) // width
        bases = source.stretches(start * source.width, length * source.width)
        recipe = Recipe("cast", 1, {"from": source.span.dtype, "to": self._dtype})
        return hint(database, self._dtype, bases, recipe, MAX_RECIPE_DEPTH)


def find(target: Target) -> Iterator[TensorRecipe]:
    """What the target is a cast of, the most precise first; else what it is near to in another type."""
    dtype = target.span.dtype
    if dtype not in _MANTISSA:
        return
    others = [c for c in target.near if c.dtype in _MANTISSA and c.dtype != dtype and c.distance <= NEAR]
    exact = [c for c in others if is_cast(c, target.values, dtype)]
    exact.sort(key=lambda c: -_MANTISSA[c.dtype])  # stable, so the nearest of each type stays first
    for candidate in exact[:1] or ([] if _has_near(target, dtype) else others[:1]):
        tensor = candidate.tensor()
        if tensor is not None:
            yield Cast(tensor, dtype)


def _has_near(target: Target, dtype: str) -> bool:
    return any(c.dtype == dtype and c.distance <= NEAR for c in target.near)


def is_cast(candidate: Candidate, values: Sketch, dtype: str) -> bool:
    """Whether sketches say that a tensor is a cast of a candidate, or it of the tensor."""
    if dtype not in _MANTISSA or candidate.dtype not in _MANTISSA or candidate.dtype == dtype:
        return False
    # half a unit in the last place of the coarser, and one step that a sketch cuts off
    tolerance = max(1, 2 ** (6 - min(_MANTISSA[candidate.dtype], _MANTISSA[dtype])))
    apart = np.abs(ordered(candidate.values) - ordered(values))
    return bool(np.count_nonzero(apart > tolerance) <= _STRAYS)
