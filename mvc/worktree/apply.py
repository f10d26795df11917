"""Puts prepared files in place, all or nothing, also if the process is killed half way.

The story of a checkout: the new files are written and synced under temporary names; :func:`apply` writes a
journal, moves the old files to temporary names and the new ones into place; the caller swaps root; then
:meth:`Applied.finish` removes the journal and the old files. Who is killed before the journal is gone leaves
it to the next command's :func:`recover`, which asks root whether the swap took place and goes forward or
back.

The journal is locked as long as its owner lives, so a living checkout is never recovered under its feet.
While there is a journal, ``sweep_temporary`` touches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mvc.errors import Busy
from mvc.fileio import (
    FileIO,
    KernelOwners,
    Owners,
    TemporaryNames,
    is_at,
    place_new,
    storage_errors,
    write_all,
)
from mvc.worktree.journal import Journal
from mvc.worktree.moves import Mover, WorkTree
from mvc.worktree.placements import Placement, Planner, refuse_collisions

__all__ = ["Applied", "Placement", "apply", "recover"]

MAX_JOURNAL_BYTES = 128 << 20
"""Some half a million files that one checkout moves."""

_TEMPORARY = re.compile(rb"[0-9]+-([0-9a-f]{16})-[0-9a-f]{16}")
_DOING = "cannot change the work tree"


class Applied:
    """Files in place that can still be taken back; made by :func:`apply`.

    Call :meth:`finish` or :meth:`rollback`, exactly one of them. If root's swap failed in a way that leaves
    open whether it took place (a ``StorageError``, an interrupt), read root first: to roll back what was
    committed would leave the work tree behind its HEAD.
    """

    def __init__(
        self, io: FileIO, root: Path, store: Path, journal: Journal, handle: int, names: TemporaryNames | None
    ) -> None:
        self._io = io
        self._store = store
        self._journal = journal
        self._handle = handle
        self._names = names
        self._mover = Mover(WorkTree(io, root), store / "tmp", journal)

    def finish(self) -> None:
        """The change is committed: forget the old files, but for those that are still being written: they get
        a name with ``.mvc-saved-``.

        Raises:
            StorageError: a step failed; the next command tries again.
        """
        try:
            with storage_errors(_DOING):
                self._mover.keep_written()
                self._remove_journal()
            for move in self._journal.moves:
                if move.old is not None:
                    with suppress(OSError):  # done and durable all the same; what is left is swept later
                        self._io.unlink(self._store / "tmp" / move.old)
        finally:
            self._release()

    def rollback(self) -> None:
        """The change was not committed: the work tree becomes what it was, the new files temporary again.

        Raises:
            StorageError: a step failed; the next command's :func:`recover` goes on.
        """
        try:
            with storage_errors(_DOING):
                self._mover.backward()
                self._remove_journal()
        finally:
            self._release()

    def abandon(self) -> None:
        """Leave everything as it is, for the next command's :func:`recover` to settle: nobody can tell
        now."""
        self._release()

    def _remove_journal(self) -> None:
        self._io.unlink(self._store / "journal")
        self._io.sync_folder(self._store)

    def _release(self) -> None:
        """Let go of the journal's lock: we are through with it, or somebody else may try."""
        with suppress(OSError):  # nothing is written through this handle any more
            self._io.close(self._handle)
        if self._names is not None:
            with suppress(OSError):  # what stays is swept when this process is gone
                self._names.close()


