"""A tensor that is said to be what a recipe makes out of others: nothing is looked for, nothing is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Recipe
from mvc.odb.writer import Hint
from mvc.recipes.known import KnownTensor, hint
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, TensorRecipe

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Stated(TensorRecipe):
    """A recipe whose operands are as long as the tensor, and whose parameters hold for every piece of it."""

    relation = "merge"
    exact = True

    def __init__(self, operands: Sequence[KnownTensor], dtype: str, recipe: Recipe) -> None:
        self.operands = tuple(operands)
        self._dtype = dtype
        self._recipe = recipe

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The operands' stretches at the same place, in their order."""
        length = len(memoryview(piece))
        bases: list[Base] = []
        for operand in self.operands:
            stretches = operand.stretches(position, length)
            if stretches is None:
                return None
            bases += stretches
        return hint(database, self._dtype, bases, self._recipe, MAX_RECIPE_DEPTH)
