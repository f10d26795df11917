"""History simplified to some places, as Git does by default (``git help log``, "History Simplification").

A merge that has the same there as one of its parents goes on with that parent alone, and what changed nothing
there is not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mvc.history.pathlog import Comparison
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.revisions import lookup_path
from mvc.history.treediff import diff_trees, pair_renames
from mvc.history.wanted import Listing, Place
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit


class Simplified:
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


class Followed(Simplified):
    """A file whose earlier names are found on the way: of each version it is known when a child was seen."""

    def __init__(self, reader: ObjectReader, listing: Listing, relevant: Callable[[CommitId], bool]) -> None:
        super().__init__(reader, listing, relevant)
        self._path = listing.places[0].path
        self._names: dict[CommitId, str] = {}
        self._comparisons: dict[str, Comparison] = {}

    def name(self, identity: CommitId) -> str:
        """What the file is called in a version."""
        return self._names.get(identity, self._path)

    def parents(self, identity: CommitId, commit: Commit) -> Sequence[CommitId]:
        """Those that a commit keeps; what the file was called in them is noted."""
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
