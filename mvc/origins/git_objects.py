"""Git's objects as their bytes are: trees, commits, annotated tags."""

from __future__ import annotations

import re
from typing import NamedTuple

from mvc.errors import UserError
from mvc.objects import Person, Timestamp

FOLDER, LINK, MODULE = 0o040000, 0o120000, 0o160000
"""Modes of tree entries that are no files."""

_PERSON = re.compile(
    r"(?P<name>[^<>]*?)\s*<(?P<email>[^<>]*)>\s*(?P<time>-?[0-9]{1,15})?\s*(?P<zone>[+-][0-9]{4})?.*"
)
_MODE = re.compile(rb"[0-7]{5,6}")
_MICROSECONDS = 1_000_000
_MOST_MICROSECONDS = 1 << 61
_DAY = 24 * 60


class TreeItem(NamedTuple):
    """A name in a folder of Git; bytes of the name that are no UTF-8 are surrogates in it."""

    name: str
    mode: int
    id: str


class GitCommit(NamedTuple):
    """What a commit of Git says; ``time`` is the author's."""

    tree: str
    author: Person
    time: Timestamp
    message: str


class GitTag(NamedTuple):
    """What an annotated tag says; ``target`` may be an object of any ``kind``."""

    target: str
    kind: str
    tagger: Person
    time: Timestamp
    message: str


def parse_tree(data: bytes, id_bytes: int) -> list[TreeItem]:
    """The entries of a tree whose ids have so many bytes.

    Raises:
        UserError: it is damaged.
    """
    items, at = [], 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        end = data.find(b"\0", at)
        if space < 0 or end < space or not _MODE.fullmatch(data, at, space) or end + 1 + id_bytes > len(data):
            raise _damaged("a tree")
        name = data[space + 1 : end].decode("utf-8", "surrogateescape")
        items.append(TreeItem(name, int(data[at:space], 8), data[end + 1 : end + 1 + id_bytes].hex()))
        at = end + 1 + id_bytes
    return items


def parse_commit(data: bytes) -> GitCommit:
    """A commit; who it is of and what it says, in the encoding that it names.

    Raises:
        UserError: it is damaged.
    """
    headers, message = _headers(data)
    if "tree" not in headers or "author" not in headers:
        raise _damaged("a commit")
    encoding = headers.get("encoding", b"utf-8").decode("ascii", "replace")
    person, time = _person(_text(headers["author"], encoding))
    return GitCommit(
        headers["tree"].decode("ascii", "replace"), person, time, _text(message, encoding).rstrip("\n")
    )


def parse_tag(data: bytes) -> GitTag:
    """An annotated tag; one from before taggers were recorded has nobody's, and the time 0.

    Raises:
        UserError: it is damaged.
    """
    headers, message = _headers(data)
    if "object" not in headers or "type" not in headers:
        raise _damaged("a tag")
    person, time = _person(_text(headers.get("tagger", b""), "utf-8"))
    text = _text(message, "utf-8").partition("-----BEGIN ")[0]
    return GitTag(
        headers["object"].decode("ascii", "replace"),
        headers["type"].decode("ascii", "replace"),
        person,
        time,
        text.rstrip("\n"),
    )


def _headers(data: bytes) -> tuple[dict[str, bytes], bytes]:
    """The first header of each name, and what follows the empty line."""
    head, _, rest = data.partition(b"\n\n")
    found: dict[str, bytes] = {}
    for line in head.split(b"\n"):
        name, space, value = line.partition(b" ")
        if name and space:  # a line that begins with a space goes on with the header above
            found.setdefault(name.decode("ascii", "replace"), value)
    return found, rest


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "replace")
    except (LookupError, ValueError):
        return data.decode(errors="replace")


def _person(text: str) -> tuple[Person, Timestamp]:
    match = _PERSON.fullmatch(text)
    if match is None:
        return Person(text.strip() or "unknown", ""), Timestamp(0, 0)
    moment = int(match["time"] or 0) * _MICROSECONDS
    zone = match["zone"] or "+0000"
    minutes = int(zone[1:3]) * 60 + int(zone[3:])
    offset = -minutes if zone[0] == "-" else minutes
    if abs(moment) > _MOST_MICROSECONDS:
        moment = 0
    return Person(match["name"].strip() or "unknown", match["email"].strip()), Timestamp(
        moment, offset if abs(offset) <= _DAY else 0
    )


def _damaged(what: str) -> UserError:
    return UserError(f"{what} of the Git repository is damaged", hint="run 'git fsck' there")
