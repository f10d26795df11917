"""The one IO layer: every touch of a disk goes through a :class:`FileIO`.

Each method is one step that can fail, so a test can put a twin in its place that refuses, writes short, dies
or forgets at any step (``tests/faults.py``). Errors stay ``OSError`` here; :func:`storage_errors` turns them
into :class:`mvc.errors.StorageError` at the borders.

Where a method takes ``folder``, a handle from :meth:`FileIO.open_folder`, the path is a name inside that
folder: the way to it has been checked once and cannot be bent by a link put there later.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from mvc.beneath import Beneath
from mvc.errors import CorruptFile, StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_CLOEXEC = os.O_CLOEXEC
_FICLONE = 0x40049409  # of <linux/fs.h>


class FileIO:
    """The real disk. Handles are plain file descriptors."""

    beneath = Beneath()
    """How paths of the work tree are opened, so that no link leads out of it."""

    # --- reading -------------------------------------------------------------------------------------------
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
        fd = self.open_read(path, follow=False)
        try:
            if os.fstat(fd).st_size == 0:
                return b""
            return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)

    def open_beneath(self, root: Path, path: str, *, folder: bool = False) -> int:
        """Open a regular file, or a folder, below ``root`` for reading, following no link below it; never
        blocks on a FIFO. The empty path is ``root`` itself, whose own name may be a link.

        Raises:
            NotADirectoryError: a link is in the way, or in its place.
        """
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        if not path:
            return top
        try:
            return self.beneath.open(top, path, os.O_RDONLY | (os.O_DIRECTORY if folder else os.O_NONBLOCK))
        finally:
            os.close(top)

    def open_folder(self, path: Path | str, *, folder: int | None = None) -> int:
        """Open a folder; inside ``folder`` a symbolic link in its place is refused."""
        flags = os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC
        return os.open(path, flags if folder is None else flags | os.O_NOFOLLOW, dir_fd=folder)

    def stat(self, path: Path | str, *, folder: int | None = None) -> os.stat_result:
        """Status of what the path names, links not followed."""
        return os.stat(path, dir_fd=folder, follow_symlinks=False)

    def stat_handle(self, fd: int) -> os.stat_result:
        """Status of an open file."""
        return os.fstat(fd)

    def scan_folder(self, path: Path | int) -> list[os.DirEntry[str]]:
        """The entries of a folder, given by path or handle, in no order."""
        with os.scandir(path) as entries:
            return list(entries)

    # --- writing -------------------------------------------------------------------------------------------
    def create(self, path: Path, mode: int = 0o666) -> int:
        """Create a file that must not exist yet, for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _CLOEXEC, mode)

    def open_append(self, path: Path) -> int:
        """Open a file, made where there is none, so that all that is written lands behind what is there;
        never blocks on a FIFO."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(path, flags | _CLOEXEC, 0o666)

    def write(self, fd: int, data: Buffer) -> int:
        """Write once, perhaps short; returns the bytes written."""
        return os.write(fd, data)

    def write_at(self, fd: int, data: Buffer, offset: int) -> int:
        """Write once at ``offset``, perhaps short; returns the bytes written."""
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, length: int) -> None:
        """Make a file so many bytes long."""
        os.ftruncate(fd, length)

    def clone(self, source: int, target: int) -> None:
        """Make the file that is open for writing share all bytes of ``source`` on disk, until one of them is
        written to; ``OSError`` where the file system cannot."""
        fcntl.ioctl(target, _FICLONE, source)

    def sync(self, fd: int) -> None:
        """Make a file's bytes durable."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a handle."""
        os.close(fd)

    def replace(
        self,
        source: Path | str,
        target: Path | str,
        *,
        source_folder: int | None = None,
        target_folder: int | None = None,
    ) -> None:
        """Rename, taking the target's place."""
        os.replace(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which must not exist yet."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path | str, *, folder: int | None = None) -> None:
        """Remove a file."""
        os.unlink(path, dir_fd=folder)

    def make_folder(self, path: Path | str, *, folder: int | None = None) -> None:
        """Create a folder, whose parent exists."""
        os.mkdir(path, dir_fd=folder)

    def remove_folder(self, path: Path | str, *, folder: int | None = None) -> None:
        """Remove an empty folder."""
        os.rmdir(path, dir_fd=folder)

    def sync_folder(self, path: Path | int) -> None:
        """Make the names in a folder, given by path or handle, durable."""
        fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            # Some network file systems have no such call and say so with EINVAL; there is no more to ask for.
            if error.errno != errno.EINVAL:
                raise
        finally:
            if fd is not path:
                os.close(fd)

    def set_mode(self, path: Path | int, mode: int) -> None:
        """Set the permission bits of a file given by path or handle."""
        os.chmod(path, mode)

    # --- locks ---------------------------------------------------------------------------------------------
    def open_lock(self, path: Path, *, create: bool = True) -> int:
        """Open a file to lock it; unless told otherwise it is created where it is missing."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | _CLOEXEC
        return os.open(path, flags | os.O_CREAT if create else flags, 0o666)

    def lock(self, fd: int, *, exclusive: bool, wait: bool) -> bool:
        """Take a lock that the kernel drops when its process ends; without ``wait``, False if it is held."""
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


def write_all_at(io: FileIO, fd: int, data: Buffer, offset: int) -> None:
    """Write every byte from ``offset`` on, however short the single writes are."""
    view = memoryview(data).cast("B")
    while view:
        done = io.write_at(fd, view, offset)
        view, offset = view[done:], offset + done


def make_folders(io: FileIO, path: Path) -> None:
    """Create a folder and its missing parents, each durable in its parent."""
    try:
        io.make_folder(path)
    except FileExistsError:
        pass  # perhaps made a moment ago by somebody who has not synced its parent yet, so we do
    except FileNotFoundError:
        make_folders(io, path.parent)
        with suppress(FileExistsError):
            io.make_folder(path)
    io.sync_folder(path.parent)


def write_durable(
    io: FileIO, temporary: Path, target: Path, pieces: Sequence[Buffer], *, replace: bool
) -> bool:
    """Write a file so that it is durable before it is visible: write, sync, rename, sync the folder.

    With ``replace`` false an existing target is left alone, and False is returned once that target is
    durable. The temporary file is removed when a step fails. When the last step (syncing the folder) fails,
    the target is visible already and only its durability is in doubt.
    """
    fd = io.create(temporary)
    try:
        for piece in pieces:
            write_all(io, fd, piece)
    except BaseException:
        discard_unfinished(io, fd, temporary)
        raise
    return make_visible(io, fd, temporary, target, replace=replace)


def make_visible(io: FileIO, fd: int, temporary: Path, target: Path, *, replace: bool) -> bool:
    """The second half of :func:`write_durable`, for a temporary file that is open and written; closes it."""
    placed = True
    try:
        try:
            io.sync(fd)
        finally:
            io.close(fd)
        if replace:
            io.replace(temporary, target)
        else:
            placed = _place_in_folder(io, temporary, target)
    except BaseException:
        with suppress(OSError):  # the first failure is the one to report; a leftover in tmp is swept later
            io.unlink(temporary)
        raise
    # Also when another writer was first: it may not have come to this line yet, and our caller relies on it.
    io.sync_folder(target.parent)
    return placed


def _place_in_folder(io: FileIO, temporary: Path, target: Path) -> bool:
    """:func:`place_new`, in a folder that a collection may find empty and remove at any moment before."""
    for _attempt in range(_FOLDER_ATTEMPTS):
        try:
            return place_new(io, temporary, target)
        except FileNotFoundError:
            make_folders(io, target.parent)
    return place_new(io, temporary, target)


_FOLDER_ATTEMPTS = 2


def discard_unfinished(io: FileIO, fd: int, temporary: Path) -> None:
    """Close and remove a temporary file that is not going to be used; what cannot be is swept later."""
    with suppress(OSError):
        io.close(fd)
    with suppress(OSError):
        io.unlink(temporary)


NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""What a file system says that has no hard links."""


def place_new(io: FileIO, temporary: Path, target: Path) -> bool:
    """Move a synced temporary file to a name that must be free; if it is taken, remove it and return False.

    A hard link is the one portable step that creates a name only if it is free. File systems without hard
    links get a lock, ``create.lock`` beside the temporary file, around the question and the rename.
    """
    try:
        io.link(temporary, target)
        placed = True
    except FileExistsError:
        placed = False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        guard = io.open_lock(temporary.parent / "create.lock")
        try:
            io.lock(guard, exclusive=True, wait=True)
            if not exists(io, target):
                io.replace(temporary, target)
                return True
            placed = False
        finally:
            io.close(guard)
    io.unlink(temporary)
    return placed


MAX_FILE_BYTES = 128 << 20
"""Of a file of ours that is read as a whole: twice what the largest has."""


def read_file(io: FileIO, path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """All bytes of a file of ours, links not followed.

    Raises:
        CorruptFile: it has more than ``most``, which none of ours has; nothing was read.
    """
    handle = io.open_read(path, follow=False)
    try:
        size = io.stat_handle(handle).st_size
        if size > most:
            raise CorruptFile(f"{path.name} has {size:,} bytes, more than any file of a store")
        return io.read_at(handle, size, 0)
    finally:
        io.close(handle)


def exists(io: FileIO, path: Path | str, *, folder: int | None = None) -> bool:
    """Whether a name is taken, be it by a link that leads nowhere."""
    try:
        io.stat(path, folder=folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


# --- who lives ---------------------------------------------------------------------------------------------


class Owners(Protocol):
    """How files of living owners are told from those that dead ones left behind."""

    def new_id(self) -> str:
        """16 hexadecimal digits that no other file has in its name, for one that is to be ours."""

    def claim(self, handle: int, path: Path) -> bool:
        """Make a file that was just created ours; False if somebody took it for a dead owner's meanwhile, or
        another name is needed."""

    def is_ours(self, identity: str) -> bool:
        """Whether what has that id in its name still is ours: nobody took us for dead."""

    def is_dead(self, handle: int, identity: str) -> bool:
        """Whether the owner of an open file, which has that id in its name, is gone."""


class KernelOwners(Owners):
    """By locks, which the kernel drops when a process dies, however it dies."""

    def __init__(self, io: FileIO) -> None:
        self._io = io

    def new_id(self) -> str:
        """Random digits."""
        return os.urandom(8).hex()

    def claim(self, handle: int, path: Path) -> bool:
        """Lock it. Between creation and lock the file looks like a dead owner's, and a sweeper may lock and
        remove it: then it no longer stands at its path once we hold its lock."""
        return self._io.lock(handle, exclusive=True, wait=False) and is_at(self._io, handle, path)

    def is_ours(self, identity: str) -> bool:
        """It is: the kernel takes nobody for dead who lives."""
        return True

    def is_dead(self, handle: int, identity: str) -> bool:
        """Whether the lock can be had; it is ours then, until the handle is closed."""
        return self._io.lock(handle, exclusive=True, wait=False)


def create_locked(
    io: FileIO, folder: Path, name: Callable[[], str], owners: Owners | None = None
) -> tuple[Path, int]:
    """Create a file that proves that its owner lives, by its lock unless ``owners`` do it otherwise;
    returns its path and its handle, to be kept.

    ``name`` gives a fresh name each time, with an id of ``owners`` in it.
    """
    owners = owners or KernelOwners(io)
    while True:
        path = folder / name()
        fd = io.create(path)
        try:
            if owners.claim(fd, path):
                return path, fd
        except BaseException:
            io.close(fd)
            with suppress(OSError):
                io.unlink(path)
            raise
        io.close(fd)


def is_at(io: FileIO, fd: int, path: Path) -> bool:
    """Whether the open file still is the one that the path names."""
    try:
        there = io.stat(path)
    except FileNotFoundError:
        return False
    here = io.stat_handle(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


class TemporaryNames:
    """Fresh paths in a store's folder of temporary files, marked as ours while we live.

    The files are called ``OWNER-RANDOM``; ``OWNER.lock`` beside them is locked for as long as this object or
    a forked child of its process lives, and the kernel drops the lock when they die, however they die (other
    ``owners`` than :class:`KernelOwners` know it by the name). So
    ``sweep_temporary`` (:mod:`mvc.odb.intents`) can tell a crash's leftovers from files in use without a
    clock and without trusting process numbers, which are reused. Keep the object while its files matter.
    """

    _NAME = re.compile(r"([0-9]+-[0-9a-f]{16})(?:\.lock|-[^/\0]+)")

    def __init__(self, io: FileIO, folder: Path, owners: Owners | None = None) -> None:
        self.folder = folder
        self._io = io
        self._owners = owners or KernelOwners(io)
        self._guard = threading.Lock()
        self._owner = ""
        self._lock_path: Path | None = None
        self._process = 0
        self._closer: weakref.finalize[..., TemporaryNames] | None = None

    def new(self) -> Path:
        """A path that nothing has; the first call creates the folder and the lock file."""
        with self._guard:
            if self._closer is not None and not self._owners.is_ours(self._owner.rpartition("-")[2]):
                self._closer()
                self._closer = None
            if self._closer is None:
                self._claim()
        return self.folder / f"{self._owner}-{os.urandom(8).hex()}"

    def _claim(self) -> None:
        def name() -> str:
            self._owner = f"{os.getpid()}-{self._owners.new_id()}"
            return f"{self._owner}.lock"

        try:
            self._lock_path, fd = create_locked(self._io, self.folder, name, self._owners)
        except FileNotFoundError:
            make_folders(self._io, self.folder)
            self._lock_path, fd = create_locked(self._io, self.folder, name, self._owners)
        self._process = os.getpid()
        # Not through the IO layer: it runs at collection, and it touches no disk.
        self._closer = weakref.finalize(self, os.close, fd)

    def close(self) -> None:
        """Give the mark up: what is left of our files may be swept from now on."""
        with self._guard:
            if self._closer is None:
                return
            # A forked child shares the lock but not the right to end it.
            if self._lock_path is not None and self._process == os.getpid():
                with suppress(OSError):  # the next sweep removes it
                    self._io.unlink(self._lock_path)
            self._closer()
            self._closer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def owner_of(cls, name: str) -> str | None:
        """The owner's part of the name of a temporary file or lock file; None for other names."""
        match = cls._NAME.fullmatch(name)
        return match.group(1) if match else None


_HINTS = {
    errno.ENOSPC: "free some space and run the command again; nothing was lost",
    errno.EDQUOT: "your quota is used up; free some space and run the command again; nothing was lost",
    errno.EACCES: "check the permissions of the folder",
    errno.EPERM: "check the permissions of the folder",
    errno.EROFS: "the file system is mounted read-only",
    errno.ENOSYS: "the file system lacks something that mvc needs, perhaps locks",
    errno.EOPNOTSUPP: "the file system lacks something that mvc needs, perhaps locks",
    errno.ENOLCK: "the file system gives out no locks",
    errno.EXDEV: "keep the folder on the file system of the repository",
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
