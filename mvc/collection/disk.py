"""How much room a store takes, as the disk sees it."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISDIR
from typing import NamedTuple

from mvc.collection.trash import FOLDER
from mvc.fileio import FileIO, storage_errors

_BLOCK = 512  # bytes, whatever the file system: what st_blocks counts in


class Room(NamedTuple):
    """Allocated bytes: of everything in a store but the trash, and of what lies in the trash alone."""

    store: int
    trash: int


def room(io: FileIO, store: Path) -> Room:
    """What a store takes. A file with several names counts once, for the store where one of them is there.

    Raises:
        StorageError: the disk refuses.
    """
    seen: set[tuple[int, int]] = set()
    with storage_errors("cannot look at the store"):
        trash = store / FOLDER
        return Room(_allocated(io, store, seen, trash), _allocated(io, trash, seen, None))


def _allocated(io: FileIO, start: Path, seen: set[tuple[int, int]], without: Path | None) -> int:
    total = 0
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path == without:
            continue
        try:
            status = io.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            if S_ISDIR(status.st_mode):
                waiting += [path / entry.name for entry in io.scan_folder(path)]
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted meanwhile by another command
        seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * _BLOCK
    return total
