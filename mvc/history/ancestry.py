"""Where lines of history meet: best common ancestors, and who descends from whom.

Both sides are walked downwards together, newest first, each commit marked with the sides that reach it. What
both reach is a common ancestor, and everything below it is stale: when only stale commits are left to look
at, all best ones have been met. Clocks only order the walk. Where they run wrong more of history is read,
and a last step takes out common ancestors that turn out to lie below others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from mvc.history.reader import ObjectReader, read_links
from mvc.objectid import CommitId

_OURS, _THEIRS, _STALE = 1, 2, 4


class Link(NamedTuple):
    """What the graph knows of a commit: its time in microseconds, and its parents."""

    time: int
    parents: tuple[CommitId, ...]


class Links:
    """The graph's view of commits, each read once; what ``earlier`` read is known."""

    def __init__(self, reader: ObjectReader, earlier: Links | None = None) -> None:
        self._reader = reader
        self._known: dict[CommitId, Link] = {} if earlier is None else earlier._known

    def __getitem__(self, identity: CommitId) -> Link:
        """A commit's time and parents.

        Raises:
            ObjectMissing: the commit is not there.
        """
        found = self._known.get(identity)
        if found is None:
            found = self._known[identity] = Link(*read_links(self._reader, identity))
        return found


def merge_bases(reader: ObjectReader, ours: CommitId, *theirs: CommitId) -> list[CommitId]:
    """The best common ancestors of two commits, newest first; none where the histories are unrelated.

    A common ancestor is best when no other one descends from it. With several commits on the other side the
    answer is that for a merge of these, as ``git merge-base --all A B C`` gives it.

    Raises:
        ObjectMissing: a commit that one of them reaches is not there.
    """
    return common_ancestors(Links(reader), (ours,), theirs)


def merge_bases_of_all(reader: ObjectReader, commits: Sequence[CommitId]) -> list[CommitId]:
    """The best ancestors that all of the commits share, newest first (``git merge-base --octopus --all``)."""
    links = Links(reader)
    found = list(commits[:1])
    for commit in commits[1:]:
        met = (base for one in found for base in common_ancestors(links, (one,), (commit,)))
        found = independent(links, dict.fromkeys(met))
    return found


def common_ancestors(links: Links, ours: Iterable[CommitId], theirs: Iterable[CommitId]) -> list[CommitId]:
    """As :func:`merge_bases`, for all that a group of commits reaches on either side."""
    walk = _Walk(links)
    for commit in ours:
        walk.mark(commit, _OURS)
    for commit in theirs:
        walk.mark(commit, _THEIRS)
    found = []
    for commit, marks in walk:
        if marks == _OURS | _THEIRS:
            found.append(commit)
            marks |= _STALE
        for parent in links[commit].parents:
            walk.mark(parent, marks)
    return independent(links, [commit for commit in found if not walk.marks[commit] & _STALE])


def is_ancestor(reader: ObjectReader, ancestor: CommitId, descendant: CommitId) -> bool:
    """Whether ``descendant`` is ``ancestor`` or comes after it.

    Of the commits between the two none lies below ``ancestor``, so none is stale before it has been walked:
    the answer trusts no clock. How soon a "no" is found does hang on clocks.

    Raises:
        ObjectMissing: a commit that one of them reaches is not there.
    """
    if ancestor == descendant:
        return True
    links = Links(reader)
    walk = _Walk(links)
    walk.mark(ancestor, _OURS)
    walk.mark(descendant, _THEIRS)
    for commit, marks in walk:
        stale = _STALE if marks == _OURS | _THEIRS else 0
        for parent in links[commit].parents:
            walk.mark(parent, marks | stale)
        if walk.marks[ancestor] & _THEIRS:
            return True
    return False


def divergence(reader: ObjectReader, ours: CommitId, theirs: CommitId) -> tuple[int, int]:
    """How many commits each of two reaches that the other one does not.

    Where clocks run wrong, commits below what both reach may be counted too, as Git does.

    Raises:
        ObjectMissing: a commit that one of them reaches is not there.
    """
    links = Links(reader)
    walk = _Walk(links, _OURS | _THEIRS)
    walk.mark(ours, _OURS)
    walk.mark(theirs, _THEIRS)
    for commit, marks in walk:
        for parent in links[commit].parents:
            walk.mark(parent, marks)
    found = list(walk.marks.values())
    return found.count(_OURS), found.count(_THEIRS)


def independent(links: Links, commits: Iterable[CommitId]) -> list[CommitId]:
    """The commits among these, which differ from each other, that none of the others descends from, newest
    first; those of one time keep their order."""
    candidates = sorted(commits, key=lambda commit: -links[commit].time)
    if len(candidates) < 2:
        return candidates
    # One bit for each candidate that reaches a commit. What all reach is stale: between two candidates, one
    # below the other, no commit is reached by the lower one.
    everyone = (1 << len(candidates)) - 1
    walk = _Walk(links, everyone)
    for number, commit in enumerate(candidates):
        walk.mark(commit, 1 << number)
    for commit, marks in walk:
        for parent in links[commit].parents:
            walk.mark(parent, marks)
    return [commit for number, commit in enumerate(candidates) if walk.marks[commit] == 1 << number]


class _Walk:
    """Commits newest first with their marks, until all that are left to look at are stale.

    A commit that is marked once more after its turn has another turn. ``stale`` are the marks that make a
    commit stale, all of them together.
    """

    def __init__(self, links: Links, stale: int = _STALE) -> None:
        self.marks: dict[CommitId, int] = {}
        self._links = links
        self._stale = stale
        self._queue: list[tuple[int, int, CommitId]] = []
        self._waiting: set[CommitId] = set()
        self._met = 0
        self._fresh = 0

    def mark(self, commit: CommitId, marks: int) -> None:
        """Add marks to a commit; where that says anything new it will have a turn."""
        before = self.marks.get(commit, 0)
        after = before | marks
        if before == after:
            return
        self.marks[commit] = after
        stale = after & self._stale == self._stale
        if commit in self._waiting:
            self._fresh -= stale and before & self._stale != self._stale
            return
        # The number of turns given out breaks ties, so that ids are never compared.
        heappush(self._queue, (-self._links[commit].time, self._met, commit))
        self._waiting.add(commit)
        self._met += 1
        self._fresh += not stale

    def __iter__(self) -> Iterator[tuple[CommitId, int]]:
        while self._fresh:
            _, _, commit = heappop(self._queue)
            self._waiting.remove(commit)
            marks = self.marks[commit]
            self._fresh -= marks & self._stale != self._stale
            yield commit, marks
