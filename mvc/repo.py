"""A repository: the store beside the work, found from any folder below it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from stat import S_ISDIR
from typing import cast

from mvc.backends import NotFound
from mvc.backends.folder import FolderBackend
from mvc.config import Config
from mvc.errors import (
    ConfigError,
    CorruptFile,
    DamageError,
    InvalidName,
    RepositoryNotFound,
    StorageError,
    UnsupportedFeature,
    UserError,
)
from mvc.fileio import FileIO, make_folders, storage_errors, write_durable
from mvc.history.reader import Remembering
from mvc.history.refnames import check_ref_name, short_ref_name
from mvc.locks import SHARED_FOLDER, Locks, Sharing
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId
from mvc.objects import Commit
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES, ObjectDatabase
from mvc.odb.index import Index
from mvc.odb.intents import TemporaryNames, announce, sweep_temporary
from mvc.odb.segment import Segment
from mvc.oplog import HeadValue, Operation
from mvc.refs import BRANCHES, RefTable, decode_target, peeled_target
from mvc.root import Root, RootStore
from mvc.tombstones import Tombstones

STORE = ".mvc"
FORMAT = "mvc repository format 1\n"
DEFAULT_BRANCH = "main"
_MAKE_ONE = "'mvc init' or mvc.Repo.init() makes one"
_NEWER = re.compile(r"mvc repository format [0-9]{1,9}\n")
_SIGNS = ("root", "root.previous", "packs")
"""What tells a store whose file ``format`` is lost."""
STORED = ("packs/", "segments/", "pieces/", "locators/")
"""Where in a store its objects and their index lie, as beginnings of keys."""

FOLDERS = ("tmp", "packs", "segments", "pieces", "locators", "intents")


def segment_key(name: bytes) -> str:
    """Where a segment lies in a backend."""
    return f"segments/{name.hex()}.seg"


def index_of(root: Root, backend: FolderBackend) -> Index:
    """The index that a root describes."""

    def open_segment(name: bytes) -> Segment:
        try:
            return Segment.open(name, backend.view(segment_key(name)))
        except NotFound:
            # root names it, so this is damage, not something that the user asked for and that is not there
            raise CorruptFile(f"index segment {name.hex()[:12]} is missing", hint="run 'mvc fsck'") from None

    return Index(root.segments, open_segment, frozenset(fossil.pack for fossil in root.fossils))


class View:
    """One consistent state of a repository: root as it was read, and everything that it leads to."""

    def __init__(
        self, root: Root, raw: bytes, backend: FolderBackend, monitor: Monitor, cache: PlainCache
    ) -> None:
        _check_head(root.head)
        self.root = root
        self.raw = raw
        self.backend = backend
        self._monitor = monitor
        self._cache = cache
        self.refs = RefTable(root.refs, backend)
        self.index = index_of(root, backend)
        self.tombstones = Tombstones(root.tombstones, backend)
        """What was purged."""
        self.objects = ObjectDatabase(backend, self.index, monitor, cache, self.tombstones.refusal)

    # --- what revisions are resolved against (history.revisions.Refs)
    # --------------------------------------------
    @property
    def head(self) -> str | CommitId | None:
        """The current branch's full name, or a commit id when HEAD is detached."""
        return self.root.head

    def get(self, name: str) -> ObjectId | None:
        """What a ref points to."""
        return self.refs.get(name)

    def names(self, prefix: str) -> Iterator[str]:
        """Refs' names that begin so."""
        return self.refs.names(prefix)

    def previous(self, name: str, n: int) -> ObjectId | None:
        """The n-th earlier value of a ref, or of HEAD; 0 is the value now.

        A ref's own changes count. For HEAD, as in Git's reflog, every switch counts (even to the same
        commit), and every move of the branch that was the current one then.
        """
        if n == 0:
            return self.head_commit() if name == "HEAD" else self.get(name)
        earlier = self._earlier_heads() if name == "HEAD" else self._earlier_values(name)
        return next(islice(earlier, n - 1, None), None)

    def _earlier_values(self, name: str) -> Iterator[ObjectId]:
        """The values that a ref had before each of its changes, newest first."""
        for operation in self.operations():
            for change in operation.changes:
                if change.name == name and isinstance(change.before, bytes):
                    yield decode_target(change.before)

    def _earlier_heads(self) -> Iterator[CommitId]:
        """The commits that HEAD meant before each of its changes, newest first.

        Operations are taken back one by one, so that each is seen with the branch that was current then.
        """
        head: HeadValue = self.root.head
        values: dict[str, HeadValue] = {}
        for operation in self.operations():
            changed = {change.name: change.before for change in operation.changes}
            moved = "HEAD" in changed or head in changed
            head = changed.pop("HEAD", head)
            values.update(changed)
            before = self.commit_meant(head, values) if moved else None
            if before is not None:
                yield before

    def commit_meant(self, head: HeadValue, values: Mapping[str, HeadValue]) -> CommitId | None:
        """The commit that HEAD meant when it was ``head`` and refs were ``values``, those that are missing
        there as they are now."""
        if isinstance(head, str):
            value = values[head] if head in values else self.refs.value(head)
            return peeled_target(value) if isinstance(value, bytes) else None
        return None if head is None else CommitId(head)

    # --- what commands ask first
    # ---------------------------------------------------------------------------------
    def head_commit(self) -> CommitId | None:
        """The commit that HEAD means; None before the first one."""
        if isinstance(self.root.head, CommitId):
            return self.root.head
        target = None if self.root.head is None else self.refs.get(self.root.head)
        return target if isinstance(target, CommitId) else None

    def branch(self) -> str | None:
        """The current branch's short name; None when HEAD is detached."""
        head = self.root.head
        return head.removeprefix(BRANCHES) if isinstance(head, str) and head.startswith(BRANCHES) else None

    def commit(self, identity: CommitId) -> Commit:
        """Read a commit."""
        return Commit.from_bytes(self.objects.get(identity))

    @cached_property
    def manifests(self) -> Remembering:
        """Reads as ``objects`` does, and parses each manifest once: for who looks at few versions."""
        return Remembering(self.objects)

    def with_root(self, root: Root, cache: PlainCache | None = None) -> View:
        """What this state would be with another root, one that is about to be swapped in."""
        return View(root, self.raw, self.backend, self._monitor, cache or self._cache)

    def operations(self) -> Iterator[Operation]:
        """The operation log, newest first."""
        return self.root.oplog.newest_first(self.backend)


