"""How long what a collection condemned lies already, by the notes that collections leave in root.

No clock decides whether something may be deleted that a writer relies on: epochs do. Clocks only tell how
long readers of an older root have had; one that runs wrong makes that time shorter or longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from mvc.fields import parse_count, parse_list, parse_row
from mvc.root import Root

KEY = "collections"
"""Optional part of root: array of [epoch, microseconds since 1970], ascending by epoch."""

_MOST = 64
"""Notes that are kept: when there are more, one in the middle says nothing that its neighbours do not."""


class Note(NamedTuple):
    """At ``time`` (microseconds since 1970) everything was condemned already that has an epoch up to this."""

    epoch: int
    time: int


def notes(root: Root, now: int) -> list[Note]:
    """The notes of a root. One from the future, by a clock that ran wrong, counts as of now.

    Raises:
        CorruptFile: they are damaged.
    """
    found = []
    for item in parse_list(root.extra.get(KEY, []), "root's notes of collections"):
        epoch, time = parse_row(item, "a note of a collection", 2)
        found.append(Note(parse_count(epoch, "a note's epoch"), min(parse_count(time, "a note's time"), now)))
    return sorted(found)


def noted(root: Root, now: int) -> Root:
    """Root with a note of all that it condemns, and without notes that say nothing any more."""
    waiting = [fossil.epoch for fossil in root.fossils if not fossil.deleted]
    waiting += [item.epoch for item in root.retired]
    found = notes(root, now)
    if waiting and (not found or found[-1].epoch < max(waiting)):
        found.append(Note(root.epoch, now))
    found = [note for note in found if waiting and note.epoch >= min(waiting)]
    del found[_MOST // 2 : -_MOST // 2]
    return _with(root, found)


def free_epoch(root: Root, now: int, grace: int) -> int:
    """The epoch up to which all was condemned ``grace`` microseconds ago, or earlier; -1 if nothing was."""
    return max((note.epoch for note in notes(root, now) if note.time <= now - grace), default=-1)


def _with(root: Root, found: Iterable[Note]) -> Root:
    value: list[Any] = [list(note) for note in found]
    extra = {key: item for key, item in root.extra.items() if key != KEY}
    return root.with_changes(extra={**extra, KEY: value} if value else extra)
