"""The versions of a log as lines, as a drawing, and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mvc.cli.call import Call
from mvc.cli.versions import Names, entry_json, entry_lines, message_lines, short_line
from mvc.errors import ObjectPurged, UsageError
from mvc.history.decorations import Entry
from mvc.ops.log import Found, changes
from mvc.text import one_line
from mvc.view import View

if TYPE_CHECKING:
    from mvc.history.treediff import Change
    from mvc.weighing import Weigher

Changes = Literal["stat", "name-only", "name-status"]
"""How the files that a version changed are told."""

PRESETS = ("oneline", "short", "medium", "full")


class Style(NamedTuple):
    """How a version is shown: its lines, and whether an empty one stands behind it."""

    lines: Callable[[Entry], list[str]]
    spaced: bool


class Told:
    """What a version changed, as far as it is told of at all."""

    def __init__(
        self,
        call: Call,
        view: View,
        paths: tuple[str, ...],
        how: Changes | None,
        *,
        merges: bool,
    ) -> None:
        self._call = call
        self._objects = view.objects
        self._paths = paths
        self._how = how
        self._merges = merges

    def lines(self, found: Found) -> list[str]:
        """A line for each file."""
        if self._how is None:
            return []
        from mvc.cli.changes import LETTERS, tree_change_lines  # only where it is asked for

        try:
            changed = self._changes(found)
        except ObjectPurged as error:
            return [error.message]
        shown = self._call.shown
        if self._how == "stat":
            return tree_change_lines(self._call, self._objects, changed, {})
        if self._how == "name-only":
            return [shown(change.path) for change in changed]
        paths = ((change.kind, [change.old_path, change.path]) for change in changed)
        return ["\t".join([LETTERS[kind], *(shown(path) for path in both if path)]) for kind, both in paths]

    def json(self, found: Found) -> dict[str, Any]:
        """The same as JSON; nothing where nothing is told."""
        if self._how is None:
            return {}
        from mvc.cli.changes import tree_change_json  # as above

        try:
            changed = self._changes(found)
        except ObjectPurged:
            return {"changes": None}
        return {"changes": [tree_change_json(self._objects, change, None) for change in changed]}

    def _changes(self, found: Found) -> list[Change]:
        paths = self._paths if found.path is None else (found.path,)
        return changes(self._objects, found.entry.commit, paths, merges=self._merges)


def found_json(found: Found, names: Names, told: Told, weigher: Weigher | None) -> dict[str, Any]:
    """A version as documented in ``docs/cli.md``."""
    row = entry_json(found.entry, names.notes(found.entry.id))
    if weigher is not None:
        row["weights"] = weigher.told(found.entry.commit.tree)
    row.update(told.json(found))
    if found.path is not None:
        row["path"] = found.path
    return row


def style_of(call: Call, names: Names, form: str | None, date: str | None, weigher: Weigher | None) -> Style:
    """The style that ``--format`` and ``--date`` ask for.

    Raises:
        UsageError: there is no such format.
    """

    def weight(entry: Entry) -> str | None:
        return None if weigher is None else weigher.told(entry.commit.tree)

    if form == "oneline":
        return Style(lambda entry: [short_line(call, entry, names, weight(entry))], False)
    if form == "short":
        return Style(lambda entry: _short(call, entry, names), True)
    if form in (None, "medium") and date is None:
        return Style(lambda entry: entry_lines(call, entry, names, weight(entry))[:-1], True)
    from mvc.cli.datestyles import styles  # only where it is asked for

    known = styles(call.now())
    shown = known[date or "default"]
    if form in (None, "medium"):
        return Style(lambda entry: entry_lines(call, entry, names, weight(entry), shown)[:-1], True)
    if form == "full":
        return Style(lambda entry: _full(entry_lines(call, entry, names, weight(entry), shown), entry), True)
    from mvc.cli.template import Dress, Template  # as above

    kind, colon, rest = (form or "").partition(":")
    text = rest if colon and kind in ("format", "tformat") else form or ""
    if "%" not in text:
        raise UsageError(
            f"there is no format {form!r}", hint=f"{', '.join(PRESETS)}, or a template such as '%h %s'"
        )
    template = Template(text)
    dress = Dress(names.words, names.metrics, shown, known, call.screen.colour)
    return Style(lambda entry: template.of(entry, dress).split("\n"), False)


def _short(call: Call, entry: Entry, names: Names) -> list[str]:
    """Who and what: no date, no body."""
    head = call.paint(f"commit {entry.id.hex()}", "yellow") + names.of(entry)
    return [head, f"Author:  {one_line(str(entry.commit.author))}", "", *message_lines(entry.commit.subject)]


def _full(lines: list[str], entry: Entry) -> list[str]:
    """With the full ids of parents and tree."""
    ids = [f"Parent:  {parent.hex()}" for parent in entry.commit.parents]
    ids.append(f"Tree:    {entry.commit.tree.hex()}")
    merge = len(entry.commit.parents) > 1
    return [lines[0], *ids, *lines[2 if merge else 1 : -1]]


def print_listed(call: Call, found: Iterable[Found], style: Style, told: Told) -> None:
    """One below the other."""
    for number, item in enumerate(found):
        for line in style.lines(item.entry):
            call.print(line)
        behind = told.lines(item)
        for line in ["", *behind] if style.spaced and behind else behind:
            call.print(line)
        if style.spaced:
            call.print()
        if number == 0:
            sys.stdout.flush()  # the newest is seen before the rest is read


def print_drawn(call: Call, found: Iterable[Found], style: Style, told: Told) -> None:
    """Beside a drawing of how they come from each other."""
    from mvc.cli.graphlines import Drawing  # only where it is asked for

    drawing = Drawing()
    for number, item in enumerate(found):
        drawing.add(item.entry.id, item.parents)
        if number and style.spaced:
            call.print(drawing.padding_line().rstrip())
        on_it = False
        while not on_it:
            left, on_it = drawing.next_line()
            if not on_it:
                call.print(left.rstrip())
        behind = told.lines(item)
        text = [*style.lines(item.entry), *([""] if style.spaced and behind else []), *behind]
        for at, line in enumerate(text):
            call.print(((drawing.next_line()[0] if at else left) + line).rstrip())
        for left in drawing.rest():
            call.print(left.rstrip())
