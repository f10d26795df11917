"""Which version last changed each row of a file: ``git blame``, for rows of any kind.

A row is whatever can be asked for in several versions of a file: a tensor, a line. It goes from a version to
a parent that has it too (the first such one), under the name that the file had there, until no parent has it.
What is known to be found drops out, so that each version is compared for what is still open only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

from mvc.history.pathlog import EntryAt
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.treediff import Change, diff_trees, pair_renames
from mvc.objectid import CommitId, ManifestId
from mvc.objects import Commit

LEAST_LIKENESS = 0.5
"""Share of a file's rows that another one must have for the file to come from it, as Git has it."""

R = TypeVar("R", bound=Hashable)


class Comparison(Protocol[R]):
    """Compares two versions of a file, row by row."""

    def same_file(self, old: ManifestId, new: ManifestId, /) -> bool:
        """Whether both have the same bytes."""
        ...

    def kept(self, old: ManifestId, new: ManifestId, rows: Mapping[R, R], /) -> Mapping[R, R]:
        """Those of the new file's rows that the old one has too.

        ``rows`` tells under which name the new file has each row that is asked for; the answer, under which
        one the old file has it.
        """
        ...

    def likeness(self, old: ManifestId, new: ManifestId, /) -> float:
        """Share of the new file's rows that the old one has, 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Blamed(Generic[R]):
    """A row, the version that last changed it, and where it stood there: the file's ``path``, and the
    row's name in it. ``boundary``: nothing older was looked at."""

    row: R
    id: CommitId
    commit: Commit
    path: str
    there: R
    boundary: bool


@dataclass(slots=True)
class _Suspect(Generic[R]):
    """A file of a version, and the rows that go back to it: name asked for → name there.

    ``file`` describes it: that of a later version if that one, of equal bytes, says more.
    """

    path: str
    file: ManifestId
    rows: dict[R, R]


def blame(
    reader: ObjectReader,
    start: CommitId,
    path: str,
    file: ManifestId,
    rows: Iterable[R],
    comparison: Comparison[R],
    *,
    since: int | None = None,
) -> Iterator[Blamed[R]]:
    """For each row of a version's file, the version that last changed it; in the order of being found.

    As in Git: a parent that has the whole file as it is takes all rows; else each row goes to the first
    parent that has it. A file that a parent lacks came from one of the same bytes that the version removed,
    or else from the removed one that has most of its rows, if that is half of them or more. Versions older
    than
    ``since`` (microseconds since 1970 UTC) are not looked into: what goes back to them is given as theirs,
    with ``boundary``.

    Raises:
        ObjectMissing: something that a version names is not there.
    """
    search = _Search(reader, comparison)
    search.add(start, _Suspect(path, file, {row: row for row in rows}))
    while (found := search.next()) is not None:
        identity, commit, suspects = found
        boundary = since is not None and commit.time.microseconds < since
        for suspect in suspects:
            if not boundary:
                search.pass_on(commit, suspect)
        search.forget(commit.parents)
        for suspect in suspects:
            for row, there in suspect.rows.items():
                yield Blamed(row, identity, commit, suspect.path, there, boundary)


