"""A tensor that moved a little: the same dtype and shape, trained on."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

from mvc.dtypes import DTYPES
from mvc.errors import DamageError, ObjectPurged
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base
from mvc.odb.writer import Hint
from mvc.recipes.known import KnownTensor, hint
from mvc.recipes.recipe import NEAR, Target, TensorRecipe

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_TENSOR_DEPTH = 6
"""Depth of the deepest record of a moved tensor: reading it takes as many more steps."""

_STEP_COST = 0.33
"""Bits an element that a base must be nearer by for each step deeper that it lies, because who reads takes
every step. Distances grow with the logarithm of the versions between, so that versions hang on anchors."""


class Moved(TensorRecipe):
    """The recipe ``moved``: the earlier tensor, element by element."""

    relation = "fine-tune"
    exact = False

    def __init__(self, base: KnownTensor) -> None:
        self.operands = (base,)

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """The stretch of the earlier tensor at the same place."""
        (base,) = self.operands
        length = len(memoryview(piece))
        bases = base.stretches(position, length)
        if bases is None:
            return None
        if len(bases) == 1 and bases[0].offset == 0:
            found = anchor(database, bases[0].id, length, MAX_TENSOR_DEPTH)
            return None if found is None else Hint(DTYPES[base.span.dtype], (found[0],), found[1])
        return hint(database, base.span.dtype, bases, None, MAX_TENSOR_DEPTH)


def find(target: Target) -> Iterator[TensorRecipe]:
    """The nearest tensor of the same dtype that is not too deep."""
    best, chosen = inf, None
    for candidate in target.near:
        if candidate.dtype != target.span.dtype or candidate.distance > NEAR:
            continue
        depth = candidate.depth()
        if depth is None or depth >= MAX_TENSOR_DEPTH:
            continue
        cost = candidate.score + _STEP_COST * depth
        if cost < best:
            best, chosen = cost, candidate
    tensor = None if chosen is None else chosen.tensor()
    if tensor is not None:
        yield Moved(tensor)


def anchor(database: ObjectDatabase, identity: ObjectId, length: int, cap: int) -> tuple[Base, int] | None:
    """A base for a piece whose predecessor is ``identity``, and that base's depth, which is below ``cap``.

    When the predecessor is as deep as the cap allows, the chain is followed down to the record that stands
    alone: versions hang on anchors, so reading never pays for a long history.
    """
    entries = database.entries(identity)
    if not entries:
        return None
    depth = entries[0].depth
    while depth >= cap:
        try:
            record = database.record(identity)
        except (DamageError, ObjectPurged) as error:
            database.note_damage(f"{error.message}; stored without it as a base")
            return None
        if record.recipe is not None or len(record.bases) != 1 or record.bases[0][1:] != (0, length):
            return None
        identity = record.bases[0].id
        entries = database.entries(identity)
        if not entries:
            return None
        depth = entries[0].depth
        cap = 1
    return Base(identity, 0, length), depth
