"""``linear`` version 1: a tensor that is a linear combination of others: averages, merges, task arithmetic.

Parameters:

- ``from``, ``to``: float type of the operands and of the result;
- ``coefficients``: one for each operand x0, x1, …, in their order: 1 to 64;
- ``divisor``: a number other than zero; 1.0 where ``form`` is not ``sum``;
- ``form``: which expression, each operator a single operation, those in a row from left to right:

  - ``sum``: (c0·x0 + c1·x1 + c2·x2 + …) / divisor
  - ``task``: c0·x0 + c1·(x1 − x0) + c2·(x2 − x0) + …
  - ``tasks``: c0·x0 + (c1·(x1 − x0) + c2·(x2 − x0) + …)
  - ``analogy``: c0·x0 + c1·(x1 − x2), the third coefficient being 0.0

- ``compute``: ``F32`` or ``F64``: operations are of that type, the last one's result is rounded to ``to``;
  ``native``: each operation is of F32 (F64 where ``from`` is), and its result rounded to ``from``;
- ``fused``: whether a product and the sum that it goes into are one operation of F32, as in torch's
  ``add(alpha=…)`` and ``lerp``: the product is of F64, where it is exact, the sum of F64 too, and rounded to
  F32. Not where operations are of F64.

Coefficients and divisor are rounded to the type of the operations. One of 1.0 leaves its operation out, which
changes no number. All operands have as many elements as the prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mvc.elements import Elements, scratch, unsigned
from mvc.predictors import ieee
from mvc.predictors.floats import (
    F32,
    F64,
    FLOATS,
    Numbers,
    elements,
    load,
    round_to,
    steps,
    store,
    width_of,
)
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_OPERANDS = 64
ENOUGH = 0.9
"""Share of a sample that must come out equal for a recipe to be worth its bases."""

_KEYS = ("from", "to", "coefficients", "divisor", "form", "compute", "fused")
_FORMS = ("sum", "task", "tasks", "analogy")
_COMPUTES = ("F32", "F64", "native")


class _Recipe(NamedTuple):
    """The parameters, read."""

    before: str
    after: str
    coefficients: list[float]
    divisor: float
    form: str
    native: bool
    fused: bool
    exact: np.dtype[Any]


class Linear:
    """The predictor ``linear``."""

    name = "linear"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The combination of the operands."""
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, _KEYS)
        recipe = _recipe(read)
        count = read.whole(length, width_of(recipe.after))
        size = count * width_of(recipe.before)
        operands = [
            elements(operand, recipe.before)
            for operand in read.operands(bases, [size] * len(recipe.coefficients))
        ]
        made = np.empty(count, unsigned(width_of(recipe.after)))
        for step in steps(count):
            combined = _combine([operand[step] for operand in operands], recipe)
            store(combined, recipe.after, made[step])
        return made.view(np.uint8).data


def _recipe(read: Params) -> _Recipe:
    before, after = read.choice("from", FLOATS), read.choice("to", FLOATS)
    coefficients = read.numbers("coefficients", MAX_OPERANDS)
    divisor, form = read.number("divisor"), read.choice("form", _FORMS)
    compute = read.choice("compute", _COMPUTES)
    if not coefficients:
        read.refuse("no coefficients")
    if divisor == 0 or (form != "sum" and divisor != 1):
        read.refuse("parameter 'divisor' is out of range")
    if form == "analogy" and (len(coefficients) != 3 or coefficients[2] != 0):
        read.refuse("an analogy has three operands and two coefficients")
    exact = F64 if compute == "F64" or (compute == "native" and before == "F64") else F32
    fused = read.flag("fused")
    if fused and exact == F64:
        read.refuse("fused operations are of F32")
    return _Recipe(before, after, coefficients, divisor, form, compute == "native", fused, exact)


def _combine(operands: list[Elements], recipe: _Recipe) -> Numbers:
    """The combination of some elements of each operand; scratch."""
    count = operands[0].size

    def settled(numbers: Numbers) -> Numbers:
        if recipe.native:
            round_to(numbers, recipe.before)
        return numbers

    def loaded(index: int, name: str) -> Numbers:
        numbers = scratch(name, count, recipe.exact)
        load(operands[index], recipe.before, numbers)
        return numbers

    def scaled(numbers: Numbers, coefficient: float) -> Numbers:
        if coefficient == 1:
            return numbers
        return settled(np.multiply(numbers, recipe.exact.type(coefficient), out=numbers))

    def move(index: int, origin: Numbers) -> Numbers:
        term = loaded(index, "linear.term")
        return settled(np.subtract(term, origin, out=term))

    def add(total: Numbers, coefficient: float, term: Numbers) -> None:
        if recipe.fused and coefficient != 1:
            wide = scratch("linear.wide", count, F64)
            np.multiply(term, np.float64(np.float32(coefficient)), out=wide)
            np.add(wide, total, out=wide)
            np.copyto(total, wide, casting="same_kind")
        else:
            np.add(total, scaled(term, coefficient), out=total)
        settled(total)

    coefficients = recipe.coefficients
    last = len(coefficients) - 1
    total = scaled(loaded(0, "linear.total"), coefficients[0])
    if recipe.form == "sum":
        for index in range(1, last + 1):
            add(total, coefficients[index], loaded(index, "linear.term"))
        if recipe.divisor != 1:
            settled(np.divide(total, recipe.exact.type(recipe.divisor), out=total))
    elif recipe.form == "analogy":
        add(total, coefficients[1], move(1, loaded(2, "linear.origin")))
    elif last:
        origin = loaded(0, "linear.origin")
        moved = total if recipe.form == "task" else scratch("linear.moved", count, recipe.exact)
        for index in range(1, last + 1):
            term = move(index, origin)
            if recipe.form == "tasks" and index == 1:
                np.copyto(moved, scaled(term, coefficients[index]))
            else:
                add(moved, coefficients[index], term)
        if recipe.form == "tasks":
            settled(np.add(total, moved, out=total))
    return total