def _check_head(head: str | CommitId | None) -> None:
    """Refuse a current branch that nobody could have made, whatever root says."""
    if isinstance(head, str):
        try:
            check_ref_name(short_ref_name(head))
        except InvalidName as error:
            raise CorruptFile(f"HEAD: {error.message}", hint="run 'mvc repair'") from None


class Repository:
    """Database, root, work tree and settings in one place. ``monitor`` hears what happens; ``locks`` are the
    store's own unless a test has others."""

    def __init__(
        self,
        io: FileIO,
        worktree: Path,
        monitor: Monitor,
        *,
        cache_bytes: int = CACHE_BYTES,
        locks: Locks | None = None,
    ) -> None:
        self.io = io
        self.worktree = worktree
        self.store = worktree / STORE
        self.monitor = monitor
        self.locks = locks or Locks(io, self.store, self._sharing)
        self.temporary = TemporaryNames(io, self.store / "tmp", self.locks)
        self.backend = FolderBackend(io, self.store, self.temporary, self.locks)
        self.roots = RootStore(self.backend)
        self._cache = PlainCache(cache_bytes)
        self.published: list[Operation] = []
        """What this object's commands have published, oldest first."""

    @classmethod
    def create(
        cls, io: FileIO, worktree: Path, monitor: Monitor, *, branch: str = DEFAULT_BRANCH
    ) -> Repository:
        """Make a repository, or finish one whose making was interrupted.

        Raises:
            UserError: there is one already.
        """
        store = worktree / STORE
        if exists(io, store / "format"):
            raise UserError(f"{worktree} is a repository already", hint="mvc status")
        with storage_errors("cannot create the repository"):
            for folder in FOLDERS:
                make_folders(io, store / folder)
            repository = cls(io, worktree, monitor)
            for name, text in ((".gitignore", "*\n"), ("config", CONFIG_TEMPLATE)):
                repository._write(name, text)
            if not exists(io, store / "root"):
                repository.roots.swap(None, Root(head=BRANCHES + branch))
            # the last step: a store without this file is not a repository yet
            repository._write("format", FORMAT)
        return repository

    @classmethod
    def find(cls, io: FileIO, start: Path, monitor: Monitor, *, cache_bytes: int = CACHE_BYTES) -> Repository:
        """The repository of a folder or of the nearest one above it.

        Raises:
            RepositoryNotFound: there is none.
        """
        for folder in (start, *start.parents):
            if exists(io, folder / STORE / "format"):
                return cls.open(io, folder, monitor, cache_bytes=cache_bytes)
        raise RepositoryNotFound(f"no repository in {start} or above", hint=_MAKE_ONE)

    @classmethod
    def open(
        cls, io: FileIO, worktree: Path, monitor: Monitor, *, cache_bytes: int = CACHE_BYTES
    ) -> Repository:
        """The repository of exactly this folder; at most ``cache_bytes`` of decoded objects are kept.

        Raises:
            RepositoryNotFound: there is none.
            UnsupportedFeature: a newer mvc made it.
        """
        path = worktree / STORE / "format"
        if not exists(io, path):
            raise RepositoryNotFound(f"no repository in {worktree}", hint=_MAKE_ONE)
        text = read_text(io, path)
        if text != FORMAT:
            if _NEWER.fullmatch(text):
                raise UnsupportedFeature(f"this repository has {text.strip()!r}", hint="upgrade mvc")
            raise CorruptFile(f"{path} is damaged", hint="run 'mvc repair'")
        for name in (*FOLDERS, SHARED_FOLDER, "weights", "sketches", "trash", "damaged"):
            _refuse_link(io, worktree / STORE / name)
        return cls(io, worktree, monitor, cache_bytes=cache_bytes)

    @classmethod
    def salvage(cls, io: FileIO, start: Path, monitor: Monitor) -> Repository:
        """The repository of a folder or of the nearest one above it, for repairs: one whose ``format`` is
        missing or damaged too. That is written again where there is anything else of a store.

        Raises:
            RepositoryNotFound: there is none.
            UnsupportedFeature: a newer mvc made it.
        """
        for folder in (start, *start.parents):
            store = folder / STORE
            if not exists(io, store / "format") and not any(exists(io, store / name) for name in _SIGNS):
                continue
            try:
                return cls.open(io, folder, monitor)
            except (RepositoryNotFound, CorruptFile):
                _refuse_link(io, store)
                repository = cls(io, folder, monitor)
                for name in FOLDERS:
                    _refuse_link(io, store / name)
                    with storage_errors("cannot make the store's folders"):
                        make_folders(io, store / name)
                repository._write("format", FORMAT)
                monitor.warn(f"{store / 'format'} was missing or damaged, and is written again")
                return cls.open(io, folder, monitor)
        raise RepositoryNotFound(f"no repository in {start} or above", hint=_MAKE_ONE)

    def read(self) -> View:
        """The state now, without announcing a reader: for those who hold an intent already."""
        root, raw = self.roots.read()
        return View(root, raw, self.backend, self.monitor, self._cache)

    @contextmanager
    def reading(self) -> Iterator[View]:
        """The state now. What it leads to stays on disk until the block ends."""
        with announce(self.io, self.store / "intents", "reader", self.locks) as intent:
            view = self.read()
            intent.announce_epoch(view.root.epoch)
            try:
                yield view
            except (DamageError, StorageError):
                self.locks.check()  # what is missing may have gone because we were taken for dead
                raise

    def index_of(self, root: Root) -> Index:
        """The index that a root describes."""
        return index_of(root, self.backend)

    def config(self) -> Config:
        """The repository's settings."""
        path = self.store / "config"
        return Config(read_text(self.io, path) if exists(self.io, path) else "", str(path))

    def _sharing(self) -> Sharing:
        """What the settings say of other machines."""
        try:
            value = self.config().string("core.shared")
        except ConfigError as error:
            # Who reads settings for their own sake refuses; this must not keep anybody from mending them. A
            # store that was once used from several machines stays so whatever the settings say.
            self.monitor.warn(error.message)
            value = None
        return cast(Sharing, value or "auto")

    def write_config(self, text: str) -> None:
        """Replace the repository's settings."""
        self._write("config", text)

    def forget_decoded(self) -> None:
        """Empty the cache of decoded objects."""
        self._cache.clear()

    def sweep(self) -> None:
        """Remove temporary files whose owners are gone."""
        sweep_temporary(self.io, self.store / "tmp", self.locks)

    def _write(self, name: str, text: str) -> None:
        with storage_errors(f"cannot write {name}"):
            write_durable(self.io, self.temporary.new(), self.store / name, [text.encode()], replace=True)


