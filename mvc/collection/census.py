"""How much lies in a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mvc.collection.disk import Room, room
from mvc.store import STORED, FolderStore, Store


@dataclass(frozen=True, slots=True)
class Census:
    """What lies in a store: records that the index names, files, and the bytes of all of them and root.

    ``disk_bytes`` are what the disk has allocated for the whole store but the trash, local files and folders
    too (in a bucket the same as ``bytes``); ``trash_bytes`` what it has for the trash.
    """

    records: int
    packs: int
    segments: int
    bytes: int
    disk_bytes: int
    trash_bytes: int


def census(store: Store) -> Census:
    """Count what lies there."""
    counts: Counter[str] = Counter()
    total = len(store.roots.read()[1])
    for place in STORED:
        for _key, size in store.backend.list(place):
            counts[place] += 1
            total += size
    with store.reading() as view:
        records = sum(1 for _entry in view.index.entries())
    taken = room(store.io, store.store) if isinstance(store, FolderStore) else Room(total, 0)
    return Census(records, counts["packs/"], counts["segments/"], total, taken.store, taken.trash)
