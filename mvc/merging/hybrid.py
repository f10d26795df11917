"""A file that takes some of its tensors' bytes from elsewhere, read without ever being whole in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from mvc.errors import UsageError
from mvc.history.reader import ObjectReader, PartTable, read_piece
from mvc.memoryfile import MemoryFile, Stretch
from mvc.objects import Manifest
from mvc.spans import Span


class Replaced(NamedTuple):
    """A tensor of the file, and the stretches, as many bytes, that stand in its place."""

    span: Span
    stretches: tuple[Stretch, ...]


def stored(reader: ObjectReader, parts: PartTable, offset: int, length: int) -> tuple[Stretch, ...]:
    """A range of a stored file as stretches of at most one part each, decoded when their turn comes."""
    return tuple(
        Stretch(piece.length, partial(read_piece, reader, piece)) for piece in parts.pieces(offset, length)
    )


def hybrid(reader: ObjectReader, name: str, manifest: Manifest, replaced: Iterable[Replaced]) -> MemoryFile:
    """The file of a manifest, called ``name`` in its folder, with some tensors' bytes replaced at equal size.

    Raises:
        UsageError: two replaced tensors share bytes, or a replacement has another length.
    """
    return MemoryFile(name, list(_stretches(reader, PartTable(manifest), manifest.size, replaced)))


def _stretches(
    reader: ObjectReader, parts: PartTable, size: int, replaced: Iterable[Replaced]
) -> Iterator[Stretch]:
    done = 0
    for span, stretches in sorted(replaced, key=lambda item: item.span.offset):
        if span.offset < done or sum(stretch.length for stretch in stretches) != span.length:
            raise UsageError(f"tensor {span.name!r} cannot be replaced by itself at equal size")
        yield from stored(reader, parts, done, span.offset - done)
        yield from stretches
        done = span.offset + span.length
    yield from stored(reader, parts, done, size - done)
