"""A version as JSON and as lines of text; for the commands that show some."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mvc.cli.call import Call
from mvc.cli.text import iso, when
from mvc.errors import DamageError
from mvc.history.decorations import Entry
from mvc.objectid import CommitId
from mvc.objects import Commit, Number, Person, Tag, Timestamp
from mvc.refs import NOTES
from mvc.text import number, one_line, plain
from mvc.view import View

if TYPE_CHECKING:
    from mvc.registry.notes import Note, Notes


def person_json(person: Person) -> dict[str, str]:
    """Who, as JSON."""
    return {"name": person.name, "email": person.email}


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON can hold: it has neither infinities nor NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def entry_json(entry: Entry, notes: Iterable[Note] = ()) -> dict[str, Any]:
    """A version as documented in ``docs/cli.md``; a new one has no notes."""
    commit = entry.commit
    return {
        "id": entry.id.hex(),
        "parents": [parent.hex() for parent in commit.parents],
        "tree": commit.tree.hex(),
        "author": person_json(commit.author),
        "time": iso(commit.time),
        "message": commit.message,
        "metrics": finite(commit.metrics),
        "params": finite(commit.params),
        "tags": list(entry.tags),
        "branches": list(entry.branches),
        "remotes": list(entry.remotes),
        "notes": [note_json(note) for note in notes],
    }


def note_json(note: Note) -> dict[str, Any]:
    """A note as documented in ``docs/cli.md``."""
    return {
        "id": note.id,
        "author": person_json(note.author),
        "time": iso(note.time),
        "metrics": finite(note.metrics),
        "params": finite(note.params),
        "message": note.message,
    }


def tag_json(tag: Tag) -> dict[str, Any]:
    """An annotated tag."""
    return {
        "name": tag.name,
        "target": tag.target.hex(),
        "tagger": person_json(tag.tagger),
        "time": iso(tag.time),
        "message": tag.message,
    }


class Names:
    """What is known of versions beside themselves: the names behind an id, as Git has them (``(HEAD -> main,
    tag: v1)``), and notes."""

    def __init__(self, call: Call, view: View, *, shown: bool = True) -> None:
        self._call = call
        self._shown = shown
        self._branch = view.branch()
        self._head = view.head_commit()
        self._view = view
        self._notes: Notes | None = None

    def notes(self, identity: CommitId) -> tuple[Note, ...]:
        """A version's notes, oldest first; none, and a warning, where they are damaged."""
        try:
            if self._notes is None:
                if self._view.get(NOTES) is None:
                    return ()
                from mvc.registry.notes import Notes  # 10 ms: only where there are some

                self._notes = Notes(self._view.objects, self._view)
            return self._notes.of(identity)
        except DamageError as error:
            self._call.monitor.note_damage(f"{error.message}, so notes of {identity.short} are not shown")
            return ()

    def metrics(self, entry: Entry) -> Mapping[str, Number]:
        """A version's metrics, those of its notes laid over them."""
        return self.measured(entry.id, entry.commit)

    def measured(self, identity: CommitId, commit: Commit) -> Mapping[str, Number]:
        """The same of a commit."""
        notes = self.notes(identity)
        if not notes:
            return commit.metrics
        from mvc.registry.notes import lay_over  # as above

        return {name: item.value for name, item in lay_over(commit.metrics, notes).items()}

    def of(self, entry: Entry) -> str:
        """With a space before; empty for a version without names."""
        names = self.words(entry) if self._shown else []
        return self._call.paint(f" ({', '.join(names)})", "yellow") if names else ""

    def words(self, entry: Entry) -> list[str]:
        """One by one."""
        names = [f"tag: {name}" for name in entry.tags]
        names += [name for name in entry.branches if name != self._branch]
        names += entry.remotes
        if entry.id == self._head:
            names.insert(0, f"HEAD -> {self._branch}" if self._branch else "HEAD")
        return [one_line(name) for name in names]


def entry_lines(
    call: Call,
    entry: Entry,
    names: Names,
    weights: str | None = None,
    date: Callable[[Timestamp], str] = when,
) -> list[str]:
    """A version at length, with its weights id where there is one to show."""
    commit = entry.commit
    lines = [call.paint(f"commit {entry.id.hex()}", "yellow") + names.of(entry)]
    if len(commit.parents) > 1:
        lines.append(f"Merge:   {' '.join(parent.short for parent in commit.parents)}")
    lines.append(f"Author:  {one_line(str(commit.author))}")
    lines.append(f"Date:    {date(commit.time)}")
    if weights is not None:
        lines.append(f"Weights: {weights}")
    for title, values in (("Metrics:", commit.metrics), ("Params: ", commit.params)):
        if values:
            lines.append(f"{title} {values_text(values)}")
    return [*lines, "", *message_lines(commit.message), "", *note_lines(call, names.notes(entry.id))]


def note_lines(call: Call, notes: Iterable[Note], *, ids: bool = False) -> list[str]:
    """Notes as later additions to a version: who added each one and when, and what it says."""
    lines = []
    for note in notes:
        name = f"Note {note.id}" if ids else "Note"
        lines.append(
            call.paint(f"{name} of {when(note.time)} by {one_line(str(note.author))}, added later:", "cyan")
        )
        for title, values in (("Metrics:", note.metrics), ("Params: ", note.params)):
            if values:
                lines.append(f"    {title} {values_text(values)}")
        if note.message:
            lines += message_lines(note.message)
        lines.append("")
    return lines


def values_text(values: Mapping[str, Any]) -> str:
    """Metrics or params on one line."""
    return "  ".join(f"{one_line(name)}={_value(value)}" for name, value in values.items())


def message_lines(message: str) -> list[str]:
    """A message, set in."""
    return [f"    {line}".rstrip() for line in plain(message).rstrip("\n").split("\n")]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return one_line(str(value))


def short_line(call: Call, entry: Entry, names: Names, weights: str | None = None) -> str:
    """A version on one line, with the first digits of its weights id where there is one to show."""
    id_ = call.paint(entry.id.short, "yellow") + ("" if weights is None else f" {weights[:15]}")
    return f"{id_}{names.of(entry)} {one_line(entry.commit.subject)}"
