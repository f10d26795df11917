"""The objects where damage lies, each with all that it touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mvc.objectid import ManifestId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.upkeep.leaning import Lost
from mvc.upkeep.touched import History, Start, Touched
from mvc.upkeep.unsound import Unsound


@dataclass(frozen=True, slots=True)
class DamagedObject:
    """A damaged object: its kind in a word, its id in hexadecimal, and what is wrong.

    ``readable`` tells that another record of it is sound, so that nothing is lost. ``dependants`` is the
    number of objects that cannot be read without it; ``touched`` tells of theirs too.
    """

    kind: str
    id: str
    how: str
    readable: bool
    dependants: int
    touched: Touched


def damaged_objects(
    database: ObjectDatabase,
    unsound: Unsound,
    starts: Mapping[ObjectId, Start],
    incomplete: Iterable[tuple[ManifestId, str]] = (),
) -> tuple[list[DamagedObject], Collection[ObjectId]]:
    """Every object that is damaged in itself, with what it and its dependants belong to; and all that is
    lost. ``incomplete`` files could not be put together, for the reason given: the manifest is to blame where
    no piece is. One pass over the headers of the records that have bases, and one over history.

    Those that touch something come first, commits before trees, files and pieces.
    """
    unsound.settle()
    lost = Lost(database, unsound)
    history = History(database, starts, lost.objects)
    unexplained = [item for item in incomplete if item[0] not in history.holders]
    if unexplained:
        for identity, how in unexplained:
            unsound.object(identity, how)
        lost = Lost(database, unsound)
        history = History(database, starts, lost.objects)
    found = []
    for damaged, how in unsound.objects.items():
        dependants = lost.dependants(damaged)
        readable = damaged not in lost.objects
        touched = history.touched(dependants if readable else [damaged, *dependants])
        item = DamagedObject(damaged.word, damaged.hex(), how, readable, len(dependants), touched)
        found.append((damaged, item))
    found.sort(key=lambda item: (not item[1].touched.is_needed, -item[0].kind, item[0]))
    return [item for _identity, item in found], lost.objects | history.holders
