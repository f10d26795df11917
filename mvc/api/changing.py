"""What changes a repository beside commits: checkout, undo, branches and tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from mvc.api.opened import Opened
from mvc.errors import UsageError
from mvc.ops import branch as branch_ops
from mvc.ops import tag as tag_ops
from mvc.ops.checkout import CheckedOut, checkout, checkout_paths
from mvc.ops.gc import TRASH_DAYS, UNDO_DAYS, Collected, Request, Returned, empty_trash, gc, undo_gc
from mvc.ops.oplog import restore as restore_operation
from mvc.ops.purge import WAIT_SECONDS, Ended, Preview, Purged, finish, purge
from mvc.ops.purge import Request as Purge
from mvc.ops.purge import preview as preview_purge
from mvc.ops.repair import Repaired, repair
from mvc.ops.repair import Request as RepairRequest
from mvc.ops.reset import Mode, Reset, reset
from mvc.ops.restore import Restored, Side, restore
from mvc.ops.switch import switch, switch_orphan
from mvc.ops.undo import undo


class Changing(Opened):
    """Moves HEAD, the work tree, branches and tags; every change is an operation that :meth:`undo` takes
    back."""

    def checkout(
        self,
        revision: str,
        paths: Sequence[str] = (),
        *,
        new_branch: str | None = None,
        detach: bool = False,
        force: bool = False,
    ) -> CheckedOut:
        """Bring the work tree and HEAD to a revision; with ``paths`` only those files, and HEAD stays.

        Raises:
            WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        """
        with self._acting() as (who, now):
            if paths:
                if new_branch is not None or detach:
                    raise UsageError("paths go with neither a new branch nor a detached HEAD")
                wanted = [paths] if isinstance(paths, str) else list(paths)
                return checkout_paths(self._repository, revision, wanted, who, now, force=force)
            return checkout(
                self._repository, revision, who, now, new_branch=new_branch, detach=detach, force=force
            )

    def switch(
        self,
        revision: str = "HEAD",
        *,
        create: str | None = None,
        reset: bool = False,
        detach: bool = False,
        orphan: str | None = None,
        force: bool = False,
    ) -> CheckedOut:
        """Go to a branch; ``-`` is the one before.

        ``create`` makes a branch at the revision and goes there; with ``reset`` it may exist, and is moved.
        ``detach`` goes to any revision, on no branch; ``orphan`` to a new branch without versions.

        Raises:
            UserError: the revision is no branch, and nothing else is said.
            WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
            ConflictError: a merge is under way.
        """
        with self._acting() as (who, now):
            if orphan is not None:
                if create is not None or detach or revision != "HEAD":
                    raise UsageError("an orphan goes with nothing else: it has no version yet")
                return switch_orphan(self._repository, orphan, who, now, force=force)
            return switch(
                self._repository,
                revision,
                who,
                now,
                create=create,
                reset=reset,
                detach=detach,
                force=force,
            )

    def reset(self, revision: str = "HEAD", *, mode: Mode = "mixed") -> Reset:
        """Point the current branch to a revision. ``soft`` and ``mixed`` leave the files alone, ``hard``
        makes tracked ones the revision's; :meth:`undo` brings back what was overwritten.

        Raises:
            ConflictError: a merge is under way, and ``mode`` is ``soft``; the others end it.
        """
        if mode not in get_args(Mode):
            raise UsageError(f"{mode!r} is no mode of a reset", hint=", ".join(get_args(Mode)))
        with self._acting() as (who, now):
            return reset(self._repository, revision, who, now, mode=mode)

    def restore(
        self, paths: Sequence[str], *, source: str | None = None, side: Side | None = None
    ) -> Restored:
        """Make files what they are in ``source`` (default: HEAD, or what a merge that is under way left),
        without asking; :meth:`undo` brings back what was overwritten. With ``side``, ``ours`` or ``theirs``,
        files in conflict become that side's, and count as resolved.

        Raises:
            RevisionNotFound: there is no such revision or path.
        """
        if side is not None and side not in get_args(Side):
            raise UsageError(f"{side!r} is no side of a merge", hint=", ".join(get_args(Side)))
        wanted = [paths] if isinstance(paths, str) else list(paths)
        if not wanted:
            raise UsageError("which files?", hint="restore(['.']) restores all")
        with self._acting() as (who, now):
            every = "." in wanted
            return restore(self._repository, [] if every else wanted, who, now, source=source, side=side)

    def purge(
        self,
        *targets: str,
        reason: str = "",
        rewrite: bool = False,
        everywhere: bool = False,
        verify: bool | None = None,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> Purged | Preview:
        """Take versions (``REV``), files (``REV:PATH``, or ``PATH`` in every version) or tensors
        (``PATH#TENSOR``) out of the repository for good, and refuse their return. It cannot be undone.

        What something else has too stays, unless it is to go ``everywhere``. Versions keep their ids, and
        reading what is gone raises ObjectPurged; with ``rewrite`` they are made anew without it. With
        ``verify`` (None: in small stores) every file that stays is read first. Commands that may be reading
        what goes are waited for, ``wait`` seconds at most; :meth:`finish_purges` goes on. With ``dry_run``
        nothing changes.

        Raises:
            RevisionNotFound: nothing is called as one of the targets.
            UserError: all of it is in something that stays.
            ConflictError: a merge or a bisection is under way; another collection is running.
        """
        if not targets:
            raise UsageError("say what is to be purged", hint="repo.purge('secret.bin', reason='leaked')")
        with self._acting() as (who, now):
            request = Purge(tuple(targets), who, now, reason, rewrite, everywhere, verify)
            if dry_run:
                return preview_purge(self._repository, request)
            return purge(self._repository, request, wait=wait)

    def finish_purges(self, *, wait: float = WAIT_SECONDS) -> Ended:
        """Delete what earlier purges had to leave because somebody was reading it, and look for what is
        left."""
        self._session.check_open()
        return finish(self._repository, wait=wait)

    def undo(self, operation: str | None = None, *, force: bool = False) -> str:
        """Take back the newest operation that was not taken back yet, or the one named by its id; returns
        what it was.

        Raises:
            UserError: nothing is left to take back.
        """
        with self._acting() as (who, now):
            return undo(self._repository, who, now, operation=operation, force=force).command

    def restore_operation(self, operation: str, *, force: bool = False) -> str:
        """Make branches, tags, HEAD and the work tree what they were right after an operation, named by its
        id; returns what that was. :meth:`undo` returns from there.

        Raises:
            AnswerIsNo: everything is as that operation left it.
            WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        """
        with self._acting() as (who, now):
            return restore_operation(self._repository, operation, who, now, force=force).operation.command

    def gc(
        self,
        *,
        repack: bool = False,
        best: bool = False,
        undo_days: int | None = UNDO_DAYS,
        all_refs: bool = False,
        dry_run: bool = False,
        trash_days: int = TRASH_DAYS,
        trash: bool = True,
    ) -> Collected:
        """Throw away what nothing needs any more, and join small files of the store; others may go on.

        Operations older than ``undo_days`` leave the operation log (None: none does; 0: all do) and cannot be
        taken back any more. With ``repack`` everything is stored anew: versions that branches and HEAD name
        (``all_refs``: every ref) are read without others, older ones are differences from them; ``best``
        takes the time to make that small. With ``dry_run`` nothing is changed.

        What goes comes into the trash, and leaves that with a collection more than ``trash_days`` later;
        without ``trash``, or with 0 days, it is gone at once.

        Raises:
            Busy: another collection is running.
            DamageError: something that is needed is missing or damaged; nothing was thrown away.
        """
        with self._acting() as (_who, now):
            request = Request(now, undo_days, dry_run, repack, best, all_refs, trash_days, trash)
            return gc(self._repository, request)

    def undo_gc(self, *, dry_run: bool = False) -> Returned:
        """Bring back what the newest collection threw away that was not brought back yet: objects and
        operations. The next collection takes it again, unless something leads to it by then.

        Raises:
            AnswerIsNo: the trash is empty.
            Busy: a collection is running.
        """
        with self._acting():
            return undo_gc(self._repository, dry_run=dry_run)

    def empty_trash(self) -> int:
        """Delete for good what collections threw away; returns the bytes that the disk gets back.

        Raises:
            Busy: a collection is running.
        """
        with self._acting():
            return empty_trash(self._repository)

    def repair(self, copies: Sequence[str | Path] = (), *, dry_run: bool = False) -> Repaired:
        """Bring back what is damaged or missing: from the store itself, from files of the work tree, from
        other ``copies`` of the repository (folders) and from remotes that are folders.

        The result's ``sound`` tells whether everything is whole again, ``lost`` what is not, with the
        versions, files and tensors that it touches. Damaged files stay in ``.mvc/damaged``. With ``dry_run``
        nothing is changed. A repository whose root is lost too is repaired by ``mvc repair``.

        Raises:
            UserError: a copy that was given is none.
            Busy: a collection is running.
        """
        folders = tuple(Path(copy) for copy in copies)
        with self._acting() as (who, now):
            return repair(self._repository, RepairRequest(who, now, folders, dry_run))

    @property
    def branches(self) -> dict[str, str]:
        """Every branch with the id of its version."""
        with self._session.reading() as view:
            return {row.name: row.target.hex() for row in branch_ops.branches(view)}

    def create_branch(self, name: str, revision: str = "HEAD", *, force: bool = False) -> None:
        """Make a branch; HEAD stays where it is.

        Raises:
            ConflictError: there is one of that name, and ``force`` is not set.
        """
        with self._acting() as (who, now):
            branch_ops.create(self._repository, name, revision, who, now, force=force)

    def rename_branch(self, old: str, new: str) -> None:
        """Rename a branch."""
        with self._acting() as (who, now):
            branch_ops.rename(self._repository, old, new, who, now)

    def delete_branch(self, name: str, *, force: bool = False) -> None:
        """Remove a branch.

        Raises:
            ConflictError: it is the current one, or has versions that HEAD does not reach and ``force`` is
                not set.
        """
        with self._acting() as (who, now):
            branch_ops.delete(self._repository, name, who, now, force=force)

    @property
    def tags(self) -> dict[str, str]:
        """Every tag with the id of its version."""
        with self._session.reading() as view:
            return {row.name: row.target.hex() for row in tag_ops.tags(view)}

    def tag(
        self, name: str, revision: str = "HEAD", *, message: str | None = None, force: bool = False
    ) -> None:
        """Name a version; with a message the tag is annotated.

        Raises:
            ConflictError: there is one of that name, and ``force`` is not set.
        """
        with self._acting() as (who, now):
            tag_ops.create(self._repository, name, revision, who, now, message=message, force=force)

    def delete_tag(self, name: str) -> None:
        """Remove a tag."""
        with self._acting() as (who, now):
            tag_ops.delete(self._repository, name, who, now)
