"""Whether a work file still is what a manifest says, piece by piece, stopping at the first difference."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import cast

from mvc.fileio import FileIO
from mvc.objectid import BlobId
from mvc.objects import Manifest, Part
from mvc.parallel import batches, ordered_map

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

        def equal(batch: list[_Placed]) -> bool:
            return all(_same_part(io.read_at(fd, part.length, offset), part) for offset, part in batch)

        handed = batches(manifest.placed_parts(), lambda placed: placed[1].length, BATCH_BYTES)
        if manifest.size <= BATCH_BYTES:
            return all(map(equal, handed))
        # Closed first, so that no thread still reads when the number of the handle is free for another file.
        with closing(cast(Generator[bool, None, None], ordered_map(equal, handed))) as results:
            return all(results)
    finally:
        io.close(fd)


def _same_part(data: bytes, part: Part) -> bool:
    if part.blob is None:
        return data == part.inline
    return len(data) == part.length and BlobId.of(data) == part.blob
