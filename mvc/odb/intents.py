"""Who reads and writes a local store now, so that a collection deletes nothing under their feet.

An intent is a file ``intents/ROLE-PID-RANDOM`` that its owner keeps locked. It is there before its owner
reads root, and says afterwards which epoch that root had. The kernel drops the lock when the owner dies,
however it dies: a file that somebody else can lock is a dead owner's and goes. No clock and no process number
decides anything. In a store that several machines use, RANDOM says whose it is (:mod:`mvc.leases`). Temporary
files are told apart in the same way (:class:`mvc.fileio.TemporaryNames`).
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from mvc import canonical
from mvc.errors import CorruptObject, StorageError
from mvc.fileio import (
    FileIO,
    KernelOwners,
    Owners,
    TemporaryNames,
    create_locked,
    exists,
    make_folders,
    storage_errors,
    write_all,
)

__all__ = ["Intent", "Role", "TemporaryNames", "announce", "oldest_epoch", "sweep_temporary"]

Role = Literal["reader", "writer"]

MAX_INTENT_BYTES = 4096
_NAME = re.compile(r"(?:reader|writer)-[0-9]+-([0-9a-f]{16})")
_TAKES_NO_FILES = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
_HAS_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


class Intent:
    """A living announcement; made by :func:`announce`, ended by :meth:`close` or the end of a ``with`` block.

    ``path`` is None for a reader whose store takes no new files: nobody knows of it, as nobody can.
    """

    def __init__(self, io: FileIO, role: Role, path: Path | None, handle: int) -> None:
        self.role = role
        self.path = path
        self._io = io
        self._handle = handle
        self._process = os.getpid()
        self._epoch: int | None = None

    def announce_epoch(self, epoch: int) -> None:
        """Say which epoch the root had that was read after the announcement.

        Later calls change nothing: what was found then may still be relied upon. Until the first call, and if
        it fails, the intent counts as older than everything.

        Raises:
            StorageError: a writer's intent could not be written.
        """
        if self._epoch is not None:
            return
        self._epoch = epoch
        if self.path is None:
            return
        text = canonical.pack(
            {"epoch": epoch, "host": os.uname().nodename, "pid": self._process, "role": self.role}
        )
        try:
            with storage_errors("cannot announce a writer"):
                write_all(self._io, self._handle, text)
        except StorageError:
            if self.role == "writer":
                raise

    def close(self) -> None:
        """Withdraw the announcement. In a forked child, only the child's share of it."""
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        try:
            if self.path is not None and self._process == os.getpid():
                with suppress(OSError):  # unlocked in the next line, so the next collection removes it
                    self._io.unlink(self.path)
        finally:
            with suppress(
                OSError
            ):  # closed all the same; nothing that matters is written through this handle
                self._io.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def announce(io: FileIO, folder: Path, role: Role, owners: Owners | None = None) -> Intent:
    """Announce a reader or writer of the store whose folder of intents this is; call it before root is read.

    Costs a few cheap system calls and syncs nothing: after a power cut nobody lives. A reader goes on without
    an announcement where the store takes none (read-only, no permission, full, no locks); a writer does not.
    ``owners`` says how others can tell that this process lives; by kernel locks if none is given.

    Raises:
        StorageError: the announcement could not be made.
    """
    by = owners or KernelOwners(io)

    def name() -> str:
        return f"{role}-{os.getpid()}-{by.new_id()}"

    try:
        try:
            path, handle = create_locked(io, folder, name, by)
        except FileNotFoundError:
            make_folders(io, folder)
            path, handle = create_locked(io, folder, name, by)
    except OSError as error:
        if role == "reader" and error.errno in _TAKES_NO_FILES | _HAS_NO_LOCKS:
            return Intent(io, role, None, -1)
        with storage_errors(f"cannot announce a {role}"):
            raise
    return Intent(io, role, path, handle)


def oldest_epoch(io: FileIO, folder: Path, owners: Owners | None = None) -> int | None:
    """The least epoch that a living reader or writer may rely on; None when there is none.

    One that has not yet said its epoch counts as 0; the caller's own counts too. Files of dead owners are
    removed.

    Raises:
        StorageError: the folder cannot be read.
    """
    oldest: int | None = None
    with storage_errors("cannot see who uses the store"):
        for name in _names(io, folder):
            match = _NAME.fullmatch(name)
            if not match:
                continue
            epoch = _epoch_if_alive(io, folder / name, match.group(1), owners or KernelOwners(io))
            if epoch is not None and (oldest is None or epoch < oldest):
                oldest = epoch
    return oldest


def _epoch_if_alive(io: FileIO, path: Path, identity: str, owners: Owners) -> int | None:
    try:
        handle = _open_existing(io, path)
    except FileNotFoundError:
        return None
    except PermissionError:
        return 0  # another user's and closed to us: it may be alive, so it is taken to be
    try:
        if owners.is_dead(handle, identity):
            with suppress(OSError):  # not ours to remove: it is dead all the same
                io.unlink(path)
            return None
        text = io.read_at(handle, MAX_INTENT_BYTES, 0)
    finally:
        io.close(handle)
    try:
        content = canonical.unpack(text, "an intent")
    except CorruptObject:
        return 0  # not written yet, or not to its end
    epoch = content.get("epoch") if isinstance(content, dict) else None
    return epoch if isinstance(epoch, int) else 0


def sweep_temporary(io: FileIO, folder: Path, owners: Owners | None = None) -> int:
    """Remove a store's temporary files whose owners are gone; returns how many files went.

    While a ``journal`` lies beside the folder nothing of a dead owner is touched: the files are the only copy
    of what an interrupted checkout has moved away.

    Raises:
        StorageError: the folder cannot be read or a file cannot be removed.
    """
    owned: dict[str, list[str]] = {}
    removed = 0
    with storage_errors("cannot clear temporary files"):
        for name in _names(io, folder):
            owner = TemporaryNames.owner_of(name)
            if owner is not None:
                owned.setdefault(owner, []).append(name)
        for owner, names in owned.items():
            removed += _sweep_owner(io, folder, owner, names, owners or KernelOwners(io))
    return removed


def _sweep_owner(io: FileIO, folder: Path, owner: str, names: list[str], owners: Owners) -> int:
    lock_name = f"{owner}.lock"
    # The lock is older than the files, so an owner whose lock is not there now is dead; that it was not among
    # the names means nothing, since a folder changes while it is read.
    handle = None
    try:
        handle = _open_existing(io, folder / lock_name)
    except FileNotFoundError:
        pass
    except PermissionError:
        return 0
    try:
        if handle is not None and not owners.is_dead(handle, owner.rpartition("-")[2]):
            return 0
        # Asked only now: a dead owner writes no journal any more.
        if exists(io, folder.parent / "journal"):
            return 0
        removed = 0
        for name in sorted(names, key=lambda name: name == lock_name):
            # Another sweeper was faster; or it is a folder, which nobody of ours has put there.
            with suppress(FileNotFoundError, IsADirectoryError):
                io.unlink(folder / name)
                removed += name != lock_name
        return removed
    finally:
        if handle is not None:
            io.close(handle)


def _names(io: FileIO, folder: Path) -> list[str]:
    try:
        return [entry.name for entry in io.scan_folder(folder)]
    except FileNotFoundError:
        return []


def _open_existing(io: FileIO, path: Path) -> int:
    """Open to lock; for writing where we may, because a lock over NFS needs it."""
    try:
        return io.open_lock(path, create=False)
    except PermissionError:
        return io.open_read(path, follow=False)
