"""A listing for which the selected part of history is read before its first version is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from mvc.history.limited import Limited
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.simplification import Followed, Simplified
from mvc.history.topology import in_topological_order
from mvc.history.wanted import Listed, Listing, Order
from mvc.objectid import CommitId
from mvc.objects import Commit


def list_selected(
    reader: ObjectReader, listing: Listing, wanted: Callable[[CommitId, Commit], bool]
) -> Iterator[Listed]:
    """The versions of a listing that are ``wanted``.

    Raises:
        ObjectMissing: something that a version names is not there.
    """
    limited = Limited(
        lambda identity: read_commit(reader, identity),
        frozenset(listing.selection.hidden),
        listing.first_parent,
    )
    simplified = (Followed if listing.follow else Simplified)(reader, listing, limited.relevant)
    limited.run(listing.selection.starts, simplified.parents, listing.since)
    shown = {
        identity
        for identity, commit in limited.found.items()
        if simplified.is_listed(limited.parents[identity], identity) and wanted(identity, commit)
    }
    connected = _Connected(limited, simplified, shown)
    for identity in _ordered(limited.found, limited.parents, listing.order):
        if identity in shown:
            commit = limited.found[identity]
            parents = connected.parents(identity) if listing.connected else commit.parents
            yield Listed(identity, commit, parents, simplified.name(identity))


def _ordered(
    commits: Mapping[CommitId, Commit], parents: Mapping[CommitId, Sequence[CommitId]], order: Order
) -> Iterator[CommitId]:
    if order == "topo":
        return in_topological_order(commits, parents, "topo")
    if order == "date" or not _is_topological(commits, parents):
        return in_topological_order(commits, parents, "date")
    return iter(commits)


def _is_topological(
    commits: Mapping[CommitId, Commit], parents: Mapping[CommitId, Sequence[CommitId]]
) -> bool:
    """Whether no commit stands behind one of its parents, as happens where clocks ran wrong."""
    out: set[CommitId] = set()
    for identity in commits:
        if not out.isdisjoint(parents[identity]):
            return False
        out.add(identity)
    return True


class _Connected:
    """Parents among the listed versions, over those that are not."""

    def __init__(self, limited: Limited, simplified: Simplified, shown: set[CommitId]) -> None:
        self._limited = limited
        self._simplified = simplified
        self._shown = shown
        self._nearest: dict[CommitId, CommitId | None] = {}

    def parents(self, identity: CommitId) -> tuple[CommitId, ...]:
        parents = self._limited.parents[identity][: 1 if self._limited.first_parent else None]
        found = map(self._reach, parents)
        return tuple(dict.fromkeys(parent for parent in found if parent in self._shown and parent))

    def _reach(self, identity: CommitId) -> CommitId | None:
        """The commit itself, or the first before it that changed something; None where there is none."""
        passed = []
        at: CommitId | None = identity
        while at is not None and at in self._simplified.unchanged and at in self._limited.found:
            if at in self._nearest:
                at = self._nearest[at]
                break
            parents = self._limited.parents[at]
            only = self._simplified.only(parents)
            if only is None and parents:
                break
            passed.append(at)
            at = only
        self._nearest.update(dict.fromkeys(passed, at))
        return at
