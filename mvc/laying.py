"""Lays a version's files out in a folder of the user's that is no work tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mvc.errors import UserError
from mvc.fileio import make_folders, storage_errors
from mvc.filling import Filler
from mvc.history.reader import read_manifest
from mvc.objectid import ManifestId
from mvc.objects import EXECUTABLE, TreeEntry
from mvc.repo import Repository
from mvc.store import exists
from mvc.view import View


def lay_out(
    repository: Repository,
    view: View,
    folder: Path,
    files: Mapping[str, TreeEntry],
    laid: Mapping[str, TreeEntry],
) -> dict[str, TreeEntry]:
    """Make a folder hold these files; returns them, to be given as ``laid`` the next time.

    What was ``laid`` there and is equal is left alone. At first the folder must be empty or missing. Files
    are not synced: they can be had again.

    Raises:
        UserError: there is something in the folder that was not laid there.
        StorageError: the disk refuses.
    """
    io = repository.io
    with storage_errors(f"cannot write to {folder}"):
        if not laid and exists(io, folder) and io.scan_folder(folder):
            raise UserError(f"{folder} is not empty", hint="name a folder that is empty or does not exist")
        make_folders(io, folder)
        filler = Filler(io, view.objects, repository.monitor)
        for path in sorted(laid.keys() | files.keys()):
            entry = files.get(path)
            if entry == laid.get(path):
                continue
            place = folder / path
            if exists(io, place):
                io.unlink(place)
            if entry is None:
                continue
            make_folders(io, place.parent)
            fd = io.create(place, 0o777 if entry.mode == EXECUTABLE else 0o666)
            try:
                filler.fill(fd, place, read_manifest(view.objects, ManifestId(entry.id)), None)
            finally:
                io.close(fd)
    return dict(files)
