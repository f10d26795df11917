"""Commits in an order in which no parent stands before a child.

Git's way (``sort_in_topological_order`` in ``commit.c``): among the commits whose children are all out,
with ``"topo"`` the one that became free last goes next, so that lines of history stay together; with
``"date"`` the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Literal

from mvc.objectid import CommitId
from mvc.objects import Commit


def in_topological_order(
    commits: Mapping[CommitId, Commit],
    parents: Mapping[CommitId, Sequence[CommitId]],
    order: Literal["topo", "date"],
) -> Iterator[CommitId]:
    """The given commits, of which each has parents, among the given ones or not. Their order decides where
    nothing else does."""
    children = dict.fromkeys(commits, 0)
    for identity in commits:
        for parent in _each(parents[identity], children):
            children[parent] += 1
    free: _Stack | _Newest = _Stack() if order == "topo" else _Newest(commits)
    tips = [identity for identity, count in children.items() if not count]
    for identity in reversed(tips) if order == "topo" else tips:
        free.put(identity)
    while free:
        identity = free.take()
        yield identity
        for parent in _each(parents[identity], children):
            children[parent] -= 1
            if not children[parent]:
                free.put(parent)


def _each(parents: Iterable[CommitId], known: Mapping[CommitId, int]) -> Iterator[CommitId]:
    return (parent for parent in parents if parent in known)


class _Stack(list[CommitId]):
    def put(self, identity: CommitId) -> None:
        self.append(identity)

    def take(self) -> CommitId:
        return self.pop()


class _Newest:
    """A queue that gives the newest commit first; of one time, the one that came first."""

    def __init__(self, commits: Mapping[CommitId, Commit]) -> None:
        self._commits = commits
        self._queue: list[tuple[int, int, CommitId]] = []
        self._put = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, identity: CommitId) -> None:
        self._put += 1
        heappush(self._queue, (-self._commits[identity].time.microseconds, self._put, identity))

    def take(self) -> CommitId:
        return heappop(self._queue)[2]
