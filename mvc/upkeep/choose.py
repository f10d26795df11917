"""Of several records of one object, which is to stay: after objects have been stored anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import merge
from itertools import groupby, islice

from mvc.errors import DamageError, StorageError
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.header import read_headers
from mvc.odb.index import Index
from mvc.odb.pack import read_record
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.upkeep.mark import Marks, gives_object
from mvc.upkeep.standing import Target, fits

_AT_ONCE = 10_000


def chosen(objects: ObjectDatabase, targets: Mapping[ObjectId, Target]) -> Marks:
    """Marks of the records to keep: of each object the smallest sound one that fits the plan, and whatever
    other records need so as to find each base less deep than themselves.

    Every live object keeps a record, so whoever relies on one is served; who leans on one looks up, before
    root is swapped, whether it still is as little deep as was seen.
    """
    index = objects.index
    marks = Marks(objects)
    marks.mark_all()
    for entries in _several(index):
        marks.keep_only(_best(objects, entries, targets))
    deep: Iterable[Entry] = (entry for entry in marks.entries() if entry.depth)
    while True:
        more: list[Entry] = []
        waiting = iter(deep)
        while batch := list(islice(waiting, _AT_ONCE)):
            for _entry, header in read_headers(objects.backend, batch):
                for base in header.bases:
                    kept = marks.records(base.id)
                    if not kept or min(entry.depth for entry in kept) >= header.depth:
                        found = objects.entries(base.id)[:1]
                        marks.keep_too(found)
                        more += [entry for entry in found if entry.depth]
        if not more:
            return marks
        deep = more


def _several(index: Index) -> Iterable[list[Entry]]:
    """The records of each object that has more than one, least deep first."""
    runs: dict[int, list[Entry]] = {}
    ordered = []
    for number in {row.run for row in index.rows}:
        runs.setdefault(number, [])
        rows = sorted((row for row in index.rows if row.run == number), key=lambda row: (row.first, row.last))
        ordered.append(entry for row in rows for entry in index.segment(row.name))
    for _identity, group in groupby(merge(*ordered, key=lambda entry: entry.id), key=lambda entry: entry.id):
        entries = list(dict.fromkeys(entry for entry in group if entry.pack not in index.dead_packs))
        if len(entries) > 1:
            yield entries


def _best(objects: ObjectDatabase, entries: list[Entry], targets: Mapping[ObjectId, Target]) -> list[Entry]:
    """The one to keep: the smallest that fits the plan, else the least deep; all where none can be read."""
    sound: list[tuple[Entry, Record]] = []
    for entry in entries:
        try:
            record = read_record(objects.backend, entry)
        except (DamageError, StorageError):
            continue
        if record.depth <= entry.depth:
            sound.append((entry, record))
    fitting = [one for one in sound if one[1].id in targets and fits(one[1], targets, objects)]
    fitting.sort(key=lambda one: one[0].length)
    for entry, record in (*fitting, *(one for one in sound if one not in fitting)):
        if gives_object(objects, record):
            return [entry]
    return entries
