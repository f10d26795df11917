"""Reads the fields of root and of pieces: each has its type and range, or the file is damaged.

``what`` names the field in messages. Everything here raises :class:`CorruptFile`; maps also raise
:class:`UnsupportedFeature`, for a key that starts with ``!``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NoReturn, TypeVar

from mvc.errors import CorruptFile, UnsupportedFeature
from mvc.objectid import ID_BYTES, AliasId, CommitId, ObjectId, TagId

MAX_REF_NAME = 512  # characters of a full name; names that people choose are shorter (history.refnames)

_Id = TypeVar("_Id", bound=ObjectId)

# What no full ref name has, whatever made it: other beginnings, empty or hidden parts, and characters with a
# meaning of their own to revisions, shells or terminals.
_REF_NAME = re.compile(r"refs(?:/(?![./])[^\x00-\x20\x7f-\x9f~^:?*\[\\/]+)+")
_VALUE_BYTES = {CommitId.kind: 33, TagId.kind: 65, AliasId.kind: 33}


def damaged(what: str, how: str) -> NoReturn:
    """Refuse a part of root or of a piece."""
    raise CorruptFile(f"{what} {how}", hint="run 'mvc repair'")


def parse_map(value: Any, what: str, required: Collection[str]) -> dict[str, Any]:
    """A map with all these keys; others are the caller's business.

    Raises:
        CorruptFile: it is no map, or a key is missing.
        UnsupportedFeature: it has a key that must be understood.
    """
    if type(value) is not dict:
        damaged(what, "is not a map")
    for key in value:
        if key.startswith("!"):
            raise UnsupportedFeature(f"{what} needs the feature {key[1:]!r}", hint="upgrade mvc")
    missing = set(required) - value.keys()
    if missing:
        damaged(what, f"lacks {', '.join(sorted(missing))}")
    return value


def parse_exact_map(value: Any, what: str, keys: Collection[str]) -> dict[str, Any]:
    """A map with exactly these keys: what a rewrite would lose must not be there."""
    parse_map(value, what, keys)
    unknown = value.keys() - set(keys)
    if unknown:
        damaged(what, f"has unknown parts {', '.join(map(repr, sorted(unknown)))}")
    return dict(value)


def parse_list(value: Any, what: str, most: int | None = None) -> list[Any]:
    """A list, of at most so many items."""
    if type(value) is not list:
        damaged(what, "is not a list")
    if most is not None and len(value) > most:
        damaged(what, f"has more than {most} items")
    return value


def parse_row(value: Any, what: str, length: int) -> list[Any]:
    """A list of exactly so many items."""
    if type(value) is not list or len(value) != length:
        damaged(what, f"has not {length} items")
    return value


def parse_bytes(value: Any, what: str, length: int) -> bytes:
    """Exactly so many bytes."""
    if type(value) is not bytes or len(value) != length:
        damaged(what, f"is not {length} bytes")
    return value


def parse_count(value: Any, what: str) -> int:
    """An integer from 0 to 2⁶³ - 1."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        damaged(what, "is not a count")
    return value


def parse_ref_name(value: Any, what: str) -> str:
    """A ref's full name."""
    if (
        type(value) is not str
        or len(value) > MAX_REF_NAME
        or not _REF_NAME.fullmatch(value)
        or ".." in value
        or "@{" in value
    ):
        damaged(what, "is not the name of a ref")
    return value


def is_ref_value(value: Any) -> bool:
    """Whether this is what a ref may point to: kind, id, and for an annotated tag the commit's id."""
    return type(value) is bytes and len(value) == _VALUE_BYTES.get(next(iter(value), -1))


def parse_ref_value(value: Any, what: str) -> bytes | None:
    """A ref's value, or None where there is none."""
    if value is not None and not is_ref_value(value):
        damaged(what, "is not what a ref may point to")
    return None if value is None else bytes(value)


def parse_head(value: Any, what: str) -> str | bytes | None:
    """What HEAD may be: a branch's full name, a commit id, None."""
    if type(value) is str:
        if not value.startswith("refs/heads/"):
            damaged(what, "is not a branch")
        return parse_ref_name(value, what)
    return None if value is None else parse_bytes(value, what, ID_BYTES)


def parse_id(cls: type[_Id], value: Any, what: str) -> _Id:
    """An id of a kind."""
    return cls(parse_bytes(value, what, ID_BYTES))


def parse_text(value: Any, what: str) -> str:
    """A string."""
    if type(value) is not str:
        damaged(what, "is not text")
    return value
