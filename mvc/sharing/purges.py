"""Purges of which stores learn from each other: what one of them purged is not missed in the other's copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from mvc.monitor import Monitor
from mvc.objectid import ObjectId
from mvc.transaction import Transaction
from mvc.view import View


def learn(theirs: View, tx: Transaction, gone: Collection[ObjectId]) -> None:
    """Let a transaction's store know of those purges of the store that it copies from which took some of
    ``gone``: objects that versions to come refer to, and that neither has.

    Only of those, and only where nothing of such a purge is here: a store must not be able to forbid another
    one what it likes.

    Raises:
        CorruptFile: a list of purged ids is missing or damaged.
    """
    if not gone:
        return
    ids = theirs.tombstones.ids()
    needed = {ids[identity].name for identity in gone if identity in ids}
    here = {purge.name for one, purge in ids.items() if purge.name in needed and one in tx.view.objects}
    names = needed - here - {purge.name for purge in tx.view.tombstones.purges}
    tx.learn(
        [purge for purge in theirs.tombstones.purges if purge.name in names],
        {one: purge for one, purge in ids.items() if purge.name in names},
        theirs.backend,
    )


def tell(theirs: View, ours: View, monitor: Monitor, other: str) -> None:
    """Warn of what the other store purged and what is still here.

    Raises:
        CorruptFile: a list of purged ids is missing or damaged.
    """
    known = {purge.name for purge in ours.tombstones.purges}
    if not any(purge.name not in known and not purge.lifted for purge in theirs.tombstones.purges):
        return
    ids = theirs.tombstones.ids()
    here = Counter(purge.name for identity, purge in ids.items() if identity in ours.objects)
    for purge in theirs.tombstones.purges:
        count = here[purge.name]
        if count and not purge.lifted and purge.name not in known:
            monitor.warn(
                f"{other} purged {purge.what} {purge.told}; {count} of its objects "
                f"{'is' if count == 1 else 'are'} still here: mvc purge {purge.what}"
            )
