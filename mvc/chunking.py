"""Where a file is cut into parts (docs/format.md, "Cutting a file into parts").

Every number here is part of format 1. Change one and unchanged files are stored a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mvc.errors import FileChanged

TENSOR_PIECE = 1 << 20
"""Bytes of a tensor's piece at most."""

INLINE_GLUE = 4096
"""Bytes of glue that stand in the manifest itself; longer glue is cut by content."""

INLINE_TENSOR = 256
"""Bytes of a tensor that stands in the manifest itself."""

CONTENT_MIN = 16 << 10
CONTENT_AVG = 64 << 10
CONTENT_MAX = 256 << 10
"""FastCDC's bounds, in bytes, for what is cut by content.

FastCDC of 2020 (two bytes per step) with the gear table and masks of its authors and normalisation level 1.
Source: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
Systems", IEEE TPDS 2020.
"""

CONTENT_BUFFER = 4 << 20
"""Bytes of the buffer that :func:`content_pieces` makes for itself."""


def tensor_pieces(length: int, block: int) -> Iterator[int]:
    """Cut a tensor's ``length`` bytes; yields the pieces' lengths in order.

    Each piece but the last has the greatest multiple of ``block`` (bytes, at least 1) that is at most 1 MiB.
    A block of more than 1 MiB is cut like bytes: that no part exceeds 1 MiB is a promise of the format, whole
    blocks are not.
    """
    if length < 0 or block < 1:
        raise ValueError(f"cannot cut {length} bytes in blocks of {block}")
    piece = TENSOR_PIECE - TENSOR_PIECE % block if block <= TENSOR_PIECE else TENSOR_PIECE
    for start in range(0, length, piece):
        yield min(piece, length - start)


def content_pieces(
    read_into: Callable[[memoryview, int], int],
    offset: int,
    length: int,
    *,
    buffer: memoryview | None = None,
) -> Iterator[memoryview]:
    """Cut ``length`` bytes at ``offset`` by their content; yields the pieces in order.

    ``read_into(target, offset)`` fills ``target`` from the file and returns the bytes read, 0 only at its
    end. Each yielded view lies in one reused buffer and is valid until the next one is asked for. ``buffer``
    (writable bytes, at least 256 KiB or ``length``) is used where given, so that a caller can reuse one for
    many files.

    The cuts depend on the bytes alone, never on the size of the buffer or of the reads: FastCDC looks no
    further than 256 KiB from a piece's start, so a piece is cut only once that much lies in the buffer, or
    the end does.

    Raises:
        FileChanged: the file ends before ``offset + length``.
    """
    if buffer is None:
        buffer = memoryview(bytearray(min(length, CONTENT_BUFFER)))
    elif len(buffer) < min(length, CONTENT_MAX):
        raise ValueError(f"a buffer of {len(buffer)} bytes is too small to cut {length}")
    start = filled = taken = 0  # the buffer holds [start, filled) that is not cut yet; `taken` bytes are read
    while start < filled or taken < length:
        buffer[: filled - start] = buffer[start:filled]
        start, filled = 0, filled - start
        wanted = min(len(buffer) - filled, length - taken)
        _fill(read_into, buffer[filled : filled + wanted], offset + taken)
        filled, taken = filled + wanted, taken + wanted
        for piece in _cuts(buffer[:filled], last=taken == length):
            yield buffer[start : start + piece]
            start += piece


def _fill(read_into: Callable[[memoryview, int], int], target: memoryview, offset: int) -> None:
    while target:
        count = read_into(target, offset)
        if count <= 0:
            raise FileChanged(
                f"the file became shorter while it was read: it ends at byte {offset}",
                hint="run the command again when nothing writes to the file",
            )
        target, offset = target[count:], offset + count


def _cuts(window: memoryview, *, last: bool) -> Iterator[int]:
    """Lengths of the pieces of a window that what follows it cannot change; all of it if it is the last."""
    if last and len(window) <= CONTENT_MIN:  # FastCDC would say the same; most small files never need it
        if window:
            yield len(window)
        return
    from pyfastcdc import FastCDC  # here: importing it takes 25 to 60 ms, and few commands cut anything

    cutter = FastCDC(CONTENT_AVG, min_size=CONTENT_MIN, max_size=CONTENT_MAX, normalized_chunking=1, seed=0)
    rest = len(window)
    cuts = cutter.cut_buf(window)
    while rest >= CONTENT_MAX or (last and rest):
        piece = next(cuts).length
        yield piece
        rest -= piece
