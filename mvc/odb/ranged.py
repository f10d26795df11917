"""Segments of which only the parts that look-ups need are fetched: head and table first, then stretches of
the two columns."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from mvc.errors import CorruptFile
from mvc.odb.segment import HINT, Entry, Segment, SegmentRow, segment_lengths

Fetch = Callable[[int, int], bytes]
"""Exactly so many bytes (second) of the segment from an offset on (first)."""

Rows = tuple[int, int]
"""From the first row to before the second."""

_ID, _ROW = 32, 14
_MOST_BYTES = 64 << 20
_LEAST_HEAD = 64 + 32 + 8
FIRST_BYTES = 64 << 10
"""Of a segment's beginning that are asked for together; most heads are shorter."""


def least_bytes(row: SegmentRow) -> int:
    """The least length of a segment that root says this of."""
    return _LEAST_HEAD + (_ID + _ROW) * row.entries


class RangedSegment(Segment):
    """A segment that is read by ranges.

    :meth:`wanted` and :meth:`load` fetch what look-ups of some ids need; what is looked up without them, or
    all entries where those are asked for, is fetched in its turn. Memory is taken only for what was fetched.
    Safe to use from several threads.

    What was not read is not checked: only the head is against its checksum, and records against their ids.
    """

    __slots__ = ("_fetch", "_have", "_lock")

    def __init__(self, row: SegmentRow, fetch: Fetch) -> None:
        first = fetch(0, min(FIRST_BYTES, least_bytes(row)))
        head, length = segment_lengths(row.name, first)
        if length > _MOST_BYTES or head > length:
            raise CorruptFile(f"index segment {row.name.hex()[:12]} has an impossible head", hint=HINT)
        data = mmap.mmap(-1, length)
        data[: len(first)] = first
        if head > len(first):
            data[len(first) : head] = fetch(len(first), head - len(first))
        self._fetch = fetch
        self._have: set[Rows] = set()
        self._lock = threading.Lock()
        super().__init__(row.name, data)

    def wanted(self, ids: Iterable[bytes], request_bytes: int = 0) -> list[Rows]:
        """What look-ups of these ids need and was not fetched yet, as ranges of rows; all rows where so many
        ranges cost more, if a request is worth ``request_bytes``."""
        found = sorted(rows for rows in {self._rows(id) for id in ids} if self._lacks(rows))
        whole = (_ID + _ROW) * self.count + 2 * request_bytes
        return [(0, self.count)] if 2 * request_bytes * len(found) > whole else found

    def load(self, rows: Rows) -> None:
        """Fetch some rows of both columns, one after the other.

        Raises:
            StorageError, CorruptFile: they cannot be had.
        """
        for column in (0, 1):
            self.load_column(rows, column)
        self.loaded(rows)

    def load_column(self, rows: Rows, column: int) -> None:
        """Fetch some rows of the column of ids (0) or of places (1); :meth:`loaded` counts them once both are
        here."""
        width, start = ((_ID, self.ids_at), (_ROW, self.rows_at))[column]
        at, length = start + width * rows[0], width * (rows[1] - rows[0])
        data = self._fetch(at, length)
        with self._lock:
            cast(mmap.mmap, self.data)[at : at + length] = data

    def loaded(self, rows: Rows) -> None:
        """Both columns have these rows now."""
        with self._lock:
            self._have.add(rows)

    def _lacks(self, rows: Rows) -> bool:
        return rows[0] < rows[1] and rows not in self._have and (0, self.count) not in self._have

    @property
    def is_whole(self) -> bool:
        """Whether all of it was fetched."""
        return not self._lacks((0, self.count))

    def _rows(self, id: bytes) -> Rows:
        """The rows among which an id is, if it is here."""
        return self.bucket(int.from_bytes(id[:8], "big")) if self.first <= id[:8] <= self.last else (0, 0)

    def _whole(self) -> None:
        if self._lacks((0, self.count)):
            self.load((0, self.count))

    def locate(self, id: bytes, prefix: int) -> int:
        """Row of an id's first record, or -1."""
        rows = self._rows(id)
        if self._lacks(rows):
            self.load(rows)
        return super().locate(id, prefix)

    def find_prefix(self, low: bytes, high: bytes) -> Iterator[tuple[int, bytes]]:
        """Kind and id of all from ``low`` to ``high``."""
        rows = self._rows(low)
        if rows != self._rows(high):
            self._whole()
        elif self._lacks(rows):
            self.load(rows)
        return super().find_prefix(low, high)

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, in the order of the rows."""
        self._whole()
        return super().__iter__()

    def verify_name(self) -> None:
        """Check every byte against the name."""
        self._whole()
        super().verify_name()

    def forget_pages(self) -> None:
        """What was fetched stays: nobody else has it."""