def apply(
    io: FileIO,
    root: Path,
    store: Path,
    placements: Sequence[Placement],
    token: bytes,
    case_groups: Sequence[Sequence[str]] = (),
    owners: Owners | None = None,
) -> Applied:
    """Put files in place below ``root``, all or none; when it returns they are durable there.

    ``store`` is the repository's ``.mvc``, on the same file system. ``token`` is what root will hold once the
    change is committed. Paths of one of ``case_groups`` differ only by case or Unicode form; they are
    refused if this file system cannot tell them apart. A file may take a folder's place, and a folder a
    file's, if all that is in the way goes in the same call; folders that become empty go too. On any
    exception the work tree is as before, or, if even that fails, will be after :func:`recover`.

    Raises:
        InvalidPath: a path is not valid, or two do not go together here.
        WouldOverwrite: something else is in the way: other files in a folder, a link instead of a folder, a
            file that was written since the placements were planned.
        Busy: a journal is there: another process is at it, or :func:`recover` was not called.
        StorageError: the disk refused, or part of the work tree is on another file system.
    """
    names = TemporaryNames(io, store / "tmp", owners)
    try:
        with storage_errors(_DOING):
            names.new()  # makes the folder where it is missing
            refuse_collisions(io, names, case_groups)
            journal = Planner(WorkTree(io, root), names, placements).plan(token)
            handle = _write_journal(io, store, names, journal, owners or KernelOwners(io))
    except BaseException:
        names.close()
        raise
    applied = Applied(io, root, store, journal, handle, names)
    try:
        with storage_errors(_DOING):
            applied._mover.forward(strict=True)
    except BaseException as error:
        try:
            applied.rollback()
        except Exception as second:
            error.add_note(f"and taking it back failed ({second}); the next mvc command tries again")
        raise
    return applied


def recover(
    io: FileIO,
    root: Path,
    store: Path,
    committed: Callable[[bytes], bool],
    owners: Owners | None = None,
) -> bool:
    """Finish or take back what a killed process has left; True if there was something.

    ``committed`` tells whether root holds a token. Files that somebody has put in the way since are not lost:
    they get a name with ``.mvc-saved-`` beside their own. May be killed and called again at any point.

    Raises:
        Busy: the checkout is not dead, another process is at it.
        CorruptFile: the journal is damaged.
        StorageError: the disk refused.
    """
    with storage_errors("cannot recover an interrupted checkout"):
        handle = _open_journal(io, store / "journal", owners or KernelOwners(io))
        if handle is None:
            return False
        try:
            journal = Journal.from_bytes(_content(io, handle))
            is_committed = committed(journal.token)
        except BaseException:
            io.close(handle)
            raise
        applied = Applied(io, root, store, journal, handle, None)
        if not is_committed:
            applied.rollback()
            return True
        try:
            applied._mover.forward(strict=False)
        except BaseException:
            applied._release()
            raise
        applied.finish()
        return True


def _write_journal(io: FileIO, store: Path, names: TemporaryNames, journal: Journal, owners: Owners) -> int:
    """Write the journal, durable and locked before it is visible; returns its handle."""
    path, temporary = store / "journal", names.new()
    handle = io.create(temporary)
    try:
        write_all(io, handle, journal.to_bytes())
        io.sync(handle)
        owners.claim(handle, temporary)
        if not place_new(io, temporary, path):
            raise Busy("another checkout of this work tree is under way", hint="wait for it, then try again")
        io.sync_folder(store)
    except BaseException:
        # Nothing has moved yet, so whatever of this fails is swept, or recovered without effect, later.
        with suppress(OSError):
            if is_at(io, handle, path):
                io.unlink(path)
        with suppress(OSError):
            io.unlink(temporary)
        with suppress(OSError):
            io.close(handle)
        raise
    return handle


def _open_journal(io: FileIO, path: Path, owners: Owners) -> int | None:
    """A locked handle of a dead process's journal; None if there is no journal."""
    while True:
        try:
            handle = io.open_lock(path, create=False)
        except FileNotFoundError:
            return None
        try:
            if not owners.is_dead(handle, _owner_in(io, handle)):
                raise Busy("another mvc is changing this work tree", hint="wait for it, then try again")
            if is_at(io, handle, path):
                return handle
        except BaseException:
            io.close(handle)
            raise
        io.close(handle)  # its owner came to the end between our opening and locking it


def _owner_in(io: FileIO, handle: int) -> str:
    """The id of a journal's owner, as the temporary files have it of which it speaks; zeros where there are
    none."""
    match = _TEMPORARY.search(_content(io, handle))
    return "0" * 16 if match is None else match.group(1).decode()


def _content(io: FileIO, handle: int) -> bytes:
    """A journal's bytes; none of one that is longer than any, which is damage."""
    size = io.stat_handle(handle).st_size
    return io.read_at(handle, size, 0) if size <= MAX_JOURNAL_BYTES else b""
