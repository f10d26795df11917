"""``tokens`` version 1: the residual against a base of equal length, as tokens with shares by exponent.

Residuals v are those of ``ig``: ``(t - b) mod 2^w``, then zigzag. Each becomes a token, perhaps with extra
bits:

- 0: v = 0; 1: t = 0, whatever v > 0 is (so a mask costs what it says and no more); 2 to 16: v = 1 to 15;
- else v has a highest bit l ≥ 4: token 17 + (l − 4) · 2^keep + the ``keep`` bits below the highest; the
  l − keep bits below those are extra bits.

Tokens are coded by rANS with shares of their own for each stretch of keys: what sorting does for Huffman's
codes, without sorting, and a code of part of a bit where little changed.
Parameters ``width``, ``shift``, ``bits``: as ``ig`` has them. A key is the number in these bits of the base
element (of more than 8 bits in the top 8); with ``bits`` = 0 it is 0.

Stored bytes, for n elements: n (4 bytes, little-endian); if that is not 0:

- one byte: ``keep``, 0 to 3, and at most 1 for a width of 1 or 8;
- the tokens as symbols (:mod:`mvc.codecs.symbols`), of which there are 17 + (w − 4) · 2^keep;
- the extra bits of all elements in their order (:mod:`mvc.codecs.bits`), up to the tail;

and what follows the last whole element, as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import bits, native, symbols
from mvc.codecs.ig import base_of, residual
from mvc.codecs.params import WIDTHS, expect_keys, integer
from mvc.codecs.plane import Reader
from mvc.elements import U8, Elements, octets, scratch, unsigned, view
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

DIRECT = 16
DIRECT_BITS = 4
ZERO = 1
CLASSES = 17
_MOST_KEEP = {1: 1, 2: 3, 4: 3, 8: 1}

Bytes = NDArray[np.uint8]


class Layout(NamedTuple):
    """The parameters."""

    width: int
    shift: int
    bits: int


class Tokens:
    """The codec ``tokens``.

    ``precision`` steers the encoder only: shares are parts of 2^precision, at least 8.
    """

    name = "tokens"
    version = 1
    needs_prediction = True

    def __init__(self, precision: int = 12) -> None:
        self._precision = precision

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> bytes:
        """Subtract the prediction, make tokens, code them."""
        cut = layout(params)
        target, tail = view(data, cut.width)
        base = base_of(prediction, cut.width, target, tail)
        head = target.size.to_bytes(4, "little")
        if target.size == 0:
            return b"".join((head, tail))
        keep = kept_bits(cut.width, target.size)
        tokens, keys, counts, extras = tokenise(target, base, cut, keep)
        pieces = symbols.encode(tokens, keys, counts, self._precision)
        return b"".join((head, bytes((keep,)), *pieces, extras, tail))

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> bytes:
        """Decode the tokens, add the prediction."""
        made, out = native.new_bytes(length)
        self.decode_into(data, params, prediction, out)
        return made

    def decode_into(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, out: Bytes
    ) -> None:
        """The same, into ``out``."""
        cut = layout(params)
        count, rest = divmod(out.size, cut.width)
        if prediction is None or memoryview(prediction).nbytes != out.size:
            raise CorruptObject(f"tokens: no prediction of {out.size} bytes")
        base, _ = view(prediction, cut.width)
        stored = memoryview(data).cast("B")
        reader = Reader(stored)
        if reader.length() != count:
            raise CorruptObject(f"tokens: not {count} elements")
        if count == 0:
            extras = reader.take(0)
        else:
            keep = reader.byte()
            if keep > _MOST_KEEP[cut.width]:
                raise CorruptObject("tokens: parameters of the code are out of range")
            tokens = scratch("tokens.tokens", count, U8)
            symbols.decode(reader, keys_of(base, cut), alphabet(cut.width, keep), tokens)
            if reader.left < rest:
                raise CorruptObject("tokens: cut short")
            extras = reader.take(reader.left - rest)
            untokenise(tokens, base, keep, extras, out[: count * cut.width])
        tail = reader.take(rest)
        if reader.left:
            raise CorruptObject(f"tokens: {reader.left} bytes too many")
        out[count * cut.width :] = np.frombuffer(tail, np.uint8)


def layout(params: Mapping[str, Any]) -> Layout:
    """Read a step's parameters.

    Raises:
        CorruptObject: they are not those of ``tokens``.
    """
    expect_keys("tokens", params, {"width", "shift", "bits"})
    width = integer("tokens", params, "width", WIDTHS)
    size = integer("tokens", params, "bits", range(8 * width + 1))
    shift = integer("tokens", params, "shift", range(8 * width - size + 1) if size else (0,))
    return Layout(width, shift, size)


def kept_bits(width: int, count: int) -> int:
    """The ``keep`` that suits so many elements: finer classes need longer tables."""
    return min(_MOST_KEEP[width], max(1, count.bit_length() - 14))


def alphabet(width: int, keep: int) -> int:
    """How many tokens there are."""
    return CLASSES + ((8 * width - DIRECT_BITS) << keep)


def keys_of(base: Elements, cut: Layout) -> Bytes:
    """Each element's key; scratch, valid until the next call."""
    if native.KERNEL is not None:
        keys = scratch("tokens.keys", base.size, U8)
        native.KERNEL.keys(cut.width, cut.shift, cut.bits, octets(base), keys)
        return keys
    kept = min(cut.bits, 8)
    return ((base >> (cut.shift + cut.bits - kept)) & ((1 << kept) - 1)).astype(np.uint8)


