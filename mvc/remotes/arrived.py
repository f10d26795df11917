"""Which records of an earlier attempt are of use still: those that have all that they lean on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.record import Record


class Arrived(NamedTuple):
    """A record that came with an earlier attempt: where it lies in its pack (bytes), and what it leans on."""

    id: ObjectId
    depth: int
    offset: int
    length: int
    bases: tuple[ObjectId, ...]

    @classmethod
    def of(cls, record: Record, offset: int, length: int) -> Arrived:
        """A record that lies there."""
        bases = tuple(dict.fromkeys(base.id for base in record.bases))
        return cls(record.id, record.depth, offset, length, bases)


def is_named(index: Index, pack: bytes, records: Sequence[Arrived]) -> bool:
    """Whether root names a pack with these records already, since who put it was killed right after: told by
    the first of them, so that not all of a large index is read."""
    return bool(records) and any(entry.pack == pack for entry in index.find(bytes(records[0].id)))


def usable(records: Iterable[Arrived], target: ObjectDatabase) -> tuple[set[Arrived], dict[ObjectId, int]]:
    """Those of some records whose bases are among them or in the target, each at a lesser depth; and the
    least depth of each object that they are of.

    What the records lean on may be gone: it was to come later and did not, a power cut took it, or the target
    has collected it since.
    """
    depths: dict[ObjectId, int] = {}
    found: set[Arrived] = set()
    for record in sorted(records, key=lambda record: record.depth):
        if target.refusal(record.id) is not None:
            continue
        if all(_stands(base, record.depth, depths, target) for base in record.bases):
            found.add(record)
            depths.setdefault(record.id, record.depth)
    return found, depths


def _stands(base: ObjectId, below: int, depths: dict[ObjectId, int], target: ObjectDatabase) -> bool:
    if depths.get(base, below) < below:
        return True
    entries = target.entries(base)
    return bool(entries) and entries[0].depth < below
