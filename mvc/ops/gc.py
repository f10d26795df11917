"""Throw away what nothing needs, and keep the store's files few."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.collection.collect import Collected, Effort, collect, preview
from mvc.objects import Timestamp
from mvc.repo import Repository

__all__ = ["UNDO_DAYS", "Collected", "Request", "gc"]

UNDO_DAYS = 30
"""Days for which what was undone stays, where the settings do not say."""

_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """What to do. Operations older than ``undo_days`` before ``time`` leave the log (None: none does), and
    what only they needed goes. With ``dry_run`` nothing is changed.

    ``repack`` stores everything anew so that what branches and HEAD name (``all_refs``: every ref) stands
    alone and older versions lean on it; ``best``, which includes it, takes all the time that it needs.
    """

    time: Timestamp
    undo_days: int | None = UNDO_DAYS
    dry_run: bool = False
    repack: bool = False
    best: bool = False
    all_refs: bool = False

    @property
    def since(self) -> int | None:
        """The oldest moment whose operations stay, in microseconds since 1970; with 0 days all go."""
        if self.undo_days is None:
            return None
        return self.time.microseconds - self.undo_days * _DAY + (self.undo_days == 0)


def gc(repository: Repository, request: Request) -> Collected:
    """Collect garbage: what no ref, HEAD, kept operation or file of the work tree leads to.

    Raises:
        Busy: another collection is running, or others kept changing the repository.
        DamageError: something that is needed is missing or damaged; nothing was thrown away.
        StorageError: the disk is full, or refuses; everything that is needed is there.
    """
    if request.dry_run:
        return preview(repository, request.since)
    effort = Effort(request.repack or request.best, request.best, request.all_refs)
    return collect(repository, request.since, effort)
