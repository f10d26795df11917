"""What a set of files that come and go means for the folders of a work tree; nothing is moved here."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvc.errors import InvalidPath, StorageError, WouldOverwrite
from mvc.fileio import FileIO, TemporaryNames, exists
from mvc.paths import check_path
from mvc.worktree.journal import Journal, Move, Seen
from mvc.worktree.moves import WorkTree, written_meanwhile


@dataclass(frozen=True)
class Placement:
    """A file that comes to ``path``, or goes from there if ``temporary`` is None.

    ``temporary`` is a regular file in the store's ``tmp``, whole and synced, created with mode 0o666, or
    0o777 if it is ``executable``, so that the user's umask has had its say. ``seen`` is the file that may be
    removed from ``path``, None if there must be none: any other is somebody's work.
    """

    path: str
    temporary: Path | None
    executable: bool
    seen: Seen | None = None


class Planner:
    """Works out a journal from what is in the work tree now."""

    def __init__(self, tree: WorkTree, names: TemporaryNames, placements: Sequence[Placement]) -> None:
        self._tree = tree
        self._io = tree.io
        self._names = names
        self._coming = {item.path: item for item in placements if item.temporary is not None}
        self._going = {item.path: item for item in placements if item.temporary is None}
        self._above_coming = {folder for path in self._coming for folder in folders_above(path)}
        self._device = self._io.stat(names.folder).st_dev
        self._seen: dict[str, os.stat_result | None] = {}
        self._removable: dict[str, list[tuple[str, int]] | None] = {}
        self._check_paths(placements)

    def plan(self, token: bytes) -> Journal:
        """The journal of these placements.

        Raises:
            InvalidPath: a path is not valid, occurs twice, or is both a file and a folder.
            WouldOverwrite: something that is none of these placements is in the way, or not what they saw.
            StorageError: a folder is on another file system than the store.
        """
        away = [path for path in sorted(self._going) if self._is_there(path)]
        made: set[str] = set()
        removed: dict[str, int] = {}
        moves = [Move(path, None, self._names.new().name, seen=self._going[path].seen) for path in away]
        for path, item in sorted(self._coming.items()):
            made.update(self._missing_above(path))
            moves.append(self._arrival(item, removed))
        for path in away:
            for folder in folders_above(path):
                removed.update(self._removable_at(folder) or ())
        return Journal(
            token=token,
            moves=tuple(moves),
            made=tuple(sorted(made)),
            removed=tuple(sorted(removed.items(), reverse=True)),
        )

    def _check_paths(self, placements: Sequence[Placement]) -> None:
        for item in placements:
            check_path(item.path)
        if len({*self._going, *self._coming}) != len(placements):
            raise InvalidPath("a path is to be placed twice")
        for path in self._coming:
            if path in self._above_coming:
                raise InvalidPath(f"{path} cannot be a file and a folder")

    def _look(self, path: str) -> os.stat_result | None:
        """Status of what is there. A folder must be on the store's file system, to have files moved there."""
        if path not in self._seen:
            status = self._seen[path] = self._tree.look(path)
            if status is not None and stat.S_ISDIR(status.st_mode) and status.st_dev != self._device:
                raise StorageError(
                    f"{path or 'the work tree'} is on another file system than the repository's .mvc",
                    hint="mvc moves files into place in one step, which works within one file system only",
                )
        return self._seen[path]

    def _is_there(self, path: str) -> bool:
        """Whether a file that is to go is there at all."""
        for folder in ("", *folders_above(path)):
            status = self._look(folder)
            if status is not None and stat.S_ISLNK(status.st_mode):
                raise _linked(folder)
            if status is None or not stat.S_ISDIR(status.st_mode):
                return False
        status = self._look(path)
        if status is None or stat.S_ISDIR(status.st_mode):
            return False
        _check_movable(self._going[path], status)
        return True

    def _missing_above(self, path: str) -> list[str]:
        """The folders that must be made for a coming file."""
        folders = ["", *folders_above(path)]
        for depth, folder in enumerate(folders):
            status = self._look(folder)
            if status is None:
                return folders[depth:]
            if stat.S_ISDIR(status.st_mode):
                continue
            if folder in self._going:
                return folders[depth:]
            if stat.S_ISLNK(status.st_mode):
                raise _linked(folder)
            raise WouldOverwrite(
                f"{folder} is a file, and {path} needs a folder there", hint="move the file away"
            )
        return []

    def _arrival(self, item: Placement, removed: dict[str, int]) -> Move:
        coming = self._prepare(item)
        status = None if self._missing_above(item.path) else self._look(item.path)
        old = None
        if status is not None and stat.S_ISDIR(status.st_mode):
            folders = self._removable_at(item.path)
            if folders is None:
                raise WouldOverwrite(
                    f"{item.path} is a folder with other files, and a file is to come there",
                    hint="move those files away",
                )
            removed.update(folders)
        elif status is not None:
            _check_movable(item, status)
            old = self._names.new().name
        return Move(item.path, coming.name, old, *self._signature(coming), item.seen if old else None)

    def _prepare(self, item: Placement) -> Path:
        """Check the coming file, and see to its executable bits where its maker has not."""
        coming = item.temporary
        if coming is None or coming.parent != self._names.folder or not TemporaryNames.owner_of(coming.name):
            raise StorageError(f"the new file of {item.path} is not among the repository's temporary files")
        mode = stat.S_IMODE(self._io.stat(coming).st_mode)
        # Who may read may execute: what the umask has left of the bits to read it would leave of these.
        wanted = mode | (mode & 0o444) >> 2 if item.executable else mode & ~0o111
        if wanted != mode:
            handle = self._io.open_read(coming, follow=False)
            try:
                self._io.set_mode(handle, wanted)
                self._io.sync(handle)
            finally:
                self._io.close(handle)
        return coming

    def _signature(self, coming: Path) -> tuple[int, int]:
        status = self._io.stat(coming)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{coming} is not a regular file")
        return status.st_size, status.st_mtime_ns

    def _removable_at(self, folder: str) -> list[tuple[str, int]] | None:
        """The folder and those in it, children first, if nothing stays in it; None if something does."""
        if folder not in self._removable:
            self._removable[folder] = self._removable_now(folder)
        return self._removable[folder]

    def _removable_now(self, folder: str) -> list[tuple[str, int]] | None:
        if folder in self._above_coming:
            return None
        below: list[tuple[str, int]] = []
        with self._tree.folder(folder) as handle:
            mode = stat.S_IMODE(self._io.stat_handle(handle).st_mode)
            entries = [
                (f"{folder}/{entry.name}", entry.is_dir(follow_symlinks=False))
                for entry in self._io.scan_folder(handle)
            ]
        for path, is_folder in sorted(entries):
            inner = self._removable_at(path) if is_folder else ([] if path in self._going else None)
            if inner is None:
                return None
            below += inner
        return [*below, (folder, mode)]


