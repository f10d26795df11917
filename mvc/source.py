"""One file's bytes, as formats and the pipeline read them."""

from __future__ import annotations

from typing import Protocol

from mvc.fileio import FileIO
from mvc.formats import NotThisFormat


class Source(Protocol):
    """One file's bytes, as formats and the pipeline read them, from one thread: :class:`OpenFile` or
    :class:`mvc.memoryfile.MemoryFile`."""

    @property
    def name(self) -> str:
        """The file's name in its folder."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Exactly so many bytes, or :class:`NotThisFormat`."""

    def read_into(self, buffer: memoryview, offset: int, /) -> int:
        """Fill the buffer; returns the bytes read, fewer only at the file's end."""

    def changed(self) -> bool:
        """Whether somebody is known to have written to it since it was opened."""


class OpenFile:
    """One open work file."""

    def __init__(self, io: FileIO, fd: int, name: str) -> None:
        self._io = io
        self._fd = fd
        self.name = name
        status = io.stat_handle(fd)
        self.status = status
        self.size = status.st_size
        self.stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        data = self._io.read_at(self._fd, length, offset)
        if len(data) != length:
            raise NotThisFormat("truncated")
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer; fewer bytes only at the end of the file."""
        return self._io.read_into(self._fd, buffer, offset)

    def changed(self) -> bool:
        """Whether somebody wrote to it since it was opened."""
        status = self._io.stat_handle(self._fd)
        return self.stamp != (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
