"""Merges of texts and JSON, whose files come from anybody's branch; and ignore rules."""

from __future__ import annotations

import json
from typing import Any

from mvc.history.json_merge import merge_json
from mvc.history.text_merge import has_markers, is_text, merge_text
from mvc.ignore import IgnoreRules
from tests.fuzz.target import Target

BETWEEN = b"\0\xff\0"
"""Stands between the versions of an input: base, ours, theirs."""


def _three(data: bytes) -> tuple[bytes, bytes, bytes]:
    parts = [*data.split(BETWEEN, 2), b"", b""]
    return parts[0], parts[1], parts[2]


def _text(data: bytes) -> None:
    base, ours, theirs = _three(data)
    is_text(data)
    has_markers([base, ours])
    merged = merge_text(base, ours, theirs)
    assert len(merged.data) <= 2 * len(data) + 200 * (merged.conflicts + 1)
    assert merge_text(base, ours, base) == (ours, 0)
    assert merge_text(base, base, theirs) == (theirs, 0)
    assert merge_text(base, ours, ours) == (ours, 0)
    for favour in ("ours", "theirs", "union"):
        assert merge_text(base, ours, theirs, favour=favour).conflicts == 0


def _json(data: bytes) -> None:
    base, ours, theirs = _three(data)
    merged = merge_json(base, ours, theirs)
    if merged is None:
        return
    # All three are objects now, and what comes out is one.
    for favour in (None, "ours", "theirs"):
        again = merge_json(base, ours, theirs, favour=favour)
        assert again is not None
        assert isinstance(_parsed(again.data), dict)
        assert favour is None or not again.conflicts
    mine, yours = merge_json(base, ours, base), merge_json(base, base, theirs)
    assert mine is not None and mine.data == ours
    assert yours is not None and _parsed(yours.data) == _parsed(theirs)


def _parsed(data: bytes) -> Any:
    # Numbers stay text: they may have more digits than Python converts.
    return json.loads(data, parse_int=str, parse_float=str)


def _ignore(data: bytes) -> None:
    """An input is rules, a separator, and a path."""
    rules, path, folder = (part.decode(errors="replace") for part in _three(data))
    found = IgnoreRules().pushed("", rules).pushed(folder, rules)
    for is_folder in (False, True):
        found.ignored(path or "a/b", is_folder)


def _joined(*versions: str) -> bytes:
    return BETWEEN.join(version.encode() for version in versions)


_TEXTS = [
    _joined("a\nb\nc\nd\n", "a\nB\nc\nd\n", "a\nb\nc\nD\n"),
    _joined("a\r\nb\r\n", "a\r\nx\r\n", "a\r\ny"),
    _joined("", "1\n2\n", "1\n3\n"),
    _joined("a\n" * 20, "a\n" * 10 + "b\n" + "a\n" * 9, "<<<<<<< x\n" + "a\n" * 21),
]
_JSONS = [
    _joined('{"a": 1, "b": {"c": [1, 2]}}', '{"a": 2, "b": {"c": [1, 2], "d": null}}', '{"b": {"c": [3]}}'),
    _joined("{}", '{\n  "x": 1e400,\n  "y": "\\ud800"\n}', '{"x": -0.0, "z": true}'),
    _joined('{"~/": 1}', '{"~/": ' + "[" * 200 + "]" * 200 + "}", '{"~/": ' + "9" * 5000 + "}"),
]
_IGNORED = [
    _joined("*.pt\n!keep.pt\n/build/\n**/x/**\n[a-z]?\\ \n[!a]\n[[:alpha:]]\n", "a/keep.pt", "a"),
    _joined("a*b*c*d*e*f*g*h*\n", "a" * 60, ""),
    _joined("**/a/**/a/**/a/**/a/**/b\n", "a/" * 40 + "c", ""),
]

TARGETS = [
    Target("merge:text", _text, lambda: _TEXTS),
    Target("merge:json", _json, lambda: _JSONS),
    Target("ignore", _ignore, lambda: _IGNORED),
]
