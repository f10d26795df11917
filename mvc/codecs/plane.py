"""One byte plane in its stored form: a mode, and what the mode says (``planes`` describes the bytes)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mvc.codecs import frames, native
from mvc.elements import U8, scratch, unsigned
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

Plane = NDArray[np.uint8]

STREAM, NIBBLES, CONSTANT = 0, 1, 2
ESCAPE = 15
_SAMPLE = 4096  # bytes of a plane that decide its mode
_SAMPLE_PIECES = 4
NIBBLE_SHARE = 0.86  # of the sample below 15: from there on two values per Huffman symbol win
_NOISE_BITS = 7.93  # per byte of the sample; its shortness alone lowers the figure of pure noise to 7.955
_U16 = unsigned(2)
_LENGTH = Struct("<I").unpack_from


def encode_plane(plane: Plane, window_log: int) -> list[Buffer]:
    """The stored form of a plane of at least one byte, in pieces; a piece may be a view of ``plane``."""
    sample = _sample(plane)
    counts = np.bincount(sample, minlength=256)
    first = int(plane[0])
    if counts[first] == sample.size and bool((plane == first).all()):
        return [bytes((CONSTANT, first))]
    if counts[:ESCAPE].sum() >= NIBBLE_SHARE * sample.size:
        packed, escapes = pack_nibbles(plane)
        return [bytes((NIBBLES,)), *encode_stream(packed, window_log), *encode_stream(escapes, window_log)]
    if _entropy_bits(counts, sample.size) > _NOISE_BITS:
        return [bytes((STREAM,)), plane.size.to_bytes(4, "little"), plane.data]
    return [bytes((STREAM,)), *encode_stream(plane, window_log)]


def decode_plane(reader: Reader, room: Plane) -> Plane:
    """The bytes of the plane that comes next, as many as ``room`` has; they may be put there.

    Raises:
        CorruptObject: there is no such plane.
    """
    mode = reader.byte()
    if mode == STREAM:
        return decode_stream(reader, room.size)
    if mode == NIBBLES:
        escaped = unpack_nibbles(decode_stream(reader, (room.size + 1) // 2), room)
        fill_escapes(room, decode_stream(reader, escaped))
        return room
    if mode == CONSTANT:
        room.fill(reader.byte())
        return room
    raise CorruptObject(f"planes: unknown mode {mode}")


def encode_stream(values: Plane, window_log: int) -> list[Buffer]:
    """The stored form of a stream, in pieces."""
    stored: bytes = frames.compress_literals(values.data, window_log) if values.size else b""
    if len(stored) >= values.size:
        stored = values.tobytes()
    return [len(stored).to_bytes(4, "little"), stored]


def decode_stream(reader: Reader, length: int) -> Plane:
    """The ``length`` bytes of the stream that comes next.

    Raises:
        CorruptObject: there is none of that length.
    """
    stored = reader.take(reader.length())
    plain = stored if len(stored) == length else memoryview(frames.decompress(stored, length))
    return np.frombuffer(plain, np.uint8)


def pack_nibbles(plane: Plane) -> tuple[Plane, Plane]:
    """Two values per byte, and the values that do not fit; both scratch, valid until the next call."""
    packed = scratch("plane.packed", (plane.size + 1) // 2, U8)
    if native.KERNEL is not None:
        room = scratch("plane.escapes", plane.size, U8)
        return packed, room[: native.KERNEL.pack_nibbles(plane, packed, room)]
    padded = scratch("plane.padded", 2 * packed.size, U8)
    np.minimum(plane, _constant(ESCAPE, plane.size), out=padded[: plane.size])
    padded[plane.size :] = 0
    pairs = padded.view(_U16)
    halves = scratch("plane.halves", pairs.size, _U16)
    np.right_shift(pairs, 4, out=halves)
    np.bitwise_or(halves, pairs, out=halves)
    np.copyto(packed, halves, casting="unsafe")
    return packed, plane[np.flatnonzero(plane >= ESCAPE)]


def unpack_nibbles(packed: Plane, plane: Plane) -> int:
    """Fill ``plane`` with the values of ``packed``; returns how many are 15, which stand for escapes."""
    if native.KERNEL is not None:
        return native.KERNEL.unpack_nibbles(packed, plane)
    pairs = scratch("plane.pairs", packed.size, _U16)
    halves = scratch("plane.halves", packed.size, _U16)
    np.copyto(pairs, packed)
    np.left_shift(pairs, 4, out=halves)
    np.bitwise_or(pairs, halves, out=pairs)
    np.bitwise_and(pairs, 0x0F0F, out=pairs)
    np.copyto(plane, pairs.view(np.uint8)[: plane.size])
    return int(np.count_nonzero(plane == ESCAPE))


def fill_escapes(plane: Plane, escapes: Plane) -> None:
    """Put the escapes in the place of the values 15; there are as many as :func:`unpack_nibbles` said."""
    if native.KERNEL is not None:
        native.KERNEL.fill_escapes(plane, escapes)
    else:
        plane[np.flatnonzero(plane == ESCAPE)] = escapes


def _constant(value: int, count: int) -> Plane:
    """An array of one value: numpy's minimum with a scalar has no vector loop (12 times slower)."""
    values = scratch("plane.constant", count, U8)
    values.fill(value)
    return values


def _sample(plane: Plane) -> Plane:
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


class Reader:
    """Takes bytes off the front of a buffer, never past its end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._end = len(data)
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes that are still there."""
        return self._end - self._position

    def rest(self) -> memoryview:
        """All that is left, without taking it."""
        return self._data[self._position :]

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes.

        Raises:
            CorruptObject: there are fewer.
        """
        start = self._step(count)
        return self._data[start : start + count]

    def byte(self) -> int:
        """The next byte, as a number."""
        return self._data[self._step(1)]

    def length(self) -> int:
        """The next four bytes, as a number."""
        number: int = _LENGTH(self._data, self._step(4))[0]
        return number

    def _step(self, count: int) -> int:
        start = self._position
        if count > self._end - start:
            raise CorruptObject("planes: cut short")
        self._position = start + count
        return start
