"""``ties`` version 1: a base and the large changes of several tensors that agree in their direction.

Source: P. Yadav et al., "TIES-Merging: Resolving Interference When Merging Models" (2023, arXiv 2306.01708):
trim, elect a sign, mean of those that have it.

Parameters:

- ``from``, ``to``: float type of the operands and of the result;
- ``thresholds``: a whole number for each operand but the first: 1 to 63;
- ``scale``: a number.

Operands are x0, the base, and x1, x2, …; all have as many elements as the prediction. Operations are of F64
where ``from`` is, else of F32. For each element:

- v_i = x_i − x0, or 0 where the bits of that, but for the sign, are less than the i-th threshold;
- s = v_1 + v_2 + …, from left to right;
- m = the mean of those v_i that have the sign of s: their sum from left to right, over their number;
- the element is x0 where s is 0, a NaN where s is one, else x0 + scale · m, rounded to ``to``.

Scale is rounded to the type of the operations. Bits of floats are ordered as magnitudes are: equal magnitudes
are kept together, and NaNs, above infinity, always. Zero bits as a threshold keep everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mvc.elements import Elements, scratch, signed, unsigned
from mvc.predictors import ieee
from mvc.predictors.floats import F32, F64, FLOATS, Numbers, elements, load, steps, store, width_of
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_TASKS = 63

_BOOL = np.dtype(bool)


class _Recipe(NamedTuple):
    """The parameters, read."""

    before: str
    after: str
    thresholds: list[int]
    scale: float
    exact: np.dtype[Any]


class Ties:
    """The predictor ``ties``."""

    name = "ties"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The base, moved as the operands agree."""
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, ("from", "to", "thresholds", "scale"))
        recipe = _recipe(read)
        count = read.whole(length, width_of(recipe.after))
        size = count * width_of(recipe.before)
        operands = [
            elements(operand, recipe.before)
            for operand in read.operands(bases, [size] * (len(recipe.thresholds) + 1))
        ]
        made = np.empty(count, unsigned(width_of(recipe.after)))
        for step in steps(count):
            store(_moved([operand[step] for operand in operands], recipe), recipe.after, made[step])
        return made.view(np.uint8).data


def _recipe(read: Params) -> _Recipe:
    before = read.choice("from", FLOATS)
    exact = F64 if before == "F64" else F32
    most = (1 << (8 * exact.itemsize - 1)) - 1
    thresholds = [read.within("thresholds", value, 0, most) for value in read.items("thresholds", MAX_TASKS)]
    if not thresholds:
        read.refuse("no thresholds")
    return _Recipe(before, read.choice("to", FLOATS), thresholds, read.number("scale"), exact)


def task_vector(bits: Elements, origin: Numbers, dtype: str, out: Numbers) -> None:
    """The change of some elements of a float type since ``origin``, a single operation each."""
    load(bits, dtype, out)
    np.subtract(out, origin, out=out)


def _moved(operands: list[Elements], recipe: _Recipe) -> Numbers:
    """Some elements of the result; scratch."""
    count = operands[0].size
    origin, total = (scratch(f"ties.{name}", count, recipe.exact) for name in ("origin", "total"))
    load(operands[0], recipe.before, origin)
    total.fill(0)
    moves: list[Numbers] = []
    for index, (bits, threshold) in enumerate(zip(operands[1:], recipe.thresholds, strict=True)):
        move = scratch(f"ties.move{index}", count, recipe.exact)
        task_vector(bits, origin, recipe.before, move)
        _trim(move, threshold)
        np.add(total, move, out=total)
        moves.append(move)
    mean, number = _agreed(moves, total)
    np.maximum(number, 1, out=number)
    np.divide(mean, number, out=mean)
    if recipe.scale != 1:
        np.multiply(mean, recipe.exact.type(recipe.scale), out=mean)
    np.add(origin, mean, out=mean)
    np.copyto(mean, origin, where=total == 0)
    np.copyto(mean, total, where=np.isnan(total))
    return mean


def _trim(move: Numbers, threshold: int) -> None:
    """Set to zero what is smaller."""
    words = move.view(unsigned(move.dtype.itemsize))
    top = 8 * words.dtype.itemsize - 1
    # all ones where kept: what is below the threshold borrows into the sign bit, which sizes lack
    mask = scratch("ties.mask", move.size, words.dtype)
    np.bitwise_and(words, (1 << top) - 1, out=mask)
    np.subtract(mask, threshold, out=mask)
    np.right_shift(mask, top, out=mask)
    np.subtract(mask, 1, out=mask)
    np.bitwise_and(words, mask, out=words)


def _agreed(moves: list[Numbers], total: Numbers) -> tuple[Numbers, Numbers]:
    """The sum of those moves that have the sign of their total, and how many they are; anything where the
    total is zero or no number."""
    summed, number, term = (
        scratch(f"ties.{name}", total.size, total.dtype) for name in ("summed", "number", "term")
    )
    width = total.dtype.itemsize
    bits, sign = term.view(signed(width)), total.view(signed(width))
    counts = scratch("ties.counts", total.size, _BOOL)
    summed.fill(0)
    number.fill(0)
    for move in moves:
        words = move.view(signed(width))
        np.bitwise_xor(words, sign, out=bits)
        np.right_shift(bits, 8 * width - 1, out=bits)  # all ones where the signs differ
        np.invert(bits, out=bits)
        np.bitwise_and(bits, words, out=bits)
        np.add(summed, term, out=summed)
        np.not_equal(term, 0, out=counts)
        np.add(number, counts, out=number)
    return summed, number


PREDICTOR = Ties()
