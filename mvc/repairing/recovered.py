"""Versions that nothing leads to any more, because the names of them are lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mvc.errors import MvcError
from mvc.objectid import CommitId
from mvc.objects import Commit
from mvc.odb.index import Index
from mvc.refs import BRANCHES
from mvc.upkeep.patched import PatchedDatabase

FOLDER = f"{BRANCHES}recovered/"


def nameless(
    database: PatchedDatabase,
    indexes: Iterable[Index],
    reached: Collection[object],
    heads: Collection[CommitId],
    after: int,
) -> list[CommitId]:
    """Heads among the versions that nothing leads to, newest first: those made later than ``after``
    (microseconds since 1970), or on top of one of ``heads``. What holds a state of a command under way is
    no version."""
    commits: dict[CommitId, Commit] = {}
    for index in indexes:
        for entry in index.entries():
            if entry.kind == CommitId.kind and CommitId(entry.id) not in reached:
                identity = CommitId(entry.id)
                try:
                    commits[identity] = Commit.from_bytes(database.get(identity))
                except MvcError:
                    continue  # it names nothing that could be found
    parents = {parent for commit in commits.values() for parent in commit.parents}
    found = [
        identity
        for identity, commit in commits.items()
        if identity not in parents
        and not {"pending", "bisect"} & set(commit.extra)
        and (commit.time.microseconds > after or not set(commit.parents).isdisjoint(heads))
    ]
    return sorted(found, key=lambda identity: commits[identity].time.microseconds, reverse=True)


def branch_names(taken: Collection[str], count: int) -> list[str]:
    """So many names of branches that are free: ``recovered/1`` and so on."""
    names: list[str] = []
    number = 1
    while len(names) < count:
        if f"{FOLDER}{number}" not in taken:
            names.append(f"{FOLDER}{number}")
        number += 1
    return names
