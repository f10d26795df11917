"""Finds any of many ids in bytes, at any place."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from mvc.objectid import ID_BYTES

_BITS = 22
_SHIFT = np.uint32(32 - _BITS)
_SPREAD = np.uint32(0x9E3779B1)


class Needles:
    """Some ids, of which :meth:`find` tells where they lie."""

    def __init__(self, ids: Collection[bytes]) -> None:
        self._ids = frozenset(bytes(one) for one in ids)
        rows = np.frombuffer(b"".join(self._ids), np.uint8).reshape(-1, ID_BYTES)
        words = np.ascontiguousarray(rows).view("<u4").reshape(-1, ID_BYTES // 4)
        self._tables: list[NDArray[np.bool_]] = []
        for word in range(2):
            table = np.zeros(1 << _BITS, np.bool_)
            table[_slots(words[:, word])] = True
            self._tables.append(table)

    def find(self, data: bytes | memoryview) -> Iterator[int]:
        """The offsets at which an id begins, ascending."""
        view = memoryview(data)
        places: list[NDArray[np.int64]] = []
        for start in range(4):
            count = (len(view) - start) // 4
            if count < ID_BYTES // 4:
                continue
            words = np.frombuffer(view, "<u4", count, start)[: count - ID_BYTES // 4 + 1]
            found = np.flatnonzero(self._tables[0][_slots(words)])
            second = np.frombuffer(view, "<u4", count, start)[found + 1]
            places.append(found[self._tables[1][_slots(second)]] * 4 + start)
        for at in sorted(int(place) for listed in places for place in listed):
            if bytes(view[at : at + ID_BYTES]) in self._ids:
                yield at


def _slots(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    slots: NDArray[np.uint32] = (words * _SPREAD) >> _SHIFT
    return slots
