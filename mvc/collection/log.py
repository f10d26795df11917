"""Operations that are too old leave the log."""

from __future__ import annotations

from contextlib import nullcontext

from mvc.collection.discarding import Discarding
from mvc.collection.swapping import condemning, swap
from mvc.oplog import piece_key
from mvc.repo import Repository
from mvc.root import Root
from mvc.store import Store
from mvc.upkeep.expire import expired, kept_count
from mvc.view import View
from mvc.workspace import locked


def expire(store: Store, since: int | None, discarding: Discarding | None = None) -> int:
    """Drop operations older than ``since`` (microseconds since 1970) from the log; returns how many. They are
    put into the trash before, if there is one.

    A checkout that was killed is settled first, since the log tells whether it took place; none begins
    meanwhile.
    """
    dropped = 0

    def change(view: View) -> Root | None:
        nonlocal dropped
        old = view.root.oplog
        new, going = expired(old, view.backend, since)
        dropped = len(going)
        if not going:
            return None
        if discarding is not None:
            discarding.operations(going)
        kept = set(new.piece_names(view.backend))
        gone = [piece_key(name) for name in old.piece_names(view.backend) if name not in kept]
        return condemning(view.root.with_changes(oplog=new), (), gone)

    with store.reading() as view:
        kept, total = kept_count(view.root.oplog, view.backend, since)
    if kept < total:
        with locked(store, exclusive=False) if isinstance(store, Repository) else nullcontext():
            swap(store, change)
    return dropped
