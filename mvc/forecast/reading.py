"""Bytes of files for who samples them: opened for reading only, counted, and kept for who asks again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG

from mvc.errors import FileChanged
from mvc.fileio import FileIO
from mvc.formats import NotThisFormat, View
from mvc.source import OpenFile

_OPEN_FILES = 64
_STEP = 512  # bytes that are kept together of what formats read
_LONG = 16 << 10
_KEPT_BYTES = 256 << 20
_ENTRY_BYTES = 100  # what keeping a stretch costs beside its bytes


class Reader:
    """Reads stretches of files, by what they are called; ``places`` says where they lie. ``read_bytes``
    counts what was read from the disk, over and over again where it was. Not for use by several threads at
    once."""

    def __init__(self, io: FileIO, places: Mapping[str, Path]) -> None:
        self.io = io
        self.read_bytes = 0
        self._places = places
        self._open: OrderedDict[str, _Counted] = OrderedDict()
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._kept_bytes = 0

    def file(self, path: str) -> OpenFile:
        """An open file, good until some others were asked for. A link is never followed.

        Raises:
            FileChanged: it is no plain file any more.
            OSError: it cannot be opened.
        """
        found = self._open.get(path)
        if found is None:
            while len(self._open) >= _OPEN_FILES:
                self.io.close(self._open.popitem(last=False)[1].handle)
            fd = self.io.open_read(self._places[path], follow=False)
            try:
                found = _Counted(self, fd, path.rsplit("/", 1)[-1])
                if not S_ISREG(found.status.st_mode):
                    raise FileChanged(f"{path} is no longer a file", hint="run the command again")
            except BaseException:
                self.io.close(fd)
                raise
            self._open[path] = found
        self._open.move_to_end(path)
        return found

    def part(self, path: str, offset: int, length: int) -> bytes:
        """A stretch of a file, kept for a while.

        Raises:
            NotThisFormat: the file is shorter.
            OSError: it cannot be read.
        """
        key = path, offset, length
        data = self._kept.get(key)
        if data is None:
            data = self._kept[key] = self.file(path).read(offset, length)
            self._kept_bytes += length + _ENTRY_BYTES
            while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1]) + _ENTRY_BYTES
        else:
            self._kept.move_to_end(key)
        return data

    def view(self, path: str) -> View:
        """A file as formats read it; what they read is kept, too.

        Raises:
            FileChanged, OSError: as :meth:`file`.
        """
        return _Kept(self, path)

    def close(self) -> None:
        """Let go of all files."""
        while self._open:
            self.io.close(self._open.popitem()[1].handle)


class _Kept:
    """A file's bytes through the reader."""

    def __init__(self, reader: Reader, path: str) -> None:
        source = reader.file(path)
        self.name = source.name
        self.size = source.size
        self._reader = reader
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > self.size:
            raise NotThisFormat("truncated")
        if length > _LONG:
            return self._reader.part(self._path, offset, length)
        # formats go through what they look for in stretches that overlap, over and over again
        first = offset - offset % _STEP
        steps = range(first, offset + length, _STEP)
        data = b"".join(self._reader.part(self._path, at, min(_STEP, self.size - at)) for at in steps)
        return data[offset - first :][:length]


class _Counted(OpenFile):
    """An open file whose bytes the reader counts."""

    def __init__(self, reader: Reader, fd: int, name: str) -> None:
        super().__init__(reader.io, fd, name)
        self.handle = fd
        self._reader = reader

    def read(self, offset: int, length: int) -> bytes:
        data = super().read(offset, length)
        self._reader.read_bytes += length
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        count = super().read_into(buffer, offset)
        self._reader.read_bytes += count
        return count
