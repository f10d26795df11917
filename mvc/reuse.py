"""What an older file in the work tree holds of the one that is to take its place; nothing of it is believed
unhashed."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mvc.fileio import FileIO
from mvc.objectid import BlobId, ObjectId
from mvc.objects import Manifest, Part
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MOST_BYTES = 1 << 20
"""The longest part that is taken from an old file: what its manifest says is no reason to allocate more."""


class OldFile:
    """An open work file and the manifest that it is thought to have.

    The manifest only says where to look: what is read is compared with the part that is wanted, so a file
    that was written since, or never was what it seemed, costs time and nothing else.
    """

    def __init__(self, io: FileIO, fd: int, manifest: Manifest) -> None:
        self._io = io
        self.fd = fd
        self._at: dict[int, Part] = {}
        self._lies: dict[ObjectId, tuple[int, Part]] = {}
        for offset, part in manifest.placed_parts():
            self._at[offset] = part
            if part.blob is not None:
                self._lies.setdefault(part.blob, (offset, part))

    def has_at(self, offset: int, part: Part) -> bool:
        """Whether the part should lie at the same place here."""
        return self._at.get(offset) == part

    def read(self, part: Part, out: memoryview) -> bool:
        """Read a part from wherever it lies here into ``out``, which has its length; False if it is not to
        be had. ``out`` then holds anything."""
        if part.blob is None or part.blob not in self._lies:
            return False
        return read_part(self._io, self.fd, self._lies[part.blob][0], part, out)

    def plain(self, identity: ObjectId) -> bytes | None:
        """A blob that lies here; None for one that does not, or is longer than :data:`MOST_BYTES`."""
        found = self._lies.get(identity)
        if found is None or found[1].length > MOST_BYTES:
            return None
        offset, part = found
        data = bytearray(part.length)
        return bytes(data) if read_part(self._io, self.fd, offset, part, memoryview(data)) else None


class OldFileCache(PlainCache):
    """Decoded objects as in :class:`PlainCache`, and what lies in an old file, of whatever depth.

    For reading only: the version that comes is mostly coded against the one that goes, which then need not be
    decoded. Who writes a record must know that its bases can be read without the work tree.
    """

    def __init__(self, old: OldFile) -> None:
        super().__init__(CACHE_BYTES)
        self._old = old
        self._borrowed: deque[int] = deque()  # appended to by threads, summed at the end

    @property
    def borrowed_bytes(self) -> int:
        """Bytes that were read from the old file."""
        return sum(self._borrowed)

    def get(self, identity: ObjectId, below: int) -> bytes | None:
        """The bytes, from here if they came from a record of a depth below that, or from the old file."""
        found = super().get(identity, below)
        if found is None:
            found = self._old.plain(identity)
            if found is not None:
                self._borrowed.append(len(found))
        return found


def read_part(io: FileIO, fd: int, offset: int, part: Part, out: memoryview) -> bool:
    """Read what lies at ``offset`` into ``out``; whether it is the part, by its hash."""
    try:
        if io.read_into(fd, out, offset) != part.length:
            return False
    except OSError:
        return False  # the database has it too
    return is_part(out, part)


def is_part(data: Buffer, part: Part) -> bool:
    """Whether bytes are a part's: by its hash, or as they are where the manifest has them."""
    return bytes(data) == part.inline if part.blob is None else BlobId.of(data) == part.blob


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
