"""Canonical msgpack: one value has one encoding (docs/format.md)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import msgpack

from mvc.errors import CorruptObject, UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_NESTING = 32

_SCALARS = (bool, int, float, str, bytes, type(None))
_SCALAR_TYPES = frozenset(_SCALARS)
_ARRAYS = (list, tuple)
_TEXT = frozenset({str})


def _ordered(value: Any, depth: int = 0) -> Any:
    """Copy with every map's keys in ascending order (code points and UTF-8 bytes sort alike)."""
    if depth > MAX_NESTING:
        raise CorruptObject("a value is nested too deeply")
    if isinstance(value, dict):
        return {key: _ordered(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, _ARRAYS):
        return [item if type(item) in _SCALAR_TYPES else _ordered(item, depth + 1) for item in value]
    if isinstance(value, _SCALARS):
        return value
    raise TypeError(f"a {type(value).__name__} has no canonical form")


def _check(value: Any, depth: int = 0) -> None:
    """Refuse maps with keys out of order or that are not strings, foreign types, and deep nesting."""
    if depth > MAX_NESTING:
        raise ValueError("nested too deeply")
    kind = type(value)
    items: Any = value
    if kind is dict:
        keys = [*value]
        if not _TEXT.issuperset(map(type, keys)) or sorted(keys) != keys:
            raise ValueError("a map's keys are not strings in ascending order")
        items = value.values()
    elif kind in _SCALAR_TYPES:
        return
    elif kind is not list:
        raise ValueError(f"a {kind.__name__}")
    for item in items:
        if type(item) not in _SCALAR_TYPES:
            _check(item, depth + 1)


def pack(value: Any) -> bytes:
    """Encode None, booleans, integers, floats, strings, bytes, lists and string-keyed dicts."""
    try:
        return bytes(msgpack.packb(_ordered(value), use_bin_type=True))
    except UnicodeEncodeError as error:
        raise UsageError(f"text that is not valid Unicode cannot be stored: {error.object!a}") from None


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def glance(data: Buffer, what: str) -> Any:
    """Decode without asking for the canonical form, in a fifth of the time: for walks over many objects that
    were hashed already, and of which few fields are looked at.

    Raises:
        CorruptObject: the bytes are not msgpack.
    """
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=True, ext_hook=_no_extension)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptObject(f"{what} is not msgpack: {error}") from None


def skim(data: Buffer, what: str, passed_over: Collection[str]) -> dict[Any, Any]:
    """Decode a map as :func:`glance` does; what is under some keys is passed over, and is None.

    Raises:
        CorruptObject: the bytes are not the msgpack of a map, or go on behind it.
    """
    unpacker = msgpack.Unpacker(
        raw=False, strict_map_key=False, ext_hook=_no_extension, max_buffer_size=memoryview(data).nbytes
    )
    found: dict[Any, Any] = {}
    try:
        unpacker.feed(data)
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            found[key] = unpacker.skip() if key in passed_over else unpacker.unpack()
        if unpacker.tell() != memoryview(data).nbytes:
            raise ValueError("bytes behind its end")
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise CorruptObject(f"{what} is not msgpack: {error}") from None
    return found


def unpack(data: Buffer, what: str) -> Any:
    """Decode, and accept nothing but the canonical encoding. Arrays come back as lists.

    ``what`` names the thing in error messages.

    Raises:
        CorruptObject: the bytes are not msgpack, or not canonical.
    """
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=True, ext_hook=_no_extension)
        _check(value)
        again = msgpack.packb(value, use_bin_type=True)
    except (
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
        msgpack.UnpackException,
    ) as error:
        raise CorruptObject(f"{what} is not canonical msgpack: {error}") from None
    if again != data:
        raise CorruptObject(f"{what} is not in its canonical form")
    return value
