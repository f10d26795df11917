"""``absmax`` version 1: the scales of a quantised tensor: each group's greatest magnitude over a number.

Parameters:

- ``from``, ``to``: float type of the tensor (F32, F16 or BF16) and of its scales (any);
- ``group``: elements that share a scale, such as a row's: 1 to 2^20;
- ``divisor``: greater than zero.

One operand: the groups, as many as there are scales. scale = max |x| / divisor, one division of F32 by the
divisor rounded to F32; then rounded to ``to``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.elements import Elements, unsigned
from mvc.predictors import ieee
from mvc.predictors.floats import FLOATS, PARENTS, elements, store, width_of
from mvc.predictors.grouped import MAX_GROUP, Groups, absmax, load_groups
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

DIVISORS = (127.0, 128.0, 448.0, 57344.0, 7.0, 8.0, 1.0)
"""What tools divide by: the greatest numbers of 8 and 4 bits, of F8_E4M3 and of F8_E5M2."""

_ENOUGH = 0.9


class Absmax:
    """The predictor ``absmax``."""

    name = "absmax"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The groups' scales."""
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, ("from", "to", "group", "divisor"))
        before, after = read.choice("from", PARENTS), read.choice("to", FLOATS)
        size = read.integer("group", 1, MAX_GROUP)
        divisor = read.positive("divisor")
        count = read.whole(length, width_of(after))
        (operand,) = read.operands(bases, [count * size * width_of(before)])
        given = elements(operand, before)
        made = np.empty(count, unsigned(width_of(after)))
        for part in Groups(size, 0, count * size).parts():
            scales = absmax(load_groups(given, before, size, part.groups), divisor, "F32")
            store(scales, after, made[part.groups])
        return made.view(np.uint8).data


def find(target: Elements, to: str, base: Elements, dtype: str) -> dict[str, Any] | None:
    """Parameters that make scales out of the groups that they belong to, or None.

    ``target``: bits of some consecutive scales of float type ``to``; ``base``: bits of all elements of their
    groups, of float type ``dtype``.
    """
    if not target.size or not base.size or base.size % target.size or dtype not in PARENTS:
        return None
    for divisor in DIVISORS:
        params = {"from": dtype, "to": to, "group": base.size // target.size, "divisor": divisor}
        made = memoryview(PREDICTOR.predict([base.tobytes()], params, target.nbytes))
        if np.mean(np.frombuffer(made, target.dtype) == target) >= _ENOUGH:
            return params
    return None


PREDICTOR = Absmax()
