"""What is said of one tensor of a new version: how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mvc.explaining.units import Tensor
from mvc.history.tensorstats import TensorStats
from mvc.odb.record import Recipe
from mvc.spans import Span, element_count


class Elsewhere(NamedTuple):
    """A tensor of another file or version, and what people call that."""

    label: str
    tensor: Tensor


class StatedMerge(NamedTuple):
    """What a version says that a tensor was merged from, and by which strategy."""

    strategy: str
    operands: Sequence[Elsewhere]
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Relation:
    """How one tensor came about.

    ``kind`` is same, moved, cast, master (the old one is its rounding), widened, precision (both are
    roundings of something more exact), quantise, scale, dequantise, prune, merge, strategy (a merge as the
    version says it was), taken, LoRA, rows, renamed, reshaped, type (another that says nothing), added.
    ``certain`` tells that every bit follows from what is named; ``share`` how many elements do. ``sources``
    are labels of what else went in, ``detail`` what more there is to say.
    """

    kind: str
    name: str
    new: Span
    old: Span | None = None
    certain: bool = False
    share: float = 1.0
    stats: TensorStats | None = None
    sources: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def elements(self) -> int:
        """Of the new tensor."""
        return element_count(self.new.shape)
