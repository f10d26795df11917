"""How a merge was made, as its commit records it: JSON and a line of text."""

from __future__ import annotations

from typing import Any

from mvc.cli.versions import finite
from mvc.objects import Commit
from mvc.text import number, one_line

_NUMBERS = ("weight", "scale", "density")


def merge_json(commit: Commit) -> dict[str, Any] | None:
    """The record, with ids as text; None for what is no merge, or records nothing that is known here."""
    record = commit.extra.get("merge")
    if not isinstance(record, dict):
        return None
    bases = record.get("bases")
    found: dict[str, Any] = {
        "bases": [one.hex() for one in bases if isinstance(one, bytes)] if isinstance(bases, list) else []
    }
    if isinstance(record.get("strategy"), str):
        found["strategy"] = record["strategy"]
    if isinstance(record.get("tensors"), list):
        found["tensors"] = [[str(word) for word in row] for row in record["tensors"] if isinstance(row, list)]
    numbers = {name: record[name] for name in _NUMBERS if isinstance(record.get(name), int | float)}
    return {**found, **finite(numbers)}


def merge_lines(commit: Commit) -> list[str]:
    """What was chosen, in a line; none where nothing was."""
    record = merge_json(commit)
    if record is None:
        return []
    words = [record["strategy"]] if "strategy" in record else []
    words += ["=".join(row) for row in record.get("tensors", ())]
    words += [f"{name} {number(record[name])}" for name in _NUMBERS if record.get(name) is not None]
    return [f"Merged with {', '.join(map(one_line, words))}", ""] if words else []
