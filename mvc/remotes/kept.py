"""Where a store keeps what a transfer that was cut has brought so far, and for how long."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mvc.errors import Busy
from mvc.fileio import FileIO, exists, storage_errors
from mvc.locks import Held, Locks

FOLDER = "transfers"
"""In a store's folder. Who writes there, or deletes, holds the lock of the same name."""


def lock_transfers(locks: Locks, *, wait: bool = False) -> Held:
    """Keep other transfers from and to this store out.

    Raises:
        Busy: one is under way.
        StorageError: there is no lock to be had.
    """
    with storage_errors("cannot lock the store for a transfer"):
        held = locks.take(FOLDER, exclusive=True, wait=wait)
    if held is None:
        raise Busy("another fetch or push of this repository is under way", hint="wait until it has finished")
    return held


def remove_kept(io: FileIO, store: Path, locks: Locks, before_ns: int | None = None) -> bool:
    """Delete what transfers have left that were cut, unless one is under way (then False): all of it, or,
    with ``before_ns`` (as :func:`time.time_ns` counts), only if nothing was added since then.

    Whoever wants it after all transfers it anew.

    Raises:
        StorageError: it cannot be deleted.
    """
    folder = store / FOLDER
    if not exists(io, folder):
        return True
    with storage_errors("cannot lock the store for a transfer"):
        held = locks.take(FOLDER, exclusive=True, wait=False)
    if held is None:
        return False
    try:
        with storage_errors("cannot delete what a transfer left"):
            paths = [folder / entry.name for entry in io.scan_folder(folder)]
            if before_ns is not None and any(io.stat(path).st_mtime_ns >= before_ns for path in paths):
                return True
            for path in paths:
                io.unlink(path)
            with suppress(FileNotFoundError):
                io.remove_folder(folder)
            io.sync_folder(store)
    finally:
        held.release()
    return True
