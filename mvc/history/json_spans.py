"""JSON as spans of its text: what an object holds and where, so that values can keep every character."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

MAX_NESTING = 200

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_OTHER = re.compile(
    r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity"  # as json writes
)

_SURROGATE = re.compile("[\ud800-\udfff]")


class NotJson(ValueError):
    """Not JSON, or not such as can be merged by key."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value: the text's characters ``start`` to ``end``, and what it holds where it is no scalar.

    ``members`` are an object's values by key, in the text's order; ``items`` an array's.
    """

    start: int
    end: int
    members: dict[str, Member] | None = None
    items: list[Value] | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A key's place in the text, with its quotes, and its value."""

    start: int
    value: Value


def parse(text: str) -> Value:
    """The value of a whole text.

    NaN and infinities count as JSON, since Python writes them.

    Raises:
        NotJson: it is none; an object has a key twice; or it is nested deeper than ``MAX_NESTING``.
    """
    parser = _Parser(text)
    value = parser.value(parser.skip(0), MAX_NESTING)
    if parser.skip(value.end) != len(text):
        raise NotJson("something follows the value")
    return value


def equal(one_text: str, one: Value, other_text: str, other: Value) -> bool:
    """Whether two values say the same. Numbers are the same where they are written alike."""
    if one.members is not None and other.members is not None:
        mine, yours = one.members, other.members
        return mine.keys() == yours.keys() and all(
            equal(one_text, mine[key].value, other_text, yours[key].value) for key in mine
        )
    if one.items is not None and other.items is not None:
        return len(one.items) == len(other.items) and all(
            equal(one_text, mine, other_text, yours)
            for mine, yours in zip(one.items, other.items, strict=True)
        )
    left, right = one_text[one.start : one.end], other_text[other.start : other.end]
    if left[0] == right[0] == '"':
        return left == right or bool(json.loads(left) == json.loads(right))
    return left == right


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text

    def skip(self, at: int) -> int:
        """Where white space ends."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, left: int) -> Value:
        """The value that begins here."""
        first = self._text[at : at + 1]
        if first in ("{", "["):
            if not left:
                raise NotJson("nested too deeply")
            return self._object(at, left - 1) if first == "{" else self._array(at, left - 1)
        found = (_STRING if first == '"' else _OTHER).match(self._text, at)
        if found is None:
            raise NotJson(f"no value at character {at}")
        return Value(at, found.end())

    def _object(self, start: int, left: int) -> Value:
        members: dict[str, Member] = {}
        at = self.skip(start + 1)
        if self._text[at : at + 1] == "}":
            return Value(start, at + 1, members)
        while True:
            key = _STRING.match(self._text, at)
            if key is None:
                raise NotJson(f"no key at character {at}")
            name = str(json.loads(key.group()))
            if not name.isascii() and _SURROGATE.search(name):
                raise NotJson("a key is not valid Unicode")
            if name in members:
                raise NotJson(f"the key {key.group()} stands twice in one object")
            value = self.value(self.skip(self._expect(self.skip(key.end()), ":")), left)
            members[name] = Member(at, value)
            at = self.skip(value.end)
            if self._text[at : at + 1] == "}":
                return Value(start, at + 1, members)
            at = self.skip(self._expect(at, ","))

    def _array(self, start: int, left: int) -> Value:
        items: list[Value] = []
        at = self.skip(start + 1)
        if self._text[at : at + 1] == "]":
            return Value(start, at + 1, items=items)
        while True:
            items.append(self.value(at, left))
            at = self.skip(items[-1].end)
            if self._text[at : at + 1] == "]":
                return Value(start, at + 1, items=items)
            at = self.skip(self._expect(at, ","))

    def _expect(self, at: int, sign: str) -> int:
        if self._text[at : at + 1] != sign:
            raise NotJson(f"no {sign!r} at character {at}")
        return at + 1
