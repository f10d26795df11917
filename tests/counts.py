"""What the long fault tests counted in their last runs: one row for each, kept in a JSON file.

``record`` is what a long form calls when it is through; ``python -m tests.counts`` prints all rows as the
table that docs/reliability.md shows, and ``python -m tests.counts PAGE`` puts it there between the two marker
comments. The file is ``.faults/counts.json``, or what ``MVC_COUNTS`` names.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

Count = int | float | str
Rows = dict[str, dict[str, Count]]

BEGIN = "<!-- counts: begin -->"
END = "<!-- counts: end -->"


def place() -> Path:
    """The file of the counts."""
    return Path(os.environ.get("MVC_COUNTS") or ".faults/counts.json")


def record(name: str, **counts: Count) -> None:
    """Keep what a run counted: the row ``name`` gets these numbers, and today's date.

    Numbers of the row that are not given stay as they were, as do other rows; several processes may record
    at once. ``seconds`` is shown as a duration.
    """
    path = place()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as guard:  # dropped with its handle
        fcntl.flock(guard, fcntl.LOCK_EX)
        rows = rows_of(path)
        rows.setdefault(name, {}).update({**counts, "on": datetime.now(UTC).date().isoformat()})
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        fresh.replace(path)


def rows_of(path: Path) -> Rows:
    """All rows of a file of counts; none where there is no file."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text())
    if not isinstance(rows, dict):
        raise ValueError(f"not a file of counts: {path}")
    return rows


def table(rows: Rows) -> str:
    """The rows as a Markdown table."""
    lines = ["| test | counts | time | run on |", "|---|---|---|---|"]
    for name, row in sorted(rows.items()):
        shown = " · ".join(
            f"{label.replace('_', ' ')} {_number(value)}"
            for label, value in _in_order(row).items()
            if label not in ("on", "seconds")
        )
        lines.append(f"| {name} | {shown} | {_duration(row.get('seconds'))} | {row.get('on', '')} |")
    return "\n".join(lines) + "\n"


def _in_order(row: Mapping[str, Count]) -> dict[str, Count]:
    """What was tried before what went wrong: large numbers first, zeros last, words at the end."""
    return dict(sorted(row.items(), key=lambda item: (isinstance(item[1], str), not item[1], item[0])))


def _number(value: Count) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _duration(seconds: Count | None) -> str:
    if not isinstance(seconds, int | float):
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def put_into(page: str, rows: Rows) -> str:
    """A page with its table, between the two marker comments, made anew."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the comments {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(rows)}{END}{after}"


def main(arguments: list[str]) -> None:
    """Print the table, or put it into the page that is named."""
    rows = rows_of(place())
    if not arguments:
        print(table(rows), end="")
        return
    page = Path(arguments[0])
    page.write_text(put_into(page.read_text(), rows))


if __name__ == "__main__":
    main(sys.argv[1:])
