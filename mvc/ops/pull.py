"""Bring what a remote has into this repository, and into the current branch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mvc.committing import Request
from mvc.config import Config
from mvc.errors import RevisionNotFound, UserError
from mvc.history.names import offer
from mvc.refs import BRANCHES, peeled_target
from mvc.repo import Repository
from mvc.sharing.fetching import Fetched, FetchRequest, fetch
from mvc.sharing.settings import ORIGIN, Remote, find_remote, upstream
from mvc.underway.merging import MergeRequest, MergeResult, Naming, merge
from mvc.underway.pending import refuse_pending
from mvc.underway.threeway import Choice

__all__ = ["Choice", "PullRequest", "Pulled", "Request", "pull"]


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to pull, and how.

    Without ``remote`` and ``branch`` what the current branch follows, else the branch of the same name of
    ``origin``. ``commit``, ``choice``, ``fast_forward`` and ``unrelated`` are those of a merge, ``fetch``
    says what else is fetched.
    """

    commit: Request
    remote: str | None = None
    branch: str | None = None
    choice: Choice = field(default_factory=Choice)
    fast_forward: Literal["yes", "only", "no"] = "yes"
    unrelated: bool = False
    fetch: FetchRequest = field(default_factory=FetchRequest)


class Pulled(NamedTuple):
    """What a pull fetched, and what it merged."""

    fetched: Fetched
    merged: MergeResult


def pull(
    repository: Repository, request: PullRequest, heard: Callable[[Fetched], None] = lambda _came: None
) -> Pulled:
    """Fetch, then merge the remote's branch into the current one: two operations, each of which can be
    undone. ``heard`` is told what came, before anything is merged.

    Raises:
        UserError: nothing says what to pull.
        RevisionNotFound: the remote has no such branch.
        AnswerIsNo: only a fast-forward is allowed, and there is none.
        WouldOverwrite: uncommitted work is in files that the merge touches; branch and files stay.
        ConflictError: something is under way.
        StorageError: the remote cannot be reached, or refuses.
    """
    who, now = request.commit.author, request.commit.time
    with repository.reading() as view:
        refuse_pending(view, "nothing can be pulled")
        remote, theirs = _source(repository.config(), view.branch(), request)
    fetched = fetch(repository, remote, _fetching(remote, theirs, request), who, now)
    heard(fetched)
    name = fetched.branch if theirs is None else theirs
    value = fetched.found.get(f"{BRANCHES}{name}")
    target = None if value is None else peeled_target(value)
    if target is None:
        known = [found.removeprefix(BRANCHES) for found in fetched.found]
        raise RevisionNotFound(
            f"{remote.shown} has no branch {name!r}",
            hint=offer(str(name), known) or "mvc push makes it there",
        )
    shown = f"{remote.name}/{name}" if remote.name else str(name)
    naming = Naming(shown, f"branch '{name}' of {remote.shown}", f"pull {remote.shown} {name}")
    merging = MergeRequest(
        target.hex(),
        request.commit,
        request.choice,
        request.fast_forward,
        unrelated=request.unrelated,
        naming=naming,
    )
    return Pulled(fetched, merge(repository, merging))


def _source(config: Config, branch: str | None, request: PullRequest) -> tuple[Remote, str | None]:
    """The remote and its branch; None for the one that a clone would begin with."""
    follows = None if branch is None else upstream(config, branch)
    if request.remote is None:
        if follows is None and branch is None:
            raise UserError("HEAD is detached, so it follows nothing", hint="mvc pull REMOTE BRANCH")
        remote = find_remote(config, ORIGIN if follows is None else follows.remote)
        return remote, branch if follows is None else follows.branch
    remote = find_remote(config, request.remote)
    if request.branch is not None:
        return remote, request.branch.removeprefix(BRANCHES)
    if follows is not None and follows.remote == remote.name:
        return remote, follows.branch
    return remote, branch if remote.name is not None else None


def _fetching(remote: Remote, theirs: str | None, request: PullRequest) -> FetchRequest:
    """All branches of a remote that is followed; of an address just the one."""
    if remote.name is not None:
        return request.fetch
    return FetchRequest((f"{BRANCHES}{theirs}" if theirs else "HEAD",), tags=request.fetch.tags)
