"""A tensor that gained or lost rows: a larger vocabulary, an inserted block."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import MAX_BASES, Base, Recipe
from mvc.odb.writer import Hint
from mvc.recipes.known import KnownTensor, hint, plain
from mvc.recipes.recipe import MAX_RECIPE_DEPTH, TensorRecipe
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_STEP = 1 << 20
_MULTIPLIER = 0x9E3779B97F4A7C15


class Grown(TensorRecipe):
    """The recipe ``rows``: each row is one of the other tensor, or new.

    Rows are matched by hash; where fewer than half are found unchanged, they are taken to stand where they
    stood, and what is added or missing to be at the end.
    """

    relation = "rows"
    exact = False

    def __init__(
        self, base: KnownTensor, span: Span, read: Callable[[int, int], bytes], database: ObjectDatabase
    ) -> None:
        self.operands = (base,)
        self._span = span
        self._read = read
        self._database = database
        self._row = DTYPES[span.dtype].byte_count(int(np.prod(span.shape[1:], dtype=np.int64)))

    def hint(self, database: ObjectDatabase, position: int, piece: Buffer) -> Hint | None:
        """Stretches of the other tensor, and zeros for what it lacks."""
        (base,) = self.operands
        length = len(memoryview(piece))
        if not self._row:
            return None
        bases: list[Base] = []
        runs: list[int] = []
        for start, taken in _stretches(self._alignment, self._row, position, length):
            if start < 0:
                runs.append(-taken)
                continue
            found = base.stretches(start, taken)
            if found is None:
                return None
            bases += found
            runs.append(taken)
            if len(bases) > MAX_BASES:
                return None
        if all(run < 0 for run in runs):
            return None
        recipe = None if len(runs) == 1 else Recipe("rows", 1, {"runs": runs})
        return hint(database, base.span.dtype, bases, recipe, MAX_RECIPE_DEPTH)

    @cached_property
    def _alignment(self) -> NDArray[np.int64]:
        """For each row the other tensor's row that predicts it, or -1."""
        (base,) = self.operands
        rows, before = self._span.shape[0], base.span.shape[0]

        def earlier(start: int, length: int) -> bytes | None:
            return plain(self._database, base.stretches(start, length))

        old = _hashes(earlier, before, self._row)
        new = _hashes(lambda start, length: self._read(self._span.offset + start, length), rows, self._row)
        in_place = np.where(np.arange(rows) < before, np.arange(rows), -1)
        if old is None or new is None or not before:
            return in_place
        order = np.argsort(old, kind="stable")
        places = np.minimum(np.searchsorted(old[order], new), before - 1)
        found = np.where(old[order[places]] == new, order[places], -1)
        return found if 2 * np.count_nonzero(found >= 0) >= min(rows, before) else in_place


def _hashes(read: Callable[[int, int], bytes | None], rows: int, row: int) -> NDArray[np.uint64] | None:
    """A 64-bit hash of each row; None where they cannot be read."""
    words = -(-row // 8)
    with np.errstate(over="ignore"):
        factors = np.cumprod(np.full(words, _MULTIPLIER, np.uint64)) | np.uint64(1)
    found: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    step = max(_STEP // row, 1)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        data = read(first * row, count * row)
        if data is None:
            return None
        padded = np.zeros((count, 8 * words), np.uint8)
        padded[:, :row] = np.frombuffer(data, np.uint8).reshape(count, row)
        found.append((padded.view("<u8") * factors).sum(axis=1, dtype=np.uint64))
    return np.concatenate(found)


def _stretches(rows: NDArray[np.int64], row: int, position: int, length: int) -> list[tuple[int, int]]:
    """Where a piece's bytes come from, end to end: an offset in the other tensor, or -1, and how many."""
    first, last = position // row, (position + length - 1) // row
    part = rows[first : last + 1]
    breaks = np.flatnonzero(np.where(part[1:] < 0, part[:-1] >= 0, part[1:] != part[:-1] + 1)) + 1
    found: list[tuple[int, int]] = []
    starts = [0, *breaks.tolist(), part.size]
    for begin, end in pairwise(starts):
        low = max((first + begin) * row, position)
        high = min((first + end) * row, position + length)
        source = int(part[begin])
        found.append((-1 if source < 0 else source * row + low - (first + begin) * row, high - low))
    return found
