"""Numbers of different numbers of bits, one behind the other, the first one lowest in the first byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvc.elements import unsigned
from mvc.errors import CorruptObject

_U64 = unsigned(8)


def pack(values: NDArray[Any], lengths: NDArray[np.int64]) -> bytes:
    """``values``, each of which fits into its number of bits (at most 63), in whole bytes."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    places = ends - lengths
    words = np.zeros(total // 64 + 2, _U64)
    skips = (places & 63).astype(_U64)
    wide = values.astype(_U64)
    # no two values share a bit, so adding is as good as "or", and numpy's `add.at` is fast
    np.add.at(words, places >> 6, wide << skips)
    np.add.at(words, (places >> 6) + 1, (wide >> np.uint64(1)) >> (np.uint64(63) - skips))
    return words.tobytes()[: (total + 7) // 8]


def unpack(packed: memoryview, lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Undo :func:`pack`.

    Raises:
        CorruptObject: it is not exactly so many bytes.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    if len(packed) != (total + 7) // 8:
        raise CorruptObject(f"{len(packed)} bytes of bits where {(total + 7) // 8} belong")
    words = np.frombuffer(bytes(packed) + bytes(16 - len(packed) % 8), _U64)
    places = ends - lengths
    skips = (places & 63).astype(_U64)
    whole = words[places >> 6] >> skips
    whole |= (words[(places >> 6) + 1] << np.uint64(1)) << (np.uint64(63) - skips)
    kept: NDArray[np.uint64] = whole & ((np.uint64(1) << lengths.astype(_U64)) - np.uint64(1))
    return kept
