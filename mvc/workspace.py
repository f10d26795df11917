"""A repository's work tree as commands use it: locked, recovered, scanned, compared."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mvc.errors import InvalidPath, ObjectPurged, StorageError
from mvc.fileio import storage_errors
from mvc.history.treediff import flatten
from mvc.locks import Held
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Tree, TreeEntry
from mvc.paths import shown
from mvc.repo import Repository
from mvc.store import exists, read_text
from mvc.tombstones import Purge
from mvc.view import View
from mvc.worktree.apply import recover
from mvc.worktree.compare import WorkState, compare
from mvc.worktree.index import IndexEntry, Moment, StatCache, file_system_time
from mvc.worktree.scan import ScanResult, scan
from mvc.worktree.sparse import FILE_NAME, Sparse

EMPTY_TREE = Tree(())

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


class Workspace:
    """The work tree of a repository. Get one from :func:`locked`."""

    def __init__(self, repository: Repository, *, writable: bool = True) -> None:
        self.repository = repository
        self.io = repository.io
        self.root = repository.worktree
        self.monitor = repository.monitor
        self.cache = StatCache.load(repository.io, repository.store / "index")
        self._before = self.moment() if writable else None
        self.sparse = read_sparse(repository)

    def scan(self, only: Sequence[str] = ()) -> ScanResult:
        """What lies in the work tree; skipped files are told to the monitor.

        Raises:
            InvalidPath: names that no version may hold.
        """
        with storage_errors("cannot read the work tree"):
            result = scan(self.io, self.root, only=only)
        for path, why in result.skipped:
            self.monitor.warn(f"skipped {shown(path)}: it {why}")
        for group in result.collisions:
            self.monitor.warn(f"names that some file systems cannot hold together: {', '.join(group)}")
        return result

    def state(self, view: View, version: Mapping[str, TreeEntry], found: ScanResult) -> WorkState:
        """The work tree against a version's files."""
        with storage_errors("cannot read the work tree"):
            state = compare(self.io, self.root, found, self.cache, version, view.manifests.manifest)
        state.deleted = [path for path in state.deleted if not self.sparse.leaves_out(path)]
        return state

    def left_out(self, found: ScanResult, path: str) -> bool:
        """Whether a file is not in the work tree because it need not be: it counts as unchanged."""
        return path not in found.files and self.sparse.leaves_out(path)

    def take(self, paths: Sequence[str]) -> None:
        """Have files, or what lies in folders, in the work tree from now on.

        Raises:
            StorageError: the disk refuses.
        """
        more = self.sparse.with_paths(paths)
        if more.text is not None and more.text != self.sparse.text:
            self.repository.write(FILE_NAME, more.text)
            self.sparse = more

    def remember(self, entries: Mapping[str, IndexEntry]) -> None:
        """Store what is known of the work tree's files, so that they need not be read again; nothing in a
        store that cannot be written."""
        if self._before is not None and dict(entries) != self.cache.entries:
            self.store(entries, self._before)

    def store(self, entries: Mapping[str, IndexEntry], before: Moment) -> None:
        """Store the entries that can be believed: those whose keys were taken after ``before``.

        The index is derived: a command that did its work must not fail for it.
        """
        repository = self.repository
        try:
            with storage_errors("cannot write the index"):
                self.cache.store(
                    self.io, repository.temporary.new(), repository.store / "index", entries, before=before
                )
        except StorageError as error:
            self.monitor.warn(f"{error.message}; the next command reads the files again")

    def moment(self) -> Moment:
        """The file system's time."""
        with storage_errors("cannot ask the file system for its time"):
            return file_system_time(self.io, self.repository.temporary.new())


def read_sparse(repository: Repository) -> Sparse:
    """Which files lie in the work tree.

    Raises:
        StorageError: the list cannot be read.
    """
    path = repository.store / FILE_NAME
    return Sparse(read_text(repository.io, path) if exists(repository.io, path) else None)


def files_of(view: View, commit: CommitId | None) -> dict[str, TreeEntry]:
    """A version's files by path; none before the first commit."""
    return {} if commit is None else flatten(view.objects, view.commit(commit).tree)


