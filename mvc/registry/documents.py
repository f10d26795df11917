"""Plain values of a JSON document by dotted names, as formats give those of their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mvc.formats import Value
from mvc.formats.base import MAX_LISTED, MAX_VALUE_CHARACTERS, limited
from mvc.formats.wire.jsontext import MAX_NAME_CHARACTERS

MAX_NESTING = 32


def flatten(document: Any) -> dict[str, Value]:
    """Scalars by the way to them, keys and positions joined by dots; a longer list by its length, under its
    name followed by ``.#``.

    What the Python API writes for values that JSON lacks is read too: ``{"$tuple": [...]}`` is a list and
    ``{"$dict": [[key, value], ...]}`` a mapping; its other objects (tensors, bytes) are no plain values.
    """
    return limited(_walk(document, "", 0))


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
            step = str(key)
            if len(name) + len(step) < MAX_NAME_CHARACTERS:
                yield from _walk(inner, _below(name, step), depth + 1)


def _items(value: Any) -> list[Any] | Mapping[Any, Any]:
    if isinstance(value, dict) and len(value) == 1:
        (key, inner), *_ = value.items()
        if key == "$tuple" and isinstance(inner, list):
            return inner
        if key == "$dict" and isinstance(inner, list):
            pairs = (pair for pair in inner if isinstance(pair, list) and len(pair) == 2)
            return {str(key): value for key, value in pairs if not isinstance(key, list | dict)}
        if key.startswith("$"):
            return {}
    return value if isinstance(value, dict | list) else {}


def _below(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
