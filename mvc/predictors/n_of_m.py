"""``n_of_m`` version 1: a tensor of which N of every M elements are left, those of the greatest magnitude.

Parameters:

- ``width``: bytes of an element: 1, 2, 4 or 8;
- ``of``: M, 2 to 16 consecutive elements; ``keep``: N, 1 to M − 1. An element's magnitude is its bits without
  the sign, the topmost one;
- ``ties``: which ones of equal magnitude are kept, the ``first`` or the ``last``;
- ``keep_sign``: whether a zero keeps its element's sign or is all zero bits.

One operand, as long as the prediction, a whole number of times M elements. Integers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.elements import Elements, scratch, unsigned
from mvc.predictors.floats import STEP
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_OF = 16
PATTERNS = ((2, 4), (1, 4), (4, 8), (1, 2))
"""What is tried: 2 of 4 is what processors have instructions for."""

_ENOUGH = 0.9


class NOfM:
    """The predictor ``n_of_m``."""

    name = "n_of_m"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The operand's elements, all but the greatest of each group zero."""
        read = Params(self.name, params, ("width", "keep", "of", "ties", "keep_sign"))
        width = read.width("width")
        of = read.integer("of", 2, MAX_OF)
        keep = read.integer("keep", 1, of - 1)
        last = read.choice("ties", ("first", "last")) == "last"
        sign = 1 << (8 * width - 1)
        kept_of_small = sign if read.flag("keep_sign") else 0
        count = read.whole(length, width * of)
        (operand,) = read.operands(bases, [length])
        given = np.frombuffer(operand, unsigned(width)).reshape(count, of)
        made = np.empty(given.shape, given.dtype)
        step = STEP // of
        for start in range(0, count, step):
            part = slice(start, min(start + step, count))
            sizes = given[part].T & (sign - 1)  # a row for each place in a group
            np.bitwise_and(given[part], kept_of_small, out=made[part])
            for place in range(of):
                kept = _greater(sizes, place, last) < keep
                np.copyto(made[part, place], given[part, place], where=kept)
        return made.reshape(-1).view(np.uint8).data


def _greater(sizes: Elements, place: int, last: bool) -> Elements:
    """For each group how many elements come before the one in this place; scratch."""
    before = scratch("n_of_m.before", sizes.shape[1], np.dtype(np.uint8))
    before[:] = 0
    for other in range(len(sizes)):
        if other != place:
            wins_ties = (other > place) == last
            before += (np.greater_equal if wins_ties else np.greater)(sizes[other], sizes[place])
    return before


def find(target: Elements, base: Elements) -> dict[str, Any] | None:
    """Parameters that make nine tenths of ``target`` out of ``base`` or more; None where no pattern does.

    Both as bits of 1, 2, 4 or 8 bytes; samples are runs of whole groups, end to end.
    """
    width = target.dtype.itemsize
    sign = target.dtype.type(1 << (8 * width - 1))
    zeroed = (target & ~sign == 0) & (base & ~sign != 0)
    if not zeroed.any():
        return None
    keep_sign = bool(target[zeroed].any())
    best: tuple[float, dict[str, Any] | None] = (_ENOUGH, None)
    for keep, of in PATTERNS:
        if target.size % of:
            continue
        for ties in ("first", "last"):
            params = {"width": width, "keep": keep, "of": of, "ties": ties, "keep_sign": keep_sign}
            made = memoryview(PREDICTOR.predict([base.tobytes()], params, base.nbytes))
            equal = float(np.mean(np.frombuffer(made, base.dtype) == target))
            if equal >= best[0] and (best[1] is None or equal > best[0]):
                best = equal, params
    return best[1]


PREDICTOR = NOfM()
