"""Which pieces of a version lean on the same version only.

A version stands alone when it needs no other one, not when each of its pieces does: a folder may hold a base
model and its fine-tunes, weights and their cast, and who reads it reads them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mvc.errors import ObjectPurged
from mvc.history.reader import read_commit, read_or_gap
from mvc.history.treediff import flatten
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.header import read_headers
from mvc.odb.record import Base


class Within(NamedTuple):
    """A record that leans on its own version: its depth, and its bases."""

    depth: int
    bases: tuple[Base, ...]


def leaning_within(objects: ObjectDatabase, versions: Iterable[CommitId]) -> dict[ObjectId, Within]:
    """The pieces whose records lean on pieces of every one of these versions that has them.

    Their bases lean on the version too, or can be stored anew to stand alone without becoming deeper.

    Raises:
        DamageError: a version cannot be read.
    """
    found: dict[ObjectId, Within] = {}
    outside: set[ObjectId] = set()
    for version in dict.fromkeys(versions):
        pieces = _pieces(objects, version)
        for identity, record in _leaning(objects, pieces):
            if all(base.id in pieces for base in record.bases):
                found[identity] = record
            else:
                outside.add(identity)
    return {identity: record for identity, record in found.items() if identity not in outside}


def _pieces(objects: ObjectDatabase, version: CommitId) -> set[ObjectId]:
    try:
        files = {entry.id for entry in flatten(objects, read_commit(objects, version).tree).values()}
    except ObjectPurged:
        return set()
    return {
        part.blob
        for file in files
        for part in read_or_gap(objects, ManifestId(file)).parts
        if part.blob is not None
    }


def _leaning(objects: ObjectDatabase, pieces: set[ObjectId]) -> Sequence[tuple[ObjectId, Within]]:
    """Those of some pieces whose records have bases."""
    entries = [found[0] for found in map(objects.entries, pieces) if found and found[0].depth]
    return [
        (BlobId(header.id), Within(header.depth, header.bases))
        for _entry, header in read_headers(objects.backend, entries)
    ]
