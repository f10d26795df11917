"""Make the work tree a version's, whole or by path."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.errors import RevisionNotFound
from mvc.heading import CheckedOut, Heading, go
from mvc.history.revisions import resolve_commit
from mvc.objects import Person, Timestamp
from mvc.paths import is_below
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Update, begin
from mvc.workspace import files_of, locked

__all__ = ["CheckedOut", "checkout", "checkout_paths"]


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

    ``-`` is where HEAD was before the last switch. Files that neither version tracks are left alone, and so
    is uncommitted work in files that are equal in both.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        ConflictError: ``new_branch`` exists, and ``force`` is not set; a merge is under way.
        RefMoved: the branch or HEAD was moved by another command meanwhile.
    """
    heading = Heading(revision, new_branch, reset=force, detach=detach, force=force)
    return go(repository, heading, _command(revision, new_branch, force=force), who, now)


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
        workspace.take(paths)
        done = switch(
            workspace,
            tx,
            wanted,
            lambda _view: Update(),
            force=force,
            everything=False,
            partial=True,
            asked=paths,
        )
        return CheckedOut(target, view.branch(), *done)


def _command(revision: str, new_branch: str | None, *, force: bool) -> str:
    """What the operation log calls it, as it was typed."""
    words = ["checkout", *(["--force"] if force else []), *([f"-b {new_branch}"] if new_branch else [])]
    return " ".join([*words, revision])
