"""Locators: which index segments a version needs, so that reading it costs O(that version) (docs/format.md).

They are derived and may be missing, torn or out of date; a reader that misses an object looks in all
segments.
"""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

from mvc import canonical
from mvc.backends import Backend, NotFound
from mvc.errors import CorruptObject
from mvc.objectid import CommitId, ObjectId
from mvc.odb.index import Index

_HASH_BYTES = 32


def locator_key(commit: CommitId) -> str:
    """Where a version's locator lies in a backend."""
    text = commit.hex()
    return f"locators/{text[:2]}/{text}.loc"


def read_locator(backend: Backend, commit: CommitId) -> list[bytes] | None:
    """Names of the segments that a version needs; None when there is no sound locator."""
    try:
        data = backend.get(locator_key(commit))
    except NotFound:
        return None
    body, digest = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
    if blake3(body).digest() != digest:
        return None
    try:
        names = canonical.unpack(body, "locator")["segments"]
    except (CorruptObject, KeyError, TypeError):
        return None
    return [bytes(name) for name in names]


def write_locator(backend: Backend, commit: CommitId, names: Iterable[bytes]) -> None:
    """Store a version's locator in the place of any older one."""
    body = canonical.pack({"segments": list(names)})
    key, data = locator_key(commit), [body, blake3(body).digest()]
    if not backend.put(key, data):  # few are there already, and each request to a bucket takes its time
        backend.delete(key)
        backend.put(key, data)


def segments_needed(
    backend: Backend,
    index: Index,
    own: Iterable[bytes],
    parents: Iterable[CommitId],
    relied: Iterable[ObjectId],
) -> list[bytes]:
    """Segments of ``index`` that a new version needs: its own, its parents', and all when it relies on
    others too."""
    everything = [row.name for row in index.rows]
    names = list(own)
    for parent in parents:
        earlier = read_locator(backend, parent)
        if earlier is None:
            return everything
        names += earlier
    rows = index.resolve(names)
    if rows is None:
        return everything
    some = Index(rows, lambda name: index.segment(name), index.dead_packs)
    return [row.name for row in rows] if all(identity in some for identity in relied) else everything
