"""Stores anew what leans on objects that go."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable

from mvc.dtypes import DTYPES, DType
from mvc.history.reader import read_manifest
from mvc.objectid import BlobId, ManifestId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.encoder import Encoded, encode_opaque, encode_tensor
from mvc.odb.pack import PackWriter
from mvc.odb.record import Base, Record
from mvc.spans import NotTileable, tile


def store_anew(
    objects: ObjectDatabase, again: Collection[ObjectId], files: Iterable[ManifestId], packs: PackWriter
) -> None:
    """Add a record of each object of ``again``, which leans on nothing that goes, to ``packs``.

    No new record is deeper than the one that it replaces, so what leans on these objects goes on doing so. Of
    the pieces that leaned on one and the same the first stands alone, and the others lean on it where that is
    smaller. ``objects`` reads the records as they were; ``files`` are manifests of those that stay, which
    tell of what type a piece is.
    """
    types = _types(objects, again, files)
    leaders: dict[tuple[ObjectId, int], tuple[ObjectId, bytes]] = {}
    for identity in sorted(again, key=lambda one: (one.kind, bytes(one))):
        plain = objects.get(identity)
        old = objects.record(identity)
        dtype = types.get(identity)
        record = _record(identity, plain, dtype, None, None)
        key = (old.bases[0].id, len(plain)) if old.bases else None
        leader = None if key is None else leaders.get(key)
        if leader is not None and isinstance(identity, BlobId):
            leaning = _record(identity, plain, dtype, *leader)
            record = leaning if leaning.bases and _size(leaning) < _size(record) else record
        elif key is not None:
            leaders[key] = identity, plain
        packs.add(record)


def _record(
    identity: ObjectId, plain: bytes, dtype: DType | None, base: ObjectId | None, prediction: bytes | None
) -> Record:
    """The object alone, or (of depth 1) told from one that stands alone."""
    encoded: Encoded
    if dtype is None:
        encoded = encode_opaque(plain, prediction)
    else:
        encoded = encode_tensor(plain, dtype, prediction)
    if base is None or prediction is None or not encoded.used_prediction:
        return Record(identity, len(plain), 0, encoded.chain, None, (), encoded.stored)
    bases = (Base(base, 0, len(prediction)),)
    return Record(identity, len(plain), 1, encoded.chain, None, bases, encoded.stored)


def _size(record: Record) -> int:
    return sum(memoryview(piece).nbytes for piece in record.to_pieces())


def _types(
    objects: ObjectDatabase, again: Collection[ObjectId], files: Iterable[ManifestId]
) -> dict[ObjectId, DType]:
    """The element types of those objects that are pieces of tensors."""
    wanted = {one for one in again if isinstance(one, BlobId)}
    found: dict[ObjectId, DType] = {}
    for file in files if wanted else ():
        manifest = read_manifest(objects, file)
        if not any(part.blob in wanted for part in manifest.parts):
            continue
        try:
            regions = list(tile(manifest.size, manifest.tensors))
        except NotTileable:
            continue  # description only: such a file's pieces are bytes
        starts = [region.offset for region in regions]
        for offset, part in manifest.placed_parts():
            span = regions[bisect_right(starts, offset) - 1].span
            if part.blob in wanted and part.blob is not None and span is not None:
                found[part.blob] = DTYPES[span.dtype]
    return found