def files_left(view: View, commit: CommitId | None) -> dict[str, TreeEntry]:
    """A version's files as far as they can be had: none of one that was purged whole."""
    try:
        return files_of(view, commit)
    except ObjectPurged:
        return {}


def without_purged(
    view: View, files: Mapping[str, TreeEntry]
) -> tuple[dict[str, TreeEntry], dict[str, Purge]]:
    """The files that can be had whole, and the others, each with the purge that took (part of) it."""
    if not view.tombstones:
        return dict(files), {}
    gone: dict[str, Purge] = {}
    for path, entry in files.items():
        purge = _purge_of(view, entry.id)
        if purge is not None:
            gone[path] = purge
    return {path: entry for path, entry in files.items() if path not in gone}, gone


def _purge_of(view: View, file: ManifestId | TreeId) -> Purge | None:
    if view.objects.is_gone(file):
        return view.tombstones.find(file)
    if not isinstance(file, ManifestId):
        return None
    for part in view.manifests.manifest(file).parts:
        if part.blob is not None and view.objects.is_gone(part.blob):
            return view.tombstones.find(part.blob)
    return None


def files_of_tree(view: View, tree: TreeId) -> dict[str, TreeEntry]:
    """A tree's files by path."""
    return {} if tree == EMPTY_TREE_ID else flatten(view.objects, tree)


EMPTY_TREE_ID = TreeId.of(EMPTY_TREE.to_bytes())


def refuse_names(found: ScanResult) -> None:
    """Refuse paths that no version may hold, naming each.

    Raises:
        InvalidPath: there are some.
    """
    if found.refused:
        names = "; ".join(f"{shown(path)} {why}" for path, why in found.refused)
        raise InvalidPath(f"cannot commit: {names}", hint="rename or remove them, or list them in .mvcignore")


@contextmanager
def locked(repository: Repository, *, exclusive: bool) -> Iterator[Workspace]:
    """Keep the work tree from being switched (shared), or from being used at all (exclusive), meanwhile.

    A checkout that was killed is finished or taken back first. Who only wants to read a store that takes no
    files gets the work tree without a lock.

    Raises:
        StorageError: there is no lock to be had; or a checkout was killed in a store that takes no files.
    """
    if not _takes_files(repository, exclusive):
        yield Workspace(repository, writable=False)
        return
    with storage_errors("cannot lock the work tree"):
        held = _take(repository, exclusive)
    try:
        repository.sweep()
        yield Workspace(repository)
    finally:
        held.release()


def _takes_files(repository: Repository, exclusive: bool) -> bool:
    """Whether there is a lock to be had; False for a reader where the store takes no files."""
    with storage_errors("cannot lock the work tree"):
        try:
            repository.temporary.new()
            return True
        except OSError as error:
            if exclusive or error.errno not in _NOT_WRITABLE:
                raise
    if exists(repository.io, repository.store / "journal"):
        raise StorageError(
            "a checkout was interrupted, and the repository cannot be written to settle it",
            hint="run 'mvc status' where the repository can be written",
        )
    return False


def _take(repository: Repository, exclusive: bool) -> Held:
    journal = repository.store / "journal"
    alone = exclusive or exists(repository.io, journal)
    held = _lock(repository, alone)
    if not exists(repository.io, journal):
        return held
    try:
        # only who is alone may settle what another left behind
        if not alone:
            held.release()
            held = _lock(repository, True)
        _recover(repository)
    except BaseException:
        held.release()
        raise
    return held


def _lock(repository: Repository, alone: bool) -> Held:
    held = repository.locks.take("worktree", exclusive=alone, wait=False)
    if held is None:
        repository.monitor.warn("waiting for another mvc that is using this work tree")
        held = repository.locks.take("worktree", exclusive=alone, wait=True)
    if held is None:
        raise AssertionError("who waits for a lock gets it")
    return held


def _recover(repository: Repository) -> None:
    def committed(token: bytes) -> bool:
        with repository.reading() as view:
            return any(operation.token == token for operation in view.operations())

    with storage_errors("cannot finish an interrupted checkout"):
        if recover(repository.io, repository.worktree, repository.store, committed, repository.locks):
            repository.monitor.warn("an interrupted checkout was found and settled")
