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

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mvc.codecs import native
from mvc.codecs.native import NONE, Step
from mvc.codecs.params import WIDTHS, block_size, expect_keys, integer
from mvc.codecs.plane import Plane, Reader, decode_plane, encode_plane
from mvc.elements import U8, Elements, octets, scratch, unsigned, view
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


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
        cut = layout(params)
        elements, tail = view(data, cut.width)
        planes = scratch("planes.all", elements.nbytes, U8)
        if native.KERNEL is not None:
            native.KERNEL.split(Step(NONE, cut.width), cut.elements, octets(elements), None, NOTHING, planes)
        else:
            at = 0
            for start in range(0, elements.size, cut.elements):
                for plane in split(elements[start : start + cut.elements]):
                    np.copyto(planes[at : at + plane.size], plane)
                    at += plane.size
        return self.encode_split(planes, cut, tail)

    def encode_split(self, planes: Plane, cut: Layout, tail: Buffer) -> bytes:
        """Code planes that stand apart already, those of each block end to end."""
        pieces: list[Buffer] = []
        for start in range(0, planes.size, cut.block):
            block = planes[start : start + cut.block]
            size = block.size // cut.width
            for at in range(0, block.size, size):
                pieces += encode_plane(block[at : at + size], self._window_log)
        return b"".join([*pieces, tail])

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> bytes:
        """Decode and join."""
        cut = layout(params)
        out = scratch("planes.out", length, U8)
        for place, planes in decode_blocks(data, cut, out):
            if native.KERNEL is not None:
                native.KERNEL.join(Step(NONE, cut.width), planes, None, NOTHING, out[place])
            else:
                join(out[place].view(unsigned(cut.width)), planes)
        return out.tobytes()


NOTHING = np.empty(0, np.uint8)


class Layout(NamedTuple):
    """The parameters: bytes per element and bytes per block, a multiple of that."""

    width: int
    block: int

    @property
    def elements(self) -> int:
        """Elements per block."""
        return self.block // self.width


def layout(params: Mapping[str, Any]) -> Layout:
    """Read a step's parameters.

    Raises:
        CorruptObject: they are not those of ``planes``.
    """
    expect_keys("planes", params, {"width", "block"})
    width = integer("planes", params, "width", WIDTHS)
    return Layout(width, block_size("planes", params, width))


def decode_blocks(data: Buffer, cut: Layout, out: Plane) -> Iterator[tuple[slice, list[Plane]]]:
    """Decode the planes of each block of ``out``, and say where in it the block lies.

    The planes are valid until the next block is asked for. After the last block the tail is put in its place.

    Raises:
        CorruptObject: these are not the stored bytes of that many.
    """
    reader = Reader(memoryview(data).cast("B"))
    whole = out.size - out.size % cut.width
    if reader.left < 2 * cut.width * -(-whole // cut.block):  # each plane takes at least two bytes
        raise CorruptObject("planes: cut short")
    for start in range(0, whole, cut.block):
        stop = min(start + cut.block, whole)
        rooms = scratch("planes.rooms", stop - start, U8).reshape(cut.width, -1)
        yield slice(start, stop), [decode_plane(reader, room) for room in rooms]
    tail = reader.take(out.size - whole)
    if reader.left:
        raise CorruptObject(f"planes: {reader.left} bytes too many")
    out[whole:] = tail


def split(elements: Elements) -> Iterator[Plane]:
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


def join(out: Elements, planes: Sequence[Plane]) -> None:
    """Undo :func:`split` into ``out``."""
    width = out.dtype.itemsize
    if width == 1:
        np.copyto(out, planes[0])
        return
    half = scratch("planes.half", out.size, unsigned(width // 2))
    wide = scratch("planes.wide", out.size, out.dtype)
    join(half, planes[width // 2 :])
    np.copyto(out, half)
    np.left_shift(out, 4 * width, out=out)
    join(half, planes[: width // 2])
    np.copyto(wide, half)
    np.bitwise_or(out, wide, out=out)


CODEC = Planes()
