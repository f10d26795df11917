"""JSON from a file that nobody trusts: parsed under budgets, and flattened to plain values.

Specification: RFC 8259; where it leaves a choice: of a key that occurs twice the last one counts, and an
integer of more than 19 digits is refused, because converting it takes quadratic time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mvc.formats.base import MAX_LISTED, MAX_VALUE_CHARACTERS, NotThisFormat, Value, limited

MAX_DEPTH = 32
"""Values nested deeper are left out when they are flattened."""

MAX_NAME_CHARACTERS = 1 << 10
"""What has a longer name is left out too."""

MAX_ITEMS = 500_000
"""Items of a document about a model, which has few; those that have many (a tokenizer) are not read."""

_MAX_DIGITS = 19
_BRACKETS = b",[{"


def parse(data: bytes, max_items: int = MAX_ITEMS) -> Any:
    """Parse JSON text of at most so many items (commas and opening brackets: each may cost 100 bytes).

    Raises:
        NotThisFormat: it is malformed, nested too deeply or beyond the budget.
    """
    if sum(data.count(bracket) for bracket in _BRACKETS) > max_items:
        raise NotThisFormat(f"JSON of more than {max_items} items")
    try:
        return json.loads(data.decode(), parse_int=_integer)
    except RecursionError:
        raise NotThisFormat("JSON nested too deeply") from None
    except ValueError:  # not UTF-8, not JSON
        raise NotThisFormat("not JSON") from None


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS + 1:
        raise ValueError("an integer of too many digits")
    return int(text)


def flatten(name: str, value: Any) -> Iterator[tuple[str, Value]]:
    """The scalars in a parsed value, by dotted names below ``name``, which may be empty: keys of objects,
    indices of lists.

    A list of more than ``MAX_LISTED`` items gives its length, under its name followed by ``.#``.
    """
    inside: list[Iterator[tuple[str, Any]]] = [iter([(name, value)])]  # names are made one at a time
    while inside:
        path, item = next(inside[-1], (None, None))
        if path is None:
            inside.pop()
        elif isinstance(item, dict) or (isinstance(item, list) and len(item) <= MAX_LISTED):
            if len(inside) <= MAX_DEPTH:
                inside.append(_children(path, item))
        elif isinstance(item, list):
            yield _below(path, "#"), len(item)
        else:
            yield path, item


def _children(path: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(key, int) or len(path) + len(key) < MAX_NAME_CHARACTERS:
            yield _below(path, str(key)), child


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def bounded(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """What a format may give as its values: the first of each name, without long texts and lone
    surrogates."""
    return limited(
        (name, value)
        for name, value in pairs
        if _is_text(name) and (not isinstance(value, str) or _is_text(value))
    )


def _is_text(text: str) -> bool:
    if len(text) > MAX_VALUE_CHARACTERS:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
