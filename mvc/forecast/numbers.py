"""Samples as numbers to calculate with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.elements import unsigned
from mvc.predictors.floats import F32, FLOATS, load


def numbers_of(sample: bytes, dtype: str) -> NDArray[np.float64]:
    """The elements of a sample of a float type or int8; what is no number becomes 0."""
    if dtype == "I8":
        return np.frombuffer(sample, np.int8).astype(np.float64)
    if dtype not in FLOATS:
        raise ValueError(f"{dtype} holds no numbers that are calculated with")
    bits = np.frombuffer(sample, unsigned(DTYPES[dtype].width))
    if dtype == "F64":
        found = bits.view("<f8").astype(np.float64)
    else:
        narrow = np.empty(bits.size, F32)
        load(bits, dtype, narrow)
        found = narrow.astype(np.float64)
    found[~np.isfinite(found)] = 0
    return found
