"""Apply what single versions changed to the current branch."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.committing import Request, redacted
from mvc.objects import Person, Timestamp
from mvc.repo import Repository
from mvc.underway.picking import Picked, Picking, pick, pick_on, pick_past
from mvc.underway.taking_back import TakenBack, take_back
from mvc.underway.threeway import Choice

__all__ = ["Choice", "Picked", "Picking", "Request", "abort", "cherry_pick", "go_on", "skip"]


def cherry_pick(
    repository: Repository,
    revisions: Sequence[str],
    picking: Picking,
    request: Request,
    *,
    commit: bool = True,
) -> Picked:
    """Apply what revisions changed, each as a version of its own with its author, message, params and data.

    ``A..B`` names what B reaches and A does not. Everything is one operation. See
    :func:`mvc.underway.picking.pick`.
    """
    return pick(repository, revisions, picking, redacted(request, repository.monitor), commit=commit)


def go_on(repository: Repository, request: Request, choice: Choice | None = None) -> Picked:
    """Conclude the version whose conflicts are resolved, and go on, as :func:`pick_on` says."""
    return pick_on(repository, "cherry-pick", redacted(request, repository.monitor), choice)


def skip(repository: Repository, request: Request) -> Picked:
    """Leave out the version at which it stopped, and go on; see :func:`mvc.underway.picking.pick_past`."""
    return pick_past(repository, "cherry-pick", request)


def abort(repository: Repository, who: Person, now: Timestamp) -> TakenBack:
    """Take everything back; see :func:`mvc.underway.taking_back.take_back`."""
    return take_back(repository, "cherry-pick", who, now)
