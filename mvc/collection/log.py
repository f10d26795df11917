"""Operations that are too old leave the log."""

from __future__ import annotations

from mvc.collection.swapping import condemning, swap
from mvc.oplog import piece_key
from mvc.repo import Repository, View
from mvc.root import Root
from mvc.upkeep.expire import expired, kept_count
from mvc.workspace import locked


def expire(repository: Repository, since: int | None) -> int:
    """Drop operations older than ``since`` (microseconds since 1970) from the log; returns how many.

    A checkout that was killed is settled first, since the log tells whether it took place; none begins
    meanwhile.
    """
    dropped = 0

    def change(view: View) -> Root | None:
        nonlocal dropped
        old = view.root.oplog
        new, dropped = expired(old, view.backend, since)
        if not dropped:
            return None
        kept = set(new.piece_names(view.backend))
        gone = [piece_key(name) for name in old.piece_names(view.backend) if name not in kept]
        return condemning(view.root.with_changes(oplog=new), (), gone)

    with repository.reading() as view:
        kept, total = kept_count(view.root.oplog, view.backend, since)
    if kept < total:
        with locked(repository, exclusive=False):
            swap(repository, change)
    return dropped
