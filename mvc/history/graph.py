"""The graph of commits, walked newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush

from mvc.history.reader import ObjectReader, read_commit
from mvc.objectid import CommitId
from mvc.objects import Commit

_Entry = tuple[int, int, CommitId, Commit]


def walk(
    reader: ObjectReader,
    starts: Iterable[CommitId],
    *,
    first_parent: bool = False,
    follow: Callable[[CommitId, Commit], Sequence[CommitId]] | None = None,
) -> Iterator[tuple[CommitId, Commit]]:
    """Every commit that the starts reach, each once, newest first, as ``git log`` orders them.

    Commits of one time come in the order in which they were met. A commit whose clock ran ahead of its
    children's still comes after each child that is known by then. The walk streams: a commit's parents are
    read when the next commit is asked for. With ``first_parent`` only first parents are followed; ``follow``,
    asked once for each commit, says itself which parents are.

    Raises:
        ObjectMissing: a commit that a start or another commit names is not there.
    """

    def first_or_all(_identity: CommitId, commit: Commit) -> Sequence[CommitId]:
        return commit.parents[:1] if first_parent else commit.parents

    parents_of = follow or first_or_all
    queue: list[_Entry] = []
    seen: set[CommitId] = set()
    followed: dict[CommitId, Sequence[CommitId]] = {}
    children_queued: dict[CommitId, int] = {}
    held: dict[CommitId, _Entry] = {}
    ready: Iterable[CommitId] = starts
    while True:
        for identity in ready:
            if identity in seen:
                continue
            # The number of commits met so far breaks ties, so that ids and commits are never compared.
            commit = read_commit(reader, identity)
            heappush(queue, (-commit.time.microseconds, len(seen), identity, commit))
            seen.add(identity)
            followed[identity] = parents_of(identity, commit)
            for parent in followed[identity]:
                children_queued[parent] = children_queued.get(parent, 0) + 1
        while queue:
            entry = heappop(queue)
            if entry[2] not in children_queued:
                break
            held[entry[2]] = entry
        else:
            return
        _, _, identity, commit = entry
        yield identity, commit
        ready = followed.pop(identity)
        for parent in ready:
            left = children_queued.pop(parent) - 1
            if left:
                children_queued[parent] = left
            elif parent in held:
                heappush(queue, held.pop(parent))
