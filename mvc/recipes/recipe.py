"""What a recipe for a tensor is, and what those who look for one are given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from mvc.odb.database import ObjectDatabase
from mvc.odb.writer import Hint
from mvc.recipes.known import KnownTensor
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from mvc.sketch import Sketch

MAX_RECIPE_DEPTH = 7
"""Depth that the records of a recipe's operands must stay below. An exact recipe adds little to reading its
operands, so it may stand on top of a chain of differences."""

NEAR = 6.5
"""Bits (:func:`mvc.sketch.distances`) up to which two tensors count as relatives: moves of a tenth of the
norm are at 5, unrelated tensors of equal spread at 8."""


class TensorRecipe(ABC):
    """How a tensor may be predicted, piece by piece, from others. Safe to use from several threads."""

    relation: ClassVar[str]
    """What it says of the tensor, in a word for people."""

    operands: tuple[KnownTensor, ...]

    exact: ClassVar[bool]
    """Whether it leaves next to nothing, so that a piece that it fits need not be tried otherwise."""

    @abstractmethod
    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """What predicts ``piece``, which begins ``position`` bytes into the tensor; None for nothing."""


class Candidate(NamedTuple):
    """A known tensor of as many elements as the target: its sketch, and how far that is from the target's.

    ``score`` is what all tensors of its file together say of the distance, where they agree. ``tensor`` looks
    it up, and ``depth`` how deep its first piece lies; None where it is gone.
    """

    dtype: str
    values: Sketch
    distance: float
    score: float
    tensor: Callable[[], KnownTensor | None]
    depth: Callable[[], int | None]


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor that is to be stored, as those who look for a recipe see it.

    ``near`` are the nearest candidates, nearest first; ``all_of`` gives all of a dtype, newest first, for who
    looks for a relation that moves values far; ``adapters`` gives what is known of low-rank adapters of the
    tensor, as pairs (A, B), and ``plain`` so many bytes of a tensor from a position on, if they can be read.
    """

    span: Span
    values: Sketch
    near: Sequence[Candidate]
    all_of: Callable[[str], Iterator[Candidate]]
    adapters: Callable[[], Sequence[tuple[KnownTensor, KnownTensor]]]
    plain: Callable[[KnownTensor, int, int], bytes | None]


class Finder(Protocol):
    """Looks for recipes of one kind, on sketches alone."""

    def __call__(self, target: Target, /) -> Iterator[TensorRecipe]:
        """Recipes that may fit, the likeliest first."""
