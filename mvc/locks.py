"""A store's locks: the kernel's where one kernel sees all who use it, leases where several machines do.

The kernel drops its locks when a process dies, however it dies, so they need no clock. On a network file
system they may end at the machine, or be missing: there :mod:`mvc.leases` stands in. Which it is, is decided
once for each process: leases where the folder ``shared`` lies in the store (somebody has used them here),
where the setting says ``always``, where the type of the file system is one that several machines can mount,
and where the kernel has no locks to give for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from mvc.errors import Busy
from mvc.fileio import FileIO, KernelOwners, Owners, exists, make_folders
from mvc.leases import Leases
from mvc.mounts import file_system_type, is_shared_type
from mvc.presence import LEASE_SECONDS, Machine

Sharing = Literal["auto", "always", "never"]

SHARED_FOLDER = "shared"
HAS_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})

_Result = TypeVar("_Result")


class Held(Protocol):
    """A lock that is held."""

    def release(self) -> None:
        """Let others have it."""


class _KernelLock:
    def __init__(self, io: FileIO, handle: int) -> None:
        self._io = io
        self._handle = handle

    def release(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):  # closed, and so unlocked, all the same
                self._io.close(handle)


class Locks(Owners):
    """The locks of the store in ``store``.

    ``sharing`` gives the setting when it is first needed. ``machine`` and ``lease_seconds`` are those of this
    process unless a test says otherwise.
    """

    def __init__(
        self,
        io: FileIO,
        store: Path,
        sharing: Callable[[], Sharing] = lambda: "auto",
        *,
        machine: Machine | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._io = io
        self._store = store
        self._sharing = sharing
        self._machine = machine
        self._seconds = lease_seconds
        self._kernel = KernelOwners(io)
        self._leases: Leases | None = None
        self._decided = False

    @property
    def leases(self) -> Leases | None:
        """The leases of a shared store; None where the kernel's locks are used.

        Raises:
            OSError: the store cannot be looked at, or takes no files.
        """
        if not self._decided:
            sharing = self._sharing()
            if sharing != "never" and (
                exists(self._io, self._store / SHARED_FOLDER)
                or sharing == "always"
                or is_between_machines(self._io, self._store)
            ):
                self._share()
            self._decided = True
        return self._leases

    def _share(self) -> Leases:
        folder = self._store / SHARED_FOLDER
        if not exists(self._io, folder):
            make_folders(self._io, folder)
        self._leases = Leases(self._io, folder, self._machine, self._seconds)
        return self._leases

    def refuse_late_sharing(self) -> None:
        """Refuse to go on by the kernel's locks in a store that others have begun to use by leases.

        Raises:
            Busy: that is so.
        """
        if self._leases is None and exists(self._io, self._store / SHARED_FOLDER):
            if self._sharing() == "never":
                return
            raise Busy("another machine has begun to use this repository", hint="run the command again")

    def close(self) -> None:
        """Say that this process has left a shared store."""
        if self._leases is not None:
            self._leases.close()

    def check(self) -> None:
        """Make sure that no other machine took this process for dead; asked before each step that matters.

        Raises:
            LeaseLost: one did.
        """
        if self._leases is not None:
            self._leases.check()

    def settle(self) -> list[str]:
        """Find out which processes of other machines live; takes a lease at most, no time elsewhere."""
        return [] if self.leases is None else self.leases.settle()

    # --- files that are their owner's ---------------------------------------------------------------------
    def new_id(self) -> str:
        """16 hexadecimal digits for the name of a file that is to be this process's."""
        return self._kernel.new_id() if self.leases is None else self.leases.new_id()

    def claim(self, handle: int, path: Path) -> bool:
        """See :meth:`mvc.fileio.Owners.claim`."""
        if self.leases is not None:
            return True  # its name says whose it is
        try:
            return self._kernel.claim(handle, path)
        except OSError as error:
            if not self._takes_over(error):
                raise
            return False  # under another name, which says whose it is

    def is_ours(self, identity: str) -> bool:
        """See :meth:`mvc.fileio.Owners.is_ours`."""
        return self._leases is None or self._leases.is_ours(identity)

    def is_dead(self, handle: int, identity: str) -> bool:
        """See :meth:`mvc.fileio.Owners.is_dead`."""
        return self._either(
            lambda: self._kernel.is_dead(handle, identity), lambda leases: leases.is_dead(identity)
        )

    # --- locks --------------------------------------------------------------------------------------------
    def take(self, name: str, *, exclusive: bool, wait: bool) -> Held | None:
        """The lock of a name, alone or with others; without ``wait`` None where it is held.

        Raises:
            OSError: there is none to be had.
        """
        return self._either(
            lambda: self._take_kernel(name, exclusive, wait),
            lambda leases: leases.take(name, exclusive=exclusive, wait=wait),
        )

    def _take_kernel(self, name: str, exclusive: bool, wait: bool) -> Held | None:
        handle = self._io.open_lock(self._store / f"{name}.lock")
        held = _KernelLock(self._io, handle)
        try:
            if self._io.lock(handle, exclusive=exclusive, wait=wait):
                return held
        except BaseException:
            held.release()
            raise
        held.release()
        return None

    def _either(self, kernel: Callable[[], _Result], leased: Callable[[Leases], _Result]) -> _Result:
        if self.leases is not None:
            return leased(self.leases)
        try:
            return kernel()
        except OSError as error:
            if not self._takes_over(error):
                raise
            return leased(self._share())

    def _takes_over(self, error: OSError) -> bool:
        """Whether leases stand in from now on, because the kernel has no locks for this file system."""
        if error.errno not in HAS_NO_LOCKS or self._sharing() == "never":
            return False
        if self._leases is None:
            self._share()
        return True


def is_between_machines(io: FileIO, store: Path) -> bool:
    """Whether a store lies on a file system that several machines may have mounted.

    Raises:
        OSError: it cannot be looked at.
    """
    # A disk of this machine has a driver's number: no more is asked about it.
    return os.major(io.stat(store).st_dev) == 0 and is_shared_type(file_system_type(io, store))