def tokenise(
    target: Elements, base: Elements, cut: Layout, keep: int
) -> tuple[Bytes, Bytes, NDArray[np.uint32], Buffer]:
    """Tokens and keys (both scratch), how often each token occurs beside each key, and the extra bits."""
    number = alphabet(cut.width, keep)
    if native.KERNEL is not None:
        tokens, keys = scratch("tokens.tokens", target.size, U8), scratch("tokens.keys", target.size, U8)
        counts = scratch("tokens.counts", 512 * number, np.dtype(np.uint32)).reshape(2, 256, number)
        room = scratch("tokens.extras", target.nbytes + 8, U8)
        total = native.KERNEL.tokenise(*cut, keep, octets(target), octets(base), tokens, keys, counts, room)
        return tokens, keys, counts[0], room[: (total + 7) // 8].data
    values = residual(target, base).astype(np.uint64)
    tops = _highest_bits(values)
    more = np.where((values >= DIRECT) & (target != 0), tops - keep, 0)
    wide = more.astype(np.uint64)
    classes = (
        CLASSES + ((tops - DIRECT_BITS) << keep) + ((values >> wide).astype(np.int64) & ((1 << keep) - 1))
    )
    direct = values.astype(np.int64) + (values > 0)
    found = np.where(values < DIRECT, direct, classes)
    found[(target == 0) & (values > 0)] = ZERO
    keys = keys_of(base, cut)
    flat = np.bincount(keys.astype(np.int64) * number + found, minlength=256 * number)
    extras = bits.pack(values & ((np.uint64(1) << wide) - np.uint64(1)), more)
    return found.astype(np.uint8), keys, flat.reshape(256, number).astype(np.uint32), extras


def token_counts(target: Elements, base: Elements, cut: Layout, keep: int) -> tuple[NDArray[np.uint32], int]:
    """How often each token occurs beside each key (scratch), and the number of extra bits; for estimates."""
    _, _, counts, extras = tokenise(target, base, cut, keep)
    return counts, 8 * memoryview(extras).nbytes


def _highest_bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of numbers of 16 or more, exactly; a double alone would round the longest ones up."""
    high, low = (
        (values >> np.uint64(32)).astype(np.float64),
        (values & np.uint64(0xFFFFFFFF)).astype(np.float64),
    )
    tops = np.where(high > 0, np.frexp(high)[1] + 31, np.frexp(low)[1] - 1)
    return np.maximum(tops, DIRECT_BITS).astype(np.int64)


def untokenise(tokens: Bytes, base: Elements, keep: int, extras: memoryview, out: Bytes) -> None:
    """The elements of which :func:`tokenise` made these, into ``out``.

    Raises:
        CorruptObject: other extra bits belong to them.
    """
    if native.KERNEL is not None:
        packed = np.frombuffer(extras, np.uint8)
        if not native.KERNEL.untokenise(base.dtype.itemsize, keep, tokens, octets(base), packed, out):
            raise CorruptObject("tokens: extra bits are damaged")
        return
    width = base.dtype.itemsize
    each = np.arange(alphabet(width, keep), dtype=np.int64)
    classes = np.maximum(each - CLASSES, 0)
    lengths = np.where(each >= CLASSES, (classes >> keep) + DIRECT_BITS - keep, 0)
    high = (1 << keep | classes & ((1 << keep) - 1)).astype(np.uint64) << lengths.astype(np.uint64)
    plain = (each - (each > 0)).astype(np.uint64)
    values = np.where(each >= CLASSES, high, plain)[tokens]
    values |= bits.unpack(extras, lengths[tokens])
    narrow = values.astype(unsigned(width))
    target = out.view(unsigned(width))
    target[:] = ((narrow >> 1) ^ (0 - (narrow & 1))) + base
    target[tokens == ZERO] = 0


CODEC = Tokens()
