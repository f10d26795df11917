"""Small reads all over a file, served from one stretch of it held in memory."""

from __future__ import annotations

from mvc.formats.base import NotThisFormat, View

STRETCH = 16 << 10
"""Bytes that are read at once. Walking past large data reads one stretch behind each, so it must be small."""


class Window:
    """A file, read forwards for the most part, in reads of few bytes."""

    def __init__(self, view: View, stretch: int = STRETCH) -> None:
        self._view = view
        self._stretch = stretch
        self._start = 0
        self._held = b""
        self.size = view.size

    def take(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset``; the caller has bounded ``length``.

        Raises:
            NotThisFormat: the file has fewer.
        """
        start = offset - self._start
        if not 0 <= start <= len(self._held) - length:
            self._load(offset, length)
            start = 0
        return self._held[start : start + length]

    def rest(self, offset: int, least: int) -> bytes:
        """What is held from ``offset`` on, and at least ``least`` bytes of it.

        Raises:
            NotThisFormat: the file has fewer.
        """
        start = offset - self._start
        if not 0 <= start <= len(self._held) - least:
            self._load(offset, least)
            return self._held
        return self._held[start:]

    def _load(self, offset: int, length: int) -> None:
        left = self.size - offset
        if offset < 0 or length > left:
            raise NotThisFormat("truncated")
        self._held = self._view.read(offset, min(left, max(length, self._stretch)))
        self._start = offset
