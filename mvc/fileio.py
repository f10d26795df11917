"""The one IO layer: every touch of a disk goes through a :class:`FileIO`.

Each method is one step that can fail, so a test can put a twin in its place that refuses, writes short, dies or
forgets at any step (``tests/faults.py``). Errors stay ``OSError`` here; :func:`storage_errors` turns them into
:class:`mvc.errors.StorageError` at the borders.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mvc.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_CLOEXEC = os.O_CLOEXEC


class FileIO:
    """The real disk. Handles are plain file descriptors."""

    # --- reading -------------------------------------------------------------------------------------------------
    def open_read(self, path: Path, *, follow: bool = True) -> int:
        """Open an existing regular file or folder for reading; never blocks on a FIFO."""
        flags = os.O_RDONLY | _CLOEXEC | os.O_NONBLOCK
        return os.open(path, flags if follow else flags | os.O_NOFOLLOW)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""
        chunk = os.pread(fd, length, offset)
        if len(chunk) == length or not chunk:
            return chunk
        pieces = [chunk]
        done = len(chunk)
        while done < length:
            chunk = os.pread(fd, length - done, offset + done)
            if not chunk:
                break
            pieces.append(chunk)
            done += len(chunk)
        return b"".join(pieces)

    def read_into(self, fd: int, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset``; returns the bytes read, fewer only at the end of the file."""
        done = 0
        while done < len(buffer):
            count = os.preadv(fd, [buffer[done:]], offset + done)
            if count == 0:
                break
            done += count
        return done

    def map_read(self, path: Path) -> Buffer:
        """Map a write-once file of ours; an empty file gives empty bytes."""
        fd = self.open_read(path)
        try:
            if os.fstat(fd).st_size == 0:
                return b""
            return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)

    def stat(self, path: Path) -> os.stat_result:
        """Status of what the path names, links not followed."""
        return os.lstat(path)

    def stat_handle(self, fd: int) -> os.stat_result:
        """Status of an open file."""
        return os.fstat(fd)

    def scan_folder(self, path: Path) -> list[os.DirEntry[str]]:
        """A folder's entries, in no order."""
        with os.scandir(path) as entries:
            return list(entries)

    # --- writing -------------------------------------------------------------------------------------------------
    def create(self, path: Path, mode: int = 0o666) -> int:
        """Create a file that must not exist yet, for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _CLOEXEC, mode)

    def write(self, fd: int, data: Buffer) -> int:
        """Write once, perhaps short; returns the bytes written."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """Make a file's bytes durable."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a handle."""
        os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Rename, taking the target's place."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must not exist yet."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def make_folder(self, path: Path) -> None:
        """Create a folder, whose parent exists."""
        os.mkdir(path)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def sync_folder(self, path: Path) -> None:
        """Make a folder's names durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def set_mode(self, path: Path, mode: int) -> None:
        """Set permission bits."""
        os.chmod(path, mode, follow_symlinks=True)

    # --- locks ---------------------------------------------------------------------------------------------------
    def open_lock(self, path: Path) -> int:
        """Open (creating it) a file that is only ever locked."""
        return os.open(path, os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o666)

    def lock(self, fd: int, *, exclusive: bool, wait: bool) -> bool:
        """Take a lock that the kernel drops when its process ends; False if it is held and ``wait`` is not set."""
        operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(fd, operation if wait else operation | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES) and not wait:
                return False
            raise
        return True


def write_all(io: FileIO, fd: int, data: Buffer) -> None:
    """Write every byte, however short the single writes are."""
    view = memoryview(data).cast("B")
    while view:
        view = view[io.write(fd, view) :]


def make_folders(io: FileIO, path: Path) -> None:
    """Create a folder and its missing parents, each durable in its parent."""
    try:
        io.make_folder(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(io, path.parent)
        try:
            io.make_folder(path)
        except FileExistsError:
            return
    io.sync_folder(path.parent)


def write_durable(io: FileIO, temporary: Path, target: Path, pieces: list[Buffer], *, replace: bool) -> bool:
    """Write a file so that it is durable before it is visible: write, sync, rename, sync the folder.

    With ``replace`` false an existing target is left alone and False is returned. The temporary file is removed
    when a step fails.
    """
    fd = io.create(temporary)
    try:
        try:
            for piece in pieces:
                write_all(io, fd, piece)
            io.sync(fd)
        finally:
            io.close(fd)
        if replace:
            io.replace(temporary, target)
        else:
            try:
                io.link(temporary, target)
            except FileExistsError:
                io.unlink(temporary)
                return False
            io.unlink(temporary)
    except BaseException:
        try:
            io.unlink(temporary)
        except OSError:
            pass  # the first failure is the one to report; a leftover in tmp is swept later
        raise
    io.sync_folder(target.parent)
    return True


_HINTS = {
    errno.ENOSPC: "free some space and run the command again; nothing was lost",
    errno.EDQUOT: "your quota is used up; free some space and run the command again; nothing was lost",
    errno.EACCES: "check the permissions of the folder",
    errno.EPERM: "check the permissions of the folder",
    errno.EROFS: "the file system is mounted read-only",
}


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a :class:`StorageError` that says what was being done."""
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        where = f": {error.filename}" if error.filename else ""
        raise StorageError(
            f"{doing}: {what}{where}", hint=_HINTS.get(error.errno or 0, "check the disk and try again")
        ) from error
