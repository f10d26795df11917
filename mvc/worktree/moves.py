"""Moves files of the work tree by a journal, forth and back, from wherever an earlier try was cut off.

The work tree is entered through handles of folders, and a symbolic link is never followed on the way
(:mod:`mvc.beneath`): what a link leads to is not ours, and one that is put in the way meanwhile must not lead
us out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mvc.errors import WouldOverwrite
from mvc.fileio import FileIO, exists
from mvc.worktree.journal import Journal, Move, Seen

MISSING = (FileNotFoundError, NotADirectoryError)
"""What a walk meets where there is no such way; a link in the way is "not a directory" too."""


def parent_of(path: str) -> str:
    """The folder of a path; empty for the work tree's own."""
    return path.rpartition("/")[0]


class WorkTree:
    """A folder below which paths are resolved without ever following a link."""

    def __init__(self, io: FileIO, root: Path) -> None:
        self.io = io
        self.root = root

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """A handle of a folder; empty for the work tree itself.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none, or the way is barred by a file or link.
        """
        handle = self.io.open_beneath(self.root, path, folder=True)
        try:
            yield handle
        finally:
            self.io.close(handle)

    @contextmanager
    def place(self, path: str) -> Iterator[tuple[int, str]]:
        """A handle of the folder of a path, and the name in it."""
        with self.folder(parent_of(path)) as handle:
            yield handle, path.rpartition("/")[2]

    def look(self, path: str) -> os.stat_result | None:
        """Status of what is there, be it a link; None if nothing is."""
        try:
            if not path:
                # The root's own name may be a link; only what is below it is not the user's choice.
                with self.folder("") as handle:
                    return self.io.stat_handle(handle)
            with self.place(path) as (folder, name):
                return self.io.stat(name, folder=folder)
        except MISSING:
            return None


