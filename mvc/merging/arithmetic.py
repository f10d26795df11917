"""What a strategy makes of a tensor: a prediction out of both sides' tensors and the base's, bit for bit.

The merged bytes *are* what a predictor gives for a record, so that storing them takes no more than saying so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mvc.chunking import tensor_pieces
from mvc.dtypes import DTYPES
from mvc.errors import UnsupportedFeature
from mvc.memoryfile import Stretch
from mvc.merging.angle import arc_weights
from mvc.merging.magnitudes import thresholds
from mvc.merging.sides import NotMergeable, Operand, Sides, same_form
from mvc.merging.strategy import SLERP, TIES, Parameters, needs_base
from mvc.odb.record import Recipe
from mvc.predictors import PREDICTORS, ieee
from mvc.predictors.floats import FLOATS
from mvc.recipes.known import KnownTensor
from mvc.recipes.stated import Stated
from mvc.spans import Span, element_count

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Made(NamedTuple):
    """A tensor that is calculated: element by element, out of operands of its own form."""

    span: Span
    operands: tuple[Operand, ...]
    recipe: Recipe

    def stretches(self) -> tuple[Stretch, ...]:
        """Its bytes, calculated a piece at a time; pieces are those that it is stored in."""
        return tuple(self._pieces())

    def stated(self) -> Stated:
        """How its bytes may be stored."""
        operands = [KnownTensor(operand.side.known, operand.span) for operand in self.operands]
        return Stated(operands, self.span.dtype, self.recipe)

    def _pieces(self) -> Iterator[Stretch]:
        position = 0
        for length in tensor_pieces(self.span.length, DTYPES[self.span.dtype].block):
            yield Stretch(length, partial(self._calculate, position, length))
            position += length

    def _calculate(self, position: int, length: int) -> Buffer:
        predictor = PREDICTORS[self.recipe.name, self.recipe.version]
        bases = [operand.read(position, length) for operand in self.operands]
        return predictor.predict(bases, self.recipe.params, length)


def combine(strategy: str, parameters: Parameters, sides: Sides, name: str) -> Made:
    """What a strategy that calculates makes of the tensor ``name``, which both sides have.

    Raises:
        NotMergeable: it cannot be calculated with, or there is no base to tell changes from.
        UnsupportedFeature: numbers of whole tensors are needed, and this thread's arithmetic is not IEEE
            754's.
    """
    ours, theirs = (
        Operand(sides.ours, sides.ours.spans[name]),
        Operand(sides.theirs, sides.theirs.spans[name]),
    )
    span = ours.span
    if not same_form(span, theirs.span):
        raise NotMergeable("its dtype or shape differs")
    if span.dtype not in FLOATS:
        raise NotMergeable(f"{span.dtype} is not calculated with")
    if span.length != element_count(span.shape) * DTYPES[span.dtype].width:
        raise NotMergeable("it is a view that skips or repeats elements")
    if not needs_base(strategy):
        return _between(strategy, parameters, ours, theirs)
    before = None if sides.base is None else sides.base.spans.get(name)
    if sides.base is None or before is None or not same_form(before, span):
        raise NotMergeable("there is no common version of it to tell changes from")
    return _from_base(strategy, parameters, Operand(sides.base, before), ours, theirs)


def _between(strategy: str, parameters: Parameters, ours: Operand, theirs: Operand) -> Made:
    share = parameters.weight
    if strategy == SLERP:
        _check_exact()
        weights = arc_weights(ours, theirs, share)
    else:
        weights = 1 - share, share
    return Made(ours.span, (ours, theirs), _linear(ours.span.dtype, "sum", weights))


def _from_base(strategy: str, parameters: Parameters, base: Operand, ours: Operand, theirs: Operand) -> Made:
    dtype, scale = ours.span.dtype, parameters.scale
    if strategy == TIES:
        _check_exact()
        least = thresholds(base, (ours, theirs), parameters.density)
        recipe = Recipe("ties", 1, {"from": dtype, "to": dtype, "thresholds": least, "scale": scale})
    else:
        recipe = _linear(dtype, "tasks", (1.0, scale, scale))
    return Made(ours.span, (base, ours, theirs), recipe)


def _check_exact() -> None:
    """Numbers of whole tensors are calculated in this thread."""
    if not ieee.is_exact():
        raise UnsupportedFeature(
            "floating-point arithmetic is not IEEE 754's here, so a merge would not be the same everywhere",
            hint="run mvc in a process of its own",
        )


@lru_cache(maxsize=64)
def _linear(dtype: str, form: str, coefficients: tuple[float, ...]) -> Recipe:
    """One object for all tensors that are combined alike; nobody changes its parameters."""
    params: dict[str, Any] = {
        "from": dtype,
        "to": dtype,
        "coefficients": list(coefficients),
        "divisor": 1.0,
        "form": form,
        "compute": "F64" if dtype == "F64" else "F32",
        "fused": False,
    }
    return Recipe("linear", 1, params)
