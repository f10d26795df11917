"""Symbols in their stored form: runs of zeros left out, the rest coded by rANS beside the keys.

For at least one symbol:

- one byte: p, 1 to 14, 2^p being the sum of shares; one byte: r, 0 to 16;
- if r is not 0, a stream of :mod:`mvc.codecs.planes` with a bit for each run of 2^r symbols (the last may be
  shorter), the first one lowest in the first byte: runs of which it is 0 have nothing but symbols 0, which
  are left out of what follows, as their keys are;
- unless nothing is left: one byte, the logarithm of the number of lanes, 0 to 10, such that none has more
  than 2^16 symbols (without a kernel each takes its time); the shares (:mod:`mvc.codecs.shares`); the length
  of the coded symbols (4 bytes, little-endian); these (:mod:`mvc.codecs.rans`).
"""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import rans, runs, shares
from mvc.codecs.plane import Reader, decode_stream, encode_stream
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

Bytes = NDArray[np.uint8]

_BYTES_PER_LANE = 1024  # a lane costs some three
_MOST_LANES_LOG = 6
_RUN_LOG = 6
_RUN_MARGIN = 0.98
_FEW = 16  # less than this part of zeros has no runs worth looking for


def encode(symbols: Bytes, keys: Bytes, counts: NDArray[np.uint32], precision: int) -> list[Buffer]:
    """The stored form, in pieces; ``counts`` says how often each symbol occurs beside each of 256 keys.

    Pieces may be scratch: valid until the next call. ``counts`` is changed.
    """
    run = _run_log(symbols, int(counts[:, 0].sum()))
    pieces: list[Buffer] = [bytes((precision, run))]
    if run:
        live = runs.live(symbols, run)
        pieces += encode_stream(np.packbits(live, bitorder="little"), 15)
        counts[:, 0] -= runs.dead_keys(keys, live, run)
        symbols, keys = runs.without_dead(symbols, live, run), runs.without_dead(keys, live, run)
        if symbols.size == 0:
            return pieces
    model, table = shares.fit(counts, precision)
    lanes_log = _lanes_log(counts)
    coded = rans.encode(symbols, keys, model, precision, 1 << lanes_log)
    return [
        *pieces,
        bytes((lanes_log,)),
        table,
        coded.size.to_bytes(4, "little"),
        coded.data,
    ]


def decode(reader: Reader, keys: Bytes, number: int, symbols: Bytes) -> None:
    """Fill ``symbols`` of an alphabet of so many, one for each key.

    Raises:
        CorruptObject: what comes next is not that.
    """
    precision, run = reader.byte(), reader.byte()
    if not 1 <= precision <= rans.MOST_PRECISION or run > runs.MOST_LOG:
        raise CorruptObject("symbols: parameters of the code are out of range")
    part = symbols
    if run:
        packed = decode_stream(reader, (runs.number(symbols.size, run) + 7) // 8)
        live = runs.read(packed, symbols.size, run)
        part, keys = (
            np.empty(runs.size(live, symbols.size, run), np.uint8),
            runs.without_dead(keys, live, run),
        )
    if part.size:
        lanes_log = reader.byte()
        if lanes_log > rans.MOST_LANES_LOG or part.size > 1 << (lanes_log + rans.MOST_STEPS_LOG):
            raise CorruptObject("symbols: parameters of the code are out of range")
        model = shares.read(reader, number, precision)
        coded = np.frombuffer(reader.take(reader.length()), np.uint8)
        rans.decode(coded, keys, model, precision, 1 << lanes_log, part)
    if run:
        runs.with_dead(part, live, run, symbols)


def _run_log(symbols: Bytes, zeros: int) -> int:
    """The length of runs that pays, as a logarithm; 0 if none does."""
    if zeros * _FEW < symbols.size:
        return 0
    live = runs.live(symbols, _RUN_LOG)
    left = runs.size(live, symbols.size, _RUN_LOG)
    others = symbols.size - zeros
    after = _binary_bits(others, left) + _binary_bits(int(np.count_nonzero(live)), live.size)
    return _RUN_LOG if after < _RUN_MARGIN * _binary_bits(others, symbols.size) else 0


def _binary_bits(some: int, whole: int) -> float:
    """The entropy of which of the whole are the some."""
    share = some / whole if whole else 0.0
    return 0.0 if share in (0, 1) else -whole * (share * log2(share) + (1 - share) * log2(1 - share))


def _lanes_log(counts: NDArray[np.uint32]) -> int:
    """So many lanes that they cost little: each symbol but the most frequent takes half a byte or more."""
    sums = counts.sum(axis=0, dtype=np.int64)
    size = int(sums.sum())
    cheap = min(_MOST_LANES_LOG, ((size - int(sums.max())) // _BYTES_PER_LANE).bit_length())
    return max(cheap, ((size - 1) >> rans.MOST_STEPS_LOG).bit_length())
