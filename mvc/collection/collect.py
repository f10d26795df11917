"""A whole collection, step by step, with nobody else collecting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from mvc.collection.census import Census, census
from mvc.collection.discarding import Discarding
from mvc.collection.index import drop_garbage, merge_index
from mvc.collection.leftovers import remove_derived, remove_strays, sweep_condemned
from mvc.collection.log import expire
from mvc.collection.needs import Garbage
from mvc.collection.repacking import repack
from mvc.collection.rewriting import rewrite_packs
from mvc.collection.trash import Trash
from mvc.errors import Busy
from mvc.fileio import storage_errors
from mvc.odb.pack import pack_key
from mvc.remotes.kept import remove_kept
from mvc.store import FolderStore
from mvc.upkeep.usage import MOST_GARBAGE

_LEAST_GARBAGE = 0.01  # of a pack that is rewritten where everything is stored anew anyway


@contextmanager
def alone(repository: FolderStore) -> Iterator[None]:
    """Keep other collections out meanwhile.

    Raises:
        Busy: there is one.
    """
    with storage_errors("cannot lock the store for a collection"):
        held = repository.locks.take("gc", exclusive=True, wait=False)
    if held is None:
        raise Busy("another gc, repair or purge is running", hint="wait until it has finished")
    try:
        with storage_errors("cannot see who uses the store"):
            repository.locks.settle()
        yield
    finally:
        held.release()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did. ``waiting_bytes`` of packs are condemned and stay until those who may be reading
    them have finished; the next command that writes deletes them."""

    before: Census
    after: Census
    garbage: Garbage
    expired_operations: int
    waiting_bytes: int


class Effort(NamedTuple):
    """What a collection does beyond: ``repack`` stores objects anew so that what branches and HEAD name (with
    ``all_refs`` every ref) stands alone, ``best`` takes all the time that it needs for it."""

    repack: bool = False
    best: bool = False
    all_refs: bool = False


class Keeping(NamedTuple):
    """What becomes of what goes: at ``time`` (microseconds since 1970) it comes into the trash if ``trash``
    says so, and what lies there since before ``oldest`` goes for good, as does what is left of transfers that
    were cut before that."""

    time: int
    oldest: int
    trash: bool = True


def collect(
    repository: FolderStore, since: int | None, effort: Effort = Effort(), keeping: Keeping | None = None
) -> Collected:
    """Collect garbage; operations older than ``since`` (microseconds since 1970) leave the log.

    Without ``keeping`` what goes is gone, and the trash stays as it is.

    Raises:
        Busy: another collection is running, or others kept changing the repository.
        DamageError: something that is needed is missing or damaged; nothing was thrown away.
        StorageError: the disk is full, or refuses; what was done by then is whole.
    """
    with alone(repository):
        before = census(repository)
        discarding = None if keeping is None else _trash(repository, keeping)
        dropped = expire(repository, since, discarding)
        found = drop_garbage(repository, discarding)
        if discarding is not None:
            discarding.finish()
        sweep_condemned(repository)
        if effort.repack:
            repack(repository, best=effort.best, everything=effort.all_refs)
        rewrite_packs(repository, _LEAST_GARBAGE if effort.repack else MOST_GARBAGE)
        merge_index(repository)
        sweep_condemned(repository)
        remove_derived(repository)
        remove_strays(repository)
        if keeping is not None:  # in nanoseconds, as files have it
            remove_kept(repository.io, repository.store, repository.locks, keeping.oldest * 1000)
        with repository.reading() as view:
            sizes = dict(view.backend.list("packs/"))
            waiting = sum(sizes.get(pack_key(name), 0) for name in view.index.dead_packs)
        return Collected(before, census(repository), found, dropped, waiting)


def _trash(repository: FolderStore, keeping: Keeping) -> Discarding | None:
    """Where to put what goes, after what has lain there long enough was deleted."""
    trash = Trash(repository.io, repository.store)
    trash.sweep()
    trash.empty(
        [entry for entry in trash.entries() if entry.time is not None and entry.time < keeping.oldest]
    )
    return Discarding(repository, keeping.time) if keeping.trash else None
