"""Throw away what nothing needs, keep the store's files few, and bring back what was thrown away."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.collection.bucket import Moment, collect_bucket, foresee
from mvc.collection.collect import Collected, Effort, Keeping, alone, collect
from mvc.collection.disk import room
from mvc.collection.foresight import preview
from mvc.collection.returning import Returned, bring_back, foreseen, newest
from mvc.collection.trash import Trash
from mvc.errors import AnswerIsNo
from mvc.objects import Timestamp
from mvc.repo import Repository
from mvc.store import FolderStore, Store

__all__ = [
    "GRACE_HOURS",
    "TRASH_DAYS",
    "UNDO_DAYS",
    "Collected",
    "Request",
    "Returned",
    "empty_trash",
    "gc",
    "gc_store",
    "trash_bytes",
    "undo_gc",
]

UNDO_DAYS = 90
"""Days for which what was undone stays, where the settings do not say."""

TRASH_DAYS = 7
"""Days for which what was thrown away lies in the trash, where the settings do not say."""

GRACE_HOURS = 24
"""Hours that readers of a bucket have before what was condemned is deleted, where the settings do not say."""

_DAY = 86_400_000_000
_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """What to do. Operations older than ``undo_days`` before ``time`` leave the log (None: none does), and
    what only they needed goes. With ``dry_run`` nothing is changed.

    ``repack`` stores everything anew so that what branches and HEAD name (``all_refs``: every ref) stands
    alone and older versions lean on it; ``best``, which includes it, takes all the time that it needs.

    What goes comes into the trash, and leaves that with a collection more than ``trash_days`` later. Without
    ``trash``, or with 0 days, it is gone at once. A store that others share has no trash; in a bucket, where
    nobody can be asked who reads, what goes is deleted by a collection ``grace_hours`` later.
    """

    time: Timestamp
    undo_days: int | None = UNDO_DAYS
    dry_run: bool = False
    repack: bool = False
    best: bool = False
    all_refs: bool = False
    trash_days: int = TRASH_DAYS
    trash: bool = True
    grace_hours: int = GRACE_HOURS

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
    now = request.time.microseconds
    keeping = Keeping(now, now - request.trash_days * _DAY, request.trash and request.trash_days > 0)
    return collect(repository, request.since, effort, keeping)


def gc_store(store: Store, request: Request) -> Collected:
    """Collect the garbage of a store that others share: what no ref and no kept operation of it leads to.

    In a folder commands that use it meanwhile are waited for as in a repository. In a bucket what goes is
    condemned, and what was condemned ``request.grace_hours`` before is deleted.

    Raises:
        Busy: another collection is running or was faster, or others kept changing the store.
        DamageError: something that is needed is missing or damaged; nothing was thrown away.
        StorageError: the store cannot be reached, or refuses; everything that is needed is there.
    """
    if isinstance(store, Repository):
        return gc(store, request)
    if request.dry_run:
        return foresee(store, request.since)
    effort = Effort(request.repack or request.best, request.best, request.all_refs)
    if isinstance(store, FolderStore):
        return collect(store, request.since, effort)
    moment = Moment(request.time.microseconds, request.grace_hours * _HOUR)
    return collect_bucket(store, request.since, effort, moment)


def undo_gc(repository: Repository, *, dry_run: bool = False) -> Returned:
    """Bring back what the newest collection threw away that was not brought back yet; with ``dry_run`` only
    tell how much that is.

    The next collection takes it away again, unless something leads to it by then.

    Raises:
        AnswerIsNo: the trash is empty.
        Busy: a collection is running, or others kept changing the repository.
        StorageError: the disk is full, or refuses; nothing changed.
    """
    with alone(repository):
        entry = newest(repository)
        if entry is None:
            hint = "'mvc oplog' lists what 'mvc undo' takes back"
            raise AnswerIsNo("there is nothing in the trash", hint=hint)
        return foreseen(repository, entry) if dry_run else bring_back(repository, entry)


def empty_trash(repository: Repository) -> int:
    """Delete all that lies in the trash for good; returns the bytes that the disk gets back.

    Raises:
        Busy: a collection is running.
        StorageError: the disk refuses; what is left can be deleted again.
    """
    with alone(repository):
        before = trash_bytes(repository)
        Trash(repository.io, repository.store).empty()
        return before - trash_bytes(repository)


def trash_bytes(repository: Repository) -> int:
    """What the disk has allocated for the trash."""
    return room(repository.io, repository.store).trash