def _refuse_link(io: FileIO, folder: Path) -> None:
    """Refuse a store whose folders lead elsewhere: what is written and deleted there must stay inside.

    Raises:
        CorruptFile: it is not a folder.
    """
    if exists(io, folder):
        with storage_errors(f"cannot look at {folder.name}"):
            if not S_ISDIR(io.stat(folder).st_mode):
                raise CorruptFile(f"{folder} is not a folder", hint="mvc never makes links in its store")


MAX_TEXT_BYTES = 1 << 20
"""Of settings, and of other small texts."""

CONFIG_TEMPLATE = """\
# Settings of this repository; 'mvc config --list' shows them all.
"""


def read_text(io: FileIO, path: Path) -> str:
    """A small UTF-8 file of ours.

    Raises:
        CorruptFile: it has more than :data:`MAX_TEXT_BYTES`.
        StorageError: it cannot be read.
    """
    with storage_errors(f"cannot read {path.name}"):
        fd = io.open_read(path)
        try:
            data = io.read_at(fd, MAX_TEXT_BYTES + 1, 0)
        finally:
            io.close(fd)
    if len(data) > MAX_TEXT_BYTES:
        raise CorruptFile(f"{path} has more than {MAX_TEXT_BYTES >> 20} MiB, as none of ours has")
    return data.decode(errors="replace")


def exists(io: FileIO, path: Path) -> bool:
    """Whether the path names something."""
    with storage_errors(f"cannot look at {path.name}"):
        try:
            io.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True
