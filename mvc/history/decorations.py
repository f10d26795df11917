"""Versions with the names that point to them."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.objectid import CommitId
from mvc.objects import Commit
from mvc.refs import BRANCHES, TAGS, RefTable, peeled_target

_REMOTES = "refs/remotes/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One version, with the names that point to it."""

    id: CommitId
    commit: Commit
    tags: tuple[str, ...]
    branches: tuple[str, ...]
    remotes: tuple[str, ...] = ()


class Decorations:
    """Which tags, branches and followed branches of remotes point to which commit."""

    def __init__(self, refs: RefTable) -> None:
        self._names: dict[CommitId, tuple[list[str], list[str], list[str]]] = {}
        for place, prefix in enumerate((TAGS, BRANCHES, _REMOTES)):
            for name, value in refs.values(prefix):
                target = peeled_target(value)
                if target is not None:
                    self._names.setdefault(target, ([], [], []))[place].append(name.removeprefix(prefix))

    def entry(self, identity: CommitId, commit: Commit) -> Entry:
        """A version with its names."""
        tags, branches, remotes = self._names.get(identity, ((), (), ()))
        return Entry(identity, commit, tuple(tags), tuple(branches), tuple(remotes))
