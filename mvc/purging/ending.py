"""Deletes what is left of purged objects after the swap that took them out; may be run again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISDIR

from mvc.backends import NotFound
from mvc.collection.bucket import Moment, condemn_strays, delete, note
from mvc.collection.index import merge_index
from mvc.collection.leftovers import remove_strays, sweep_condemned
from mvc.collection.rewriting import batches, move_packs
from mvc.collection.swapping import swap
from mvc.errors import CorruptObject
from mvc.fileio import storage_errors
from mvc.objectid import ObjectId
from mvc.odb.header import scan_headers
from mvc.odb.intents import oldest_epoch
from mvc.odb.pack import pack_key
from mvc.purging.proof import Proof, prove
from mvc.purging.traces import remove_traces
from mvc.repo import Repository
from mvc.store import FolderStore, Store
from mvc.view import View
from mvc.workspace import Workspace

WAIT_SECONDS = 10.0
"""How long living readers and writers are waited for."""

_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """``waiting_for`` are commands that may be reading what is gone, so that ``waiting_packs`` (with so many
    bytes) are still there; empty where nothing waits. ``proof`` is what a search found."""

    waiting_for: tuple[str, ...]
    waiting_packs: int
    waiting_bytes: int
    proof: Proof


def end(repository: Repository, workspace: Workspace, wait: float = WAIT_SECONDS) -> Ended:
    """Delete every record of what may not come back, and what else the store holds of it.

    Packs that hold one are copied without it. What somebody may be reading is waited for, ``wait`` seconds at
    most, and stays after that: another call goes on. The caller keeps collections out.

    Raises:
        StorageError: the disk is full, or refuses; another call goes on.
    """
    # root.previous is of before the purge: a repair would take a lost root from there, and know nothing of it
    swap(repository, lambda view: view.root)
    for batch in _batches(repository):
        move_packs(repository, batch)
    # an index that mentions packs which are gone would keep one that a power cut brings back
    merge_index(repository)
    _sweep(repository, wait)
    # the state before the last swap is kept beside root: let that be one without what is gone, too
    swap(repository, lambda view: view.root)
    with repository.reading() as view:
        remove_traces(repository, workspace, view)
    _sync_deletions(repository)
    waiting = _waiting(repository)
    living = _living(repository) if waiting else ()
    return _ended(repository, living, waiting)


def end_shared(store: Store, moment: Moment, wait: float = WAIT_SECONDS) -> Ended:
    """The same in a store that others share, which has no work tree. The caller keeps collections of a folder
    out.

    In a bucket what goes is only condemned, and deleted by a call (or a collection) after the grace of
    ``moment``: with a grace of 0 at once, under the feet of those who may be reading it.

    Raises:
        StorageError: the store refuses; another call goes on.
    """
    for batch in _batches(store):
        move_packs(store, batch)
    merge_index(store)
    for key, _size in list(store.backend.list("locators/")):
        store.backend.delete(key)
    living: tuple[str, ...] = ()
    if isinstance(store, FolderStore):
        _sweep(store, wait)
        swap(store, lambda view: view.root)
        swap(store, lambda view: view.root)  # twice: the state before the last swap is kept beside root
        store.sweep()
        _sync_deletions(store)
        living = _living(store) if _waiting(store) else ()
    else:
        condemn_strays(store)
        note(store, moment)
        delete(store, moment)
        living = ("readers of the bucket, for whom a grace is kept",) if _waiting(store) else ()
    return _ended(store, living, _waiting(store))


def _sweep(store: FolderStore, wait: float) -> None:
    """Delete what nobody reads, and wait for who does."""
    until = time.monotonic() + wait
    while True:
        sweep_condemned(store)
        remove_strays(store)
        if not _waiting(store) or time.monotonic() >= until:
            return
        time.sleep(_PAUSE)


def _ended(store: Store, living: tuple[str, ...], waiting: list[bytes]) -> Ended:
    with store.reading() as view:
        store.monitor.start("search", None)
        proof = prove(store, view)
        store.monitor.finish()
        sizes = dict(view.backend.list("packs/"))
    return Ended(living, len(waiting), sum(sizes.get(pack_key(name), 0) for name in waiting), proof)


def _batches(store: Store) -> Iterator[list[bytes]]:
    """Packs in use that hold what may not come back, so many at a time as are to be copied at once."""
    with store.reading() as view:
        ids = view.tombstones.refused()
        used = {pack for row in view.index.rows for pack in view.index.segment(row.name).packs}
        names = [name for name in sorted(used - set(view.index.dead_packs)) if _holds(view, name, ids)]
        sizes = dict(view.backend.list("packs/"))
    return batches((name, sizes.get(pack_key(name), 0)) for name in names)


def _holds(view: View, name: bytes, ids: set[ObjectId]) -> bool:
    try:
        data = view.backend.view(pack_key(name))
    except NotFound:
        return False  # damage, which fsck tells of; there is nothing in it to be deleted
    for _offset, _length, header in scan_headers(data):
        if isinstance(header, CorruptObject):
            continue  # the search below looks into it
        if header.id in ids or any(base.id in ids for base in header.bases):
            return True
    return False


def _sync_deletions(repository: FolderStore) -> None:
    """Names that were deleted must not be back after a power cut, as they may be where nobody cares."""
    io, store = repository.io, repository.store
    with storage_errors("cannot sync the store"):
        packs = [store / "packs" / entry.name for entry in io.scan_folder(store / "packs")]
        folders = [store, *(store / name for name in ("segments", "pieces", "packs")), *packs]
        for folder in folders:
            if S_ISDIR(io.stat(folder).st_mode):
                io.sync_folder(folder)


def _waiting(store: Store) -> list[bytes]:
    """Condemned packs that are still there."""
    root, _raw = store.roots.read()
    return [fossil.pack for fossil in root.fossils if not fossil.deleted]


def _living(repository: FolderStore) -> tuple[str, ...]:
    """Who reads or writes now, in words."""
    folder = repository.store / "intents"
    oldest_epoch(repository.io, folder, repository.locks)  # which removes those of the dead
    with storage_errors("cannot see who uses the store"):
        names = sorted(entry.name for entry in repository.io.scan_folder(folder))
    found = [name.split("-") for name in names]
    return tuple(f"{words[0]} {words[1]}" for words in found if len(words) == 3)
