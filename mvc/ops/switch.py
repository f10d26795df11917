"""Go to another branch."""

from __future__ import annotations

from mvc.errors import UsageError
from mvc.heading import CheckedOut, Heading, go, orphan
from mvc.objects import Person, Timestamp
from mvc.repo import Repository

__all__ = ["CheckedOut", "switch"]


def switch(
    repository: Repository,
    revision: str,
    who: Person,
    now: Timestamp,
    *,
    create: str | None = None,
    reset: bool = False,
    detach: bool = False,
    force: bool = False,
) -> CheckedOut:
    """Go to a branch; ``-`` is where HEAD was before the last switch.

    ``create`` makes a branch at the revision and goes there; with ``reset`` it may exist, and is moved.
    ``detach`` goes to any revision, on no branch. ``force`` overwrites uncommitted work; ``undo`` brings it
    back.

    Raises:
        UserError: the revision is no branch, and neither ``create`` nor ``detach`` is set.
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        ConflictError: the branch to be made exists, and ``reset`` is not set; a merge is under way.
    """
    if create is not None and detach:
        raise UsageError("a new branch and a detached HEAD do not go together")
    words = ["switch", *(["--discard-changes"] if force else []), *(["--detach"] if detach else [])]
    words += [] if create is None else ["-C" if reset else "-c", create]
    heading = Heading(revision, create, reset, detach, force, branches_only=True)
    words += [] if create is not None and revision == "HEAD" else [revision]
    return go(repository, heading, " ".join(words), who, now)


def switch_orphan(
    repository: Repository, name: str, who: Person, now: Timestamp, *, force: bool = False
) -> CheckedOut:
    """Go to a new branch without any version: tracked files leave the work tree, and the next commit has no
    parent.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        ConflictError: there is such a branch; a merge is under way.
    """
    return orphan(repository, name, f"switch --orphan {name}", who, now, force=force)
