"""Where the shared part of a repository lies: one backend per file, all held to one suite of tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mvc.backends.base import Backend, Incoming, NotFound, check_key
from mvc.backends.folder import FolderBackend
from mvc.backends.memory import MemoryBackend
from mvc.fileio import FileIO, TemporaryNames

__all__ = ["BACKENDS", "Backend", "Incoming", "NotFound", "check_key"]


def _open_folder(io: FileIO, location: str) -> Backend:
    return FolderBackend(io, Path(location), TemporaryNames(io, Path(location) / "tmp"))


def _open_memory(io: FileIO, location: str) -> Backend:
    return MemoryBackend()


BACKENDS: dict[str, Callable[[FileIO, str], Backend]] = {
    "file": _open_folder,
    "memory": _open_memory,
}
"""URL scheme → how to open a store, given the URL's part behind the scheme."""
