"""What benchmarks share: markdown tables, results as JSON, and the sections of the documents made of them."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, sentence

_OWN = {"json", "docs", "peers", "data"}
"""Options that say where things lie, not what is measured."""


def parser(description: str | None, *, page: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; ``page`` False: it has no section of its own."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    made.add_argument("--json", type=Path, help="keep what was measured in this file")
    if page:
        made.add_argument("--docs", type=Path, help="put tables and charts into this folder's benchmarks.md")
    return made


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table whose source is readable too; the first column stands left, the others right."""
    columns = list(zip(*([heads, *rows]), strict=True))
    widths = [max(3, *(len(cell) for cell in column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *others])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(heads), line(rule), *(line(row) for row in rows)])


def figure(value: float | None, digits: int = 2) -> str:
    """A number for a table; what was not measured is a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def keep(name: str, options: argparse.Namespace, measured: dict[str, Any], load: float) -> None:
    """Write what was measured where ``--json`` says, with the machine and its load average before."""
    if options.json is None:
        return
    result = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d"),
        "load": load,
        "machine": describe(Path(tempfile.gettempdir())),
        "options": {key: value for key, value in vars(options).items() if key not in _OWN},
        "measured": measured,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


class Page:
    """What one run of a benchmark says: printed at once, kept, and put into the documents if asked for."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name = name
        self._options = options
        self._said: list[str] = []
        self._charts: dict[str, str] = {}
        self._load = os.getloadavg()[0]

    def say(self, text: str = "") -> None:
        """Print some lines of markdown."""
        print(text, flush=True)
        self._said.append(text)

    def chart(self, name: str, drawn: str) -> None:
        """A chart to stand here, as SVG."""
        self._charts[name] = drawn
        self._said.append(f"\n![{name.replace('-', ' ')}](plots/{name}.svg)")

    def finish(self, measured: dict[str, Any]) -> None:
        """Say on which machine this ran, and keep it where ``--json`` and ``--docs`` say."""
        described = describe(Path(tempfile.gettempdir()))
        date = time.strftime("%Y-%m-%d")
        load = f"load average {self._load:.1f} when it began, its own share included later"
        self.say(f"\n{date}, {sentence(described)}; {load}.")
        if self._options.quick:
            self.say("\nMade with `--quick`: too small for the goals, and start-up weighs most.")
        keep(self.name, self._options, measured, self._load)
        if self._options.docs is not None:
            self._document(self._options.docs)

    def _document(self, docs: Path) -> None:
        path = docs / "benchmarks.md"
        path.write_text(replaced(path.read_text(), self.name, "\n".join(self._said).strip()))
        for name, drawn in self._charts.items():
            (docs / "plots").mkdir(exist_ok=True)
            (docs / "plots" / f"{name}.svg").write_text(drawn)


def replaced(page: str, name: str, text: str) -> str:
    """A page with another section between the markers of a benchmark.

    Raises:
        SystemExit: it has no such markers.
    """
    begin, end = f"<!-- {name}: made by benchmarks.{name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _old, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"the page has no section between {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
