"""How long a commit would take, by a short trial of what takes most of its time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mvc.dtypes import DTYPES
from mvc.objectid import BlobId
from mvc.odb.encoder import encode_tensor

_PIECE = 1 << 20
_ROUNDS = 3  # the first one pays for loading code
_SEVERAL_THREADS = 1.4
"""What a second processor brings: threads meet at the interpreter's lock."""

FILE_SECONDS = 0.05
"""Of a file, for looking for relatives, its manifest, and opening it."""

START_SECONDS = 0.2
"""Of the command, with syncing to the disk."""


class Pace(NamedTuple):
    """Seconds per byte: to read and hash, to code alone, to code from a base with reading that."""

    hashing: float
    alone: float
    based: float

    def seconds(self, size: int, coded: int, based: int, files: int) -> float:
        """A commit of so many bytes, of which so many are coded, and so many of these from bases."""
        work = self.hashing * size + self.alone * (coded - based) + self.based * based
        return work + FILE_SECONDS * files


def measure() -> Pace:
    """The pace of this machine, now; takes about a tenth of a second."""
    values = np.arange(_PIECE // 2, dtype=np.uint32) * np.uint32(2654435761)  # Knuth's multiplicative hash
    base = ((values >> np.uint32(25)) + np.uint32(0x3D00) & np.uint32(0xFFFF)).astype("<u2")
    target = (base + (values >> np.uint32(8) & np.uint32(7)).astype("<u2")).astype("<u2")
    plain, before = target.tobytes(), base.tobytes()
    dtype = DTYPES["BF16"]
    threads = _SEVERAL_THREADS if (os.cpu_count() or 1) > 1 else 1.0
    hashing = _least(lambda: (hashlib.sha256(plain).digest(), BlobId.of(plain)))
    alone = _least(lambda: encode_tensor(plain, dtype, None))
    based = _least(lambda: encode_tensor(plain, dtype, before)) + alone  # which stands for decoding the base
    return Pace(hashing / _PIECE, alone / threads / _PIECE, based / threads / _PIECE)


def _least(work: Callable[[], object]) -> float:
    times: list[float] = []
    for _round in range(_ROUNDS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)
