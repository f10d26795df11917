"""Make the work tree a version's, whole or by path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvc.errors import ConflictError, RefMoved, RevisionNotFound
from mvc.history.revisions import check_ref_name, resolve, resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.paths import is_below
from mvc.refs import BRANCHES, encode_target
from mvc.repo import Repository, View
from mvc.switch import switch
from mvc.transaction import Update, begin, expect
from mvc.workspace import files_of, locked


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """What a checkout did; ``branch`` is None when HEAD is now detached."""

    commit: CommitId | None
    branch: str | None
    written: int
    removed: int


def checkout(
    repository: Repository,
    revision: str,
    who: Person,
    now: Timestamp,
    *,
    new_branch: str | None = None,
    detach: bool = False,
    force: bool = False,
) -> CheckedOut:
    """Switch the work tree and HEAD to a revision; to a branch when the revision is one's name.

    Files that neither version tracks are left alone, and so is uncommitted work in files that are equal in
    both.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        ConflictError: ``new_branch`` exists, and ``force`` is not set.
        RefMoved: the branch or HEAD was moved by another command meanwhile.
    """
    if new_branch is not None:
        check_ref_name(new_branch)
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, _command(revision, new_branch, force=force), who, now) as tx,
    ):
        view = tx.view
        if new_branch is not None and revision == "HEAD" and view.head_commit() is None:
            tx.publish(lambda now_view: _unborn(now_view, new_branch))
            return CheckedOut(None, new_branch, 0, 0)
        target = resolve_commit(revision, view.objects, view)
        ref = None if detach else _branch_of(view, revision)

        def build(now_view: View) -> Update:
            if new_branch is not None:
                if not force:
                    _refuse_taken(now_view, new_branch)
                name = BRANCHES + new_branch
                return Update(refs={name: encode_target(target)}, head=name)
            if ref is not None:
                expect(now_view, ref, target)
            return Update(head=ref or target)

        done = switch(workspace, tx, files_of(view, target), build, force=force, everything=force)
        branch = new_branch or (None if ref is None else ref.removeprefix(BRANCHES))
        return CheckedOut(target, branch, *done)


def checkout_paths(
    repository: Repository,
    revision: str,
    paths: Sequence[str],
    who: Person,
    now: Timestamp,
    *,
    force: bool = False,
) -> CheckedOut:
    """Bring single files or folders back from a revision; HEAD stays where it is.

    Raises:
        RevisionNotFound: the revision has no such file.
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
    """
    command = f"checkout {revision} {' '.join(paths)}"
    with locked(repository, exclusive=True) as workspace, begin(repository, command, who, now) as tx:
        view = tx.view
        target = resolve_commit(revision, view.objects, view)
        files = files_of(view, target)
        wanted = {path: entry for path, entry in files.items() if any(is_below(path, name) for name in paths)}
        for name in paths:
            if not any(is_below(path, name) for path in wanted):
                raise RevisionNotFound(
                    f"{revision} has no file {name!r}", hint=f"mvc ls {revision} lists them"
                )
        done = switch(
            workspace, tx, wanted, lambda _view: Update(), force=force, everything=False, partial=True
        )
        return CheckedOut(target, view.branch(), *done)


def _command(revision: str, new_branch: str | None, *, force: bool) -> str:
    """What the operation log calls it, as it was typed."""
    words = ["checkout", *(["--force"] if force else []), *([f"-b {new_branch}"] if new_branch else [])]
    return " ".join([*words, revision])


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
