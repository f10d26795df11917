"""The stat cache ``.mvc/index``: which work files are certainly unchanged since their content was last read.

A file whose size, times, inode and device are those of a file already read has the same content, with one
exception: a file system's clock ticks coarsely (4 ms on many kernels, a second or two on some file
systems), so a write in the same tick as the one before leaves all of them as they were. Git compares a
file's times with the time of its index, which leaves a hole: write, read, write again in the same tick, and
let the index be written in a later one. Here the file system is asked for its time *before* anything is
read (:func:`file_system_time`). A write after that moment gets that time or a later one, so an entry whose
times are earlier can be believed, and only such entries are kept. The others are read again next time.

What is not seen: a program that writes through a memory map does not move the times until the kernel flushes.

Bytes: ``mvcINDX1``; the number of entries (8); per entry size, mtime, ctime in nanoseconds (signed, 8
each), inode, device (8 each), executable (1), manifest id (32); the paths in the same order, sorted, UTF-8,
each ended by a zero byte; BLAKE3 of all that (32). Derived and local, so neither synced nor repaired: an
index that does not check out is an empty one.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from blake3 import blake3

from mvc.fileio import FileIO, storage_errors, write_all

_MAGIC = b"mvcINDX1"
_COUNT = struct.Struct("<Q")
_RECORD = struct.Struct("<qqqQQ?32s")
_HEAD_BYTES = len(_MAGIC) + _COUNT.size
_SUM_BYTES = 32
_MAX_BYTES = 1 << 30  # some six million files; more than this was not written here

# How far the clocks of two file systems are trusted to agree.
_CLOCK_SKEW_NS = 60 * 10**9


class StatKey(NamedTuple):
    """What is compared: bytes, nanoseconds since 1970, and the file's identity."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The key of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


class IndexEntry(NamedTuple):
    """A file as it was read. ``key`` was taken before its content, ``manifest`` is the 32-byte id of that."""

    key: StatKey
    executable: bool
    manifest: bytes


class Moment(NamedTuple):
    """A reading of a file system's clock."""

    time_ns: int
    device: int


def file_system_time(io: FileIO, temporary: Path) -> Moment:
    """The time that a file written now would get, learned by creating and removing ``temporary``.

    Raises:
        StorageError: the file cannot be created.
    """
    with storage_errors("asking the file system for its time"):
        fd = io.create(temporary)
        try:
            status = io.stat_handle(fd)
        finally:
            io.close(fd)
            io.unlink(temporary)
    return Moment(min(status.st_mtime_ns, status.st_ctime_ns), status.st_dev)


class StatCache:
    """What is known of the work files. ``entries`` go by repository path; do not change them from outside."""

    def __init__(self, entries: Mapping[str, IndexEntry] | None = None) -> None:
        self.entries: dict[str, IndexEntry] = dict(entries or {})

    @classmethod
    def load(cls, io: FileIO, path: Path) -> Self:
        """Read an index; one that is missing, damaged or of another version is empty.

        Raises:
            StorageError: it is there and cannot be read.
        """
        with storage_errors("reading the stat cache"):
            return cls(_decode(_read(io, path)))

    def get(self, path: str, status: os.stat_result) -> bytes | None:
        """The manifest id of a file that is certainly unchanged, else None."""
        entry = self.entries.get(path)
        return entry.manifest if entry is not None and entry.key == StatKey.of(status) else None

    def store(
        self, io: FileIO, temporary: Path, path: Path, entries: Mapping[str, IndexEntry], *, before: Moment
    ) -> None:
        """Replace the index, on disk and here, by those of ``entries`` that can be believed.

        ``before`` is a :func:`file_system_time` from before the first new key was taken; entries of this
        cache may stand among the new ones. Nothing is synced.

        Raises:
            StorageError: it cannot be written; the old index stays.
        """
        kept = {name: entries[name] for name in sorted(entries) if _believable(entries[name].key, before)}
        with storage_errors("writing the stat cache"):
            fd = io.create(temporary)
            try:
                try:
                    write_all(io, fd, _encode(kept))
                finally:
                    io.close(fd)
                io.replace(temporary, path)
            except BaseException:
                io.unlink(temporary)
                raise
        self.entries = kept


def _believable(key: StatKey, before: Moment) -> bool:
    """Whether a write after ``before`` would have changed the key."""
    # On another device (a mount inside the work tree) the time may come from another clock.
    limit = before.time_ns if key.device == before.device else before.time_ns - _CLOCK_SKEW_NS
    return key.mtime_ns < limit and key.ctime_ns < limit


def _encode(entries: Mapping[str, IndexEntry]) -> bytes:
    pieces = [_MAGIC, _COUNT.pack(len(entries))]
    pieces += [_RECORD.pack(*key, executable, manifest) for key, executable, manifest in entries.values()]
    pieces += [f"{path}\0".encode() for path in entries]
    body = b"".join(pieces)
    return body + blake3(body).digest()


def _read(io: FileIO, path: Path) -> bytes:
    try:
        fd = io.open_read(path, follow=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):  # nothing there, or a link: no index of ours
            return b""
        raise
    try:
        status = io.stat_handle(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            return b""
        return io.read_at(fd, status.st_size, 0)
    finally:
        io.close(fd)


def _decode(data: bytes) -> dict[str, IndexEntry]:
    """Entries of an index's bytes; none if they are not exactly what :func:`_encode` writes."""
    body = data[:-_SUM_BYTES]
    if not body.startswith(_MAGIC) or len(body) < _HEAD_BYTES or blake3(body).digest() != data[-_SUM_BYTES:]:
        return {}
    (count,) = _COUNT.unpack_from(body, len(_MAGIC))
    names_at = _HEAD_BYTES + count * _RECORD.size
    if names_at > len(body):
        return {}
    try:
        names = body[names_at:].decode().split("\0")
    except UnicodeDecodeError:
        return {}
    if names.pop() or len(names) != count:
        return {}
    make_key, make_entry = StatKey._make, IndexEntry._make
    return {
        name: make_entry((make_key(fields[:5]), fields[5], fields[6]))
        for name, fields in zip(names, _RECORD.iter_unpack(body[_HEAD_BYTES:names_at]), strict=True)
    }
