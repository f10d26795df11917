"""Reading a step's parameters, which come from a record and may be anything."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from mvc.errors import CorruptObject

MIN_BLOCK = 4096  # bytes; a block costs a fixed time, so tiny ones would let a small record burn a long time
MAX_BLOCK = 16 << 20  # bytes; no plain object is longer
WIDTHS = (1, 2, 4, 8)  # bytes per element


def expect_keys(codec: str, params: Mapping[str, Any], keys: set[str]) -> None:
    """The parameters are these and no others.

    Raises:
        CorruptObject: one is missing or unknown.
    """
    if params.keys() != keys:
        raise CorruptObject(f"{codec}: parameters {sorted(map(str, params))} where {sorted(keys)} belong")


def integer(codec: str, params: Mapping[str, Any], key: str, allowed: Container[int]) -> int:
    """An integer parameter within bounds.

    Raises:
        CorruptObject: it is none, or not allowed.
    """
    value = params[key]
    if type(value) is not int or value not in allowed:  # `type`, because True is no width
        raise CorruptObject(f"{codec}: parameter {key!r} is out of range")
    return value


def block_size(codec: str, params: Mapping[str, Any], width: int) -> int:
    """The parameter ``block``, in bytes: a whole number of elements.

    Raises:
        CorruptObject: it is not.
    """
    block = integer(codec, params, "block", range(MIN_BLOCK, MAX_BLOCK + 1))
    if block % width:
        raise CorruptObject(f"{codec}: a block of {block} bytes does not hold whole elements of {width}")
    return block
