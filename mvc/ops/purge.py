"""Take versions, files and tensors out of the repository for good."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from mvc.collection.bucket import Moment
from mvc.collection.collect import alone
from mvc.collection.swapping import swap
from mvc.errors import AmbiguousRevision, RevisionNotFound, UserError
from mvc.objectid import ObjectId
from mvc.objects import Person, Timestamp
from mvc.oplog import FINAL, Operation
from mvc.purging.ending import WAIT_SECONDS, Ended, end, end_shared
from mvc.purging.publish import Planned, Request, plan, publish, refuse_unfinished
from mvc.repo import Repository
from mvc.root import Root
from mvc.store import FolderStore, Store
from mvc.tombstones import Purge
from mvc.view import View
from mvc.workspace import locked
from mvc.worktree.index import IndexEntry, StatCache, StatKey

__all__ = [
    "WAIT_SECONDS",
    "Ended",
    "Planned",
    "Preview",
    "Purged",
    "Request",
    "finish",
    "finish_store",
    "forgive",
    "preview",
    "preview_store",
    "purge",
    "purge_store",
    "purges",
]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a purge would take. ``lying`` are files of the work tree that a commit would refuse from then on;
    ``remotes`` are configured ones, which keep what they have."""

    planned: Planned
    lying: tuple[str, ...]
    remotes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did. ``planned`` is None where nothing was left to take: then it only ended an earlier
    one."""

    planned: Planned | None
    ended: Ended
    lying: tuple[str, ...] = ()
    remotes: tuple[str, ...] = ()


def preview(repository: Repository, request: Request) -> Preview:
    """What :func:`purge` would do; nothing is changed.

    Raises:
        RevisionNotFound: nothing is called as one of the targets.
        UserError: the targets do not go with what is asked for.
    """
    with repository.reading() as view:
        refuse_unfinished(view)
        planned = plan(repository, view, request)
    return Preview(planned, _lying(repository, planned), remotes_of(repository))


def purge(repository: Repository, request: Request, *, wait: float = WAIT_SECONDS) -> Purged:
    """Take the targets (``REV``, ``REV:PATH``, ``PATH``, each perhaps with ``#TENSOR``) out of the
    repository.

    What nothing else has of them goes: from the index in one swap of root, which also leaves the tombstones
    that refuse their return, then from the disk. Versions that had it keep their ids and go on naming it,
    unless ``request.rewrite`` makes them anew without it. Operations that name what goes leave the log.
    Commands that may be reading it are waited for, ``wait`` seconds at most; :func:`finish` goes on.

    Raises:
        RevisionNotFound: nothing is called as one of the targets.
        UserError: all of it is in something that stays.
        ConflictError: a merge or a bisection is under way; another collection is running.
        DamageError: something that stays is missing or damaged; nothing changed.
        StorageError: the disk is full, or refuses; before the swap nothing changed, after it :func:`finish`
        goes on.
    """
    with locked(repository, exclusive=True) as workspace, alone(repository):
        planned = publish(repository, request)
        lying = () if planned is None else _lying(repository, planned)
        return Purged(planned, end(repository, workspace, wait), lying, remotes_of(repository))


def purge_store(store: Store, request: Request, grace: int = 0, *, wait: float = WAIT_SECONDS) -> Purged:
    """The same in a store that others share. ``grace`` (microseconds) is how long readers of a bucket are
    spared before the bytes are deleted; until then they lie there, and the proof finds them.

    Raises:
        The same.
    """
    with _alone(store):
        planned = publish(store, request)
        return Purged(planned, end_shared(store, Moment(request.time.microseconds, grace), wait))


def preview_store(store: Store, request: Request) -> Preview:
    """What :func:`purge_store` would do; nothing is changed.

    Raises:
        The same as :func:`preview`.
    """
    with store.reading() as view:
        refuse_unfinished(view)
        return Preview(plan(store, view, request), (), ())


def finish_store(store: Store, now: Timestamp, grace: int = 0, *, wait: float = WAIT_SECONDS) -> Ended:
    """Go on with a purge of a store that others share.

    Raises:
        The same as :func:`finish`.
    """
    with _alone(store):
        return end_shared(store, Moment(now.microseconds, grace), wait)


def _alone(store: Store) -> AbstractContextManager[None]:
    """Keep other collections out, where that can be; in a bucket they do no harm."""
    if isinstance(store, Repository):
        raise UserError(
            "the remote is a repository with a work tree, which may have what is purged",
            hint="run mvc purge in its folder",
        )
    return alone(store) if isinstance(store, FolderStore) else nullcontext()


def finish(repository: Repository, *, wait: float = WAIT_SECONDS) -> Ended:
    """Go on where a purge was killed, or could not delete what somebody was reading; and look for what is
    left.

    Raises:
        ConflictError: another collection is running.
        StorageError: the disk is full, or refuses.
    """
    with locked(repository, exclusive=True) as workspace, alone(repository):
        return end(repository, workspace, wait)


def purges(view: View) -> tuple[Purge, ...]:
    """All purges, oldest first."""
    return view.tombstones.purges


def forgive(store: Store, text: str, who: Person, now: Timestamp) -> Purge:
    """Let what a purge took be stored again; ``text`` begins as the purge's name, or as the id of an object
    that it took.

    Raises:
        RevisionNotFound: there is no such purge.
        AmbiguousRevision: there are several.
        UserError: it was lifted before.
    """
    found: Purge | None = None

    def change(view: View) -> Root:
        nonlocal found
        found = _find(view, text)
        root = view.root
        command = f"purge --forgive {found.name[:8]}"
        operation = Operation(root.oplog.head, command, who, now, (), os.urandom(16), extra={FINAL: True})
        log = root.oplog.append(operation, view.backend)
        return root.with_changes(tombstones=view.tombstones.lifting(found.name), oplog=log)

    swap(store, change)
    assert found is not None
    return replace(found, lifted=True)


def _find(view: View, text: str) -> Purge:
    wanted = text.lower()
    found = {
        purge.name: purge for purge in view.tombstones.purges if wanted and purge.name.startswith(wanted)
    }
    if not found and len(wanted) >= 8:
        found = {p.name: p for one, p in view.tombstones.ids().items() if one.hex().startswith(wanted)}
    if not found:
        raise RevisionNotFound(f"no purge is called {text!r}", hint="'mvc purge --list' lists them")
    if len(found) > 1:
        raise AmbiguousRevision(f"{text!r} fits {len(found)} purges", hint="give more of the name")
    purge = next(iter(found.values()))
    if purge.lifted:
        raise UserError(f"purge {purge.name[:8]} was lifted before")
    return purge


def _lying(repository: Repository, planned: Planned) -> tuple[str, ...]:
    """Files of the work tree that have, or may have, what goes."""
    cache = StatCache.load(repository.io, repository.store / "index")
    known = {path for path, item in cache.entries.items() if item.manifest in planned.survey.gone}
    gone = {item.path for item in planned.survey.files}
    return tuple(
        path
        for path in sorted({*known, *gone})
        if _may_have(repository, path, cache.entries.get(path), planned.survey.gone)
    )


def _may_have(
    repository: Repository, path: str, known: IndexEntry | None, gone: Collection[ObjectId]
) -> bool:
    """Whether a file is there, and not known to be one that stays."""
    try:
        key = StatKey.of(repository.io.stat(repository.worktree / path))
    except OSError:
        return False
    return known is None or known.key != key or known.manifest in gone


def remotes_of(repository: Repository) -> tuple[str, ...]:
    """Names of the remotes that the settings know."""
    return tuple(sorted(repository.config().section("remote")))
