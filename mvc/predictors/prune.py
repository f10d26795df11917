"""``prune`` version 1: a tensor whose small elements are zero.

Parameters:

- ``width``: bytes of an element: 1, 2, 4 or 8;
- ``threshold``: an element is kept where its bits without the sign, the topmost one, are at least this. Bits
  of floats are ordered as magnitudes are, NaNs above infinity;
- ``keep_sign``: whether a zero keeps its element's sign (a product with a mask does) or is all zero bits.

One operand, as long as the prediction. Integers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.elements import Elements, scratch, unsigned
from mvc.predictors.floats import steps
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Prune:
    """The predictor ``prune``."""

    name = "prune"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The operand's elements, small ones zero."""
        read = Params(self.name, params, ("width", "threshold", "keep_sign"))
        width = read.width("width")
        sign = 1 << (8 * width - 1)
        threshold = read.integer("threshold", 1, sign - 1)
        kept_of_small = sign if read.flag("keep_sign") else 0
        count = read.whole(length, width)
        (operand,) = read.operands(bases, [length])
        given = np.frombuffer(operand, unsigned(width))
        made = np.empty(count, given.dtype)
        for step in steps(count):
            # all ones where kept: what is below the threshold borrows into the sign bit, which sizes lack
            mask = scratch("prune.mask", step.stop - step.start, given.dtype)
            np.bitwise_and(given[step], sign - 1, out=mask)
            np.subtract(mask, threshold, out=mask)
            np.right_shift(mask, 8 * width - 1, out=mask)
            np.subtract(mask, 1, out=mask)
            if kept_of_small:
                np.bitwise_or(mask, kept_of_small, out=mask)
            np.bitwise_and(given[step], mask, out=made[step])
        return made.view(np.uint8).data


def find(target: Elements, base: Elements) -> dict[str, Any] | None:
    """Parameters that make ``target`` out of ``base``, or nearly; None where no threshold does.

    Samples of both at the same places, as bits of 1, 2, 4 or 8 bytes, or whole tensors, which give the
    threshold exactly. Of elements of one size a tool may have kept some only, so up to a tenth of the sample
    may differ; at least one element must have become zero.
    """
    width = target.dtype.itemsize
    sign = target.dtype.type(1 << (8 * width - 1))
    sizes = base & ~sign
    zeroed = (target & ~sign == 0) & (sizes != 0)
    if not zeroed.any():
        return None
    kept = ~zeroed & (sizes != 0)
    largest_gone = int(sizes[zeroed].max())
    least_kept = int(sizes[kept].min()) if kept.any() else largest_gone + 1
    negative = zeroed & (base & sign != 0)
    keep_sign = bool(negative.any() and 2 * np.count_nonzero(target[negative]) > negative.sum())
    best: tuple[int, dict[str, Any] | None] = (target.size // 10, None)
    # where a tool broke ties, either end of the sizes in question may be the better one
    for threshold in sorted({least_kept, largest_gone, largest_gone + 1}):
        params = {"width": width, "threshold": threshold, "keep_sign": keep_sign}
        if 1 <= threshold < int(sign):
            made = PREDICTOR.predict([base.tobytes()], params, base.nbytes)
            wrong = int(np.count_nonzero(np.frombuffer(memoryview(made), base.dtype) != target))
            if wrong <= best[0] and (best[1] is None or wrong < best[0]):
                best = wrong, params
    return best[1]


PREDICTOR = Prune()
