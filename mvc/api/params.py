"""Settings of a run as they are recorded: a configuration, however nested, as scalars by dotted names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any

import numpy as np

from mvc.errors import UsageError
from mvc.objects import Scalar

MAX_NESTING = 32
"""Levels of a configuration; deeper ones are nearly always circular."""

_MOST = 1 << 63
_HINT = "text, numbers, booleans, None, paths and mappings or lists of them can; str(value) makes text"
_EXAMPLE = "for example params={'lr': 3e-4, 'optimizer': {'name': 'adam'}}"


def params_of(params: Any) -> dict[str, Scalar]:
    """Settings by dotted names.

    Mappings, and lists that hold some, are gone into: keys and positions are joined by dots. Lists and tuples
    of scalars become JSON text, and so does an empty mapping; paths, dates, enumerations, element types and
    devices become text; scalars of numpy and torch become Python's own.

    Raises:
        UsageError: a name that is no text, two of one name, or any other value: a function, an object.
    """
    if not isinstance(params, Mapping):
        hint = "vars(args) makes one of argparse's, dataclasses.asdict(config) of a dataclass"
        raise UsageError(f"params are a mapping of names to values, not a {type(params).__name__}", hint=hint)
    found: dict[str, Scalar] = {}
    for name, value in _flat("", params, 0):
        if name in found:
            raise UsageError(f"two params would both be called {name!r}", hint="rename one of them")
        found[name] = value
    return found


def plain_number(name: str, value: Any) -> Any:
    """A scalar of numpy or torch as Python's own; anything else as it is.

    Raises:
        UsageError: an integer of more than 64 bits.
    """
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        raise UsageError(f"{name!r} is an integer of more than 64 bits", hint="record it as text")
    return value


def check_name(name: Any, example: str) -> None:
    """Refuse what cannot name a metric, a setting or data.

    Raises:
        UsageError: it is no text, empty, or does not print.
    """
    if type(name) is not str or not name.isprintable() or not name:
        raise UsageError(f"{name!r} is no name", hint=example)


def _flat(prefix: str, items: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Scalar]]:
    if depth > MAX_NESTING:
        raise UsageError(
            f"params are nested deeper than {MAX_NESTING} levels", hint="do they hold themselves?"
        )
    for key, value in items.items():
        word = str(key) if type(key) is int and prefix else key
        check_name(word, _EXAMPLE)
        name = prefix + str(word)
        inner = value
        if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            inner = dict(enumerate(value))
        if isinstance(inner, Mapping) and inner:
            yield from _flat(f"{name}.", inner, depth + 1)
        elif isinstance(inner, Mapping):
            yield name, "{}"
        elif isinstance(value, list | tuple):
            yield name, json.dumps(_listed(name, value, depth + 1), ensure_ascii=False)
        else:
            yield name, _scalar(name, value)


def _listed(name: str, items: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    if depth > MAX_NESTING:
        raise UsageError(
            f"param {name!r} is nested deeper than {MAX_NESTING} levels", hint="does it hold itself?"
        )
    return [
        _listed(name, item, depth + 1) if isinstance(item, list | tuple) else _scalar(name, item)
        for item in items
    ]


def _scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, Enum):
        return str(value.value) if isinstance(value, str) else value.name
    plain = plain_number(name, value)
    if plain is None or isinstance(plain, bool):
        return plain
    if isinstance(plain, int | float):
        return int(plain) if isinstance(plain, int) else float(plain)  # of a subclass, the plain one
    text = str(plain) if isinstance(plain, str) else _text(value)
    if text is None:
        raise UsageError(f"param {name!r} is a {type(value).__name__}, which cannot be recorded", hint=_HINT)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"param {name!r} is text that is not valid Unicode") from None
    return text


def _text(value: Any) -> str | None:
    """What stands for a value that has a usual text; None for any other."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    torch = sys.modules.get("torch")  # never imported here: its own values are only known where it is
    if torch is not None and isinstance(value, torch.dtype | torch.device):
        return str(value)
    return None
