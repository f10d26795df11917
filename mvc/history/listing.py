"""The versions that ``git log`` would list: selected, in an order, simplified to some places."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mvc.history.graph import walk
from mvc.history.reader import ObjectReader
from mvc.history.wanted import Listed, Listing, Order, Place
from mvc.objectid import CommitId
from mvc.objects import Commit

__all__ = ["Listed", "Listing", "Order", "Place", "list_commits"]


def list_commits(
    reader: ObjectReader, listing: Listing, wanted: Callable[[CommitId, Commit], bool]
) -> Iterator[Listed]:
    """The versions of a listing that are ``wanted``. In the order ``"time"``, without anything hidden and not
    connected, the walk streams; otherwise the selected part of history is read before the first one.

    Raises:
        ObjectMissing: something that a version names is not there.
    """
    starts = listing.selection.starts
    if listing.order != "time" or listing.selection.hidden or listing.connected or listing.since is not None:
        from mvc.history.selected import list_selected  # here and below: a plain log needs none of this

        yield from list_selected(reader, listing, wanted)
    elif listing.places:
        from mvc.history.simplification import Followed, Simplified

        kind = Followed if listing.follow else Simplified
        simplified = kind(reader, listing, lambda _identity: True)
        for identity, commit in walk(reader, starts, follow=simplified.followed):
            if identity not in simplified.unchanged and wanted(identity, commit):
                yield Listed(identity, commit, commit.parents, simplified.name(identity))
    else:
        for identity, commit in walk(reader, starts, first_parent=listing.first_parent):
            if wanted(identity, commit):
                yield Listed(identity, commit, commit.parents)
