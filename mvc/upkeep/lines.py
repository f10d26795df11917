"""Lines of history: what stood at each place, version by version, in the order in which one leans on another.

A line runs along first parents. Its *sequences* list, for each file, each folder and the versions themselves,
the objects that stood there one after another; the first one is what the others are to be told from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mvc.errors import CorruptObject, ObjectPurged
from mvc.history.reader import ObjectReader, read_commit, read_tree
from mvc.objectid import CommitId, ObjectId, TreeId
from mvc.objects import FOLDER, TreeEntry
from mvc.paths import MAX_DEPTH


class Place(NamedTuple):
    """Where something stands: the kind of the objects there, and the path; empty for commits and the top."""

    kind: int
    path: str


Sequences = dict[Place, list[ObjectId]]


def lines(reader: ObjectReader, heads: Sequence[CommitId], others: Iterable[CommitId]) -> Iterator[Sequences]:
    """The sequences of all versions that heads and others reach.

    First each head by itself, as sequences of one object: these stand alone. Then each line, newest version
    first; one that leaves an earlier line begins there, with the version that both share, and goes on to its
    own newest one. Versions that were purged are none.
    """
    for head in dict.fromkeys(heads):
        yield _sequences(reader, [head])
    seen: set[CommitId] = set()
    waiting = [*reversed(list(others)), *reversed(heads)]
    while waiting:
        line: list[CommitId] = []
        identity: CommitId | None = waiting.pop()
        while identity is not None and identity not in seen:
            seen.add(identity)
            try:
                parents = read_commit(reader, identity).parents
            except ObjectPurged:  # the operation log may still name a version that a purge made anew
                identity = None
                break
            line.append(identity)
            waiting[:0] = parents[1:]  # other lines, whose turn comes when those that are named are done
            identity = parents[0] if parents else None
        if line:
            forked = identity is not None and line[0] not in heads
            yield _sequences(reader, [identity, *reversed(line)] if forked and identity else line)


def _sequences(reader: ObjectReader, commits: Sequence[CommitId]) -> Sequences:
    found: Sequences = {}
    before: TreeId | None = None
    for identity in commits:
        found.setdefault(Place(CommitId.kind, ""), []).append(identity)
        tree = read_commit(reader, identity).tree
        for place, one in _differing(reader, "", before, tree, MAX_DEPTH):
            sequence = found.setdefault(place, [])
            if one not in sequence[-1:]:
                sequence.append(one)
        before = tree
    return found


def _differing(
    reader: ObjectReader, path: str, before: TreeId | None, after: TreeId, levels: int
) -> Iterator[tuple[Place, ObjectId]]:
    """The folders and files of ``after`` that are not those of ``before``."""
    if before == after:
        return
    if not levels:
        raise CorruptObject(f"folders are nested deeper than {MAX_DEPTH} levels")
    yield Place(TreeId.kind, path), after
    known = {} if before is None else {entry.name: entry for entry in _entries(reader, before)}
    for entry in _entries(reader, after):
        other = known.get(entry.name)
        if other is not None and other.id == entry.id:
            continue
        inside = f"{path}/{entry.name}" if path else entry.name
        if entry.mode == FOLDER and isinstance(entry.id, TreeId):
            folder = other.id if other is not None and isinstance(other.id, TreeId) else None
            yield from _differing(reader, inside, folder, entry.id, levels - 1)
        else:
            yield Place(entry.id.kind, inside), entry.id


def _entries(reader: ObjectReader, folder: TreeId) -> Sequence[TreeEntry]:
    """What lies in a folder; nothing in one that was purged."""
    try:
        return read_tree(reader, folder).entries
    except ObjectPurged:
        return ()
