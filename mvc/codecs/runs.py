"""Runs of elements of which whole ones may be left out, as the rows of an embedding that no batch had."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mvc.elements import unsigned
from mvc.errors import CorruptObject

Bytes = NDArray[np.uint8]
Live = NDArray[np.bool_]

MOST_LOG = 16


def number(count: int, log: int) -> int:
    """How many runs of 2^log elements there are; the last may be shorter."""
    return (count + (1 << log) - 1) >> log


def live(tokens: Bytes, log: int) -> Live:
    """Which runs have anything but zeros."""
    whole = tokens.size >> log << log
    found = np.zeros(number(tokens.size, log), np.bool_)
    some, left = tokens[:whole], log
    while left:  # eight at once, as one word
        step = min(left, 3)
        some = (some.view(unsigned(1 << step)) != 0).view(np.uint8)
        left -= step
    found[: whole >> log] = some
    if tokens.size > whole:
        found[-1] = tokens[whole:].any()
    return found


def read(packed: Bytes, count: int, log: int) -> Live:
    """The same from bits, the first one lowest in the first byte.

    Raises:
        CorruptObject: a bit behind the last is set.
    """
    bits = np.unpackbits(packed, bitorder="little")
    size_ = number(count, log)
    if bits[size_:].any():
        raise CorruptObject("more runs than there are")
    return bits[:size_].astype(np.bool_)


def size(alive: Live, count: int, log: int) -> int:
    """How many of the elements lie in live runs."""
    short = alive.size * (1 << log) - count if alive.size and alive[-1] else 0
    return (int(np.count_nonzero(alive)) << log) - short


def without_dead(values: Bytes, alive: Live, log: int) -> Bytes:
    """The values in live runs, end to end."""
    whole = values.size >> log
    kept = values[: whole << log].reshape(whole, 1 << log)[alive[:whole]].reshape(-1)
    if alive.size > whole and alive[-1]:
        kept = np.concatenate((kept, values[whole << log :]))
    return kept


def with_dead(part: Bytes, alive: Live, log: int, out: Bytes) -> None:
    """Undo :func:`without_dead`, with zeros in dead runs."""
    whole = out.size >> log
    out[:] = 0
    many = int(np.count_nonzero(alive[:whole])) << log
    out[: whole << log].reshape(whole, 1 << log)[alive[:whole]] = part[:many].reshape(-1, 1 << log)
    if alive.size > whole and alive[-1]:
        out[whole << log :] = part[many:]


def dead_keys(keys: Bytes, alive: Live, log: int) -> NDArray[np.uint32]:
    """How often each of 256 keys occurs in dead runs."""
    return np.bincount(without_dead(keys, ~alive, log), minlength=256).astype(np.uint32)
