"""A version as JSON and as lines of text; for the commands that show some."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from mvc.cli.call import Call
from mvc.cli.text import iso, when
from mvc.history.decorations import Entry
from mvc.objects import Person, Tag, Timestamp
from mvc.repo import View
from mvc.text import number, one_line, plain


def person_json(person: Person) -> dict[str, str]:
    """Who, as JSON."""
    return {"name": person.name, "email": person.email}


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON can hold: it has neither infinities nor NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """A version as documented in ``docs/cli.md``."""
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
    """The names behind a version's id, as Git has them: ``(HEAD -> main, tag: v1)``."""

    def __init__(self, call: Call, view: View, *, shown: bool = True) -> None:
        self._call = call
        self._shown = shown
        self._branch = view.branch()
        self._head = view.head_commit()

    def of(self, entry: Entry) -> str:
        """With a space before; empty for a version without names."""
        names = self.words(entry) if self._shown else []
        return self._call.paint(f" ({', '.join(names)})", "yellow") if names else ""

    def words(self, entry: Entry) -> list[str]:
        """One by one."""
        names = [f"tag: {name}" for name in entry.tags]
        names += [name for name in entry.branches if name != self._branch]
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
            lines.append(
                f"{title} {'  '.join(f'{one_line(name)}={_value(value)}' for name, value in values.items())}"
            )
    return [*lines, "", *message_lines(commit.message), ""]


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
