"""The angle between two tensors, and what of each a point on the arc between them takes.

Source: K. Shoemake, "Animating rotation with quaternion curves" (SIGGRAPH 1985): between two unit vectors at
an angle Ω the one at share t is sin((1 − t)Ω)/sin Ω of the first and sin(tΩ)/sin Ω of the second. As in other
tools for merging models, the angle is that of the directions, and the weights are applied to the tensors.
"""

from __future__ import annotations

from math import acos, fsum, isfinite, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from mvc.merging.sides import Operand
from mvc.predictors.floats import F64, elements, load, steps

PARALLEL = 0.9995
"""Cosine from which on two tensors count as parallel, or opposite, as in other tools: then the straight line
is taken. Fine-tunes of one model nearly always are parallel."""

_COLUMNS = 1 << 10
_READ = 1 << 20


def arc_weights(ours: Operand, theirs: Operand, share: float) -> tuple[float, float]:
    """The weights of both sides at a share from 0 (ours) to 1 (theirs) of the way along the arc.

    1 − share and share where the tensors are parallel or opposite, one is zero, or they hold numbers that are
    not finite. Weights have 24 bits, so that mathematical libraries that differ in the last place of a sine
    give the same.
    """
    with np.errstate(all="ignore"):  # weights may hold anything
        cosine = _cosine(ours, theirs)
    if cosine is None or abs(cosine) >= PARALLEL:
        return 1 - share, share
    angle = acos(cosine)
    weights = sin((1 - share) * angle) / sin(angle), sin(share * angle) / sin(angle)
    return float(np.float32(weights[0])), float(np.float32(weights[1]))


def _cosine(ours: Operand, theirs: Operand) -> float | None:
    """The cosine of the angle between two tensors; None where there is none.

    Products are summed in binary64: each of 1,024 columns from top to bottom, element by element, then the
    columns exactly and with one rounding. That order is the same on every machine, unlike a library's.
    """
    sums = np.zeros((3, _COLUMNS), F64)
    dtype = ours.span.dtype
    for position in range(0, ours.span.length, _READ):
        length = min(_READ, ours.span.length - position)
        pair = [elements(memoryview(one.read(position, length)), dtype) for one in (ours, theirs)]
        for step in steps(pair[0].size):
            left, right = (np.empty(step.stop - step.start, F64) for _ in range(2))
            load(pair[0][step], dtype, left)
            load(pair[1][step], dtype, right)
            for row, product in zip(sums, (left * right, left * left, right * right), strict=True):
                _add_rows(row, product)
    if not np.isfinite(sums).all():
        return None
    try:
        dot, mine, others = (fsum(row) for row in sums)
    except OverflowError:
        return None
    norms = sqrt(mine) * sqrt(others)
    if not isfinite(norms) or norms == 0:
        return None
    return max(-1.0, min(1.0, dot / norms))


def _add_rows(row: NDArray[np.float64], product: NDArray[np.float64]) -> None:
    """Add each 1,024 elements to the columns."""
    whole = product.size // _COLUMNS * _COLUMNS
    for part in product[:whole].reshape(-1, _COLUMNS):
        np.add(row, part, out=row)
    rest = product[whole:]
    np.add(row[: rest.size], rest, out=row[: rest.size])
