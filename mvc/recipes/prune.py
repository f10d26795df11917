"""A tensor of which small elements were set to zero."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from mvc.elements import Elements, unsigned
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Recipe
from mvc.odb.writer import Hint
from mvc.predictors import n_of_m, prune
from mvc.recipes.known import KnownTensor, hint, plain
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, Candidate, Target, TensorRecipe
from mvc.sketch import VALUES, ordered

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


_LOOKED_AT = 1024
_SAMPLE = 1 << 14  # elements of a piece that a pattern is looked for on; whole groups of each


class Pruned(TensorRecipe):
    """The recipes ``prune`` and ``n_of_m``: the other tensor, its small elements zero.

    Where neither a threshold nor a pattern says which, the other tensor alone predicts.
    """

    relation = "prune"
    exact = False

    def __init__(self, base: KnownTensor) -> None:
        self.operands = (base,)

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The same elements of the other tensor, and the threshold that this piece shows."""
        (base,) = self.operands
        bases = base.stretches(position, len(memoryview(piece)))
        before = plain(database, bases)
        if before is None:
            return None
        dtype = unsigned(base.width)
        recipe = _recipe(np.frombuffer(memoryview(piece), dtype), np.frombuffer(before, dtype))
        return hint(database, base.span.dtype, bases, recipe, MAX_RECIPE_DEPTH)


def _recipe(target: Elements, base: Elements) -> Recipe | None:
    """What of the base is kept: what is large, or so many of each few; None where neither says."""
    found = prune.find(target, base)
    if found is not None:
        return Recipe("prune", 1, found)
    pattern = n_of_m.find(target[:_SAMPLE], base[:_SAMPLE])
    fits = pattern is not None and target.size % pattern["of"] == 0
    return Recipe("n_of_m", 1, pattern) if fits and pattern is not None else None


def find(target: Target) -> Iterator[TensorRecipe]:
    """The newest tensor of which the target has some elements and zeros for the rest."""
    if target.span.dtype in ("I8", "Q8_0") or np.count_nonzero(ordered(target.values) == 0) < VALUES // 8:
        return
    for candidate in islice(target.all_of(target.span.dtype), _LOOKED_AT):
        if _is_pruned(target, candidate):
            tensor = candidate.tensor()
            if tensor is not None:
                yield Pruned(tensor)
                return


def _is_pruned(target: Target, candidate: Candidate) -> bool:
    now, before = ordered(target.values), ordered(candidate.values)
    zeroed = (now == 0) & (before != 0)
    kept = (now == before) & (before != 0)
    return bool(
        np.count_nonzero(zeroed) >= VALUES // 8
        and np.count_nonzero(zeroed | kept) >= VALUES - 1
        and np.count_nonzero(kept) >= VALUES // 8
    )
