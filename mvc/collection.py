"""Collects garbage, by the protocol of intents, fossils and epoch (docs/format.md).

Everything goes in small steps, each one swap of root after which the repository is whole:

1. operations that are too old leave the log;
2. the index forgets all that nothing reaches, at once, so that who finds an object in it finds all that
   the object refers to; packs that hold nothing else are condemned;
3. packs with much garbage, and small ones, are copied into new ones, a few at a time;
4. the index becomes one run again, and what is condemned is deleted as soon as nobody can be reading it.

Killed anywhere, it leaves an older state or a newer one, and files that nobody names: those the next
collection removes.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

from mvc.errors import Busy, RootMoved
from mvc.fileio import storage_errors
from mvc.objectid import CommitId, ManifestId, ObjectId
from mvc.odb.index import Keep, merge, plan_full_merge
from mvc.odb.intents import announce, oldest_epoch
from mvc.odb.pack import PackWriter, pack_key
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.oplog import piece_key
from mvc.parallel import ordered_map
from mvc.recipes.finder import stored_file
from mvc.refs import BRANCHES, decode_target, peeled_target
from mvc.repo import Repository, View, segment_key
from mvc.root import Fossil, Retired, Root
from mvc.sketches import SketchIndex
from mvc.sweep import sweep
from mvc.transaction import add_entries, discard_segments
from mvc.upkeep.choose import chosen
from mvc.upkeep.consolidate import copy_packs
from mvc.upkeep.expire import expired, kept_count
from mvc.upkeep.lines import lines
from mvc.upkeep.mark import Marks, mark
from mvc.upkeep.reencode import Reencoder
from mvc.upkeep.standing import Plan, Target
from mvc.upkeep.usage import MOST_GARBAGE, PackUse, pack_uses, unused, worth_rewriting
from mvc.upkeep.within import leaning_within
from mvc.weighing import sweep_notes
from mvc.workspace import locked
from mvc.worktree.index import StatCache

ATTEMPTS = 200
ROUND_BYTES = 128 << 20
"""Bytes of packs that are rewritten before they are condemned: what a collection needs free on the disk, with
the index and what readers still hold."""
_LEAST_GARBAGE = 0.01  # of a pack that is rewritten where everything is stored anew anyway


@contextmanager
def alone(repository: Repository) -> Iterator[None]:
    """Keep other collections out meanwhile.

    Raises:
        Busy: there is one.
    """
    io = repository.io
    with storage_errors("cannot lock the store for a collection"):
        handle = io.open_lock(repository.store / "gc.lock")
        try:
            free = io.lock(handle, exclusive=True, wait=False)
        except OSError:
            io.close(handle)
            raise
    try:
        if not free:
            raise Busy("another gc is running", hint="wait until it has finished")
        yield
    finally:
        with suppress(OSError):  # closed, and so unlocked, all the same
            io.close(handle)


# --- what is needed ----------------------------------------------------------------------------------------
def starting_points(view: View, since: int | None) -> Iterator[ObjectId]:
    """What refs, HEAD and the operation log from ``since`` on name."""
    for _name, value in view.refs.values():
        yield decode_target(value)
    if isinstance(view.root.head, CommitId):
        yield view.root.head
    kept, _total = kept_count(view.root.oplog, view.backend, since)
    for operation in islice(view.operations(), kept):
        for change in operation.changes:
            for state in (change.before, change.after):
                if isinstance(state, bytes):
                    yield CommitId(state) if len(state) == 32 else decode_target(state)
        # what a forced checkout overwrote is in no version, and undo needs it
        yield from operation.worktree or ()


def needed(
    repository: Repository, view: View, since: int | None = None, earlier: Marks | None = None
) -> Marks:
    """Marks of all that refs, HEAD, operations from ``since`` on and the stat cache reach.

    Raises:
        DamageError: something of it is missing or damaged.
    """
    cache = StatCache.load(repository.io, repository.store / "index")
    unchanged = {ManifestId(entry.manifest) for entry in cache.entries.values()}
    return mark(view.objects, starting_points(view, since), if_present=unchanged, earlier=earlier)


def uses(view: View, marks: Marks | None) -> dict[bytes, PackUse]:
    """The use of every pack that the index names and that is not condemned; without marks everything that
    the index names is used."""
    packs = {pack for row in view.index.rows for pack in view.index.segment(row.name).packs}
    living = view.index.entries() if marks is None else marks.entries()
    return pack_uses(view.backend, packs - set(view.index.dead_packs), living)


# --- steps -------------------------------------------------------------------------------------------------
def _swap(repository: Repository, change: Callable[[View], Root | None]) -> bool:
    """Replace root by what ``change`` makes of the state as it is, again where somebody else was faster;
    False where it makes nothing of it.

    Raises:
        Busy: others kept being faster.
    """
    with announce(repository.io, repository.store / "intents", "writer") as intent:
        for attempt in range(ATTEMPTS):
            view = repository.read()
            intent.announce_epoch(view.root.epoch)
            root = change(view)
            if root is None:
                return False
            try:
                repository.roots.swap(view.raw, root)
            except RootMoved:
                discard_segments(repository, view.root, root)
                time.sleep(random.uniform(0, min(0.002 * (attempt + 1), 0.1)))
                continue
            return True
    raise Busy("others keep changing the repository", hint="try again")


def _condemning(root: Root, packs: Iterable[bytes], keys: Iterable[str]) -> Root:
    """Root that condemns these packs, and these segments and pieces, which it no longer names."""
    epoch = root.epoch + 1
    fossils = tuple(Fossil(name, epoch, deleted=False) for name in packs)
    retired = tuple(Retired(key, epoch) for key in keys)
    if not fossils and not retired:
        return root
    return root.with_changes(
        epoch=epoch, fossils=(*root.fossils, *fossils), retired=(*root.retired, *retired)
    )


def _merged(
    repository: Repository, view: View, entries: list[Entry], condemned: Iterable[bytes], keep: Keep
) -> Root:
    """Root with one run: what ``keep`` leaves of the index, and new entries."""

    def store(name: bytes, data: bytes) -> None:
        repository.backend.put(segment_key(name), [data])

    rows = view.root.segments
    after = merge(plan_full_merge(rows), entries, view.index, store, keep=keep).apply(rows)
    if after is None:
        raise RootMoved("the index changed while it was merged")
    kept = {row.name for row in after}
    gone = [segment_key(row.name) for row in rows if row.name not in kept]
    return _condemning(view.root.with_changes(segments=after), condemned, gone)


def expire(repository: Repository, since: int | None) -> int:
    """Drop operations older than ``since`` (microseconds since 1970) from the log; returns how many.

    A checkout that was killed is settled first, since the log tells whether it took place; none begins
    meanwhile.
    """
    dropped = 0

    def change(view: View) -> Root | None:
        nonlocal dropped
        old = view.root.oplog
        new, dropped = expired(old, view.backend, since)
        if not dropped:
            return None
        kept = set(new.piece_names(view.backend))
        gone = [piece_key(name) for name in old.piece_names(view.backend) if name not in kept]
        return _condemning(view.root.with_changes(oplog=new), (), gone)

    with repository.reading() as view:
        kept, total = kept_count(view.root.oplog, view.backend, since)
    if kept < total:
        with locked(repository, exclusive=False):
            _swap(repository, change)
    return dropped


def drop_garbage(repository: Repository) -> Garbage:
    """Take all that nothing reaches out of the index, in one step, and condemn packs of nothing else."""
    marks: Marks | None = None
    writer: ObjectWriter | None = None
    found = Garbage()

    def change(view: View) -> Root | None:
        nonlocal marks, writer, found
        _refuse_damage(view)
        marks = needed(repository, view, earlier=marks)
        found = garbage(view, marks)
        writer = writer or ObjectWriter(view.objects, repository.monitor)
        for identity in sorted(marks.again):
            writer.add(writer.prepare(identity, view.objects.get(identity)))
        entries = writer.flush()
        one_run = len({row.run for row in view.index.rows}) <= 1
        if one_run and not entries and not found.records and not _mentions_fossils(view):
            return None
        return _merged(repository, view, entries, unused(uses(view, marks)), marks.rows)

    _swap(repository, change)
    return found


def _refuse_damage(view: View) -> None:
    """A damaged id column hides records that are needed: then nothing may be called garbage."""
    for error in view.index.damage():
        raise error


def _mentions_fossils(view: View) -> bool:
    dead = set(view.index.dead_packs)
    return any(not dead.isdisjoint(view.index.segment(row.name).packs) for row in view.index.rows)


def rewrite_packs(repository: Repository, most_garbage: float = MOST_GARBAGE) -> None:
    """Copy what is needed of packs with more than this share of garbage, and of small ones, into new packs;
    the index holds nothing else by now."""
    with repository.reading() as view:
        found = uses(view, None)
        waiting = [(name, found[name].size) for name in worth_rewriting(found, most_garbage)]
    batch: list[bytes] = []
    room = ROUND_BYTES
    for name, size in waiting:
        if batch and size > room:
            move_packs(repository, batch)
            batch, room = [], ROUND_BYTES
        batch.append(name)
        room -= size
    if batch:
        move_packs(repository, batch)


def move_packs(repository: Repository, names: Iterable[bytes]) -> None:
    """Copy all records of some packs that the index names into new ones, condemn the old ones, and delete
    them if nobody reads them."""
    copied: tuple[list[Entry], list[bytes]] | None = None

    def change(view: View) -> Root | None:
        nonlocal copied
        living = [name for name in names if name not in view.index.dead_packs]
        if copied is None:
            copied = copy_packs(view.backend, view.index, living, repository.monitor)
        entries, condemned = copied
        gone = [name for name in condemned if name in living]
        return _condemning(add_entries(repository, view, entries), gone, ()) if gone else None

    _swap(repository, change)
    sweep_condemned(repository)


def merge_index(repository: Repository) -> None:
    """Make one run of the index, without what lies in condemned packs."""

    def change(view: View) -> Root | None:
        one_run = len({row.run for row in view.index.rows}) <= 1
        return None if one_run and not _mentions_fossils(view) else _merged(repository, view, [], (), {})

    _swap(repository, change)


def sweep_condemned(repository: Repository) -> None:
    """Delete what is condemned, as far as nobody can be reading it."""

    def change(view: View) -> Root | None:
        root = sweep(repository, view.root, view.root)
        return None if root == view.root else root

    _swap(repository, change)


def remove_strays(repository: Repository) -> None:
    """Delete packs, segments and pieces that root does not name: what writers left that were killed.

    Whoever put one of those that are listed first and has not named it in root yet must be alive, and then
    nothing is deleted. Nobody who comes later can put one of these names again: packs and pieces of refs have
    nonces, segments name new packs (only a collection merges without any, and there is no other one), and a
    piece of the operation log holds new operations, but for the one that the next operation makes.
    """
    backend = repository.backend
    there = [key for place in ("packs/", "segments/", "pieces/") for key, _size in backend.list(place)]
    if oldest_epoch(repository.io, repository.store / "intents") is not None:
        return
    with repository.reading() as view:
        known = _named(view)
    for key in there:
        if key not in known:
            backend.delete(key)


def _named(view: View) -> set[str]:
    """All files that root leads to or still has to delete, and the piece that the next operation makes."""
    root, index = view.root, view.index
    packs = {pack for row in index.rows for pack in index.segment(row.name).packs}
    packs.update(fossil.pack for fossil in root.fossils)
    pieces = [name for _first, name in root.refs.pieces]
    pieces += root.oplog.piece_names(view.backend)
    following = root.oplog.next_piece()
    pieces += [] if following is None else [following]
    return {
        *map(pack_key, packs),
        *map(piece_key, pieces),
        *(segment_key(row.name) for row in root.segments),
        *(item.key for item in root.retired),
    }


def remove_derived(repository: Repository) -> None:
    """Delete notes of weights and sketches of objects that are gone, and locators: the index is one run, of
    which every version needs nearly all segments, and that is what a missing locator says."""
    with repository.reading() as view:
        sweep_notes(repository, view.objects.__contains__)
        with suppress(OSError):  # rows that stay only take space
            sketches = SketchIndex(repository.io, repository.store)
            sketches.keep(repository.temporary, lambda name: stored_file(view.objects, name) is not None)
        if len({row.run for row in view.index.rows}) <= 1:
            for key, _size in list(view.backend.list("locators/")):
                view.backend.delete(key)
    repository.sweep()


# --- storing anew ------------------------------------------------------------------------------------------
def plan_standing(view: View, everything: bool, best: bool) -> dict[ObjectId, Target]:
    """How each object of the history is to be stored, so that branches and HEAD stand alone; with
    ``everything`` tags and all other refs too."""
    heads: list[CommitId] = []
    others: list[CommitId] = []
    for name, value in view.refs.values():
        target = peeled_target(value)
        if target is not None:
            (heads if everything or name.startswith(BRANCHES) else others).append(target)
    head = view.head_commit()
    heads[:0] = [] if head is None else [head]
    # what only the operation log names, too: it leans on versions that are stored anew
    others += [start for start in starting_points(view, None) if isinstance(start, CommitId)]
    plan = Plan(view.objects, leaning_within(view.objects, heads), best=best)
    for sequences in lines(view.objects, heads, list(dict.fromkeys(others))):
        plan.add(sequences)
    return plan.targets


def repack(repository: Repository, *, best: bool, everything: bool) -> int:
    """Store objects anew so that what branches and HEAD name stands alone and the rest leans on it; returns
    how many. Old records go as new ones come, so that an eighth of the store has to be free at most."""
    with repository.reading() as view:
        targets = plan_standing(view, everything, best)
        room = max(ROUND_BYTES, sum(use.size for use in uses(view, None).values()) // 8)
    order = sorted(targets, key=lambda identity: (targets[identity].depth, targets[identity].rank))
    repository.monitor.start("repack", None)
    written = left = 0
    for _depth, group in groupby(order, key=lambda identity: targets[identity].depth):
        waiting = iter(group)
        while True:
            count, size, more = _store_round(repository, waiting, targets, best)
            written += count
            left += size
            if left > room:
                drop_replaced(repository, targets)
                left = 0
            if not more:
                break
    repository.monitor.finish()
    if written:
        drop_replaced(repository, targets)
    return written


def _store_round(
    repository: Repository, waiting: Iterator[ObjectId], targets: Mapping[ObjectId, Target], best: bool
) -> tuple[int, int, bool]:
    """Store the next objects, up to some packs; returns how many, their bytes, and whether there are more.

    A record added is one more for its object: nobody who reads meanwhile misses anything.
    """
    packs: PackWriter | None = None
    leaned: dict[ObjectId, int] = {}
    more = False

    def some(packs: PackWriter) -> Iterator[ObjectId]:
        nonlocal more
        for identity in waiting:
            yield identity
            if packs.written_bytes >= ROUND_BYTES // 2:
                more = True
                return

    def change(view: View) -> Root | None:
        nonlocal packs
        if packs is None:
            packs = PackWriter(view.backend)
            encoder = Reencoder(view.objects, targets, repository.monitor, best=best)
            for record in ordered_map(encoder.record, some(packs)):
                if record is None:
                    continue
                packs.add(record)
                repository.monitor.advance(record.plain_length)
                for base in record.bases:
                    leaned[base.id] = min(record.depth - 1, leaned.get(base.id, record.depth))
            packs.flush()
        for identity, depth in leaned.items():
            found = view.objects.entries(identity)
            if not found or found[0].depth > depth:
                raise Busy(f"{identity.word} {identity.short} was moved meanwhile", hint="run it again")
        return add_entries(repository, view, packs.entries) if packs.entries else None

    _swap(repository, change)
    if packs is None:
        return 0, 0, False
    return len(packs.entries), packs.written_bytes, more


def drop_replaced(repository: Repository, targets: Mapping[ObjectId, Target]) -> None:
    """Take records out of the index that better ones replace, and the packs that held them off the disk."""

    def change(view: View) -> Root | None:
        _refuse_damage(view)
        marks = chosen(view.objects, targets)
        return _merged(repository, view, [], unused(uses(view, marks)), marks.rows)

    _swap(repository, change)
    sweep_condemned(repository)
    rewrite_packs(repository)


# --- all of it ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Census:
    """What lies in a store: records that the index names, files, and the bytes of all of them and root."""

    records: int
    packs: int
    segments: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """Records in the index that nothing needs, and the bytes of packs that nothing needs: with those of
    records that the index had forgotten before."""

    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did. ``waiting_bytes`` of packs are condemned and stay until those who may be reading
    them have finished; the next command that writes deletes them."""

    before: Census
    after: Census
    garbage: Garbage
    expired_operations: int
    waiting_bytes: int


def census(repository: Repository) -> Census:
    """Count what lies there."""
    counts: Counter[str] = Counter()
    total = len(repository.roots.read()[1])
    for place in ("packs/", "segments/", "pieces/", "locators/"):
        for _key, size in repository.backend.list(place):
            counts[place] += 1
            total += size
    with repository.reading() as view:
        records = sum(1 for _entry in view.index.entries())
    return Census(records, counts["packs/"], counts["segments/"], total)


def garbage(view: View, marks: Marks) -> Garbage:
    """What ``marks`` leave out."""
    found = uses(view, marks)
    records = sum(1 for _entry in view.index.entries()) - sum(use.records for use in found.values())
    return Garbage(records, sum(use.garbage_bytes for use in found.values()))


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
        _refuse_damage(view)
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
