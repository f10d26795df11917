"""What an older file in the work tree holds of the one that is to take its place; nothing of it is believed
unhashed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mvc.fileio import FileIO
from mvc.objectid import BlobId, ObjectId
from mvc.objects import Manifest, Part


class OldFile:
    """An open work file and the manifest that it is thought to have.

    The manifest only says where to look: what is read is compared with the part that is wanted, so a file
    that was written since, or never was what it seemed, costs time and nothing else.
    """

    def __init__(self, io: FileIO, fd: int, manifest: Manifest) -> None:
        self._io = io
        self.fd = fd
        self._at: dict[int, Part] = {}
        self._lies: dict[ObjectId, int] = {}
        for offset, part in manifest.placed_parts():
            self._at[offset] = part
            if part.blob is not None:
                self._lies.setdefault(part.blob, offset)

    def has_at(self, offset: int, part: Part) -> bool:
        """Whether the part should lie at the same place here."""
        return self._at.get(offset) == part

    def read(self, part: Part, out: memoryview) -> bool:
        """Read a part from wherever it lies here into ``out``, which has its length; False if it is not to
        be had. ``out`` then holds anything."""
        if part.blob is None or part.blob not in self._lies:
            return False
        return read_part(self._io, self.fd, self._lies[part.blob], part, out)


def read_part(io: FileIO, fd: int, offset: int, part: Part, out: memoryview) -> bool:
    """Read what lies at ``offset`` into ``out``; whether it is the part, by its hash."""
    try:
        if io.read_into(fd, out, offset) != part.length:
            return False
    except OSError:
        return False  # the database has it too
    return bytes(out) == part.inline if part.blob is None else BlobId.of(out) == part.blob


@contextmanager
def open_old(io: FileIO, path: Path, manifest: Manifest | None) -> Iterator[OldFile | None]:
    """The file at ``path``, thought to have that manifest; None if that is None or no such file can be
    read."""
    fd = None if manifest is None else _open_regular(io, path)
    if fd is None or manifest is None:
        yield None
        return
    try:
        yield OldFile(io, fd, manifest)
    finally:
        io.close(fd)


def _open_regular(io: FileIO, path: Path) -> int | None:
    try:
        fd = io.open_read(path, follow=False)
    except OSError:
        return None  # gone, a link, or not for us to read: the database has every byte
    try:
        regular = stat.S_ISREG(io.stat_handle(fd).st_mode)
    except OSError:
        regular = False
    if not regular:
        io.close(fd)
        return None
    return fd
