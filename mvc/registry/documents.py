"""Plain values of a JSON document by dotted names, as formats give those of their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mvc.formats import Value
from mvc.formats.base import MAX_LISTED, MAX_VALUE_CHARACTERS, MAX_VALUES

MAX_NESTING = 32


def flatten(document: Any) -> dict[str, Value]:
    """Scalars by the way to them, keys and positions joined by dots; a longer list by its length, under its
    name followed by ``.#``.

    What the Python API writes for values that JSON lacks is read too: ``{"$tuple": [...]}`` is a list and
    ``{"$dict": [[key, value], ...]}`` a mapping; its other objects (tensors, bytes) are no plain values.
    """
    return dict(islice(_walk(document, "", 0), MAX_VALUES))


def _walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, Value]]:
    if value is None or isinstance(value, bool | int | float):
        yield name, value
    elif isinstance(value, str):
        if len(value) <= MAX_VALUE_CHARACTERS:
            yield name, value
    elif depth < MAX_NESTING:
        items = _items(value)
        if isinstance(items, list) and len(items) > MAX_LISTED:
            yield _below(name, "#"), len(items)
            return
        pairs = enumerate(items) if isinstance(items, list) else items.items()
        for key, inner in pairs:
            yield from _walk(inner, _below(name, str(key)), depth + 1)


def _items(value: Any) -> list[Any] | Mapping[Any, Any]:
    if isinstance(value, dict) and len(value) == 1:
        (key, inner), *_ = value.items()
        if key == "$tuple" and isinstance(inner, list):
            return inner
        if key == "$dict" and isinstance(inner, list):
            return {str(pair[0]): pair[1] for pair in inner if isinstance(pair, list) and len(pair) == 2}
        if key.startswith("$"):
            return {}
    return value if isinstance(value, dict | list) else {}


def _below(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
