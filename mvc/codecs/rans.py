"""Symbols coded by range asymmetric numeral systems with static shares and many lanes.

Source: J. Duda, Asymmetric numeral systems, arXiv:1311.2540; F. Giesen, Interleaved entropy coders,
arXiv:1402.3392. Unlike Huffman's, its codes may have parts of a bit, so a symbol that is nearly certain
costs nearly nothing.

Symbol i belongs to lane i mod lanes. Each lane has a state of 32 bits, 2^16 at the encoder's start, never
less between symbols. With the symbol's share f of 2^p (as :mod:`mvc.codecs.shares` has them), c the sum of
the shares of the symbols before it, and state x, decoding one symbol is

    r = x mod 2^p; the symbol is the one with c ≤ r < c + f; x becomes f · ⌊x / 2^p⌋ + r − c;
    if x < 2^16, x becomes 2^16 · x + the next word (16 bits, little-endian).

Symbols are decoded in their order; at the end every state is 2^16 and no word is left, which finds most
damage. Coded bytes: the states that the decoder begins with, four bytes each, then the words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import native
from mvc.codecs.shares import Model
from mvc.elements import U8, scratch
from mvc.errors import CorruptObject

LEAST = 1 << 16
MOST_PRECISION = 14
MOST_LANES_LOG = 10
MOST_STEPS_LOG = 16
_WORD = np.dtype("<u2")
_STATE = np.dtype("<u4")

Bytes = NDArray[np.uint8]


def encode(symbols: Bytes, keys: Bytes, model: Model, precision: int, lanes: int) -> Bytes:
    """The coded bytes of ``symbols``; scratch, valid until the next call.

    Each symbol has a share in the context of its key; ``lanes`` is a power of two.
    """
    room = scratch("rans.coded", 2 * symbols.size + 4 * lanes, U8)
    if native.KERNEL is not None:
        return native.KERNEL.rans_encode(symbols, keys, *model, precision, lanes, room)
    contexts = model.contexts[keys]
    shares = model.shares.astype(np.uint64)
    starts = np.cumsum(shares, axis=1) - shares
    states = np.full(lanes, LEAST, np.uint64)
    full, shift = np.uint64(32 - precision), np.uint64(precision)
    words: list[NDArray[np.uint64]] = []
    for first in reversed(range(0, symbols.size, lanes)):
        place = contexts[first : first + lanes], symbols[first : first + lanes]
        state, share = states[: place[0].size], shares[place]
        over = np.flatnonzero(state >= share << full)
        words.append(state[over] & np.uint64(0xFFFF))
        state[over] >>= np.uint64(16)
        quotient, rest = np.divmod(state, share)
        states[: state.size] = (quotient << shift) + rest + starts[place]
    coded = (
        states.astype(_STATE).tobytes()
        + np.concatenate([states[:0], *reversed(words)]).astype(_WORD).tobytes()
    )
    out = room[: len(coded)]
    out[:] = np.frombuffer(coded, np.uint8)
    return out


def decode(coded: Bytes, keys: Bytes, model: Model, precision: int, lanes: int, symbols: Bytes) -> None:
    """Fill ``symbols``, one for each of ``keys``.

    Raises:
        CorruptObject: these are not the coded bytes of so many symbols.
    """
    if native.KERNEL is not None:
        if not native.KERNEL.rans_decode(coded, keys, *model, precision, lanes, symbols):
            raise CorruptObject("coded symbols are damaged")
        return
    if coded.size < 4 * lanes or coded.size % 2:
        raise CorruptObject("coded symbols are damaged")
    states = coded[: 4 * lanes].view(_STATE).astype(np.uint64)
    words = coded[4 * lanes :].view(_WORD)
    contexts = model.contexts[keys]
    shares = model.shares.astype(np.uint64)
    starts = np.cumsum(shares, axis=1) - shares
    each = np.arange(shares.shape[1], dtype=np.uint8)
    slots = np.stack([np.repeat(each, row) for row in model.shares])
    shift, below = np.uint64(precision), np.uint64((1 << precision) - 1)
    used, valid = 0, bool((states >= LEAST).all())
    for first in range(0, symbols.size, lanes):
        context = contexts[first : first + lanes]
        state = states[: context.size]
        slot = state & below
        found = slots[context, slot]
        symbols[first : first + lanes] = found
        state = shares[context, found] * (state >> shift) + slot - starts[context, found]
        under = np.flatnonzero(state < LEAST)
        if under.size > words.size - used:
            raise CorruptObject("coded symbols are damaged")
        state[under] = state[under] << np.uint64(16) | words[used : used + under.size]
        used += under.size
        states[: context.size] = state
    if not valid or used != words.size or (states != LEAST).any():
        raise CorruptObject("coded symbols are damaged")
