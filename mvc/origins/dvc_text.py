"""The YAML that DVC writes, as far as its files need it: maps, lists and scalars in block style.

A reader of all of YAML would be one more dependency that reads foreign bytes; of ``.dvc`` files and
``dvc.lock`` only paths and hashes are needed. Nothing is guessed: a value in a form that is not understood
(flow style, anchors, tags) is an :class:`Opaque`, and who needs just that one refuses.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from mvc.errors import UserError

MAX_BYTES = 16 << 20
MAX_NESTED = 32

_KEY = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'#\[\]{},&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+|$)"""
)
_COMMENT = re.compile(r"\s+#.*$")


class Opaque(NamedTuple):
    """A value in a form that is not read."""

    text: str


class _Line(NamedTuple):
    indent: int
    text: str


def parse(data: bytes) -> Any:
    """The value of a file: maps, lists, texts (numbers and booleans are texts too), None, :class:`Opaque`.

    Raises:
        UserError: it is no such file.
    """
    if len(data) > MAX_BYTES:
        raise UserError(f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UserError("it is not UTF-8") from None
    lines = []
    for row in text.splitlines():
        bare = row.strip()
        if bare and not bare.startswith("#") and bare not in ("---", "..."):
            indent = len(row) - len(row.lstrip(" "))
            lines.append(_Line(indent, row[indent:].rstrip()))
    if not lines:
        return None
    parser = _Parser(lines)
    value = parser.block(lines[0].indent, 0)
    if parser.at != len(lines):
        raise parser.fault()
    return value


class _Parser:
    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.at = 0

    def fault(self) -> UserError:
        text = self.lines[min(self.at, len(self.lines) - 1)].text
        return UserError(f"the line {text[:60]!r} is not understood")

    def block(self, indent: int, depth: int) -> Any:
        """The map or list that begins at this line and has this indentation."""
        if depth > MAX_NESTED:
            raise UserError(f"it is nested deeper than {MAX_NESTED} levels")
        text = self.lines[self.at].text
        if text == "-" or text.startswith("- "):
            return self._list(indent, depth)
        if _KEY.match(text):
            return self._map(indent, depth)
        return self._scalar(text, indent - 1)

    def _list(self, indent: int, depth: int) -> list[Any]:
        items: list[Any] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.indent != indent or not (line.text == "-" or line.text.startswith("- ")):
                break
            rest = line.text[1:].lstrip(" ")
            if not rest:
                self.at += 1
                items.append(self._below(indent, depth))
                continue
            # what follows the dash is a block of its own, which begins where it stands
            inner = indent + len(line.text) - len(rest)
            self.lines[self.at] = _Line(inner, rest)
            items.append(self.block(inner, depth + 1))
        return items

    def _map(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.at < len(self.lines):
            line = self.lines[self.at]
            match = _KEY.match(line.text) if line.indent == indent else None
            if match is None:
                if line.indent > indent:
                    raise self.fault()
                break
            key = _unquoted(match["key"])
            if not isinstance(key, str) or key in found:
                raise self.fault()
            rest = line.text[match.end() :]
            if rest and not rest.startswith("#"):
                found[key] = self._scalar(rest, indent)
            else:
                self.at += 1
                found[key] = self._below(indent, depth, of_map=True)
        return found

    def _below(self, indent: int, depth: int, *, of_map: bool = False) -> Any:
        """The value on the lines below a key or dash; None where there is none."""
        if self.at == len(self.lines):
            return None
        line = self.lines[self.at]
        same = of_map and line.indent == indent and (line.text == "-" or line.text.startswith("- "))
        return self.block(line.indent, depth + 1) if line.indent > indent or same else None

    def _scalar(self, text: str, indent: int) -> Any:
        """A scalar that begins with ``text``, and goes on on lines that are further in than ``indent``."""
        self.at += 1
        rest = []
        while self.at < len(self.lines) and self.lines[self.at].indent > indent:
            rest.append(self.lines[self.at].text)
            self.at += 1
        return _unquoted(" ".join([text, *rest]))


def _unquoted(text: str) -> str | Opaque | None:
    if text[0] == "'":
        inner = _COMMENT.sub("", text) if not text.endswith("'") else text
        if len(inner) > 1 and inner.endswith("'"):
            return inner[1:-1].replace("''", "'")
        return Opaque(text)
    if text[0] == '"':
        try:
            value = json.loads(text)
        except ValueError:
            return Opaque(text)
        return value if isinstance(value, str) else Opaque(text)
    if text[0] in "[{&*!|>%@`":
        return Opaque(text)
    plain = _COMMENT.sub("", text)
    return None if plain in ("null", "~", "Null", "NULL") else plain
