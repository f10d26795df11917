"""What a store has by what its refs say, told from another store that has these versions too: without a look
at its index, which may be far away."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

from mvc.history.ancestry import Links
from mvc.history.reader import read_commit, read_manifest, read_tree
from mvc.objectid import CommitId, ManifestId, ObjectId, TreeId
from mvc.odb.database import ObjectDatabase

_WANTED, _KNOWN = 1, 2
MOST_VERSIONS = 16
"""Versions of which it is looked up what they hold; a push builds on one, or on the few that it merges."""


def known_objects(
    objects: ObjectDatabase, tips: Iterable[ObjectId], heads: Iterable[ObjectId]
) -> set[ObjectId]:
    """Objects that a store has whose refs name ``heads``: of the commits before ``tips`` those where theirs
    and ours meet, and all that these versions hold.

    ``heads`` that ``objects`` lack are passed over. Clocks order the walk; where they are wrong less may be
    known. Commits only, not what annotated tags mean.

    Raises:
        DamageError: something of it cannot be read.
    """
    ours = [one for one in tips if isinstance(one, CommitId) and one in objects]
    theirs = [one for one in heads if isinstance(one, CommitId) and one in objects]
    known: set[ObjectId] = set(theirs)
    met = _meeting(objects, ours, theirs)
    known.update(met)
    for commit in met[:MOST_VERSIONS]:
        add_contents(objects, read_commit(objects, commit).tree, known)
    return known


def _meeting(objects: ObjectDatabase, ours: list[CommitId], theirs: list[CommitId]) -> list[CommitId]:
    """Commits of theirs that one of ours leads to first, newest first."""
    links = Links(objects)
    marks: dict[CommitId, int] = {}
    heap: list[tuple[int, CommitId]] = []
    wanted = 0

    def add(commit: CommitId, mark: int) -> None:
        nonlocal wanted
        before = marks.get(commit, 0)
        if before | mark == before:
            return
        marks[commit] = before | mark
        wanted += (before | mark == _WANTED) - (before == _WANTED and commit in waiting)
        if commit not in waiting:
            waiting.add(commit)
            heappush(heap, (-links[commit].time, commit))

    waiting: set[CommitId] = set()
    for commit in theirs:
        add(commit, _KNOWN)
    for commit in ours:
        add(commit, _WANTED)
    met: list[CommitId] = []
    while heap and wanted:
        _time, commit = heappop(heap)
        waiting.discard(commit)
        mark = marks[commit]
        wanted -= mark == _WANTED
        if mark == _WANTED | _KNOWN:
            met.append(commit)
        for parent in links[commit].parents:
            if parent in objects:  # what a shallow clone has not ends there
                add(parent, _KNOWN if mark & _KNOWN else _WANTED)
    met += [commit for commit in waiting if marks[commit] == _WANTED | _KNOWN]
    return met


def add_contents(objects: ObjectDatabase, tree: TreeId, known: set[ObjectId]) -> None:
    """Add a folder and all that it holds."""
    stack: list[TreeId | ManifestId] = [tree]
    while stack:
        identity = stack.pop()
        if identity in known or identity not in objects:
            continue
        known.add(identity)
        if isinstance(identity, TreeId):
            stack += [entry.id for entry in read_tree(objects, identity).entries]
        else:
            parts = read_manifest(objects, identity).parts
            known.update(part.blob for part in parts if part.blob is not None)
