"""Tables: commands describe columns and rows once; here they become lines.

In a pipe columns are aligned and nothing else, so that what reads them finds every character. On a terminal
headings stand above them, and what may be cut is cut to the width of the window, the widest column first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mvc.cli.screen import Cut, Screen, cells, fit

GAP = "  "
LEAST = ({"middle": 24, "end": 8}, {"middle": 12, "end": 4})
"""Columns that a cut cell keeps: first these, and those where the line is still too long. Below that nobody
could tell two names apart, so that in a very narrow window lines are wrapped instead."""


class Column(NamedTuple):
    """A column: its heading, whether it is flush right, where its text may be cut, its colour, and whether it
    is spare: left out where the window is too narrow for all, the last one first."""

    title: str = ""
    right: bool = False
    cut: Cut = ""
    colour: str = ""
    spare: bool = False


class Row(NamedTuple):
    """The cells of a row; a ``colour`` is that of the whole row."""

    cells: tuple[str, ...]
    colour: str = ""


@dataclass(slots=True)
class Table:
    """Rows below columns. Text in them is harmless already (:func:`mvc.cli.text.one_line`).

    ``headed`` says that the headings are printed in a pipe too.
    """

    columns: Sequence[Column]
    indent: str = ""
    headed: bool = False
    rows: list[Row] = field(default_factory=list)

    def add(self, *cells: str, colour: str = "") -> None:
        """One more row."""
        self.rows.append(Row(cells, colour))

    def lines(self, screen: Screen) -> list[str]:
        """The heading, if there is one, and a line for each row."""
        heading, lines = self.render(screen)
        return lines if heading is None else [heading, *lines]

    def render(self, screen: Screen) -> tuple[str | None, list[str]]:
        """Heading and lines apart, for who puts something between them."""
        table = self._narrowed(screen.width)
        if table is not self:
            return table.render(screen)
        titles = tuple(column.title for column in self.columns)
        with_heading = self.headed or (screen.width is not None and any(titles) and bool(self.rows))
        shown = [titles] if with_heading else []
        widths = self._widths([*shown, *(row.cells for row in self.rows)], screen.width)
        heading = screen.paint(self._line(titles, widths, Screen(screen.width)), "bold")
        lines = []
        for row in self.rows:
            inner = Screen(screen.width) if row.colour else screen
            lines.append(screen.paint(self._line(row.cells, widths, inner), row.colour))
        return (heading if with_heading else None), lines

    def with_columns(self, places: Sequence[int]) -> Table:
        """A table of only some of the columns."""
        rows = [Row(tuple(row.cells[place] for place in places), row.colour) for row in self.rows]
        return Table([self.columns[place] for place in places], self.indent, self.headed, rows)

    def _narrowed(self, width: int | None) -> Table:
        """This table; without its last spare column where the window is too narrow for it."""
        spare = [place for place, column in enumerate(self.columns) if column.spare]
        if width is None or not spare or not self.rows:
            return self
        wanted = self._widths([row.cells for row in self.rows], width)
        if len(self.indent) + sum(wanted) + len(GAP) * (len(wanted) - 1) <= width:
            return self
        return self.with_columns([place for place in range(len(self.columns)) if place != spare[-1]])

    def _widths(self, rows: Iterable[Sequence[str]], width: int | None) -> list[int]:
        """How wide the columns become: as their widest cell, unless the line must be shorter."""
        measure = len if width is None else cells
        found = [max(map(measure, column)) for column in zip(*rows, strict=True)] or [0] * len(self.columns)
        if width is None:
            return found
        room = width - len(self.indent) - len(GAP) * (len(found) - 1)
        for least in LEAST:
            floors = {place: least[column.cut] for place, column in enumerate(self.columns) if column.cut}
            _shrink(found, floors, sum(found) - room)
        return found

    def _line(self, row: Sequence[str], widths: Sequence[int], screen: Screen) -> str:
        parts = []
        for text, column, width in zip(row, self.columns, widths, strict=True):
            shown = text if screen.width is None else fit(text, width, column.cut)
            blank = " " * (width - (len(shown) if screen.width is None else cells(shown)))
            painted = screen.paint(shown, column.colour) if shown else shown
            parts.append(blank + painted if column.right else painted + blank)
        return (self.indent + GAP.join(parts)).rstrip()


def _shrink(widths: list[int], floors: Mapping[int, int], excess: int) -> None:
    """Take ``excess`` columns from those that have a floor, always from the widest, not below its floor."""
    while excess > 0:
        wide = [place for place, floor in floors.items() if widths[place] > floor]
        if not wide:
            return
        widest = max(widths[place] for place in wide)
        group = [place for place in wide if widths[place] == widest]
        # together they become as wide as the next one, or as narrow as one of them may be
        below = [widths[place] for place in wide if widths[place] < widest]
        stop = max([*below, *(floors[place] for place in group)])
        step = min(widest - stop, -(-excess // len(group)))
        for place in group:
            taken = min(step, excess)
            widths[place] -= taken
            excess -= taken
