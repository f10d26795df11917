"""Packs with much garbage, and small ones, are copied into new ones, a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mvc.collection.leftovers import sweep_condemned
from mvc.collection.needs import uses
from mvc.collection.swapping import condemning, swap
from mvc.odb.segment import Entry
from mvc.root import Root
from mvc.store import Store
from mvc.transaction import add_entries
from mvc.upkeep.consolidate import copy_packs
from mvc.upkeep.usage import MOST_GARBAGE, worth_rewriting
from mvc.view import View

ROUND_BYTES = 128 << 20
"""Bytes of packs that are rewritten before they are condemned: what a collection needs free on the disk, with
the index and what readers still hold."""


def rewrite_packs(store: Store, most_garbage: float = MOST_GARBAGE) -> None:
    """Copy what is needed of packs with more than this share of garbage, and of small ones, into new packs;
    the index holds nothing else by now."""
    with store.reading() as view:
        found = uses(view, None)
        waiting = [(name, found[name].size) for name in worth_rewriting(found, most_garbage)]
    for batch in batches(waiting):
        move_packs(store, batch)


def batches(packs: Iterable[tuple[bytes, int]]) -> Iterator[list[bytes]]:
    """Packs, of which names and sizes are given, as they are rewritten together."""
    batch: list[bytes] = []
    room = ROUND_BYTES
    for name, size in packs:
        if batch and size > room:
            yield batch
            batch, room = [], ROUND_BYTES
        batch.append(name)
        room -= size
    if batch:
        yield batch


def move_packs(store: Store, names: Iterable[bytes]) -> None:
    """Copy all records of some packs that the index names into new ones, condemn the old ones, and delete
    them if nobody reads them."""
    copied: tuple[list[Entry], list[bytes]] | None = None

    def change(view: View) -> Root | None:
        nonlocal copied
        living = [name for name in names if name not in view.index.dead_packs]
        if copied is None:
            copied = copy_packs(view.backend, view.index, living, store.monitor)
        entries, condemned = copied
        gone = [name for name in condemned if name in living]
        return condemning(add_entries(store, view, entries), gone, ()) if gone else None

    swap(store, change)
    sweep_condemned(store)
