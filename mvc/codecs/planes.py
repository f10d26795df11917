"""``planes`` version 1: byte planes, least significant first, each coded by itself.

In weights the top byte is skewed and the low ones are noise: apart, the first compresses and the others cost
nothing to skip. Parameters: ``{"width": 1, 2, 4 or 8, "block": bytes, a multiple of width, 4,096 to
16 MiB}``.

Stored bytes: for each block of ``block`` plain bytes (the last may be shorter) its ``width`` planes; behind
all blocks what follows the last whole element, as it is. A plane of n bytes (n = elements in the block)
begins with its mode:

- 0, stream: a stream of n bytes.
- 1, nibbles: a stream of ⌈n/2⌉ bytes, two values in each, the earlier one in the low half, 15 for every
  value ≥ 15, 0 behind an odd end; then a stream of the values ≥ 15 in their order, as many as there are
  halves of 15 among the first n.
- 2, constant: one byte, the value of all.

A stream of n bytes is a 4-byte little-endian length s, then s bytes: if s = n the bytes themselves, else one
zstd frame that declares n bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import frames
from mvc.codecs.elements import Elements, scratch, unsigned, view
from mvc.codecs.params import WIDTHS, block_size, expect_keys, integer
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_STREAM, _NIBBLES, _CONSTANT = 0, 1, 2
_ESCAPE = 15
_SAMPLE = 4096  # bytes of a plane that decide its mode
_SAMPLE_PIECES = 4
_NIBBLE_SHARE = 0.86  # of the sample below 15: from there on two values per Huffman symbol win
_NOISE_BITS = 7.93  # per byte of the sample; its shortness alone lowers the figure of pure noise to 7.955

_U8 = np.dtype(np.uint8)
_U16 = unsigned(2)


class Planes:
    """The codec ``planes``.

    ``window_log`` steers the encoder only: about 2^window_log bytes share a Huffman table.
    """

    name = "planes"
    version = 1
    needs_prediction = False

    def __init__(self, window_log: int = 15) -> None:
        self._window_log = window_log

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> bytes:
        """Split and code."""
        width, block = _layout(params)
        elements, tail = view(data, width)
        pieces: list[Buffer] = []
        for start in range(0, elements.size, block // width):
            for plane in split(elements[start : start + block // width]):
                pieces += _encode_plane(plane, self._window_log)
        return b"".join([*pieces, tail])

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> memoryview:
        """Decode and join."""
        width, block = _layout(params)
        reader = _Reader(memoryview(data).cast("B"))
        count = length // width
        if reader.left < 2 * width * -(-count * width // block):  # each plane takes at least two bytes
            raise CorruptObject("planes: cut short")
        out = np.empty(length, np.uint8)
        elements = out[: count * width].view(unsigned(width))
        for start in range(0, count, block // width):
            part = elements[start : start + block // width]
            _join(part, [_decode_plane(reader, part.size) for _ in range(width)])
        tail = reader.take(length % width)
        if reader.left:
            raise CorruptObject(f"planes: {reader.left} bytes too many")
        out[count * width :] = tail
        return out.data


def _layout(params: Mapping[str, Any]) -> tuple[int, int]:
    expect_keys("planes", params, {"width", "block"})
    width = integer("planes", params, "width", WIDTHS)
    return width, block_size("planes", params, width)


def split(elements: Elements) -> Iterator[NDArray[np.uint8]]:
    """The byte planes, least significant first, each valid until the next one is asked for.

    Halving the width again and again keeps to shifts and narrowing copies, which run on vector instructions;
    strided copies do not.
    """
    width = elements.dtype.itemsize
    if width == 1:
        yield elements
        return
    half = scratch("planes.half", elements.size, unsigned(width // 2))
    np.copyto(half, elements, casting="unsafe")
    yield from split(half)
    high = scratch("planes.high", elements.size, elements.dtype)
    np.right_shift(elements, 4 * width, out=high)
    np.copyto(half, high, casting="unsafe")
    yield from split(half)


def _join(out: Elements, planes: list[NDArray[np.uint8]]) -> None:
    """Undo :func:`split` into ``out``."""
    width = out.dtype.itemsize
    if width == 1:
        np.copyto(out, planes[0])
        return
    half = scratch("planes.half", out.size, unsigned(width // 2))
    wide = scratch("planes.wide", out.size, out.dtype)
    _join(half, planes[width // 2 :])
    np.copyto(out, half)
    np.left_shift(out, 4 * width, out=out)
    _join(half, planes[: width // 2])
    np.copyto(wide, half)
    np.bitwise_or(out, wide, out=out)


def _encode_plane(plane: NDArray[np.uint8], window_log: int) -> list[Buffer]:
    sample = _sample(plane)
    counts = np.bincount(sample, minlength=256)
    first = int(plane[0])
    if counts[first] == sample.size and bool((plane == first).all()):
        return [bytes((_CONSTANT, first))]
    if counts[:_ESCAPE].sum() >= _NIBBLE_SHARE * sample.size:
        packed, escapes = _pack_nibbles(plane)
        return [bytes((_NIBBLES,)), *_encode_stream(packed, window_log), *_encode_stream(escapes, window_log)]
    if _entropy_bits(counts, sample.size) > _NOISE_BITS:
        return [bytes((_STREAM,)), plane.size.to_bytes(4, "little"), plane.tobytes()]
    return [bytes((_STREAM,)), *_encode_stream(plane, window_log)]


def _decode_plane(reader: _Reader, count: int) -> NDArray[np.uint8]:
    mode = reader.take(1)[0]
    if mode == _STREAM:
        return _decode_stream(reader, count)
    if mode == _NIBBLES:
        packed = _decode_stream(reader, (count + 1) // 2)
        plane = _unpack_nibbles(packed, count)
        escaped = np.flatnonzero(plane == _ESCAPE)
        plane[escaped] = _decode_stream(reader, escaped.size)
        return plane
    if mode == _CONSTANT:
        return np.full(count, reader.take(1)[0], np.uint8)
    raise CorruptObject(f"planes: unknown mode {mode}")


def _encode_stream(values: NDArray[np.uint8], window_log: int) -> list[Buffer]:
    stored: bytes = frames.compress_literals(values.data, window_log) if values.size else b""
    if len(stored) >= values.size:
        stored = values.tobytes()
    return [len(stored).to_bytes(4, "little"), stored]


def _decode_stream(reader: _Reader, length: int) -> NDArray[np.uint8]:
    stored = reader.take(int.from_bytes(reader.take(4), "little"))
    plain = stored if len(stored) == length else memoryview(frames.decompress(stored, length))
    return np.frombuffer(plain, np.uint8)


def _pack_nibbles(plane: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two values per byte, and the values that do not fit."""
    padded = scratch("planes.padded", plane.size + plane.size % 2, _U8)
    np.minimum(plane, _constant(_ESCAPE, plane.size), out=padded[: plane.size])
    padded[plane.size :] = 0
    escapes = plane[np.flatnonzero(plane >= _ESCAPE)]
    pairs = padded.view(_U16)
    halves = scratch("planes.halves", pairs.size, _U16)
    np.right_shift(pairs, 4, out=halves)
    np.bitwise_or(halves, pairs, out=halves)
    packed = scratch("planes.packed", pairs.size, _U8)
    np.copyto(packed, halves, casting="unsafe")
    return packed, escapes


