"""``cast`` version 1: a tensor of another float type, rounded to this one.

Parameters: ``from`` and ``to``, two different ones of F64, F32, F16, BF16, F8_E4M3 and F8_E5M2. One operand,
of as many elements as the prediction has.

Rounding is that of :mod:`mvc.predictors.floats`; from F64 to less than F32 the way is through F32. F32 from
BF16 is its bits and 16 zeros, NaNs included: every other NaN becomes the canonical one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.elements import Elements, scratch, unsigned
from mvc.predictors import ieee
from mvc.predictors.floats import F32, F64, FLOATS, elements, load, steps, store, width_of
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_ENOUGH = 0.9
_INTEGERS_DO = [("F32", "BF16"), ("BF16", "F32")]  # no set: what is asked for may be anything


class Cast:
    """The predictor ``cast``."""

    name = "cast"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The operand's elements, rounded."""
        if (params.get("from"), params.get("to")) in _INTEGERS_DO:
            return self.calculate(bases, params, length)
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, ("from", "to"))
        before, after = read.choice("from", FLOATS), read.choice("to", FLOATS)
        if before == after:
            read.refuse("from a type to itself")
        count = read.whole(length, width_of(after))
        (operand,) = read.operands(bases, [count * width_of(before)])
        given = elements(operand, before)
        made = np.empty(count, unsigned(width_of(after)))
        if (before, after) == ("BF16", "F32"):
            load(given, before, made.view(F32))
            return made.view(np.uint8).data
        exact = F64 if "F64" in (before, after) else F32
        for step in steps(count):
            numbers = scratch("cast.numbers", step.stop - step.start, exact)
            load(given[step], before, numbers)
            store(numbers, after, made[step])
        return made.view(np.uint8).data


def find(target: Elements, to: str, base: Elements, dtype: str) -> dict[str, Any] | None:
    """Parameters that make ``target`` (bits of float type ``to``) out of ``base`` (of ``dtype``), or None.

    Samples at the same places, of which nine tenths must come out equal. What was rounded cannot be undone: a
    wider type out of a narrower one is not found here, though it may be near enough to be worth a residual.
    """
    if to == dtype or not {to, dtype} <= FLOATS or not target.size or target.size != base.size:
        return None
    params = {"from": dtype, "to": to}
    made = memoryview(PREDICTOR.predict([base.tobytes()], params, target.nbytes))
    return params if np.mean(np.frombuffer(made, target.dtype) == target) >= _ENOUGH else None


PREDICTOR = Cast()