def folders_above(path: str) -> list[str]:
    """The folders of a path from the top, without the work tree itself: of ``a/b/c`` ``a`` and ``a/b``."""
    names = path.split("/")
    return ["/".join(names[:depth]) for depth in range(1, len(names))]


def refuse_collisions(io: FileIO, names: TemporaryNames, groups: Sequence[Sequence[str]]) -> None:
    """Refuse paths of one group that this file system takes for the same name.

    Raises:
        InvalidPath: it cannot hold two of them side by side.
    """
    if not groups:
        return
    probe = names.new()

    def taken_for_one(one: str, other: str) -> bool:
        path = probe.with_name(probe.name + one)
        io.close(io.create(path))
        try:
            return exists(io, probe.with_name(probe.name + other))
        finally:
            io.unlink(path)

    folds_case = taken_for_one("k", "K")
    folds_form = taken_for_one("\u00e9", "e\u0301")

    def fold(path: str) -> str:
        form = unicodedata.normalize("NFD", path) if folds_form else path
        cased = form.casefold() if folds_case else form
        return unicodedata.normalize("NFC", cased) if folds_form else cased

    for group in groups:
        seen: dict[str, str] = {}
        for path in group:
            other = seen.setdefault(fold(path), path)
            if other != path:
                raise InvalidPath(
                    f"this file system cannot hold both {other!r} and {path!r}",
                    hint="check out only one of them, or work on a file system that tells them apart",
                )


def _check_movable(item: Placement, status: os.stat_result) -> None:
    """A link in a file's place is moved as itself, whatever it leads to."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise WouldOverwrite(f"{item.path} is a device, pipe or socket", hint="move it away")
    if Seen.of(status) != item.seen:
        raise written_meanwhile(item.path)


def _linked(folder: str) -> WouldOverwrite:
    return WouldOverwrite(
        f"{folder} is a symbolic link, and mvc follows none", hint="put a real folder in its place"
    )