class Mover:
    """Carries a journal out (:meth:`forward`) or takes it back (:meth:`backward`).

    Both look at what is there before each step, so both may begin after any number of steps of either.
    """

    def __init__(self, tree: WorkTree, temporary: Path, journal: Journal) -> None:
        self._tree = tree
        self._io = tree.io
        self._temporary = temporary
        self._journal = journal

    def forward(self, *, strict: bool) -> None:
        """Bring the new files into place; when it returns they are durable there.

        What has come into the way since the plan was made, or was written in an old file's place, is refused
        if ``strict``, else set aside.

        Raises:
            WouldOverwrite: something is in the way.
            OSError: a step failed.
        """
        for move in self._journal.moves:
            if move.old is not None and not self._in_temporary(move.old) and not self._has_come(move):
                self._take_away(move, move.old, strict=strict)
        # The old files must be safe under their new names before anything takes their place.
        self._io.sync_folder(self._temporary)
        for path, _ in self._journal.removed:
            if not self._remove_folder(path) and strict:
                raise _in_the_way(path)
        for path in self._journal.made:
            self._make_folder(path, strict=strict)
        for move in self._journal.moves:
            if move.new is not None and self._in_temporary(move.new):
                self._bring(move.new, move.path, strict=strict)
        self._sync()

    def backward(self) -> None:
        """Bring the old files back; when it returns they are durable there.

        The new files go back under their temporary names, unless somebody has changed them in place: then
        they stay, or are set aside if an old file comes back there.

        Raises:
            OSError: a step failed.
        """
        for move in reversed(self._journal.moves):
            if move.new is not None and self._has_come(move) and self._is_new(move):
                with self._tree.place(move.path) as (folder, name):
                    self._io.replace(name, self._temporary / move.new, source_folder=folder)
        self._io.sync_folder(self._temporary)
        for path in reversed(self._journal.made):
            self._remove_folder(path)
        for path, mode in reversed(self._journal.removed):
            self._restore_folder(path, mode)
        for move in self._journal.moves:
            if move.old is not None and self._in_temporary(move.old):
                self._bring(move.old, move.path, strict=False)
        self._sync()

    def keep_written(self) -> None:
        """Set aside old files that somebody who had them open has written to since they were moved away.

        Raises:
            OSError: a step failed.
        """
        for move in self._journal.moves:
            if move.old is None or move.seen is None or not self._in_temporary(move.old):
                continue
            # Who writes through a handle leaves the inode as it is, and a copy of a store has other ones.
            if self._key_of(move.old)[:2] != move.seen[:2]:
                with self._nearest_folder(move.path) as folder:
                    self._set_aside(self._temporary / move.old, move.path.rpartition("/")[2], folder)
                    self._io.sync_folder(folder)

    # --- single steps
    # ----------------------------------------------------------------------------------------
    def _in_temporary(self, name: str) -> bool:
        return exists(self._io, self._temporary / name)

    def _has_come(self, move: Move) -> bool:
        return move.new is not None and not self._in_temporary(move.new)

    def _is_new(self, move: Move) -> bool:
        """Whether the new file is in place, as it came.

        Where the old file is not under its temporary name it is back in place already. Size and time alone
        could not tell: versions of one model have one size, and some file systems count time in seconds.
        """
        if move.old is not None and not self._in_temporary(move.old):
            return False
        status = self._tree.look(move.path)
        return (
            status is not None
            and stat.S_ISREG(status.st_mode)
            and (status.st_size, status.st_mtime_ns) == (move.size_bytes, move.time_ns)
        )

    def _take_away(self, move: Move, old: str, *, strict: bool) -> None:
        status = self._tree.look(move.path)
        # A folder is not what the plan saw; whatever wants its place finds it in the way.
        if status is None or stat.S_ISDIR(status.st_mode):
            return
        with self._tree.place(move.path) as (folder, name):
            if Seen.of(status) == move.seen:
                self._io.replace(name, self._temporary / old, source_folder=folder)
            elif not strict:
                self._set_aside(name, name, folder, source_folder=folder)
        # Asked again: it may have been another file's turn between the question and the move.
        if strict and (Seen.of(status) != move.seen or self._key_of(old) != move.seen):
            raise written_meanwhile(move.path)

    def _key_of(self, temporary: str) -> Seen:
        return Seen.of(self._io.stat(self._temporary / temporary))

    def _bring(self, temporary: str, path: str, *, strict: bool) -> None:
        if not strict:
            self._make_way(parent_of(path))
        with self._tree.place(path) as (folder, name):
            if exists(self._io, name, folder=folder):
                if strict:
                    raise _in_the_way(path)
                self._set_aside(name, name, folder, source_folder=folder)
            # What somebody puts here between the question and this line is lost. No portable call renames a
            # file only if the new name is free.
            self._io.replace(self._temporary / temporary, name, target_folder=folder)

    def _remove_folder(self, path: str) -> bool:
        """False if something is in it."""
        try:
            with self._tree.place(path) as (folder, name):
                self._io.remove_folder(name, folder=folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            if not isinstance(error, MISSING):
                raise
        return True

    def _make_folder(self, path: str, *, strict: bool) -> None:
        if not strict:
            self._make_way(parent_of(path))
        with self._tree.place(path) as (folder, name):
            try:
                self._io.make_folder(name, folder=folder)
                return
            except FileExistsError:
                if stat.S_ISDIR(self._io.stat(name, folder=folder).st_mode):
                    return
            if strict:
                raise _in_the_way(path)
            self._set_aside(name, name, folder, source_folder=folder)
            self._io.make_folder(name, folder=folder)

    def _make_way(self, path: str) -> None:
        """Make sure that a folder and those above it are there."""
        if not self._is_folder(path):
            self._make_folder(path, strict=False)

    def _restore_folder(self, path: str, mode: int) -> None:
        if self._is_folder(path):
            return
        self._make_folder(path, strict=False)
        with self._tree.folder(path) as handle:
            self._io.set_mode(handle, mode)
            self._io.sync_folder(handle)
        # An old file must not come back into a folder that a power cut takes away again.
        with self._tree.folder(parent_of(path)) as handle:
            self._io.sync_folder(handle)

    @contextmanager
    def _nearest_folder(self, path: str) -> Iterator[int]:
        """A handle of a path's folder or, where that is gone, of the nearest one above."""
        folder = parent_of(path)
        while folder and not self._is_folder(folder):
            folder = parent_of(folder)
        with self._tree.folder(folder) as handle:
            yield handle

    def _is_folder(self, path: str) -> bool:
        status = self._tree.look(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _set_aside(
        self, source: Path | str, name: str, folder: int, *, source_folder: int | None = None
    ) -> None:
        """Give a file another name beside ``name``: it may be the only copy of somebody's work."""
        # Fifty characters have at most 200 bytes, so the name fits where the old one did.
        self._io.replace(
            source,
            f"{name[:50]}.mvc-saved-{os.urandom(4).hex()}",
            source_folder=source_folder,
            target_folder=folder,
        )

    def _sync(self) -> None:
        """Make the names in all folders that a step has touched durable."""
        touched = {parent_of(move.path) for move in self._journal.moves}
        touched |= {parent_of(path) for path in self._journal.made}
        touched |= {parent_of(path) for path, _ in self._journal.removed}
        for path in sorted(touched):
            with suppress(*MISSING), self._tree.folder(path) as handle:
                self._io.sync_folder(handle)


def written_meanwhile(path: str) -> WouldOverwrite:
    """The refusal to remove a file that is not the one that the plan saw."""
    return WouldOverwrite(
        f"{path} was written while this command ran", hint="look at 'mvc status', then run it again"
    )


def _in_the_way(path: str) -> WouldOverwrite:
    return WouldOverwrite(
        f"something has come in the way of {path} meanwhile", hint="look at 'mvc status', then try again"
    )
