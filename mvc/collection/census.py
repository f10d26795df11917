"""How much lies in a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mvc.collection.disk import room
from mvc.repo import Repository
from mvc.store import STORED


@dataclass(frozen=True, slots=True)
class Census:
    """What lies in a store: records that the index names, files, and the bytes of all of them and root.

    ``disk_bytes`` are what the disk has allocated for the whole store but the trash, local files and folders
    too; ``trash_bytes`` what it has for the trash.
    """

    records: int
    packs: int
    segments: int
    bytes: int
    disk_bytes: int
    trash_bytes: int


def census(repository: Repository) -> Census:
    """Count what lies there."""
    counts: Counter[str] = Counter()
    total = len(repository.roots.read()[1])
    for place in STORED:
        for _key, size in repository.backend.list(place):
            counts[place] += 1
            total += size
    with repository.reading() as view:
        records = sum(1 for _entry in view.index.entries())
    taken = room(repository.io, repository.store)
    return Census(records, counts["packs/"], counts["segments/"], total, taken.store, taken.trash)
