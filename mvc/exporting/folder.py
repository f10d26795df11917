"""A version's files in a folder without a store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from stat import S_ISDIR

from mvc.errors import UserError, damage_in
from mvc.exporting.files import File
from mvc.exporting.output import part_of
from mvc.fileio import FileIO, exists, make_folders, storage_errors, write_all
from mvc.monitor import Monitor
from mvc.restore import file_pieces
from mvc.view import View


def write_folder(io: FileIO, view: View, files: Iterable[File], folder: Path, monitor: Monitor) -> None:
    """Lay files out in a new folder, each checked against its SHA-256; the folder appears when all are there
    and durable.

    Raises:
        UserError: there is something in the folder.
        DamageError: a file cannot be had; nothing is left behind.
        StorageError: the disk refuses; nothing is left behind where that can be.
    """
    with storage_errors(f"cannot write {folder}"):
        if exists(io, folder) and (not S_ISDIR(io.stat(folder).st_mode) or io.scan_folder(folder)):
            raise UserError(f"{folder} is not empty", hint="name a folder that is empty or does not exist")
        if not exists(io, folder.parent):
            make_folders(io, folder.parent)
        made = part_of(folder)
        io.make_folder(made)
        folders = {made}
        try:
            for file in files:
                _write(io, view, file, made, folders, monitor)
            for inner in folders:
                io.sync_folder(inner)
            io.replace(made, folder)
        except BaseException:
            _remove(io, made)
            raise
        io.sync_folder(folder.parent)


def _write(io: FileIO, view: View, file: File, made: Path, folders: set[Path], monitor: Monitor) -> None:
    place = made / file.path
    for parent in reversed(place.relative_to(made).parents):
        inner = made / parent
        if inner not in folders:
            io.make_folder(inner)
            folders.add(inner)
    fd = io.create(place, 0o777 if file.executable else 0o666)
    try:
        with damage_in(file.path):
            for piece in file_pieces(view.objects, file.read(view), verify=True):
                write_all(io, fd, piece)
                monitor.advance(len(piece))
        io.sync(fd)
    finally:
        io.close(fd)


def _remove(io: FileIO, folder: Path) -> None:
    """Take away what was begun; what cannot be stays, for the first failure is the one to report."""
    try:
        for entry in io.scan_folder(folder):
            if entry.is_dir(follow_symlinks=False):
                _remove(io, folder / entry.name)
            else:
                io.unlink(folder / entry.name)
        io.remove_folder(folder)
    except OSError:
        return
