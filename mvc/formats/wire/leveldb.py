"""LevelDB's table: sorted keys and values in blocks.

Specification: https://github.com/google/leveldb/blob/main/doc/table_format.md. Only blocks that are not
compressed are read, so that a value is a stretch of the file. Checksums are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.formats.base import NotThisFormat, View

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""How a table ends."""

MAX_BLOCK_BYTES = 16 << 20
MAX_TABLE_BYTES = 64 << 20
"""Of all blocks that are read."""

MAX_KEY_BYTES = 1 << 16

_FOOTER_BYTES = 48
_TRAILER_BYTES = 5  # how the block is compressed, and a checksum
_RESTART_BYTES = 4
_BLOCK_COST = 1024  # bytes that an empty block counts for, so that their number is bounded too


class Row(NamedTuple):
    """A key, and where in the file its value lies, in bytes."""

    key: bytes
    offset: int
    length: int


def rows(view: View) -> Iterator[Row]:
    """The rows of a table, in the order of their keys.

    Raises:
        NotThisFormat: it is none, or compressed, or too large.
    """
    if view.size < _FOOTER_BYTES:
        raise NotThisFormat("truncated: no footer")
    footer = view.read(view.size - _FOOTER_BYTES, _FOOTER_BYTES)
    if not footer.endswith(MAGIC):
        raise NotThisFormat("the magic bytes are missing")
    position = 0
    for _ in range(2):  # the place of the block of metadata
        _, position = _varint(footer, position)
    index, _ = _handle(footer, position)
    left = MAX_TABLE_BYTES
    for entry in _block(view, *index):
        place, _ = _handle(view.read(entry.offset, min(entry.length, 20)), 0)
        left -= place[1] + _BLOCK_COST
        if left < 0:
            raise NotThisFormat(f"a table of more than {MAX_TABLE_BYTES >> 20} MiB")
        yield from _block(view, *place)


def _block(view: View, offset: int, size: int) -> Iterator[Row]:
    """The rows of one block; each key is given by what it does not share with the one before."""
    if size > MAX_BLOCK_BYTES:
        raise NotThisFormat(f"a block of {size} bytes, more than {MAX_BLOCK_BYTES}")
    if offset + size + _TRAILER_BYTES > view.size:
        raise NotThisFormat("truncated: a block leaves the file")
    data = view.read(offset, size + 1)
    if data[size]:
        raise NotThisFormat("a compressed block")
    restarts = int.from_bytes(data[size - _RESTART_BYTES : size], "little")
    end = size - _RESTART_BYTES * (restarts + 1)
    if size < _RESTART_BYTES or end < 0:
        raise NotThisFormat("a block without an end")
    position = 0
    key = b""
    while position < end:
        shared, position = _varint(data, position)
        fresh, position = _varint(data, position)
        length, position = _varint(data, position)
        if shared > len(key) or fresh + length > end - position or shared + fresh > MAX_KEY_BYTES:
            raise NotThisFormat("a row leaves its block")
        key = key[:shared] + data[position : position + fresh]
        position += fresh
        yield Row(key, offset + position, length)
        position += length


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Where a block lies: offset and size."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise NotThisFormat("a number that does not end")
