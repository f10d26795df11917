"""Compare-and-swap on a file system that several machines use, with no lock that must hold.

A lease can be lost between the last look and the rename, so a rename may not be what decides. What decides is
a hard link: the new content of ``root`` gets the name ``shared/HASH.next``, HASH being the hash of the
content that it replaces. A name can be taken only once, so a state can have one successor only, and the
server of the file system sees to it. ``root`` itself is brought up to date afterwards; whoever reads it goes
on from there through the successors, so it does no harm that one who was paused puts an old state there
again: the way from it leads to the newest.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from mvc.errors import RootMoved
from mvc.fileio import FileIO, discard_unfinished, exists, read_file, storage_errors, write_all
from mvc.leases import Leases

SUFFIX = ".next"
KEPT = 256
"""Successors that stay: so many swaps a paused process may sleep through before it comes back."""

_PRUNED_EVERY = 64
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


class Successors:
    """What came after each state of the objects that are replaced, in the folder ``shared`` of a store.

    ``new_temporary`` names files that nobody sees yet.
    """

    def __init__(self, io: FileIO, folder: Path, new_temporary: Callable[[], Path], leases: Leases) -> None:
        self._io = io
        self._folder = folder
        self._new_temporary = new_temporary
        self._leases = leases

    def newest(self, key: str, data: bytes) -> bytes:
        """What an object's content has become by now, from one of its states.

        Raises:
            OSError: a file cannot be read.
        """
        while (following := self._read(self._path(key, data))) is not None:
            data = following
        return data

    def put(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Make ``data`` the successor of a state, durable when this returns.

        Raises:
            RootMoved: there is one already.
            LeaseLost: another machine took this process for dead.
            OSError: the file system refuses; perhaps it was done all the same.
        """
        path = self._path(key, expected)
        temporary = self._new_temporary()
        handle = self._io.create(temporary)
        try:
            write_all(self._io, handle, data)
            self._io.sync(handle)
        except BaseException:
            discard_unfinished(self._io, handle, temporary)
            raise
        try:
            self._io.close(handle)
            self._leases.check()
            try:
                self._io.link(temporary, path)
            except FileExistsError:
                # A reply that was lost and a request sent again look like that too: a nonce makes each state
                # unlike all others.
                if self._read(path) != data:
                    raise RootMoved(f"{key} was changed by somebody else") from None
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                self._put_by_lease(key, path, temporary)
        finally:
            with suppress(OSError):  # swept when we are gone
                self._io.unlink(temporary)
        self._io.sync_folder(self._folder)
        if blake3(data).digest()[0] % _PRUNED_EVERY == 0:
            self._prune(key, data)

    def _put_by_lease(self, key: str, path: Path, temporary: Path) -> None:
        """Without hard links a lease is all there is between the question and the rename."""
        lease = self._leases.take(key, exclusive=True, wait=True)
        if lease is None:
            raise AssertionError("who waits for a lock gets it")
        try:
            if exists(self._io, path):
                raise RootMoved(f"{key} was changed by somebody else")
            self._leases.check()
            self._io.replace(temporary, path)
        finally:
            lease.release()

    def _prune(self, key: str, newest: bytes) -> None:
        """Delete the successors that lie further back than ``KEPT`` states."""
        came_from: dict[str, str] = {}
        for entry in self._io.scan_folder(self._folder):
            if entry.name.endswith(SUFFIX):
                data = self._read(self._folder / entry.name)
                if data is not None:
                    came_from[self._path(key, data).name] = entry.name
        kept: set[str] = set()
        name = self._path(key, newest).name
        while name in came_from and len(kept) < KEPT:
            name = came_from[name]
            kept.add(name)
        for name in set(came_from.values()) - kept:
            with suppress(FileNotFoundError):
                self._io.unlink(self._folder / name)

    def _path(self, key: str, data: bytes | None) -> Path:
        """Where the successor of a state lies; that of none, where there was no object yet, too."""
        state = b"" if data is None else b"\x01" + data
        return self._folder / f"{blake3(key.encode() + bytes(1) + state).hexdigest()}{SUFFIX}"

    def _read(self, path: Path) -> bytes | None:
        with storage_errors("cannot read what root has become"):
            try:
                return read_file(self._io, path)
            except FileNotFoundError:
                return None
