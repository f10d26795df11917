"""Plain values of a JSON document by dotted names, as formats give those of their files."""

from __future__ import annotations

import re
import struct
from typing import Any

from mvc.formats import Value
from mvc.formats.wire import jsontext


def flatten(document: Any) -> dict[str, Value]:
    """Scalars by the way to them; see :func:`mvc.formats.wire.jsontext.flatten`. One that is all there is has
    no name.

    What the Python API writes for values that JSON lacks is read too: ``{"$tuple": [...]}`` is a list,
    ``{"$dict": [[key, value], ...]}`` a mapping and ``{"$numpy": [dtype, hexadecimal]}`` a number; its other
    objects (tensors, bytes) are no plain values.
    """
    return jsontext.bounded(jsontext.flatten("", _plain(document, 0)))


def _plain(value: Any, depth: int) -> Any:
    if depth > jsontext.MAX_DEPTH:
        return {}  # too deep to be given a name
    if isinstance(value, dict) and len(value) == 1:
        value = _meant(*value.items())
    if isinstance(value, dict):
        return {key: _plain(inner, depth + 1) for key, inner in value.items()}
    return [_plain(inner, depth + 1) for inner in value] if isinstance(value, list) else value


def _meant(item: tuple[str, Any]) -> Any:
    """What an object of one key stands for."""
    key, inner = item
    if key == "$tuple" and isinstance(inner, list):
        return inner
    if key == "$dict" and isinstance(inner, list):
        pairs = (pair for pair in inner if isinstance(pair, list) and len(pair) == 2)
        return {str(name): value for name, value in pairs if not isinstance(name, list | dict)}
    if key == "$numpy" and isinstance(inner, list) and len(inner) == 2:
        return _number(*inner)
    return {} if key.startswith("$") else {key: inner}


_NUMBERS = {
    "I8": "<b",
    "U8": "<B",
    "I16": "<h",
    "U16": "<H",
    "I32": "<i",
    "U32": "<I",
    "I64": "<q",
    "U64": "<Q",
}
_NUMBERS |= {"F16": "<e", "F32": "<f", "F64": "<d"}


def _number(dtype: object, text: object) -> Any:
    layout = _NUMBERS.get(dtype) if isinstance(dtype, str) else None
    if layout is None or not isinstance(text, str) or not re.fullmatch(r"(?:[0-9a-f]{2}){1,8}", text):
        return {}
    data = bytes.fromhex(text)
    return struct.unpack(layout, data)[0] if len(data) == struct.calcsize(layout) else {}
