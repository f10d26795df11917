"""History, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mvc.history.graph import walk
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Commit
from mvc.refs import BRANCHES, TAGS, peeled_target
from mvc.repo import View


@dataclass(frozen=True, slots=True)
class Entry:
    """One version, with the names that point to it."""

    id: CommitId
    commit: Commit
    tags: tuple[str, ...]
    branches: tuple[str, ...]


class Decorations:
    """Which tags and branches point to which commit."""

    def __init__(self, view: View) -> None:
        self._names: dict[CommitId, tuple[list[str], list[str]]] = {}
        for place, prefix in enumerate((TAGS, BRANCHES)):
            for name, value in view.refs.values(prefix):
                target = peeled_target(value)
                if target is not None:
                    self._names.setdefault(target, ([], []))[place].append(name.removeprefix(prefix))

    def entry(self, identity: CommitId, commit: Commit) -> Entry:
        """A version with its names."""
        tags, branches = self._names.get(identity, ((), ()))
        return Entry(identity, commit, tuple(tags), tuple(branches))


def log(view: View, revisions: Sequence[str] = (), *, limit: int | None = None) -> Iterator[Entry]:
    """Versions that the revisions (default: HEAD) reach, newest first.

    Raises:
        RevisionNotFound: no such revision, or no commit yet.
    """
    starts = [resolve_commit(text, view.objects, view) for text in revisions or ("HEAD",)]
    decorations = Decorations(view)
    for number, (identity, commit) in enumerate(walk(view.objects, starts)):
        if limit is not None and number >= limit:
            return
        yield decorations.entry(identity, commit)
