"""A file that lies in memory only: buffers end to end, read as an open file is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from mvc.errors import UsageError
from mvc.formats import NotThisFormat

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Stretch(NamedTuple):
    """``length`` bytes that ``give`` hands out when their turn comes, as a contiguous buffer.

    A buffer may be a view of memory that lives anyway (an array), or a copy made on the spot (of an array
    that is not contiguous, or on another device).
    """

    length: int
    give: Callable[[], Buffer]

    @classmethod
    def of(cls, data: Buffer) -> Stretch:
        """Bytes that are there already."""
        return cls(memoryview(data).nbytes, lambda: data)


class MemoryFile:
    """Stretches end to end under a file's name.

    One stretch is held at a time, so what is copied on the spot costs the memory of the largest one. What
    changes in the arrays while they are read is stored as it was when its turn came.
    """

    def __init__(self, name: str, stretches: Sequence[Stretch]) -> None:
        self.name = name
        self._stretches = tuple(stretches)
        self._ends = list(accumulate(stretch.length for stretch in stretches))
        self.size = self._ends[-1] if self._ends else 0
        self._held: tuple[int, memoryview] | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat("truncated")
        data = bytearray(length)
        self.read_into(memoryview(data), offset)
        return bytes(data)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer; fewer bytes only at the end of the file."""
        done = 0
        while done < len(buffer) and offset + done < self.size:
            done += self._copy(buffer[done:], offset + done)
        return done

    def changed(self) -> bool:
        """Nobody can tell."""
        return False

    def _copy(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer out of one stretch; returns the bytes copied."""
        number = bisect_right(self._ends, offset)
        data = self._stretch(number)
        start = offset - (self._ends[number] - len(data))
        count = min(len(data) - start, len(buffer))
        buffer[:count] = data[start : start + count]
        return count

    def _stretch(self, number: int) -> memoryview:
        if self._held is None or self._held[0] != number:
            self._held = None  # let go of the last one before the next is made
            length, give = self._stretches[number]
            data = memoryview(give()).cast("B")
            if len(data) != length:
                raise UsageError(f"{self.name}: {len(data)} bytes where {length} were promised")
            self._held = number, data
        return self._held[1]
