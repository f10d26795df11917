"""Files that differ, as JSON and as lines of text; for the commands that show some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mvc.cli.call import Call
from mvc.cli.tables import Column, Table
from mvc.history.reader import GAP, ObjectReader, read_or_gap
from mvc.history.treediff import Change
from mvc.objectid import ManifestId
from mvc.objects import TreeEntry
from mvc.text import size

LETTERS = {"added": "A", "removed": "D", "modified": "M", "mode": "T", "renamed": "R"}
COLOURS = {"added": "green", "removed": "red"}


def weights_text(call: Call, path: str, other: str | None) -> str:
    """What is said behind a file that holds the weights of another file, or of its older self."""
    if other is None:
        return ""
    return "  (same weights" + (f" as {call.shown(other)}" if other != path else "") + ", other bytes)"


def sizes_text(old: int | None, new: int | None) -> str:
    """``12.3 MB``, or ``12.3 MB -> 12.4 MB`` where it changed, or ``12.3 MB (+24 B)``."""
    if old is not None and new is not None and old != new:
        if size(old) == size(new):
            return f"{size(new)} ({new - old:+,} B)"
        return f"{size(old)} -> {size(new)}"
    either = new if old is None else old
    return "" if either is None else size(either)


def tree_change_json(reader: ObjectReader, change: Change, same_weights: str | None) -> dict[str, Any]:
    """A file that differs between two versions; ``same_weights`` is the old file whose weights it holds."""
    old, new = _size(reader, change.old), _size(reader, change.new)
    return {
        "path": change.path,
        "kind": change.kind,
        "old_path": change.old_path,
        "old_bytes": old,
        "new_bytes": new,
        "same_weights": same_weights,
    }


def tree_change_lines(
    call: Call, reader: ObjectReader, changes: Iterable[Change], same_weights: Mapping[str, str]
) -> list[str]:
    """One line for each file; ``same_weights`` maps paths to the old files whose weights they hold."""
    table = Table([Column(), Column(cut="middle"), Column()])
    for change in changes:
        path = call.shown(change.path)
        if change.old_path is not None:
            path = f"{call.shown(change.old_path)} -> {path}"
        sizes = sizes_text(_size(reader, change.old), _size(reader, change.new))
        sizes += weights_text(call, change.path, same_weights.get(change.path))
        table.add(LETTERS[change.kind], path, sizes, colour=COLOURS.get(change.kind, ""))
    return table.lines(call.screen)


def _size(reader: ObjectReader, entry: TreeEntry | None) -> int | None:
    if entry is None:
        return None
    manifest = read_or_gap(reader, ManifestId(entry.id))
    return None if manifest.format == GAP else manifest.size
