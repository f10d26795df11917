"""Three-way merge of JSON by key.

Objects are merged key by key, all other values whole. The result is our text with their values put in and
taken out: what they did not change keeps every character, so that numbers, escapes, indentation and the
order of keys stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from mvc.history.json_spans import NotJson, Value, equal, parse
from mvc.history.text_merge import MAX_TEXT_BYTES

MAX_VALUES = 150_000
"""About the most values that a file may have: each takes half a kilobyte of memory on each side."""


class JsonMerged(NamedTuple):
    """Merged JSON, and JSON pointers (RFC 6901) to the values in conflict."""

    data: bytes
    conflicts: tuple[str, ...]


def merge_json(
    base: bytes | None, ours: bytes, theirs: bytes, *, favour: Literal["ours", "theirs"] | None = None
) -> JsonMerged | None:
    """Merge the changes from ``base`` (None: an empty object) to ``theirs`` into ``ours``.

    A value that both sides changed, each otherwise, is a conflict: ours is left, and where one side took it
    away, the one that is there. ``favour`` settles conflicts instead. None where these are not three JSON
    objects in UTF-8, each key once: those are merged as text.
    """
    try:
        before, here, there = map(_Source.read, (b"{}" if base is None else base, ours, theirs))
    except (NotJson, UnicodeDecodeError):
        return None
    if there.text in (before.text, here.text):
        # objects that are put together anew lose white space that ours may have inside of empty ones
        return JsonMerged(ours, ())
    merge = _Merge(before, here, there, favour)
    merged = merge.merged("", before.root, here.root, there.root)
    text = here.text[: here.root.start] + merged + here.text[here.root.end :]
    return JsonMerged(text.encode(), tuple(merge.conflicts))


class _Source(NamedTuple):
    text: str
    root: Value

    @classmethod
    def read(cls, data: bytes) -> _Source:
        if len(data) > MAX_TEXT_BYTES or data.count(b",") > MAX_VALUES:
            raise NotJson("too long")
        text = data.decode()
        root = parse(text)
        if root.members is None:
            raise NotJson("not an object")
        return cls(text, root)

    def raw(self, value: Value) -> str:
        return self.text[value.start : value.end]


class _Merge:
    """One merge; ``conflicts`` are collected on the way."""

    def __init__(
        self, base: _Source, ours: _Source, theirs: _Source, favour: Literal["ours", "theirs"] | None
    ) -> None:
        self.base, self.ours, self.theirs = base, ours, theirs
        self.conflicts: list[str] = []
        self._favour = favour

    def merged(self, pointer: str, base: Value | None, ours: Value, theirs: Value) -> str:
        """The text of an object merged out of those of all sides."""
        before = base.members if base is not None and base.members is not None else {}
        here, there = ours.members or {}, theirs.members or {}
        kept: dict[str, str | None] = {}
        for key in _in_order(list(here), list(there)):
            stages = [side[key].value if key in side else None for side in (before, here, there)]
            kept[key] = self._member(f"{pointer}/{_escaped(key)}", *stages)
        return self._assembled(ours, theirs, kept)

    def _member(
        self, pointer: str, base: Value | None, ours: Value | None, theirs: Value | None
    ) -> str | None:
        """The text of one value; None where there is to be none."""
        mine = None if ours is None else self.ours.raw(ours)
        yours = None if theirs is None else self.theirs.raw(theirs)
        if self._same(self.base, base, self.theirs, theirs) or self._same(
            self.ours, ours, self.theirs, theirs
        ):
            return mine
        if self._same(self.base, base, self.ours, ours):
            return yours
        if ours is not None and theirs is not None and None not in (ours.members, theirs.members):
            return self.merged(pointer, base, ours, theirs)
        if self._favour is not None:
            return mine if self._favour == "ours" else yours
        self.conflicts.append(pointer)
        return yours if mine is None else mine

    @staticmethod
    def _same(one_source: _Source, one: Value | None, other_source: _Source, other: Value | None) -> bool:
        if one is None or other is None:
            return one is other
        return equal(one_source.text, one, other_source.text, other)

    def _assembled(self, ours: Value, theirs: Value, kept: dict[str, str | None]) -> str:
        """An object of ours with the values that it is to have; a new key is written as theirs is."""
        there = theirs.members or {}
        left = {key: value for key, value in kept.items() if value is not None}
        if not left:
            return "{}"
        style = _Style.of(self.ours.text, ours) or _Style.of(self.theirs.text, theirs)
        if style is None:
            raise AssertionError("members of two empty objects")
        parts = [style.opening]
        for number, (key, value) in enumerate(left.items()):
            if number:
                parts.append(style.before.get(key, style.separator))
            head = style.heads.get(key)
            if head is None:
                member = there[key]
                head = self.theirs.text[member.start : member.value.start]
            parts += (head, value)
        return "".join([*parts, style.closing])


class _Style(NamedTuple):
    """How an object is written: what stands before its first key, between members and behind the last one;
    for each key, what stands before it, and the key itself up to its value."""

    opening: str
    separator: str
    closing: str
    before: dict[str, str]
    heads: dict[str, str]

    @classmethod
    def of(cls, text: str, value: Value) -> _Style | None:
        """None of an object without members, which shows none."""
        members = value.members
        if not members:
            return None
        keys, placed = list(members), list(members.values())
        opening = text[value.start : placed[0].start]
        before = {
            key: text[last.value.end : member.start]
            for key, last, member in zip(keys[1:], placed, placed[1:], strict=False)
        }
        separator = next(iter(before.values()), "," + (opening[1:] or " "))
        heads = {key: text[member.start : member.value.start] for key, member in members.items()}
        return cls(opening, separator, text[placed[-1].value.end : value.end], before, heads)


def _in_order(ours: list[str], theirs: list[str]) -> Iterator[str]:
    """Our keys in their order, each followed by those that only theirs has behind it."""
    known = set(ours)
    behind: dict[str | None, list[str]] = {}
    last: str | None = None
    for key in theirs:
        if key in known:
            last = key
        else:
            behind.setdefault(last, []).append(key)
    yield from behind.get(None, ())
    for key in ours:
        yield key
        yield from behind.get(key, ())


def _escaped(key: str) -> str:
    """A key as RFC 6901 writes it."""
    return key.replace("~", "~0").replace("/", "~1")
