"""Deletes what no version needs: condemned files, those of writers that were killed, derived ones."""

from __future__ import annotations

import errno
from contextlib import suppress

from mvc.collection.swapping import swap
from mvc.fileio import storage_errors
from mvc.odb.intents import oldest_epoch
from mvc.odb.pack import pack_key
from mvc.oplog import piece_key
from mvc.recipes.library import stored_file
from mvc.repo import Repository
from mvc.root import Root
from mvc.sketches import SketchIndex
from mvc.store import STRAYS, FolderStore, Store
from mvc.sweep import sweep
from mvc.view import View, segment_key
from mvc.weighing import sweep_notes


def sweep_condemned(store: Store) -> None:
    """Delete what is condemned, as far as nobody can be reading it."""

    def change(view: View) -> Root | None:
        root = sweep(store, view.root, view.root)
        return None if root == view.root else root

    swap(store, change)


def remove_strays(repository: FolderStore) -> None:
    """Delete packs, segments and pieces that root does not name: what writers left that were killed; and
    folders that are empty.

    Whoever put one of those that are listed first and has not named it in root yet must be alive, and then
    nothing is deleted; who takes over what an earlier transfer put waits for the lock that is held here after
    he was announced. Nobody who comes later can put one of these names again: packs and pieces of refs have
    nonces, segments name new packs (only a collection merges without any, and there is no other one), and a
    piece of the operation log holds new operations, but for the one that the next operation makes.
    """
    with storage_errors("cannot lock the store for a collection"):
        held = repository.locks.take(STRAYS, exclusive=True, wait=True)
    try:
        _remove_strays(repository)
    finally:
        if held is not None:
            held.release()
    _remove_empty_folders(repository)


def _remove_empty_folders(repository: FolderStore) -> None:
    """Remove folders of packs and locators in which nothing lies any more: each takes a block. Who is about
    to put something there makes it again."""
    io = repository.io
    with storage_errors("cannot tidy the store"):
        for place in ("packs", "locators"):
            for entry in io.scan_folder(repository.store / place):
                path = repository.store / place / entry.name
                if entry.is_dir(follow_symlinks=False) and not io.scan_folder(path):
                    try:
                        io.remove_folder(path)
                    except OSError as error:
                        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                            raise


def _remove_strays(repository: FolderStore) -> None:
    backend = repository.backend
    there = [key for place in ("packs/", "segments/", "pieces/") for key, _size in backend.list(place)]
    if oldest_epoch(repository.io, repository.store / "intents", repository.locks) is not None:
        return
    with repository.reading() as view:
        known = named(view)
    repository.locks.check()
    for key in there:
        if key not in known:
            backend.delete(key)


def named(view: View) -> set[str]:
    """All files that root leads to or still has to delete, and the piece that the next operation makes."""
    root, index = view.root, view.index
    packs = {pack for row in index.rows for pack in index.segment(row.name).packs}
    packs.update(fossil.pack for fossil in root.fossils)
    pieces = [name for _first, name in root.refs.pieces]
    pieces += root.oplog.piece_names(view.backend)
    pieces += view.tombstones.piece_names()
    following = root.oplog.next_piece()
    pieces += [] if following is None else [following]
    return {
        *map(pack_key, packs),
        *map(piece_key, pieces),
        *(segment_key(row.name) for row in root.segments),
        *(item.key for item in root.retired),
    }


def remove_derived(repository: FolderStore) -> None:
    """Delete notes of weights and sketches of objects that are gone, and locators: the index is one run, of
    which every version needs nearly all segments, and that is what a missing locator says."""
    with repository.reading() as view:
        if isinstance(repository, Repository):
            sweep_notes(repository, view.objects.__contains__)
            with suppress(OSError):  # rows that stay only take space
                sketches = SketchIndex(repository.io, repository.store)
                sketches.keep(repository.temporary, lambda name: stored_file(view.objects, name) is not None)
        if len({row.run for row in view.index.rows}) <= 1:
            for key, _size in list(view.backend.list("locators/")):
                view.backend.delete(key)
    repository.sweep()
