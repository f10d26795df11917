"""A store in a folder: objects are files, durable before they are visible."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mvc.backends.base import (
    NEAR_BYTES,
    PREVIOUS_SUFFIX,
    Backend,
    Incoming,
    NotFound,
    check_key,
    check_range,
    folder_of,
)
from mvc.backends.successors import Successors
from mvc.errors import CorruptFile, InvalidName, RootMoved
from mvc.fileio import (
    NO_HARD_LINKS,
    FileIO,
    TemporaryNames,
    discard_unfinished,
    exists,
    make_folders,
    make_visible,
    read_file,
    storage_errors,
    write_all,
    write_durable,
)
from mvc.locks import SHARED_FOLDER, Locks

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

SYNC_BYTES = 8 << 20
"""Bytes of an object that comes piece by piece between two syncs of it."""

MAX_OBJECT_BYTES = 128 << 20
"""Of one object that is read whole or mapped: a pack has 64 MiB, and nothing else comes near it."""

_MISSING = (FileNotFoundError, NotADirectoryError)


class FolderBackend(Backend):
    """Objects in files below ``root``, which must exist.

    ``temporary`` names files that are not yet visible; its folder must be on the same file system. If it lies
    below ``root``, it is not listed. ``locks`` are the store's, if it has some already.

    What lies in a folder is write-once; only what lies at the top is ever replaced. Where several machines
    use the store, that is read and replaced through :class:`Successors`.
    """

    request_bytes = NEAR_BYTES

    def __init__(self, io: FileIO, root: Path, temporary: TemporaryNames, locks: Locks | None = None) -> None:
        self._io = io
        self._locks = locks or Locks(io, root)
        self._root = root
        self._temporary = temporary
        # Folders whose names are known to be durable up to root. Another process may have made one a moment
        # ago and not synced its parent yet, so the first use of each pays one sync. Those below one of root's
        # own are not among them: a collection removes them when they are empty.
        self._durable_folders = {root}

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        with self._reading(key) as (fd, size):
            _check_size(key, size)
            data = self._io.read_at(fd, size, 0)
        if "/" not in key:
            with storage_errors(f"cannot read {key}"):
                successors = self._successors()
                return data if successors is None else successors.newest(key, data)
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        with self._reading(key) as (fd, size):
            check_range(key, offset, length, size)
            data = self._io.read_at(fd, length, offset)
        check_range(key, offset, length, offset + len(data))
        return data

    def view(self, key: str) -> Buffer:
        """The object's file, mapped; the mapping outlives a delete."""
        path = self._path(key)
        with storage_errors(f"cannot read {key}"), suppress(*_MISSING):
            status = self._io.stat(path)
            if stat.S_ISREG(status.st_mode):
                _check_size(key, status.st_size)
                return self._io.map_read(path)
        raise NotFound(f"there is no {key}")

    @contextmanager
    def _reading(self, key: str) -> Iterator[tuple[int, int]]:
        """Handle and size of an object's file."""
        path = self._path(key)
        with storage_errors(f"cannot read {key}"):
            try:
                fd = self._io.open_read(path, follow=False)
            except _MISSING:
                raise NotFound(f"there is no {key}") from None
            try:
                status = self._io.stat_handle(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise NotFound(f"there is no {key}")
                yield fd, status.st_size
            finally:
                self._io.close(fd)

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Create an object; False if there is one already."""
        path = self._path(key)
        with storage_errors(f"cannot write {key}"):
            self._make_durable(path.parent)
            if exists(self._io, path):
                # Its writer synced the bytes before they got this name, but perhaps not yet the name itself.
                self._io.sync_folder(path.parent)
                self.sync_above(path)
                return False
            placed = write_durable(self._io, self._temporary.new(), path, pieces, replace=False)
            self.sync_above(path)
            return placed

    def sync_above(self, path: Path) -> None:
        """Make the names of folders durable in which a new object lies and which may have been made anew just
        before it came: from now on they are not empty, and stay."""
        folder = path.parent
        while folder not in self._durable_folders:
            folder = folder.parent
            self._io.sync_folder(folder)

    def begin(self) -> Incoming:
        """Start to put an object; its bytes go into a temporary file as they come."""
        return _FolderIncoming(self, self._io, self._temporary.new)

    def take_in(self, key: str, source: Path) -> None:
        """Give a file that is synced, and is that object, the key for a second name; durable when this
        returns. What has the key already is left alone.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors(f"cannot write {key}"):
            path = self.target_of(key)
            try:
                self._link(source, path)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                self.put(key, [read_file(self._io, source)])
                return
            self._io.sync_folder(path.parent)
            self.sync_above(path)

    def _link(self, source: Path, path: Path) -> None:
        with suppress(FileExistsError):
            try:
                self._io.link(source, path)
            except FileNotFoundError:  # a collection found the folder empty
                make_folders(self._io, path.parent)
                self._io.link(source, path)

    def confirm(self, key: str) -> None:
        """Sync the folders that lead to it."""
        path = self._path(key)
        with storage_errors(f"cannot sync {key}"):
            self._io.sync_folder(path.parent)
            self.sync_above(path)

    def target_of(self, key: str) -> Path:
        """Where an object is to lie; its folder is made."""
        path = self._path(key)
        self._make_durable(path.parent)
        return path

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Compare and swap, under a lock beside the file that waits for its turn. What was there stays as
        ``KEY.previous``."""
        path = self._path(key)
        with storage_errors(f"cannot replace {key}"):
            self._make_durable(path.parent)
            if (successors := self._successors()) is not None:
                self._refuse_moved(key, expected)
                successors.put(key, expected, data)
                # From here on it has happened; this only saves readers the way through the successors.
                if expected is not None:
                    self._keep_previous(path, expected)
                write_durable(self._io, self._temporary.new(), path, [data], replace=True)
                return
            held = self._locks.take(key, exclusive=True, wait=True)
            try:
                self._locks.refuse_late_sharing()
                self._refuse_moved(key, expected)
                if expected is not None:
                    self._keep_previous(path, expected)
                write_durable(self._io, self._temporary.new(), path, [data], replace=True)
            finally:
                if held is not None:
                    held.release()

    def _refuse_moved(self, key: str, expected: bytes | None) -> None:
        try:
            current: bytes | None = self.get(key)
        except NotFound:
            current = None
        if current != expected:
            raise RootMoved(f"{key} was changed by somebody else")

    def _successors(self) -> Successors | None:
        leases = self._locks.leases
        if leases is None:
            return None
        return Successors(self._io, self._root / SHARED_FOLDER, self._temporary.new, leases)

    def _keep_previous(self, path: Path, data: bytes) -> None:
        """Give what is about to be replaced a second name. Its bytes were synced when they came, so a link
        costs no sync; that of the folder comes with the new bytes.

        It is a hint for repairs: that it cannot be kept must not keep anything from being replaced.
        """
        previous = path.with_name(path.name + PREVIOUS_SUFFIX)
        with suppress(OSError):
            with suppress(FileNotFoundError):
                self._io.unlink(previous)
            try:
                self._io.link(path, previous)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                self._copy_previous(previous, data)

    def _copy_previous(self, previous: Path, data: bytes) -> None:
        temporary = self._temporary.new()
        fd = self._io.create(temporary)
        try:
            write_all(self._io, fd, data)
        except OSError:
            discard_unfinished(self._io, fd, temporary)
            raise
        self._io.close(fd)
        self._io.replace(temporary, previous)

    def delete(self, key: str) -> None:
        """Remove an object's file if there is one.

        Not synced: a name that comes back after a power cut is garbage, which the next collection removes.
        """
        path = self._path(key)
        with storage_errors(f"cannot delete {key}"), suppress(*_MISSING):
            self._io.unlink(path)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, with sizes; reads only folders that can hold some."""
        return self._walk(folder_of(prefix), prefix)

    def _walk(self, inside: str, prefix: str) -> Iterator[tuple[str, int]]:
        folder = self._root / inside
        if folder == self._temporary.folder:
            return
        names: list[str] = []
        with storage_errors("cannot list the store"), suppress(*_MISSING):
            for entry in self._io.scan_folder(folder):
                name = f"{inside}/{entry.name}" if inside else entry.name
                # A folder sorts as its keys do, which go on with "/" behind its name.
                names.append(f"{name}/" if entry.is_dir(follow_symlinks=False) else name)
        for name in sorted(names):
            if name.endswith("/"):
                if name.startswith(prefix) or prefix.startswith(name):
                    yield from self._walk(name[:-1], prefix)
            elif name.startswith(prefix) and _is_key(name) and not name.endswith(PREVIOUS_SUFFIX):
                with storage_errors("cannot list the store"):
                    try:
                        status = self._io.stat(self._root / name)
                    except _MISSING:
                        continue  # deleted since the folder was read
                if stat.S_ISREG(status.st_mode):
                    yield name, status.st_size

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _make_durable(self, folder: Path) -> None:
        if folder in self._durable_folders:
            return
        self._make_durable(folder.parent)
        with suppress(FileExistsError):
            self._io.make_folder(folder)
        if folder.parent == self._root:
            self._io.sync_folder(self._root)
            self._durable_folders.add(folder)


class _FolderIncoming(Incoming):
    """Bytes in a temporary file, synced every now and then, so that little is left to sync at the end."""

    def __init__(self, backend: FolderBackend, io: FileIO, new_temporary: Callable[[], Path]) -> None:
        self._folder = backend
        self._io = io
        self._unsynced = 0
        with storage_errors("cannot write to the store"):
            self._temporary = new_temporary()
            self._fd: int | None = io.create(self._temporary)

    def add(self, piece: Buffer) -> None:
        with storage_errors("cannot write to the store"):
            write_all(self._io, self._handle(), piece)
            self._unsynced += memoryview(piece).nbytes
            if self._unsynced >= SYNC_BYTES:
                self._io.sync(self._handle())
                self._unsynced = 0

    def finish(self, key: str) -> bool:
        with storage_errors(f"cannot write {key}"):
            try:
                target = self._folder.target_of(key)
            except BaseException:
                self.discard()
                raise
            fd, self._fd = self._handle(), None
            placed = make_visible(self._io, fd, self._temporary, target, replace=False)
            self._folder.sync_above(target)
            return placed

    def discard(self) -> None:
        if self._fd is not None:
            discard_unfinished(self._io, self._fd, self._temporary)
            self._fd = None

    def _handle(self) -> int:
        if self._fd is None:
            raise ValueError("the object is finished or discarded")
        return self._fd


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except InvalidName:
        return False
    return True


def _check_size(key: str, size: int) -> None:
    if size > MAX_OBJECT_BYTES:
        raise CorruptFile(f"{key} has {size} bytes, more than any object of a store")
