"""A repository's work tree as commands use it: locked, recovered, compared, switched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from mvc.errors import InvalidPath
from mvc.fileio import storage_errors
from mvc.history.treediff import flatten
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Manifest, Tree, TreeEntry
from mvc.odb.database import ObjectDatabase
from mvc.paths import collisions, shown
from mvc.repo import Repository, View, exists
from mvc.restore import file_pieces
from mvc.worktree.apply import Applied, apply, recover
from mvc.worktree.compare import ReadManifest, WorkState, compare, index_entry
from mvc.worktree.index import IndexEntry, Moment, StatCache, file_system_time
from mvc.worktree.scan import ScanResult, scan
from mvc.worktree.transition import Plan, write_files

EMPTY_TREE = Tree(())


class Placed(NamedTuple):
    """Files in place that can still be taken back; ``written`` maps paths to size and mtime as they were
    written."""

    applied: Applied
    written: dict[str, tuple[int, int]]


class Workspace:
    """The work tree of a repository. Get one from :func:`locked`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.io = repository.io
        self.root = repository.worktree
        self.monitor = repository.monitor
        self.cache = StatCache.load(repository.io, repository.store / "index")
        self._before = self._moment()

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
            return compare(self.io, self.root, found, self.cache, version, manifest_reader(view.objects))

    def remember(self, entries: Mapping[str, IndexEntry]) -> None:
        """Store what is known of the work tree's files, so that they need not be read again."""
        if dict(entries) != self.cache.entries:
            self._store(entries, self._before)

    def remember_placed(self, plan: Plan, placed: Placed, others: Mapping[str, IndexEntry]) -> None:
        """Store what is known after :meth:`place`: ``others``, and the new files as far as nobody wrote to
        them since."""
        entries = {
            path: entry
            for path, entry in others.items()
            if path not in plan.write and path not in plan.remove
        }
        before = self._before
        if plan.write:
            # only what was changed last in an earlier tick of the clock can be told from a later change
            before = self._after(self._moment().time_ns)
            found = scan(self.io, self.root, only=tuple(plan.write))
            for path, entry in plan.write.items():
                file = found.files.get(path)
                if file is not None and (file.stat.st_size, file.stat.st_mtime_ns) == placed.written[path]:
                    entries[path] = index_entry(file, ManifestId(entry.id))
        self._store(entries, before)

    def _store(self, entries: Mapping[str, IndexEntry], before: Moment) -> None:
        repository = self._repository
        with storage_errors("cannot write the index"):
            self.cache.store(
                self.io, repository.temporary.new(), repository.store / "index", entries, before=before
            )

    def _moment(self) -> Moment:
        with storage_errors("cannot ask the file system for its time"):
            return file_system_time(self.io, self._repository.temporary.new())

    def _after(self, time_ns: int) -> Moment:
        """The file system's time once it is later than ``time_ns``; on a coarse clock whatever it is after
        20 ms."""
        for _ in range(10):
            moment = self._moment()
            if moment.time_ns > time_ns:
                break
            time.sleep(0.002)
        return moment

    def _told(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.monitor.advance(len(piece))
            yield piece

    def place(self, view: View, plan: Plan, token: bytes) -> Placed:
        """Write a plan's files and put them in place; the caller finishes or rolls back.

        ``token`` is what :func:`locked` will look for to know, after a crash, whether the change was
        committed.
        """
        repository = self._repository
        with storage_errors("cannot write the work tree"):
            read_manifest = manifest_reader(view.objects)
            entries = plan.write.values()
            self.monitor.start("write", sum(read_manifest(ManifestId(entry.id)).size for entry in entries))
            placements = write_files(
                self.io,
                repository.temporary.new,
                plan,
                read_manifest,
                lambda manifest: self._told(file_pieces(view.objects, manifest)),
            )
            self.monitor.finish()
            new = {
                item.path: self.io.stat(item.temporary) for item in placements if item.temporary is not None
            }
            written = {path: (status.st_size, status.st_mtime_ns) for path, status in new.items()}
            if written:
                self._after(max(mtime for _size, mtime in written.values()))
            applied = apply(self.io, self.root, repository.store, placements, token, collisions(written))
            return Placed(applied, written)


def manifest_reader(objects: ObjectDatabase) -> ReadManifest:
    """A function that reads manifests by id, each parsed once."""
    known: dict[ManifestId, Manifest] = {}

    def read(identity: ManifestId) -> Manifest:
        if identity not in known:
            known[identity] = Manifest.from_bytes(objects.get(identity))
        return known[identity]

    return read


def files_of(view: View, commit: CommitId | None) -> dict[str, TreeEntry]:
    """A version's files by path; none before the first commit."""
    return {} if commit is None else flatten(view.objects, view.commit(commit).tree)


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

    A checkout that was killed is finished or taken back first.
    """
    io = repository.io
    with storage_errors("cannot lock the work tree"):
        fd = io.open_lock(repository.store / "worktree.lock")
    try:
        with storage_errors("cannot lock the work tree"):
            _take(repository, fd, exclusive)
        repository.sweep()
        yield Workspace(repository)
    finally:
        with suppress(OSError):  # closed, and so unlocked, all the same
            io.close(fd)


def _take(repository: Repository, fd: int, exclusive: bool) -> None:
    io, journal = repository.io, repository.store / "journal"
    alone = exclusive or exists(io, journal)
    if not io.lock(fd, exclusive=alone, wait=False):
        repository.monitor.warn("waiting for another mvc that is using this work tree")
        io.lock(fd, exclusive=alone, wait=True)
    if exists(io, journal):
        # only who is alone may settle what another left behind
        if not alone:
            io.lock(fd, exclusive=True, wait=True)
        _recover(repository)


def _recover(repository: Repository) -> None:
    def committed(token: bytes) -> bool:
        with repository.reading() as view:
            return any(operation.token == token for operation in view.operations())

    with storage_errors("cannot finish an interrupted checkout"):
        if recover(repository.io, repository.worktree, repository.store, committed):
            repository.monitor.warn("an interrupted checkout was found and settled")
