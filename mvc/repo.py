"""A repository: a store beside the work, found from any folder below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mvc.errors import CorruptFile, RepositoryNotFound, UserError
from mvc.fileio import FileIO, make_folders, storage_errors
from mvc.locks import Locks
from mvc.monitor import Monitor
from mvc.odb.database import CACHE_BYTES
from mvc.odb.supply import Supply
from mvc.refs import BRANCHES
from mvc.root import Root
from mvc.sharing.following import tracked_ref
from mvc.store import FOLDERS, FORMAT, FolderStore, check_format, exists, refuse_link
from mvc.view import View

if TYPE_CHECKING:
    from mvc.sharing.promise import Promise

STORE = ".mvc"
SHALLOW = "shallow"
"""Sign of a partial clone: commits whose parents were left out, one id in a line."""
DEFAULT_BRANCH = "main"
CONFIG_TEMPLATE = """\
# Settings of this repository; 'mvc config --list' shows them all.
"""
_MAKE_ONE = "'mvc init' or mvc.Repo.init() makes one"
_SHARED = "it is a store that people share: mvc clone, mvc -R ADDRESS or mvc.Repo.open('file://…') read it"
_SIGNS = ("root", "root.previous", "packs")
"""What tells a store whose file ``format`` is lost."""


class Repository(FolderStore):
    """A store, its settings and the work tree that it lies in."""

    def __init__(
        self,
        io: FileIO,
        worktree: Path,
        monitor: Monitor,
        *,
        cache_bytes: int = CACHE_BYTES,
        locks: Locks | None = None,
    ) -> None:
        self.worktree = worktree
        self._promise: Promise | None = None
        super().__init__(io, worktree / STORE, monitor, cache_bytes=cache_bytes, locks=locks)

    def read(self) -> View:
        """The state now, in which branches follow what the settings say."""
        view = super().read()
        view.follows = lambda branch: tracked_ref(self.config(), branch)
        return view

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
                repository.write(name, text)
            if not exists(io, store / "root"):
                repository.roots.swap(None, Root(head=BRANCHES + branch))
            # the last step: a store without this file is not a repository yet
            repository.write("format", FORMAT)
        return repository

    @classmethod
    def find(
        cls,
        io: FileIO,
        start: Path,
        monitor: Monitor,
        *,
        cache_bytes: int = CACHE_BYTES,
        environment: Mapping[str, str] | None = None,
    ) -> Repository:
        """The repository of a folder or of the nearest one above it; otherwise as :meth:`open`.

        Raises:
            RepositoryNotFound: there is none.
        """
        for folder in (start, *start.parents):
            if exists(io, folder / STORE / "format"):
                return cls.open(io, folder, monitor, cache_bytes=cache_bytes, environment=environment)
        raise RepositoryNotFound(f"no repository in {start} or above", hint=_instead(io, start))

    @classmethod
    def open(
        cls,
        io: FileIO,
        worktree: Path,
        monitor: Monitor,
        *,
        cache_bytes: int = CACHE_BYTES,
        environment: Mapping[str, str] | None = None,
    ) -> Repository:
        """The repository of exactly this folder; at most ``cache_bytes`` of decoded objects are kept.
        ``environment`` has the variables from which credentials for its remotes come.

        Raises:
            RepositoryNotFound: there is none.
            UnsupportedFeature: a newer mvc made it.
        """
        check_format(io, worktree / STORE, f"no repository in {worktree}", hint=_instead(io, worktree))
        repository = cls(io, worktree, monitor, cache_bytes=cache_bytes)
        repository.environment = environment or {}
        return repository

    def supply(self) -> Supply | None:
        """What fetches pieces that a partial clone left out; see :mod:`mvc.sharing.partial`."""
        if not exists(self.io, self.store / SHALLOW):
            return None
        if self._promise is None:
            from mvc.sharing.promise import Promise  # only where something was left out

            self._fetching = self._promise = Promise(self)
        self._promise.refresh()
        return self._promise

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
                refuse_link(io, store)
                repository = cls(io, folder, monitor)
                for name in FOLDERS:
                    refuse_link(io, store / name)
                    with storage_errors("cannot make the store's folders"):
                        make_folders(io, store / name)
                repository.write("format", FORMAT)
                monitor.warn(f"{store / 'format'} was missing or damaged, and is written again")
                return cls.open(io, folder, monitor)
        raise RepositoryNotFound(f"no repository in {start} or above", hint=_MAKE_ONE)


def _instead(io: FileIO, folder: Path) -> str:
    """What to do in a folder that is no repository's."""
    shared = all(exists(io, folder / name) for name in ("format", "root", "segments"))
    return _SHARED if shared else _MAKE_ONE