def _unpack_nibbles(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    pairs = np.empty(packed.size, _U16)
    high = scratch("planes.halves", packed.size, _U16)
    np.copyto(pairs, packed)
    np.left_shift(pairs, 4, out=high)
    np.bitwise_or(pairs, high, out=pairs)
    np.bitwise_and(pairs, 0x0F0F, out=pairs)
    return pairs.view(np.uint8)[:count]


def _constant(value: int, count: int) -> NDArray[np.uint8]:
    """An array of one value: numpy's minimum with a scalar has no vector loop (12 times slower)."""
    values = scratch("planes.constant", count, _U8)
    values.fill(value)
    return values


def _sample(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The whole plane if it is short, else pieces spread evenly over it."""
    if plane.size <= 2 * _SAMPLE:
        return plane
    piece = _SAMPLE // _SAMPLE_PIECES
    stride = (plane.size - piece) // (_SAMPLE_PIECES - 1)
    return np.concatenate([plane[i * stride : i * stride + piece] for i in range(_SAMPLE_PIECES)])


def _entropy_bits(counts: NDArray[np.intp], total: int) -> float:
    """Order-0 entropy per byte."""
    present = counts[counts > 0] / total
    return float(-(present * np.log2(present)).sum())


class _Reader:
    """Takes bytes off the front of a buffer, never past its end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> memoryview:
        if count > self.left:
            raise CorruptObject("planes: cut short")
        self._position += count
        return self._data[self._position - count : self._position]


CODEC = Planes()