def fit(target: Elements, operands: Sequence[Elements], dtype: str) -> dict[str, Any] | None:
    """Parameters that make ``target`` out of ``operands``, all bits of ``dtype`` at the same places; or None.

    Give a few thousand elements. For task arithmetic the base comes first, for an analogy (x0 + c·(x1 − x2))
    the three in this order. At least nine tenths of the sample come out equal with what is returned.
    """
    best: tuple[float, dict[str, Any] | None] = (ENOUGH, None)
    bases = [operand.tobytes() for operand in operands]
    for params in _candidates(target, operands, dtype):
        prediction = PREDICTOR.predict(bases, params, target.nbytes)
        made = np.frombuffer(memoryview(prediction), target.dtype)
        equal = float(np.mean(made == target))
        if equal >= best[0] and (best[1] is None or equal > best[0]):
            best = equal, params
        if equal == 1:
            break
    return best[1]


def _candidates(target: Elements, operands: Sequence[Elements], dtype: str) -> Iterator[dict[str, Any]]:
    count = len(operands)
    ways = [("F32", False), ("native", False), ("F64", False), ("F32", True), ("native", True)]
    if dtype in ("F32", "F64"):  # where operations are of the type itself, they are native
        ways = [way for way in ways if way[0] != "native"]

    def recipes(form: str, coefficients: Sequence[float], divisor: float = 1.0) -> Iterator[dict[str, Any]]:
        for compute, fused in ways:
            yield {
                "from": dtype,
                "to": dtype,
                "coefficients": [float(value) for value in coefficients],
                "divisor": divisor,
                "form": form,
                "compute": compute,
                "fused": fused,
            }

    weights = _least_squares(target, operands, dtype)
    if weights is None:
        return
    if all(abs(weight - 1 / count) < 0.1 for weight in weights):
        yield from recipes("sum", [1.0] * count, float(count))
        yield from recipes("sum", [1 / count] * count)
    seen = set()
    for rounded in _round_numbers(weights, dtype):
        if rounded in seen or not all(rounded[1:]):
            continue
        seen.add(rounded)
        if rounded[0]:  # else the moves make up for the base, as 0.6 and 0.4 do
            yield from recipes("sum", rounded)
        if abs(sum(rounded) - 1) < 1e-9:
            yield from recipes("task", [1.0, *rounded[1:]])
            if count > 2:
                yield from recipes("tasks", [1.0, *rounded[1:]])
        if count == 3 and rounded[0] == 1 and rounded[1] == -rounded[2]:
            yield from recipes("analogy", [1.0, rounded[1], 0.0])


def _round_numbers(weights: Sequence[float], dtype: str) -> Iterator[tuple[float, ...]]:
    """Numbers near to these that people write: few decimals first, then simple fractions.

    Some tools keep them in a tensor of the weights' own type.
    """
    for decimals in (1, 2, 3):
        written = tuple(round(weight, decimals) for weight in weights)
        yield written
        if dtype in ("BF16", "F16"):
            kept = np.array(written, F32)
            round_to(kept, dtype)
            yield tuple(map(float, kept))
    yield tuple(float(Fraction(weight).limit_denominator(12)) for weight in weights)


def _least_squares(target: Elements, operands: Sequence[Elements], dtype: str) -> list[float] | None:
    """Weights of the operands that come nearest to the target, or None."""

    def numbers(bits: Elements) -> Numbers:
        out = np.empty(bits.size, F64)
        load(bits, dtype, out)
        return out

    with np.errstate(all="ignore"):
        wanted, given = numbers(target), [numbers(operand) for operand in operands]
        # operands are near to each other, so their differences tell them apart better than they do
        columns = np.stack([given[0], *(other - given[0] for other in given[1:])], axis=1)
        sound = np.isfinite(columns).all(axis=1) & np.isfinite(wanted)
        if np.count_nonzero(sound) < 2 * len(operands):
            return None
        # the normal equations are tiny; each column has its own scale
        scale = np.sqrt(np.mean(columns[sound] ** 2, axis=0))
        if not scale.all() or not np.isfinite(scale).all():
            return None
        found, _rest, rank, _singular = np.linalg.lstsq(columns[sound] / scale, wanted[sound], rcond=None)
    if rank < len(operands) or not np.isfinite(found).all():
        return None
    moves = found / scale
    return [float(moves[0] - moves[1:].sum()), *map(float, moves[1:])]


PREDICTOR = Linear()
