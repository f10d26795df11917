"""A whole collection, step by step, with nobody else collecting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from mvc.collection.census import Census, census
from mvc.collection.index import drop_garbage, merge_index
from mvc.collection.leftovers import remove_derived, remove_strays, sweep_condemned
from mvc.collection.log import expire
from mvc.collection.needs import Garbage, garbage, needed, refuse_damage, uses
from mvc.collection.repacking import repack
from mvc.collection.rewriting import rewrite_packs
from mvc.errors import Busy
from mvc.fileio import storage_errors
from mvc.odb.pack import pack_key
from mvc.repo import Repository
from mvc.upkeep.expire import kept_count
from mvc.upkeep.usage import MOST_GARBAGE, unused, worth_rewriting

_LEAST_GARBAGE = 0.01  # of a pack that is rewritten where everything is stored anew anyway


@contextmanager
def alone(repository: Repository) -> Iterator[None]:
    """Keep other collections out meanwhile.

    Raises:
        Busy: there is one.
    """
    with storage_errors("cannot lock the store for a collection"):
        held = repository.locks.take("gc", exclusive=True, wait=False)
    if held is None:
        raise Busy("another gc is running", hint="wait until it has finished")
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


def collect(repository: Repository, since: int | None, effort: Effort = Effort()) -> Collected:
    """Collect garbage; operations older than ``since`` (microseconds since 1970) leave the log.

    Raises:
        Busy: another collection is running, or others kept changing the repository.
        DamageError: something that is needed is missing or damaged; nothing was thrown away.
        StorageError: the disk is full, or refuses; what was done by then is whole.
    """
    with alone(repository):
        before = census(repository)
        dropped = expire(repository, since)
        found = drop_garbage(repository)
        sweep_condemned(repository)
        if effort.repack:
            repack(repository, best=effort.best, everything=effort.all_refs)
        rewrite_packs(repository, _LEAST_GARBAGE if effort.repack else MOST_GARBAGE)
        merge_index(repository)
        sweep_condemned(repository)
        remove_derived(repository)
        remove_strays(repository)
        with repository.reading() as view:
            sizes = dict(view.backend.list("packs/"))
            waiting = sum(sizes.get(pack_key(name), 0) for name in view.index.dead_packs)
        return Collected(before, census(repository), found, dropped, waiting)


def preview(repository: Repository, since: int | None) -> Collected:
    """What :func:`collect` would find; ``after`` leaves out what it would make and what would be copied.

    Raises:
        DamageError: something that is needed is missing or damaged.
    """
    before = census(repository)
    with repository.reading() as view:
        refuse_damage(view)
        kept, total = kept_count(view.root.oplog, view.backend, since)
        marks = needed(repository, view, since)
        found = garbage(view, marks)
        used = uses(view, marks)
    gone, copied = unused(used), worth_rewriting(used)
    freed = sum(used[name].size for name in gone) + sum(used[name].garbage_bytes for name in copied)
    after = Census(
        before.records - found.records, before.packs - len(gone), before.segments, before.bytes - freed
    )
    return Collected(before, after, found, total - kept, 0)
