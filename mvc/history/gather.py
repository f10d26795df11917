"""Stretches of files into memory that the caller provides, decoded in place by several threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mvc.errors import CorruptObject
from mvc.history.reader import PartTable, Piece
from mvc.objectid import BlobId, ObjectId
from mvc.objects import Part
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.parallel import batches, ordered_map

SMALL_TENSOR = 64 << 10
"""Bytes of the mean tensor up to which one thread is faster than several."""

BATCH_BYTES = 2 << 20


class Wanted(NamedTuple):
    """The bytes of a file from ``offset`` on, as many as ``target`` has.

    ``target`` is writable and contiguous, of bytes. Targets may not overlap.
    """

    parts: PartTable
    offset: int
    target: memoryview


class _Piece(NamedTuple):
    piece: Piece
    target: memoryview


def gather(
    database: ObjectDatabase, wanted: Iterable[Wanted], *, threads: int | None = None, keep: bool = False
) -> None:
    """Fill the targets. Only parts that overlap them are read, each blob checked against its id.

    ``threads`` is their number, by default one per core; with ``keep`` blobs stay in the database's cache.
    After an error the targets hold anything.

    Raises:
        ObjectMissing, CorruptObject: a blob cannot be read.
    """

    def work(batch: list[_Piece]) -> None:
        small = database.get_small(_small_blobs(piece.part for piece, _target in batch), keep=keep)
        for piece, target in batch:
            _fill(database, piece, target, keep, small)

    wanted = list(wanted)
    handed = batches(
        database.ahead(_pieces(wanted), lambda item: (item.piece.part.blob, item.piece.part.length)),
        lambda piece: len(piece.target),
        BATCH_BYTES,
    )
    # a thread pool costs more than one batch; small pieces only make threads wait for each other
    least = max(BATCH_BYTES, SMALL_TENSOR * len(wanted))
    alone = threads == 1 or sum(len(item.target) for item in wanted) <= least
    for _done in map(work, handed) if alone else ordered_map(work, handed, workers=threads):
        pass


def _pieces(wanted: Iterable[Wanted]) -> Iterator[_Piece]:
    for parts, offset, target in wanted:
        done = 0
        for piece in parts.pieces(offset, len(target)):
            yield _Piece(piece, target[done : done + piece.length])
            done += piece.length


def _small_blobs(parts: Iterable[Part]) -> list[BlobId]:
    """The blobs of some parts that are small, for :meth:`ObjectDatabase.get_small`."""
    return [part.blob for part in parts if part.blob is not None and part.length <= SMALL_BYTES]


def _fill(
    database: ObjectDatabase, piece: Piece, target: memoryview, keep: bool, small: Mapping[ObjectId, bytes]
) -> None:
    part, start, length = piece
    if part.blob is None:
        target[:] = part.inline[start : start + length]
        return
    plain = small.get(part.blob)
    if plain is None and length == part.length:
        database.get_into(part.blob, target, keep=keep)
        return
    plain = database.get(part.blob) if plain is None else plain
    if len(plain) != part.length:
        raise CorruptObject(f"blob {part.blob.short} has not the length that its manifest says")
    target[:] = plain[start : start + length]