class _Search(Generic[R]):
    """Versions to look at, newest first, each with its suspects."""

    def __init__(self, reader: ObjectReader, comparison: Comparison[R]) -> None:
        self._reader = reader
        self._comparison = comparison
        self._entries: dict[str, EntryAt] = {}
        self._queue: list[tuple[int, int, CommitId]] = []
        self._commits: dict[CommitId, Commit] = {}
        self._suspects: dict[CommitId, dict[tuple[str, ManifestId], _Suspect[R]]] = {}
        self._met = 0

    def add(self, identity: CommitId, suspect: _Suspect[R]) -> None:
        """Ask a version about rows."""
        if identity not in self._suspects:
            commit = self._commit(identity)
            # A number breaks ties, so that of versions of one time the first one met comes first.
            self._met += 1
            heappush(self._queue, (-commit.time.microseconds, self._met, identity))
        known = self._suspects.setdefault(identity, {})
        known.setdefault((suspect.path, suspect.file), _Suspect(suspect.path, suspect.file, {})).rows.update(
            suspect.rows
        )

    def next(self) -> tuple[CommitId, Commit, list[_Suspect[R]]] | None:
        """The newest version that is asked about; where clocks ran wrong one may come again, for other
        rows."""
        if not self._queue:
            return None
        identity = heappop(self._queue)[2]
        return identity, self._commits.pop(identity), list(self._suspects.pop(identity).values())

    def forget(self, parents: Iterable[CommitId]) -> None:
        """Let go of parents that nothing went back to."""
        for parent in parents:
            if parent not in self._suspects:
                self._commits.pop(parent, None)

    def pass_on(self, commit: Commit, suspect: _Suspect[R]) -> None:
        """Take rows from a suspect that a parent of its version has too."""
        origins = [(parent, suspect.path, self._file(parent, suspect.path)) for parent in commit.parents]
        if self._pass_whole(suspect, origins):
            return
        if any(file is None for _, _, file in origins):
            origins = [
                origin if origin[2] is not None else self._renamed(origin[0], commit, suspect)
                for origin in origins
            ]
            if self._pass_whole(suspect, origins):
                return
        for parent, path, file in origins:
            if file is not None and suspect.rows:
                kept = dict(self._comparison.kept(file, suspect.file, suspect.rows))
                if kept:
                    self.add(parent, _Suspect(path, file, kept))
                    suspect.rows = {row: there for row, there in suspect.rows.items() if row not in kept}

    def _pass_whole(
        self, suspect: _Suspect[R], origins: list[tuple[CommitId, str, ManifestId | None]]
    ) -> bool:
        for parent, path, file in origins:
            if file is None or not (file == suspect.file or self._comparison.same_file(file, suspect.file)):
                continue
            # Other tables may describe equal bytes: the parent's own only where it has all of the rows.
            kept = self._comparison.kept(file, suspect.file, suspect.rows) if file != suspect.file else None
            whole = kept is None or (kept.keys() == suspect.rows.keys())
            rows = suspect.rows if kept is None or not whole else dict(kept)
            self.add(parent, _Suspect(path, file if whole else suspect.file, rows))
            suspect.rows = {}
            return True
        return False

    def _renamed(
        self, parent: CommitId, commit: Commit, suspect: _Suspect[R]
    ) -> tuple[CommitId, str, ManifestId | None]:
        """The file of a parent that a version's new file came from."""
        tree = self._commit(parent).tree
        changes = pair_renames(self._reader, diff_trees(self._reader, tree, commit.tree))
        for change in changes:
            if change.path == suspect.path and change.old_path is not None and change.old is not None:
                return parent, change.old_path, _manifest(change)
        best, most = None, LEAST_LIKENESS
        for change in changes:
            file = _manifest(change) if change.new is None else None
            if file is not None:
                likeness = self._comparison.likeness(file, suspect.file)
                if likeness >= most and (best is None or likeness > most):
                    best, most = (parent, change.path, file), likeness
        return best or (parent, suspect.path, None)

    def _file(self, identity: CommitId, path: str) -> ManifestId | None:
        entry_at = self._entries.get(path)
        if entry_at is None:
            entry_at = self._entries[path] = EntryAt(self._reader, path)
        entry = entry_at(self._commit(identity).tree)
        return entry.id if entry is not None and isinstance(entry.id, ManifestId) else None

    def _commit(self, identity: CommitId) -> Commit:
        """A version; it stays at hand until its turn."""
        if identity not in self._commits:
            self._commits[identity] = read_commit(self._reader, identity)
        return self._commits[identity]


def _manifest(change: Change) -> ManifestId | None:
    return change.old.id if change.old is not None and isinstance(change.old.id, ManifestId) else None
