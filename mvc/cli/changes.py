"""Files that differ, as JSON and as lines of text; for the commands that show some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mvc.cli.call import Call
from mvc.cli.tables import Column, Table
from mvc.cli.text import size
from mvc.history.reader import ObjectReader, read_manifest
from mvc.history.treediff import Change
from mvc.objectid import ManifestId
from mvc.objects import TreeEntry

LETTERS = {"added": "A", "removed": "D", "modified": "M", "mode": "T", "renamed": "R"}
COLOURS = {"added": "green", "removed": "red"}


def weights_text(call: Call, path: str, other: str | None) -> str:
    """What is said behind a file that holds the weights of another file, or of its older self."""
    if other is None:
        return ""
    return "  (same weights" + (f" as {call.shown(other)}" if other != path else "") + ", other bytes)"


def sizes_text(old: int | None, new: int | None) -> str:
    """``12.3 MB``, or ``12.3 MB -> 12.4 MB`` where it changed."""
    if old is not None and new is not None and old != new:
        return f"{size(old)} -> {size(new)}"
    either = new if old is None else old
    return "" if either is None else size(either)


def tree_change_json(objects: ObjectReader, change: Change) -> dict[str, Any]:
    """A file that differs between two versions."""
    old, new = _size(objects, change.old), _size(objects, change.new)
    return {
        "path": change.path,
        "kind": change.kind,
        "old_path": change.old_path,
        "old_bytes": old,
        "new_bytes": new,
    }


def tree_change_lines(call: Call, objects: ObjectReader, changes: Iterable[Change]) -> list[str]:
    """One line for each file."""
    table = Table([Column(), Column(cut="middle"), Column()])
    for change in changes:
        path = call.shown(change.path)
        if change.old_path is not None:
            path = f"{call.shown(change.old_path)} -> {path}"
        sizes = sizes_text(_size(objects, change.old), _size(objects, change.new))
        table.add(LETTERS[change.kind], path, sizes, colour=COLOURS.get(change.kind, ""))
    return table.lines(call.screen)


def _size(objects: ObjectReader, entry: TreeEntry | None) -> int | None:
    return None if entry is None else read_manifest(objects, ManifestId(entry.id)).size
