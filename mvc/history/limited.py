"""What some commits reach and others do not, without reading history to its end.

The method is Git's (``limit_list`` in ``revision.c``): both sides are walked newest first, and the walk ends
when nothing but hidden commits is left and none of them is newer than what was found. Then :data:`SLOP`
commits more are looked at, because clocks run wrong: only a hidden line whose clocks ran so far ahead that it
leads back to a found commit behind all of these would leave that commit in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from mvc.objectid import CommitId
from mvc.objects import Commit

SLOP = 100
"""Git looks at 5."""

MICROSECONDS = 1_000_000

Parents = Callable[[CommitId, Commit], Sequence[CommitId]]
"""Which parents of a commit count."""


@dataclass(slots=True)
class Limited:
    """The commits that were found, and the parents that each one keeps; ``hidden`` are those that are not
    wanted, ``bottom`` those among them that were named. With ``first_parent`` the walk goes on to the first
    of the kept parents alone."""

    read: Callable[[CommitId], Commit]
    bottom: frozenset[CommitId]
    first_parent: bool = False
    found: dict[CommitId, Commit] = field(default_factory=dict)
    parents: dict[CommitId, Sequence[CommitId]] = field(default_factory=dict)
    hidden: set[CommitId] = field(default_factory=set)
    _queue: list[tuple[int, int, CommitId]] = field(default_factory=list)
    _commits: dict[CommitId, Commit] = field(default_factory=dict)
    _waiting: set[CommitId] = field(default_factory=set)
    """What is in the queue and not hidden."""

    def relevant(self, identity: CommitId) -> bool:
        """Whether a parent counts when histories are simplified: one that is not hidden, or named."""
        return identity not in self.hidden or identity in self.bottom

    def run(self, starts: Iterable[CommitId], parents: Parents, since: int | None) -> None:
        """Walk; ``since`` (seconds since 1970) hides what is older, with all that comes before it."""
        self.hidden |= self.bottom
        for identity in (*self.bottom, *starts):
            self._add(identity)
        for identity in self.bottom:
            self._hide_before(identity)
        oldest, slop = None, SLOP
        while self._queue and slop:
            negative, _, identity = heappop(self._queue)
            commit = self._commits[identity]
            self._waiting.discard(identity)
            if since is not None and -negative // MICROSECONDS < since:
                self.hidden.add(identity)
            if identity in self.hidden:
                self._hide_before(identity)
                for parent in commit.parents:
                    self._add(parent)
                    self._hide_before(parent)
                newer = oldest is not None and self._queue and -self._queue[0][0] >= oldest
                slop = SLOP if self._waiting or newer else slop - 1
                continue
            slop, oldest = SLOP, -negative
            self.found[identity] = commit
            self.parents[identity] = parents(identity, commit)
            for parent in self.parents[identity][: 1 if self.first_parent else None]:
                self._add(parent)
        for identity in self.hidden:
            self.found.pop(identity, None)

    def _add(self, identity: CommitId) -> None:
        if identity in self._commits:
            return
        commit = self._commits[identity] = self.read(identity)
        # the number of commits met so far breaks ties, so that ids are never compared
        heappush(self._queue, (-commit.time.microseconds, len(self._commits), identity))
        if identity not in self.hidden:
            self._waiting.add(identity)

    def _hide_before(self, identity: CommitId) -> None:
        """Hide what comes before a commit, as far as it was read; the rest follows when it is."""
        todo = [identity]
        while todo:
            commit = self._commits.get(todo.pop())
            for parent in () if commit is None else commit.parents:
                if parent in self.hidden:
                    continue
                self.hidden.add(parent)
                self._waiting.discard(parent)
                todo.append(parent)
