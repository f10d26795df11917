"""JSON from a file that nobody trusts: parsed under budgets, and flattened to plain values.

Specification: RFC 8259; where it leaves a choice: of a key that occurs twice the last one counts, and an
integer of more than 19 digits is refused, because converting it takes quadratic time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mvc.formats.base import MAX_LISTED, MAX_VALUE_CHARACTERS, MAX_VALUES, NotThisFormat, Value

MAX_DEPTH = 32
"""Values nested deeper are left out when they are flattened."""

_MAX_DIGITS = 19
_BRACKETS = b",[{"


def parse(data: bytes, max_items: int) -> Any:
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
    """The scalars in a parsed value, by dotted names below ``name``: keys of objects, indices of lists.

    A list of more than ``MAX_LISTED`` items gives its length, under its name followed by ``.#``.
    """
    pending: list[tuple[str, Any, int]] = [(name, value, 0)]
    while pending:
        path, item, depth = pending.pop()
        below: Iterable[tuple[Any, Any]] = ()
        if isinstance(item, dict):
            below = item.items()
        elif isinstance(item, list) and len(item) <= MAX_LISTED:
            below = enumerate(item)
        elif isinstance(item, list):
            yield f"{path}.#", len(item)
        else:
            yield path, item
        if depth < MAX_DEPTH:
            pending += reversed([(f"{path}.{key}", child, depth + 1) for key, child in below])


def bounded(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """What a format may give as its values: the first of each name, without long texts and lone
    surrogates."""
    return dict(islice(_first_of_each(pairs), MAX_VALUES))


def _first_of_each(pairs: Iterable[tuple[str, Value]]) -> Iterator[tuple[str, Value]]:
    seen: set[str] = set()
    for name, value in pairs:
        if name not in seen and _is_text(name) and (not isinstance(value, str) or _is_text(value)):
            seen.add(name)
            yield name, value


def _is_text(text: str) -> bool:
    if len(text) > MAX_VALUE_CHARACTERS:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
