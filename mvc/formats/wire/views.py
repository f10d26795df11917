"""Views of other things than whole files: a stretch of one, and bytes in memory."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.formats.base import NotThisFormat, View
from mvc.spans import shown


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a view, as a view of its own."""

    view: View
    offset: int
    size: int
    name: str

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes of the stretch."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat(f"truncated at byte {self.size} of {shown(self.name)}")
        return self.view.read(self.offset + offset, length)


@dataclass(frozen=True, slots=True)
class Plain:
    """Bytes in memory, as a view."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        """Their number."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` of the bytes."""
        if offset < 0 or length < 0 or offset + length > len(self.data):
            raise NotThisFormat(f"truncated at byte {len(self.data)} of {shown(self.name)}")
        return self.data[offset : offset + length]
