"""Local files beside the packs in which something of a purged object may stand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

from mvc.collection.trash import Trash
from mvc.errors import ObjectPurged
from mvc.fileio import FileIO, storage_errors
from mvc.history.reader import read_manifest
from mvc.objectid import ManifestId
from mvc.recipes.library import stored_file
from mvc.remotes.kept import remove_kept
from mvc.repo import Repository
from mvc.sketches import SketchIndex
from mvc.view import View
from mvc.weighing import sweep_notes
from mvc.workspace import Workspace


def remove_traces(repository: Repository, workspace: Workspace, view: View) -> None:
    """Remove what local files hold of purged objects: rows of the stat cache and of sketches, all notes of
    weights and locators (they are made again), the trash, what transfers left that were cut, and temporary
    files of the dead. What repairs put aside stays, since it may be the last copy of something: the search
    names it where it holds a purged object. The second copy of root is of a state without it by now.

    Raises:
        StorageError: something cannot be removed.
    """
    repository.forget_decoded()
    entries = workspace.cache.entries
    left = {
        path: item for path, item in entries.items() if not view.objects.is_gone(ManifestId(item.manifest))
    }
    if len(left) < len(entries):
        workspace.remember(left)
    sweep_notes(repository, lambda _identity: False)
    with storage_errors("cannot rewrite the sketches"):
        sketches = SketchIndex(repository.io, repository.store)
        sketches.keep(repository.temporary, lambda name: _is_whole(view, name))
    for key, _size in list(view.backend.list("locators/")):
        view.backend.delete(key)
    trash = Trash(repository.io, repository.store)
    trash.empty()
    with storage_errors("cannot empty the trash"):
        remove_folder(repository.io, trash.folder)  # with what does not belong there
    remove_kept(repository.io, repository.store, repository.locks)  # one that is under way the search names
    repository.sweep()


def _is_whole(view: View, name: int) -> bool:
    """Whether a file of which a row of sketches keeps this much of the id is stored, with all of its
    pieces."""
    file = stored_file(view.objects, name)
    if file is None:
        return False
    if not view.tombstones:
        return True
    try:
        parts = read_manifest(view.objects, file).parts
    except ObjectPurged:
        return False
    return not any(part.blob is not None and view.objects.is_gone(part.blob) for part in parts)


def remove_folder(io: FileIO, folder: Path) -> None:
    """Remove a folder of the store with all that is in it; links are removed, not followed.

    Raises:
        OSError: something cannot be removed.
    """
    with suppress(FileNotFoundError):
        for entry in io.scan_folder(folder):
            path = folder / entry.name
            if S_ISDIR(io.stat(path).st_mode):
                remove_folder(io, path)
            else:
                io.unlink(path)
        io.remove_folder(folder)
