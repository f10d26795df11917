"""Move the current branch to another version, with or without the work tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mvc.errors import ConflictError, DamageError
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp, TreeEntry
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Update, begin
from mvc.underway.pending import PENDING, how_on, read_pending, tracked_files
from mvc.view import View
from mvc.workspace import files_of, locked

Mode = Literal["soft", "mixed", "hard"]


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset did: where HEAD is now, on which branch (None when it is detached), and how many files
    were written and removed."""

    commit: CommitId
    branch: str | None
    written: int
    removed: int


def reset(
    repository: Repository, revision: str, who: Person, now: Timestamp, *, mode: Mode = "mixed"
) -> Reset:
    """Point the current branch, or a detached HEAD, to a revision.

    ``soft`` and ``mixed`` leave the work tree alone; without a staging area they are the same, but that
    ``mixed`` ends a merge that is under way, as in Git, and ``soft`` refuses then. ``hard`` makes tracked
    files what they are in the revision; uncommitted work in them is stored first, so that ``undo`` brings
    it back. Files that nothing tracks stay.

    Raises:
        RevisionNotFound: there is no such revision.
        ConflictError: a merge is under way, and ``mode`` is ``soft``.
        RefMoved: HEAD was moved by another command meanwhile.
    """
    words = ["reset", *([] if mode == "mixed" else [f"--{mode}"]), revision]
    command = " ".join(words)
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:
        view = tx.view
        target = resolve_commit(revision, view.objects, view)

        def build(now_view: View) -> Update:
            if mode == "soft":
                _refuse(now_view)
            refs: dict[str, bytes | None] = {}
            if now_view.refs.value(PENDING) is not None:
                refs[PENDING] = None
            if isinstance(now_view.head, str):
                return Update(refs={**refs, now_view.head: encode_target(target)})
            return Update(refs=refs, head=target)

        if mode != "hard":
            tx.publish(build)
            return Reset(target, view.branch(), 0, 0)
        done = switch(
            workspace,
            tx,
            files_of(view, target),
            build,
            force=True,
            everything=True,
            version=_tracked(view),
        )
        return Reset(target, view.branch(), *done)


def _refuse(view: View) -> None:
    pending = read_pending(view)
    if pending is not None:
        raise ConflictError(f"no soft reset: a {pending.kind} is under way", hint=how_on(pending))


def _tracked(view: View) -> dict[str, TreeEntry]:
    """What the work tree was made from."""
    try:
        return tracked_files(view, read_pending(view))
    except DamageError as error:
        # a hard reset is how one gets out of that
        view.objects.note_damage(error.message)
        return files_of(view, view.head_commit())
