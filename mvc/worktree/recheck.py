"""Whether a work file still is what a manifest says, piece by piece, stopping at the first difference."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import cast

from mvc.fileio import FileIO
from mvc.objects import Manifest, Part
from mvc.parallel import batches, ordered_map
from mvc.reuse import MOST_BYTES, is_part

BATCH_BYTES = 4 << 20

_Placed = tuple[int, Part]


def same_content(io: FileIO, path: Path, manifest: Manifest) -> bool:
    """Compare a file with a manifest; large files by several threads.

    Raises:
        OSError: the file cannot be read.
    """
    fd = io.open_read(path)
    try:
        if io.stat_handle(fd).st_size != manifest.size:
            return False

        buffers: deque[bytearray] = deque()  # fresh memory costs as much as hashing what is read into it

        def equal(batch: list[_Placed]) -> bool:
            buffer = buffers.pop() if buffers else bytearray(MOST_BYTES)
            try:
                return all(_is_at(io, fd, offset, part, memoryview(buffer)) for offset, part in batch)
            finally:
                buffers.append(buffer)

        handed = batches(manifest.placed_parts(), lambda placed: placed[1].length, BATCH_BYTES)
        if manifest.size <= BATCH_BYTES:
            return all(map(equal, handed))
        # Closed first, so that no thread still reads when the number of the handle is free for another file.
        with closing(cast(Generator[bool, None, None], ordered_map(equal, handed))) as results:
            return all(results)
    finally:
        io.close(fd)


def _is_at(io: FileIO, fd: int, offset: int, part: Part, buffer: memoryview) -> bool:
    if part.length > len(buffer):
        data = io.read_at(fd, part.length, offset)
        return len(data) == part.length and is_part(data, part)
    read = io.read_into(fd, buffer[: part.length], offset)
    return read == part.length and is_part(buffer[: part.length], part)
