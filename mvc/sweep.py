"""Deletes what was condemned before, once nobody can still be reading it (docs/format.md, the protocol)."""

from __future__ import annotations

from mvc.odb.pack import pack_key
from mvc.odb.segment import Segment
from mvc.root import Fossil, Root
from mvc.store import Store
from mvc.view import segment_key


def sweep(store: Store, now: Root, following: Root) -> Root:
    """Delete what was condemned before and nobody can still be reading; returns root without it.

    ``now`` is root as it stands: only what it already condemns may go, because whoever announced an intent
    after it was read sees it or something newer. The caller's own intent counts too: it may still be reading
    an older state.
    """
    if not now.retired and all(fossil.deleted for fossil in now.fossils):
        return following
    return delete_condemned(store, now, following, store.free_epoch())


def delete_condemned(store: Store, now: Root, following: Root, oldest: int | None) -> Root:
    """Delete what ``now`` condemns up to the epoch ``oldest`` (None: everything).

    Returns ``following`` without it.

    A thing is deleted before it leaves root's list: who reads a root that does not list it, and finds it, may
    rely on it.
    """

    def free(epoch: int) -> bool:
        return oldest is None or epoch <= oldest

    gone = {item.key for item in now.retired if free(item.epoch)}
    dead = {fossil.pack for fossil in now.fossils if not fossil.deleted and free(fossil.epoch)}
    if gone or dead:
        # who swapped in the root that condemns them may have died before it was durable
        store.confirm_root()
    for key in gone:
        store.backend.delete(key)
    for pack in dead:
        store.backend.delete(pack_key(pack))
    fossils = tuple(Fossil(f.pack, f.epoch, f.deleted or f.pack in dead) for f in following.fossils)
    if any(fossil.deleted for fossil in fossils):
        mentioned = _mentioned(store, following)
        fossils = tuple(fossil for fossil in fossils if not fossil.deleted or fossil.pack in mentioned)
    return following.with_changes(
        retired=tuple(item for item in following.retired if item.key not in gone), fossils=fossils
    )


def _mentioned(store: Store, root: Root) -> set[bytes]:
    """Packs that segments still mention."""
    packs: set[bytes] = set()
    for row in root.segments:
        packs.update(Segment.open(row.name, store.backend.view(segment_key(row.name))).packs)
    return packs
