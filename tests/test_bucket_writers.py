"""Writers of a store where nobody is announced: what they put stays theirs, and what was taken is noticed."""

from __future__ import annotations

import itertools
from functools import partial

import mvc.transaction
from mvc.backends.memory import MemoryBackend
from mvc.monitor import Monitor
from mvc.objectid import BlobId
from mvc.odb.index import merge
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.transaction import Update, begin
from tests.engine import ME, now


def bucket() -> BucketStore:
    return BucketStore.create(MemoryBackend(), Monitor(), "memory://test", branch="main")


def blobs(prefix: str, count: int, least: int = 0) -> list[bytes]:
    """So many contents whose ids begin with a byte of at least ``least``."""
    contents = (f"{prefix} {number}".encode() for number in itertools.count())
    return list(itertools.islice((one for one in contents if BlobId.of(one)[0] >= least), count))


def put(store: BucketStore, contents: list[bytes]) -> list[BlobId]:
    """One operation that stores some pieces."""
    with begin(store, "put", ME, now()) as tx:
        found = [tx.writer.put(BlobId, content) for content in contents]
        tx.publish(lambda view: Update())
    return found


def test_who_loses_the_race_deletes_no_segment_of_the_winner(monkeypatch):
    """Both merge the same run, of segments split by ids; what is new falls behind the first of them."""
    monkeypatch.setattr(mvc.transaction, "merge", partial(merge, max_bytes=4000))
    store = bucket()
    old = put(store, blobs("old", 100))
    winner: list[BlobId] = []
    swap = store.roots.swap

    def late(expected: bytes | None, root: Root) -> None:
        if not winner:
            monkeypatch.setattr(store.roots, "swap", swap)
            winner.extend(put(store, blobs("winner", 40, 0xE0)))
        swap(expected, root)

    monkeypatch.setattr(store.roots, "swap", late)
    loser = put(store, blobs("loser", 40, 0xE0))
    view = store.read()
    assert not list(view.index.damage())
    for identity in (*old, *winner, *loser):
        assert BlobId.of(view.objects.get(identity)) == identity
