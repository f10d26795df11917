"""Logarithms in whole numbers: what is decided by them is the same with and without the native kernel.

Parts of 2^16, from a table of 2^10 steps between powers of two and straight lines between these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 16
_PLACES = 10
_PART = 32 - _PLACES

TABLE = np.rint(np.log2(1 + np.arange((1 << _PLACES) + 1) / (1 << _PLACES)) * (1 << BITS)).astype(np.uint32)
"""The logarithms of 1 to 2 that there are; for the kernel."""
TABLE.setflags(write=False)
_STEPS = TABLE.astype(np.int64)


def log2(counts: NDArray[Any]) -> NDArray[np.int64]:
    """The logarithm of each count below 2^32, in parts of 2^16; 0 of 0."""
    some = np.maximum(counts.astype(np.int64), 1)
    highest = np.frexp(some.astype(np.float64))[1].astype(np.int64) - 1
    below = (some << (32 - highest)) & 0xFFFFFFFF
    places, parts = below >> _PART, below & ((1 << _PART) - 1)
    low = _STEPS[places]
    found: NDArray[np.int64] = (highest << BITS) + low + ((_STEPS[places + 1] - low) * parts >> _PART)
    return found


def weighed(counts: NDArray[Any]) -> NDArray[np.int64]:
    """c · log2 c in parts of 2^16 for each count below 2^32; 0 of 0."""
    return counts.astype(np.int64) * log2(counts)
