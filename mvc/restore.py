"""A manifest in, the file's bytes out, piece by piece, each checked against its id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from mvc.errors import CorruptObject
from mvc.objectid import ObjectId
from mvc.objects import Manifest, Part
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.parallel import batches, ordered_map

BATCH_BYTES = 1 << 20


def file_pieces(database: ObjectDatabase, manifest: Manifest, *, verify: bool = False) -> Iterator[bytes]:
    """The file's bytes, end to end, decoded by several threads with bounded memory.

    Every blob is checked against its id. With ``verify`` the whole file is checked against its SHA-256 too;
    the error then comes after the last piece.

    Raises:
        ObjectMissing, CorruptObject: a blob cannot be read.
    """
    digest = hashlib.sha256()

    def decode(batch: list[Part]) -> list[bytes]:
        small = database.get_small(
            part.blob for part in batch if part.blob is not None and part.length <= SMALL_BYTES
        )
        return [_plain(database, part, small) for part in batch]

    handed = batches(
        database.ahead(manifest.parts, lambda part: (part.blob, part.length)),
        lambda part: part.length,
        BATCH_BYTES,
    )
    results = map(decode, handed) if manifest.size <= BATCH_BYTES else ordered_map(decode, handed)
    for batch in results:
        for plain in batch:
            if verify:
                digest.update(plain)
            yield plain
    if verify and digest.digest() != manifest.sha256:
        raise CorruptObject("a restored file does not have the SHA-256 of its manifest")


def _plain(database: ObjectDatabase, part: Part, small: Mapping[ObjectId, bytes]) -> bytes:
    if part.blob is None:
        return part.inline
    plain = small.get(part.blob) or database.get(part.blob)  # no blob is empty
    if len(plain) != part.length:
        raise CorruptObject(f"blob {part.blob.short} has not the length that its manifest says")
    return plain
