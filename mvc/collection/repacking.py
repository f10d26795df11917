"""Stores objects anew, so that what branches and HEAD name stands alone and the rest leans on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from mvc.collection import rewriting
from mvc.collection.index import merged
from mvc.collection.leftovers import sweep_condemned
from mvc.collection.needs import refuse_damage, starting_points, uses
from mvc.collection.swapping import swap
from mvc.errors import Busy
from mvc.objectid import CommitId, ObjectId
from mvc.odb.pack import PackWriter
from mvc.parallel import ordered_map
from mvc.refs import BRANCHES, peeled_target
from mvc.root import Root
from mvc.store import Store
from mvc.transaction import add_entries
from mvc.upkeep.choose import chosen
from mvc.upkeep.lines import lines
from mvc.upkeep.reencode import Reencoder
from mvc.upkeep.standing import Plan, Target
from mvc.upkeep.usage import unused
from mvc.upkeep.within import leaning_within
from mvc.view import View


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
        there = {
            place: [one for one in sequence if not _is_missing(view, one)]
            for place, sequence in sequences.items()
        }
        plan.add({place: sequence for place, sequence in there.items() if sequence})
    return {one: target for one, target in plan.targets.items() if not _is_missing(view, one)}


def _is_missing(view: View, identity: ObjectId) -> bool:
    """Whether an object is not here, on purpose."""
    return view.objects.is_gone(identity) or view.objects.is_elsewhere(identity)


def repack(store: Store, *, best: bool, everything: bool) -> int:
    """Store objects anew so that what branches and HEAD name stands alone and the rest leans on it; returns
    how many. Old records go as new ones come, so that an eighth of the store has to be free at most."""
    with store.reading() as view:
        targets = plan_standing(view, everything, best)
        room = max(rewriting.ROUND_BYTES, sum(use.size for use in uses(view, None).values()) // 8)
    order = sorted(targets, key=lambda identity: (targets[identity].depth, targets[identity].rank))
    store.monitor.start("repack", None)
    written = left = 0
    for _depth, group in groupby(order, key=lambda identity: targets[identity].depth):
        waiting = iter(group)
        while True:
            count, size, more = _store_round(store, waiting, targets, best)
            written += count
            left += size
            if left > room:
                drop_replaced(store, targets)
                left = 0
            if not more:
                break
    store.monitor.finish()
    if written:
        drop_replaced(store, targets)
    return written


def _store_round(
    store: Store, waiting: Iterator[ObjectId], targets: Mapping[ObjectId, Target], best: bool
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
            if packs.written_bytes >= rewriting.ROUND_BYTES // 2:
                more = True
                return

    def change(view: View) -> Root | None:
        nonlocal packs
        if packs is None:
            packs = PackWriter(view.backend)
            encoder = Reencoder(view.objects, targets, store.monitor, best=best)
            for record in ordered_map(encoder.record, some(packs)):
                if record is None:
                    continue
                packs.add(record)
                store.monitor.advance(record.plain_length)
                for base in record.bases:
                    leaned[base.id] = min(record.depth - 1, leaned.get(base.id, record.depth))
            packs.flush()
        for identity, depth in leaned.items():
            found = view.objects.entries(identity)
            if not found or found[0].depth > depth:
                raise Busy(f"{identity.word} {identity.short} was moved meanwhile", hint="run it again")
        return add_entries(store, view, packs.entries) if packs.entries else None

    swap(store, change)
    if packs is None:
        return 0, 0, False
    return len(packs.entries), packs.written_bytes, more


def drop_replaced(store: Store, targets: Mapping[ObjectId, Target]) -> None:
    """Take records out of the index that better ones replace, and the packs that held them off the disk."""

    def change(view: View) -> Root | None:
        refuse_damage(view)
        marks = chosen(view.objects, targets)
        return merged(store, view, [], unused(uses(view, marks)), marks.rows)

    swap(store, change)
    sweep_condemned(store)
    rewriting.rewrite_packs(store)
