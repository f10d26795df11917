"""Apply what single versions changed (``cherry-pick``), or take it back (``revert``)."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.committing import Request, redacted
from mvc.objects import Person, Timestamp
from mvc.repo import Repository
from mvc.underway import picking as under_way
from mvc.underway.picking import Picked, Picking, PickKind
from mvc.underway.taking_back import TakenBack, take_back
from mvc.underway.threeway import Choice

__all__ = ["Choice", "PickKind", "Picked", "Picking", "Request", "abort", "go_on", "pick", "skip"]


def pick(
    repository: Repository,
    revisions: Sequence[str],
    picking: Picking,
    request: Request,
    *,
    commit: bool = True,
) -> Picked:
    """Apply what revisions changed, or take it back, each as a version of its own.

    ``A..B`` names what B reaches and A does not. Everything is one operation. See
    :func:`mvc.underway.picking.pick`.
    """
    clean = redacted(request, repository.monitor)
    return under_way.pick(repository, revisions, picking, clean, commit=commit)


def go_on(repository: Repository, kind: PickKind, request: Request, choice: Choice | None = None) -> Picked:
    """Conclude the version whose conflicts are resolved, and go on; see
    :func:`mvc.underway.picking.pick_on`."""
    return under_way.pick_on(repository, kind, redacted(request, repository.monitor), choice)


def skip(repository: Repository, kind: PickKind, request: Request) -> Picked:
    """Leave out the version at which it stopped, and go on; see :func:`mvc.underway.picking.pick_past`."""
    return under_way.pick_past(repository, kind, request)


def abort(repository: Repository, kind: PickKind, who: Person, now: Timestamp) -> TakenBack:
    """Take everything back; see :func:`mvc.underway.taking_back.take_back`."""
    return take_back(repository, kind, who, now)
