"""Where a fetch and a push put records so that a cut loses none of them, for the stores at both ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from mvc.backends.folder import FolderBackend
from mvc.errors import StorageError
from mvc.fileio import storage_errors
from mvc.remotes.incoming import Incoming
from mvc.remotes.journal import Journal
from mvc.remotes.kept import lock_transfers
from mvc.remotes.outgoing import Outgoing
from mvc.store import STRAYS, FolderStore, Store
from mvc.text import size
from mvc.view import View


@contextmanager
def incoming(store: FolderStore, view: View) -> Iterator[Incoming]:
    """The sink of a fetch into a store; ``view`` is that of the transaction which is to publish it.

    Raises:
        Busy: another transfer of this repository is under way.
        StorageError: what the block raised; the message says what is kept.
    """
    _wait_for_collections(store)
    backend = cast(FolderBackend, store.backend)
    sink = Incoming(store.io, store.store, store.locks, backend, view.objects)
    with _closing(sink):
        yield sink


@contextmanager
def no_other(store: FolderStore) -> Iterator[None]:
    """No transfer of this store but this one, which brings no records.

    Raises:
        Busy: another one is under way.
        StorageError: there is no lock to be had.
    """
    held = lock_transfers(store.locks)
    try:
        yield
    finally:
        held.release()


@contextmanager
def outgoing(local: FolderStore, remote: Store, view: View, address: str) -> Iterator[Outgoing]:
    """The sink of a push from ``local`` to the store called ``address``; ``view`` is that of the transaction
    on ``remote`` which is to publish it.

    Raises:
        Busy, StorageError: as :func:`incoming`.
    """
    _wait_for_collections(remote)
    journal = Journal(local.io, local.store, local.locks, address)
    sink = Outgoing(remote.backend, view.objects, journal)
    with _closing(sink):
        yield sink


def _wait_for_collections(store: Store) -> None:
    """A collection that began before we were announced may be deleting packs that root does not name, and
    those of an earlier attempt are such. Any later one sees us."""
    if isinstance(store, FolderStore):
        with storage_errors("cannot lock the store"):
            held = store.locks.take(STRAYS, exclusive=True, wait=True)
        if held is not None:
            held.release()


@contextmanager
def _closing(sink: Incoming | Outgoing) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        sink.close()  # what is on its way may still arrive
        kept = sink.kept_bytes
        if not kept:
            raise
        of = "" if sink.expected is None else f" of {size(sink.expected)}"
        again = "run it again to go on"
        raise StorageError(
            f"{error.message}; {size(kept)}{of} arrived and are kept",
            hint=error.hint if "again" in error.hint else "; ".join(filter(None, (error.hint, again))),
        ) from error
    finally:
        sink.close()
