"""``q8_0`` version 1: ggml's Q8_0 blocks out of a float tensor.

Parameter ``from``: F32, F16 or BF16. One operand: the 32 elements of each block. A block is 34 bytes: a scale
d of F16, then 32 signed bytes. In F32: d = max |x| / 127; i = 1 / d, or 0 where d is 0; each byte is x · i,
bounded by −128 and 127, 0 where that is no number, and rounded to the nearest whole number, ties away from
zero. d is stored rounded to F16.

Source: ``quantize_row_q8_0_ref`` in https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.elements import Elements, scratch
from mvc.predictors import ieee
from mvc.predictors.floats import PARENTS, elements, store, width_of
from mvc.predictors.grouped import Groups, absmax, clip, load_groups, round_away
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_ELEMENTS = 32
_BYTES = 34
_ENOUGH = 0.9


class Q80:
    """The predictor ``q8_0``."""

    name = "q8_0"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The blocks."""
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, ("from",))
        dtype = read.choice("from", PARENTS)
        count = read.whole(length, _BYTES)
        (operand,) = read.operands(bases, [count * _ELEMENTS * width_of(dtype)])
        given = elements(operand, dtype)
        made = np.empty((count, _BYTES), np.uint8)
        for part in Groups(_ELEMENTS, 0, count * _ELEMENTS).parts():
            numbers = load_groups(given, dtype, _ELEMENTS, part.groups)
            scales = absmax(numbers, 127.0, "F32")
            nothing = scales == 0
            inverse = np.divide(np.float32(1), scales)
            inverse[nothing] = 0
            np.multiply(numbers, inverse[:, None], out=numbers)
            clip(numbers, -128, 127)
            round_away(numbers)
            halves = scratch("q8_0.halves", scales.size, np.dtype("<u2"))
            store(scales, "F16", halves)
            made[part.groups, :2] = halves.view(np.uint8).reshape(-1, 2)
            np.copyto(made[part.groups, 2:].view(np.int8), numbers, casting="unsafe")
        return made.reshape(-1).data


def find(target: Elements, base: Elements, dtype: str) -> dict[str, Any] | None:
    """Parameters that make Q8_0 blocks (bytes) out of the same elements' bits, or None.

    Nine tenths of the sample's bytes must come out equal.
    """
    if dtype not in PARENTS or target.nbytes % _BYTES or not target.size:
        return None
    if base.size * _BYTES != target.nbytes * _ELEMENTS:
        return None
    params = {"from": dtype}
    made = np.frombuffer(memoryview(PREDICTOR.predict([base.tobytes()], params, target.nbytes)), np.uint8)
    return params if np.mean(made == target.view(np.uint8)) >= _ENOUGH else None


PREDICTOR = Q80()
