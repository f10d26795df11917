"""A version's metrics with its notes laid over them, and where each value comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mvc.objectid import CommitId
from mvc.objects import Commit, Number
from mvc.registry.notes.note import Note
from mvc.registry.notes.shelf import Notes


class Measured(NamedTuple):
    """A metric's value; ``note`` is the later addition that says so, None for the version itself."""

    value: Number
    note: Note | None


def lay_over(metrics: Mapping[str, Number], notes: Iterable[Note]) -> dict[str, Measured]:
    """A version's metrics by name: its own, over them those of its ``notes`` (oldest first), a later one over
    an earlier one."""
    found = {name: Measured(value, None) for name, value in metrics.items()}
    for note in notes:
        found.update((name, Measured(value, note)) for name, value in note.metrics.items())
    return found


def metrics_of(notes: Notes, identity: CommitId, commit: Commit) -> dict[str, Measured]:
    """What is measured of a version by now: :func:`lay_over` with the notes that it has."""
    return lay_over(commit.metrics, notes.of(identity))
