"""The versions that ``git log`` would list: a selection of the graph, in an order, simplified to some places.

Simplification is Git's default (``git help log``, "History Simplification"): a merge that has the same there
as one of its parents goes on with that parent alone, and what changed nothing there is not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mvc.history.graph import walk
from mvc.history.limited import Limited
from mvc.history.pathlog import Comparison, Place
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.revisions import lookup_path
from mvc.history.selection import Selection
from mvc.history.topology import in_topological_order
from mvc.history.treediff import diff_trees, pair_renames
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit

Order = Literal["time", "topo", "date"]
"""Newest first as the walk meets them; no parent before a child, lines kept together; the same, newest first
(``--topo-order``, ``--date-order``)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is to be listed. ``since`` (seconds since 1970) leaves out what is older, and all before it;
    ``connected`` gives each version the nearest listed ones as its parents, which is what a drawing needs.
    With ``follow`` the one place is a file, whose earlier names are found where it was renamed and not
    changed."""

    selection: Selection
    order: Order = "time"
    first_parent: bool = False
    since: int | None = None
    places: tuple[Place, ...] = ()
    connected: bool = False
    follow: bool = False


class Listed(NamedTuple):
    """A version of a listing; ``parents`` are those of a connected listing, else the commit's own; ``path``
    is what a followed file is called there."""

    id: CommitId
    commit: Commit
    parents: Sequence[CommitId]
    path: str | None = None


def list_commits(
    reader: ObjectReader, listing: Listing, wanted: Callable[[CommitId, Commit], bool]
) -> Iterator[Listed]:
    """The versions of a listing that are ``wanted``. In the order ``"time"``, without anything hidden and not
    connected, the walk streams; otherwise the selected part of history is read before the first one.

    Raises:
        ObjectMissing: something that a version names is not there.
    """
    selection = listing.selection
    kind = _Followed if listing.follow else _Simplified
    if listing.order == "time" and not (selection.hidden or listing.connected or listing.since is not None):
        simplified = kind(reader, listing, lambda _identity: True)
        for identity, commit in walk(reader, selection.starts, follow=simplified.followed):
            if identity not in simplified.unchanged and wanted(identity, commit):
                yield Listed(identity, commit, commit.parents, simplified.name(identity))
        return
    limited = Limited(
        lambda identity: read_commit(reader, identity), frozenset(selection.hidden), listing.first_parent
    )
    simplified = kind(reader, listing, limited.relevant)
    limited.run(selection.starts, simplified.parents, listing.since)
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


class _Simplified:
    """Which parents history goes on to, and which versions changed nothing at the places."""

    def __init__(self, reader: ObjectReader, listing: Listing, relevant: Callable[[CommitId], bool]) -> None:
        self.unchanged: set[CommitId] = set()
        self._reader = reader
        self._listing = listing
        self._relevant = relevant
        self._comparison = Comparison(reader, listing.places) if listing.places else None

    def followed(self, identity: CommitId, commit: Commit) -> Sequence[CommitId]:
        """The parents that a walk goes on to."""
        return self.parents(identity, commit)[: 1 if self._listing.first_parent else None]

    def parents(self, identity: CommitId, commit: Commit) -> Sequence[CommitId]:
        """The parents that a commit keeps: one that has the same at the places, else all."""
        parents = commit.parents
        comparison = self._comparison_at(identity)
        if comparison is None:
            return parents
        if not parents:
            if comparison.is_same(None, commit.tree):
                self.unchanged.add(identity)
            return parents
        changes = {True: 0, False: 0}
        relevant = [self._relevant(parent) for parent in parents[: 1 if self._listing.first_parent else None]]
        for parent, counts in zip(parents, relevant, strict=False):
            if not comparison.is_same(read_commit(self._reader, parent).tree, commit.tree):
                changes[counts] += 1
            elif counts:
                self.unchanged.add(identity)
                return (parent,)
        if not changes[any(relevant)]:
            self.unchanged.add(identity)
        return parents

    def name(self, _identity: CommitId) -> str | None:
        """What a followed file is called in a version."""
        return None

    def _comparison_at(self, _identity: CommitId) -> Comparison | None:
        return self._comparison

    def is_listed(self, parents: Sequence[CommitId], identity: CommitId) -> bool:
        """Whether a version is listed: it changed something, or it ties listed lines together."""
        if identity not in self.unchanged:
            return True
        return self._listing.connected and sum(map(self._relevant, parents)) > 1

    def only(self, parents: Sequence[CommitId]) -> CommitId | None:
        """The one parent that the history of an unchanged version goes on with; None where there is not
        exactly one."""
        if len(parents) > 1 and not self._listing.first_parent:
            parents = [parent for parent in parents if self._relevant(parent)]
            return parents[0] if len(parents) == 1 else None
        return parents[0] if parents else None


class _Followed(_Simplified):
    """A file whose earlier names are found on the way: of each version it is known when a child was seen."""

    def __init__(self, reader: ObjectReader, listing: Listing, relevant: Callable[[CommitId], bool]) -> None:
        super().__init__(reader, listing, relevant)
        self._path = listing.places[0].path
        self._names: dict[CommitId, str] = {}
        self._comparisons: dict[str, Comparison] = {}

    def name(self, identity: CommitId) -> str:
        return self._names.get(identity, self._path)

    def parents(self, identity: CommitId, commit: Commit) -> Sequence[CommitId]:
        path = self.name(identity)
        parents = super().parents(identity, commit)
        for parent in parents:
            tree = read_commit(self._reader, parent).tree
            self._names.setdefault(parent, self._earlier(path, tree, commit.tree))
        return parents

    def _comparison_at(self, identity: CommitId) -> Comparison:
        path = self.name(identity)
        if path not in self._comparisons:
            self._comparisons[path] = Comparison(self._reader, [Place(path)])
        return self._comparisons[path]

    def _earlier(self, path: str, old: TreeId, new: TreeId) -> str:
        """What a file was called before."""
        if lookup_path(self._reader, old, path) is not None or lookup_path(self._reader, new, path) is None:
            return path
        changes = pair_renames(self._reader, diff_trees(self._reader, old, new))
        return next((change.old_path or path for change in changes if change.path == path), path)


class _Connected:
    """Parents among the listed versions, over those that are not."""

    def __init__(self, limited: Limited, simplified: _Simplified, shown: set[CommitId]) -> None:
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
