"""HEAD and the work tree to another version: what ``checkout`` and ``switch`` share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mvc.errors import ConflictError, RefMoved, RevisionNotFound, UserError
from mvc.history.refnames import check_ref_name
from mvc.history.revisions import resolve, resolve_commit
from mvc.objectid import CommitId, OperationId
from mvc.objects import Person, Timestamp
from mvc.oplog import Operation
from mvc.refs import BRANCHES, encode_target
from mvc.repo import Repository
from mvc.sharing.following import follow, only_tracked
from mvc.sharing.settings import REMOTES
from mvc.switch import switch
from mvc.transaction import Update, begin, expect
from mvc.underway.pending import refuse_pending
from mvc.view import View
from mvc.workspace import files_of, locked

PREVIOUS = "-"
"""The revision that HEAD was at before the last switch, as in Git."""


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """What a checkout did; ``branch`` is None when HEAD is now detached."""

    commit: CommitId | None
    branch: str | None
    written: int
    removed: int


@dataclass(frozen=True, slots=True)
class Heading:
    """Where to go.

    ``revision`` may be ``-``, or the name of a branch that only a remote has. ``new_branch`` is made there
    and becomes the current one; with ``reset`` it may exist, and is moved. ``detach`` stays on no branch;
    ``branches_only`` refuses what is none. ``force`` overwrites uncommitted work.
    """

    revision: str
    new_branch: str | None = None
    reset: bool = False
    detach: bool = False
    force: bool = False
    branches_only: bool = False


def go(repository: Repository, heading: Heading, command: str, who: Person, now: Timestamp) -> CheckedOut:
    """Bring the work tree and HEAD to a version; to a branch when the revision is one's name.

    Files that neither version tracks are left alone, and so is uncommitted work in files that are equal in
    both.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        ConflictError: the new branch exists, and ``reset`` is not set; a merge is under way.
        RefMoved: the branch or HEAD was moved by another command meanwhile.
    """
    new_branch, force = heading.new_branch, heading.force
    if new_branch is not None:
        check_ref_name(new_branch)
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:
        view = tx.view
        refuse_pending(view, "HEAD cannot move")
        if new_branch is not None and heading.revision == "HEAD" and view.head_commit() is None:
            tx.publish(lambda now_view: _unborn(now_view, new_branch))
            return CheckedOut(None, new_branch, 0, 0)
        heading, tracked = _following(view, heading)
        made = heading.new_branch
        target, ref = _target(view, heading)

        def build(now_view: View) -> Update:
            refuse_pending(now_view, "HEAD cannot move")
            if made is not None:
                if not heading.reset:
                    _refuse_taken(now_view, made)
                name = BRANCHES + made
                return Update(refs={name: encode_target(target)}, head=name)
            if ref is not None:
                expect(now_view, ref, target)
            return Update(head=ref or target)

        done = switch(workspace, tx, files_of(view, target), build, force=force, everything=force)
        if made is not None and tracked is not None:
            follow(repository, made, tracked)
        branch = made or (None if ref is None else ref.removeprefix(BRANCHES))
        return CheckedOut(target, branch, *done)


def orphan(
    repository: Repository, name: str, command: str, who: Person, now: Timestamp, *, force: bool
) -> CheckedOut:
    """Make a branch without any version the current one; files that HEAD's version has leave the work tree.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        ConflictError: the branch exists; a merge is under way.
    """
    check_ref_name(name)
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:

        def build(view: View) -> Update:
            refuse_pending(view, "HEAD cannot move")
            _refuse_taken(view, name)
            return Update(head=BRANCHES + name)

        done = switch(workspace, tx, {}, build, force=force, everything=force)
        return CheckedOut(None, name, *done)


def previous_head(view: View) -> str | CommitId:
    """The branch (its full name) or the version that HEAD was at before the last switch, as Git's ``@{-1}``.

    Raises:
        RevisionNotFound: HEAD was never switched.
    """
    undone: set[OperationId] = set()
    for operation in view.operations():
        if operation.undoes is not None:
            if operation.id not in undone:
                undone.add(operation.undoes)
            continue
        if operation.id in undone:
            continue
        before = _switched_from(operation)
        if before is not None:
            return before
    raise RevisionNotFound("there is no earlier branch to go back to", hint="'mvc branch' lists them")


def _switched_from(operation: Operation) -> str | CommitId | None:
    """Where HEAD was before an operation that switched it; None for one that did not, such as a commit on a
    detached HEAD."""
    change = next((change for change in operation.changes if change.name == "HEAD"), None)
    if change is None or change.before is None:
        return None
    if isinstance(change.before, str):
        return change.before
    switched = operation.command.split(" ", 1)[0] in ("checkout", "switch")
    return CommitId(change.before) if switched or isinstance(change.after, str) else None


def _following(view: View, heading: Heading) -> tuple[Heading, str | None]:
    """Where to go, and the ref that a branch made there is to follow. As in Git, the name of a branch that
    only one remote has stands for a new branch that follows it."""
    if heading.new_branch is not None:
        ref = None if heading.revision == PREVIOUS else resolve(heading.revision, view.objects, view).ref
        return heading, ref if ref is not None and ref.startswith(REMOTES) else None
    if heading.detach or heading.revision == PREVIOUS:
        return heading, None
    try:
        resolve(heading.revision, view.objects, view)
    except RevisionNotFound:
        tracked = only_tracked(view, heading.revision)
        if tracked is not None:
            return replace(heading, revision=tracked, new_branch=heading.revision), tracked
    return heading, None


def _target(view: View, heading: Heading) -> tuple[CommitId, str | None]:
    """The version, and the branch that becomes the current one, if any."""
    revision = heading.revision
    if revision == PREVIOUS:
        before = previous_head(view)
        revision = before if isinstance(before, str) else before.hex()
    target = resolve_commit(revision, view.objects, view)
    ref = None if heading.detach or heading.new_branch is not None else _branch_of(view, revision)
    bare = not heading.detach and heading.new_branch is None
    if heading.branches_only and ref is None and bare and heading.revision != PREVIOUS:
        raise UserError(
            f"{heading.revision} is no branch",
            hint=f"mvc switch --detach {heading.revision} goes there without one",
        )
    return target, ref


def _unborn(view: View, new_branch: str) -> Update:
    """HEAD to a branch without commits, in a repository without any."""
    if view.head_commit() is not None:
        raise RefMoved("HEAD was moved by another command", hint="run this one again")
    _refuse_taken(view, new_branch)
    return Update(head=BRANCHES + new_branch)


def _refuse_taken(view: View, new_branch: str) -> None:
    if view.refs.value(BRANCHES + new_branch) is not None:
        raise ConflictError(
            f"a branch called {new_branch!r} exists", hint=f"check out {new_branch}, or choose another name"
        )


def _branch_of(view: View, revision: str) -> str | None:
    ref = resolve(revision, view.objects, view).ref
    if ref is not None and ref.startswith(BRANCHES):
        return ref
    return view.head if revision in ("HEAD", "@") and isinstance(view.head, str) else None
