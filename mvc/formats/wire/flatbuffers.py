"""FlatBuffers: tables whose fields are found through tables of offsets.

Specification: https://flatbuffers.dev/internals. Nothing is known of any schema. Offsets may point anywhere
in the file, and many to one place; a budget of reads bounds what that can cost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.views import spend
from mvc.formats.wire.window import Window

MAX_READS = 1_000_000
"""Reads of one file. Each may be of another place, and then fetches 4 KiB: some microseconds."""

_WORD = struct.Struct("<I")
_SIGNED = struct.Struct("<i")
_HALF = struct.Struct("<H")
_STRETCH = 4 << 10
_READ_WORK = 32  # of a read, against reading a byte
_SPENT_AT_ONCE = 1 << 10  # reads


class Flat:
    """A file that is one flatbuffer."""

    def __init__(self, view: View) -> None:
        # Two windows: tables of offsets lie apart from what they describe.
        self._window = Window(view, _STRETCH)
        self._offsets = Window(view, _STRETCH)
        self._view = view
        self._left = MAX_READS
        self._unspent = 0

    def root(self) -> int:
        """Where the root table lies."""
        return self.word(0)

    def identifier(self) -> bytes:
        """The four bytes that name the schema."""
        return self._take(4, 4)

    def field(self, table: int, number: int) -> int | None:
        """Where field ``number`` of a table lies; None where it is left at its default.

        Raises:
            NotThisFormat: a place outside the file, or the budget is spent.
        """
        offsets = table - int(_SIGNED.unpack(self._take(table, 4))[0])
        self._spend(2)
        (size,) = _HALF.unpack(self._offsets.take(offsets, 2))
        if 4 + 2 * number + 2 > size:
            return None
        (offset,) = _HALF.unpack(self._offsets.take(offsets + 4 + 2 * number, 2))
        return table + offset if offset else None

    def target(self, place: int) -> int:
        """What the offset stored at a place points at."""
        return place + self.word(place)

    def vector(self, table: int, number: int) -> tuple[int, int] | None:
        """Where the items of a vector in a field begin, and how many there are; None without the field."""
        place = self.field(table, number)
        if place is None:
            return None
        start = self.target(place)
        return start + 4, self.word(start)

    def tables(self, table: int, number: int, most: int) -> Iterator[int]:
        """The tables of a vector of tables.

        Raises:
            NotThisFormat: more than ``most``.
        """
        found = self.vector(table, number)
        if found is None:
            return
        start, count = found
        if count > most:
            raise NotThisFormat(f"{count} tables in one vector, more than {most}")
        for place in range(start, start + 4 * count, 4):
            yield self.target(place)

    def integers(self, table: int, number: int, most: int) -> tuple[int, ...]:
        """A vector of signed 32-bit integers; none without the field."""
        found = self.vector(table, number)
        if found is None:
            return ()
        start, count = found
        if count > most:
            raise NotThisFormat(f"{count} numbers, more than {most}")
        return struct.unpack(f"<{count}i", self._take(start, 4 * count))

    def text(self, table: int, number: int, most: int) -> str:
        """A text of at most ``most`` bytes; empty without the field."""
        found = self.vector(table, number)
        if found is None:
            return ""
        start, length = found
        if length > most:
            raise NotThisFormat(f"a text of {length} bytes, more than {most}")
        try:
            return self._take(start, length).decode()
        except UnicodeDecodeError:
            raise NotThisFormat("a text is not UTF-8") from None

    def word(self, place: int) -> int:
        """The unsigned 32-bit number at a place."""
        return int(_WORD.unpack(self._take(place, 4))[0])

    def long(self, place: int) -> int:
        """The unsigned 64-bit number at a place."""
        return int.from_bytes(self._take(place, 8), "little")

    def byte(self, place: int) -> int:
        """The byte at a place."""
        return self._take(place, 1)[0]

    def _spend(self, reads: int) -> None:
        self._left -= reads
        if self._left < 0:
            raise NotThisFormat("more reads than are spent on one file")
        self._unspent += reads
        if self._unspent >= _SPENT_AT_ONCE:
            spend(self._view, self._unspent * _READ_WORK)
            self._unspent = 0

    def _take(self, place: int, length: int) -> bytes:
        self._spend(1)
        return self._window.take(place, length)
