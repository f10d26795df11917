"""A text file, or one of JSON, out of three versions of it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mvc.history.json_merge import merge_json
from mvc.history.text_merge import MAX_TEXT_BYTES, is_text, merge_text
from mvc.merging.sides import Side, Sides

Favour = Literal["ours", "theirs"]

_JSON = ".json"


class MergedText(NamedTuple):
    """A merged file; whether nothing in it is in conflict; and JSON pointers to the values that are. Lines in
    conflict stand between markers."""

    data: bytes
    clean: bool
    conflicts: tuple[str, ...] = ()


def merge_texts(
    path: str, sides: Sides, *, labels: tuple[str, str], favour: Favour | None
) -> MergedText | None:
    """Merge a file by keys if it is called like JSON and all versions are objects, else by lines.

    ``favour`` is the side that gets what is in conflict; None where a version is no text.
    """
    versions = [b"" if side is None else _text(side) for side in sides]
    if None in versions:
        return None
    base, ours, theirs = (version or b"" for version in versions)
    if path.lower().endswith(_JSON):
        by_key = merge_json(base if sides.base is not None else None, ours, theirs, favour=favour)
        if by_key is not None:
            return MergedText(by_key.data, not by_key.conflicts, by_key.conflicts)
    by_line = merge_text(base, ours, theirs, labels=labels, favour=favour)
    return MergedText(by_line.data, not by_line.conflicts)


def _text(side: Side) -> bytes | None:
    """A version's bytes; None where it is too long or no text."""
    size = side.manifest.size
    if size > MAX_TEXT_BYTES:
        return None
    data = b"".join(side.read(0, size))
    return data if is_text(data) else None
