"""Canonical msgpack: one value has one encoding (docs/format.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_NESTING = 32


def _ordered(value: Any, depth: int = 0) -> Any:
    """Copy with every map's keys in ascending order of their UTF-8 bytes."""
    if depth > MAX_NESTING:
        raise CorruptObject("a value is nested too deeply")
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode())
        return {key: _ordered(value[key], depth + 1) for key in keys}
    if isinstance(value, list | tuple):
        return [_ordered(item, depth + 1) for item in value]
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} has no canonical form")


def pack(value: Any) -> bytes:
    """Encode None, booleans, integers, floats, strings, bytes, lists and string-keyed dicts."""
    return bytes(msgpack.packb(_ordered(value), use_bin_type=True))


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def unpack(data: Buffer, what: str) -> Any:
    """Decode, and accept nothing but the canonical encoding. Arrays come back as lists.

    ``what`` names the thing in error messages.

    Raises:
        CorruptObject: the bytes are not msgpack, or not canonical.
    """
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=True, ext_hook=_no_extension)
        again = pack(value)
    except CorruptObject:
        raise
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
