"""How often each symbol occurs in each context: as shares of a power of two, and their stored form.

Contexts are stretches of keys. An encoder is free to cut the keys as it likes; it finds the cut that is
smallest, tables included. Stored form:

- one byte: the number of contexts less one; then for each context but the first one byte, its first key,
  ascending (the first one begins with key 0);
- for each context one byte: its last symbol that occurs;
- for each context and each symbol up to the last one four bits L, the earlier symbol in the lower half of a
  byte, all contexts end to end, 0 behind an odd end: 0 if the share is 0, else how many bits it has;
- of each share of L ≥ 2 bits the L − 1 bits below the highest, packed (:mod:`mvc.codecs.bits`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import bits, logs, native
from mvc.codecs.plane import Reader
from mvc.elements import U8, scratch
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_FINE = 256  # stretches of keys with less than this part of the elements are never a context of their own
FEW = 128  # nor are those with fewer elements than this


class Model(NamedTuple):
    """The context of each of 256 keys, and shares of the shape (contexts, symbols), sums all equal."""

    contexts: NDArray[np.uint8]
    shares: NDArray[np.uint16]


def fit(counts: NDArray[np.uint32], precision: int) -> tuple[Model, Buffer]:
    """The best model for symbols that occur so often, and its stored form; both scratch.

    ``counts`` has the shape (256 keys, symbols); at least one is not 0, and their sum is below 2^32.
    2^``precision`` is at least their number.
    """
    if native.KERNEL is not None:
        number = 256 * counts.shape[1]
        contexts = scratch("shares.contexts", 256, U8)
        room = scratch("shares.pieces", number, np.dtype(np.uint32))
        shares = scratch("shares.shares", number, np.dtype(np.uint16))
        stored = scratch("shares.stored", 520 + 3 * number, U8)
        length = native.KERNEL.fit(counts, precision, logs.TABLE, room, contexts, shares, stored)
        fitting = shares[: (int(stored[0]) + 1) * counts.shape[1]].reshape(-1, counts.shape[1])
        return Model(contexts, fitting), stored[:length].data
    firsts, grouped = _cut(counts)
    contexts = np.zeros(256, np.uint8)
    contexts[firsts[1:]] = 1
    model = Model(np.cumsum(contexts, dtype=np.uint8), _normalised(grouped, precision))
    return model, write(model)


def _cut(counts: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The contexts that are smallest together: their first keys and counts."""
    totals = counts.sum(axis=1)
    present = np.flatnonzero(totals)
    # neighbours with few elements go together, so that there are not many ways to cut
    least = max(int(totals.sum()) // _FINE, FEW)
    starts, weight = [0], 0
    for place, total in enumerate(totals[present].tolist()):
        if weight >= least:
            starts.append(place)
            weight = 0
        weight += total
    if weight < least and len(starts) > 1:
        starts.pop()
    pieces = np.add.reduceat(counts[present].astype(np.int64), starts, axis=0)
    number = len(starts)
    firsts = present[starts]
    firsts[0] = 0
    if number == 1:
        return firsts, pieces
    sums = np.zeros((number + 1, counts.shape[1]), np.int64)
    np.cumsum(pieces, axis=0, out=sums[1:])
    lower, upper = _ranges(number)
    costs = np.zeros((number, number), np.int64)
    costs[lower, upper] = _bits(sums[upper + 1] - sums[lower])
    table = costs.tolist()
    best, back = [0], [0]
    for end in range(number):  # the best cut of the first stretches ends with the best last context
        ways = [best[start] + table[start][end] for start in range(end + 1)]
        start = min(range(end + 1), key=ways.__getitem__)
        best.append(ways[start])
        back.append(start)
    cuts = [number]
    while cuts[-1]:
        cuts.append(back[cuts[-1]])
    cuts.reverse()
    return firsts[cuts[:-1]], sums[cuts[1:]] - sums[cuts[:-1]]


@cache
def _ranges(number: int) -> tuple[NDArray[np.intp], ...]:
    """First and last of every stretch of so many."""
    return np.triu_indices(number)


def _bits(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each row costs as a context, in parts of 2^16 of a bit: its symbols' entropy, and its table."""
    entropy = logs.weighed(counts.sum(axis=1)) - logs.weighed(counts).sum(axis=1)
    last = counts.shape[1] - np.argmax(counts[:, ::-1] > 0, axis=1)
    table = 16 + 4 * last + 3 * np.count_nonzero(counts, axis=1)
    found: NDArray[np.int64] = entropy + (table << logs.BITS)
    return found


def _normalised(counts: NDArray[np.int64], precision: int) -> NDArray[np.uint16]:
    """Shares that sum up to 2^precision in each row, none of what occurs 0."""
    whole = 1 << precision
    totals = counts.sum(axis=1, keepdims=True)
    scaled = counts << precision
    shares = np.maximum(scaled // totals, counts > 0)
    missing = whole - shares.sum(axis=1)
    rests = np.where(counts > 0, scaled % totals, -1)
    for row in np.flatnonzero(missing):
        short = int(missing[row])
        if short > 0:  # to those that lost most by rounding, of which there are enough
            shares[row, np.argsort(-rests[row], kind="stable")[:short]] += 1
        while short < 0:  # from the greatest
            order = np.argsort(-shares[row], kind="stable")[:-short]
            order = order[shares[row, order] > 1]
            shares[row, order] -= 1
            short += order.size
    narrow: NDArray[np.uint16] = shares.astype(np.uint16)
    return narrow


def write(model: Model) -> bytes:
    """The stored form."""
    firsts = np.flatnonzero(np.diff(model.contexts)) + 1
    shares = model.shares.astype(np.int64)
    lasts = shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 0, axis=1)
    kept = shares[np.arange(shares.shape[1]) <= lasts[:, None]]
    sizes = _sizes(kept)
    halves = np.zeros(sizes.size + sizes.size % 2, np.uint8)
    halves[: sizes.size] = sizes
    more = np.maximum(sizes - 1, 0)
    return b"".join(
        (
            bytes((firsts.size,)),
            firsts.astype(np.uint8).tobytes(),
            lasts.astype(np.uint8).tobytes(),
            (halves[::2] | halves[1::2] << 4).tobytes(),
            bits.pack(kept & ((1 << more) - 1), more),
        )
    )


def _sizes(shares: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bits each number has."""
    return np.frexp(shares.astype(np.float64))[1].astype(np.int64)


def read(reader: Reader, symbols: int, precision: int) -> Model:
    """The model that comes next; may be scratch.

    Raises:
        CorruptObject: there is none, or not one of so many symbols whose shares sum up.
    """
    if native.KERNEL is not None:
        contexts = scratch("shares.contexts", 256, U8)
        room = scratch("shares.shares", 256 * symbols, np.dtype(np.uint16))
        stored = np.frombuffer(reader.rest(), np.uint8)
        length = native.KERNEL.read_shares(stored, symbols, precision, contexts, room)
        if length == 0:
            raise CorruptObject("contexts and shares are damaged")
        number = int(stored[0]) + 1
        reader.take(length)
        return Model(contexts, room[: number * symbols].reshape(number, symbols))
    number = reader.byte() + 1
    firsts = np.frombuffer(reader.take(number - 1), np.uint8)
    lasts = np.frombuffer(reader.take(number), np.uint8).astype(np.int64)
    if (firsts.size and (firsts[0] == 0 or (np.diff(firsts.astype(np.int64)) <= 0).any())) or (
        lasts >= symbols
    ).any():
        raise CorruptObject("contexts or symbols are out of order")
    contexts = np.zeros(256, np.uint8)
    contexts[firsts] = 1
    count = int(lasts.sum()) + number
    halves = np.frombuffer(reader.take((count + 1) // 2), np.uint8)
    both = np.stack((halves & 15, halves >> 4), axis=1).reshape(-1)
    sizes = both[:count].astype(np.int64)
    if (both[count:] != 0).any() or (sizes > precision + 1).any():
        raise CorruptObject("a share is out of range")
    more = np.maximum(sizes - 1, 0)
    low = bits.unpack(reader.take((int(more.sum()) + 7) // 8), more).astype(np.int64)
    kept = np.where(sizes > 0, (1 << more) | low, 0)
    shares = np.zeros((number, symbols), np.int64)
    shares[np.arange(symbols) <= lasts[:, None]] = kept
    if (shares.sum(axis=1) != 1 << precision).any():
        raise CorruptObject(f"shares do not sum up to {1 << precision}")
    return Model(np.cumsum(contexts, dtype=np.uint8), shares.astype(np.uint16))
