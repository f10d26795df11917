"""Versions that nothing leads to any more, because the names of them are lost, or the way to them is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from mvc.errors import MvcError
from mvc.objectid import AliasId, CommitId, ObjectId, TagId
from mvc.objects import Commit
from mvc.odb.index import Index
from mvc.refs import BRANCHES
from mvc.upkeep.patched import PatchedDatabase

FOLDER = f"{BRANCHES}recovered/"


def nameless(
    database: PatchedDatabase,
    indexes: Iterable[Index],
    passed_over: Callable[[CommitId], bool],
    wanted: Callable[[CommitId, Commit], bool] = lambda _identity, _commit: True,
) -> list[CommitId]:
    """Heads among the versions that these indexes name and that are not ``passed_over``, newest first, as far
    as they are ``wanted``. What holds a state of a command under way is no version."""
    commits: dict[CommitId, Commit] = {}
    for index in indexes:
        for entry in index.entries():
            if entry.kind == CommitId.kind and not passed_over(identity := CommitId(entry.id)):
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
        and wanted(identity, commit)
    ]
    return sorted(found, key=lambda identity: commits[identity].time.microseconds, reverse=True)


def hides_versions(missing: Iterable[ObjectId]) -> bool:
    """Whether versions may lie behind one of these objects, which cannot be read."""
    return any(isinstance(identity, CommitId | TagId | AliasId) for identity in missing)


def branch_names(taken: Collection[str], count: int) -> list[str]:
    """So many names of branches that are free: ``recovered/1`` and so on."""
    names: list[str] = []
    number = 1
    while len(names) < count:
        if f"{FOLDER}{number}" not in taken:
            names.append(f"{FOLDER}{number}")
        number += 1
    return names
