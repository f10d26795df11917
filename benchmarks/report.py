"""What benchmarks share: markdown tables, and results kept as JSON with the machine that gave them."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, sentence


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    made.add_argument("--json", type=Path, help="keep what was measured in this file")
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


def finish(name: str, options: argparse.Namespace, measured: dict[str, Any]) -> None:
    """Say on which machine this ran, and keep it where ``--json`` says."""
    described = describe(Path(tempfile.gettempdir()))
    print(f"\n{sentence(described)}")
    if options.json is None:
        return
    said = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    kept = {"json", "peers", "data", "plots"}
    result = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d"),
        "machine": described,
        "options": {key: value for key, value in said.items() if key not in kept},
        "measured": measured,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
