"""A place where versions are kept: packs, index and root on some backend, with or without a work tree.

A repository beside the work is one, and so is what people share: a folder with nothing but the store in it,
a bucket, a bundle. Whoever changes one goes through :mod:`mvc.transaction`, whichever it is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import Protocol, Self, cast

from mvc.backends import Backend
from mvc.backends.folder import FolderBackend
from mvc.config import Config
from mvc.errors import (
    ConfigError,
    CorruptFile,
    DamageError,
    RepositoryNotFound,
    StorageError,
    UnsupportedFeature,
    UserError,
)
from mvc.fileio import FileIO, make_folders, storage_errors, write_durable
from mvc.locks import SHARED_FOLDER, Locks, Sharing
from mvc.monitor import Monitor
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES
from mvc.odb.index import Index
from mvc.odb.intents import Role, TemporaryNames, announce, oldest_epoch, sweep_temporary
from mvc.odb.supply import Supply
from mvc.oplog import Operation
from mvc.root import Root, RootStore
from mvc.view import View, index_of

FORMAT = "mvc repository format 1\n"
NO_STORE = "check the address; in a repository 'mvc remote add origin ADDRESS' makes a store there"
STORED = ("packs/", "segments/", "pieces/", "locators/")
"""Where in a store its objects and their index lie, as beginnings of keys."""

INTENTS = "intents"
STRAYS = "strays"
"""The lock of whoever deletes packs that root does not name. Who means to name one that was put before he was
announced waits for it once."""

FOLDERS = ("tmp", "packs", "segments", "pieces", "locators", INTENTS)

MAX_TEXT_BYTES = 1 << 20
"""Of settings, and of other small texts."""

_NEWER = re.compile(r"mvc repository format [0-9]{1,9}\n")


class Announcement(Protocol):
    """Says that somebody uses a store, from before root is read until the end of its block."""

    def announce_epoch(self, epoch: int, /) -> None:
        """Say which epoch the root had that was read after the announcement."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Fetching(Supply, Protocol):
    """A supply whose fetched records stay in the store."""

    def keep(self) -> None:
        """Have them found by all who read it."""
        ...


class Store(ABC):
    """Packs, index and root on a backend; ``monitor`` hears what happens."""

    def __init__(self, backend: Backend, monitor: Monitor, cache_bytes: int = CACHE_BYTES) -> None:
        self.backend = backend
        self.monitor = monitor
        self.roots = RootStore(backend)
        self._cache = PlainCache(cache_bytes)
        self.looked_at = False
        """Whether people look at it as it is, so that HEAD means its default branch."""
        self._fetching: Fetching | None = None
        self.published: list[Operation] = []
        """What this object's commands have published, oldest first."""
        self.environment: Mapping[str, str] = {}
        """The variables from which credentials for other stores come; of whoever opened this one."""

    @abstractmethod
    def announce(self, role: Role) -> AbstractContextManager[Announcement]:
        """Announce a reader or writer; before root is read.

        Raises:
            StorageError: a writer could not be announced.
        """

    @abstractmethod
    def free_epoch(self) -> int | None:
        """What was condemned up to this epoch, by the root that was read before this is asked, is read by
        nobody any more and may be deleted; None where nobody lives at all, and everything may.

        A store that cannot know who reads it answers -1: only its own collection deletes there.
        """

    @abstractmethod
    def confirm_root(self) -> None:
        """Make sure that the root that was read is durable: who swapped it in may have died before.

        Raises:
            StorageError: it cannot be made so.
            LeaseLost: this process was taken for dead.
        """

    @abstractmethod
    def check_alive(self) -> None:
        """Make sure that no other machine took this process for dead, where that can happen.

        Raises:
            LeaseLost: one did.
        """

    def lost_packs(self, names: Collection[bytes]) -> list[bytes]:
        """Which of some packs that were put here, and that no root has named yet, are gone: asked after root
        was read, which condemns none of them. Where writers are announced nobody takes theirs.

        Raises:
            StorageError: the store cannot be asked.
        """
        return []

    def read(self) -> View:
        """The state now, without announcing a reader: for those who are announced already."""
        root, raw = self.roots.read()
        return View(
            root,
            raw,
            self.backend,
            self.monitor,
            self._cache,
            supply=self.supply(),
            assume_head=self.looked_at,
        )

    def supply(self) -> Supply | None:
        """Fetches what versions name and what was left with another store; None where all is here."""
        return None

    def keep_fetched(self) -> None:
        """Have what was fetched for a reader found by others; a failure is told as a warning."""
        if self._fetching is not None:
            self._fetching.keep()

    @contextmanager
    def reading(self) -> Iterator[View]:
        """The state now. What it leads to stays on disk until the block ends."""
        with self.announce("reader") as announcement:
            view = self.read()
            announcement.announce_epoch(view.root.epoch)
            try:
                yield view
            except (DamageError, StorageError):
                self.check_alive()  # what is missing may have gone because we were taken for dead
                raise
            finally:
                self.keep_fetched()

    def index_of(self, root: Root) -> Index:
        """The index that a root describes."""
        return index_of(root, self.backend)

    def close(self) -> None:  # noqa: B027  # most hold nothing that others see
        """Leave nothing behind that is only of use to whoever has the store open."""

    def forget_decoded(self) -> None:
        """Empty the cache of decoded objects."""
        self._cache.clear()


class FolderStore(Store):
    """A store in a folder, alone there or beside the work; ``locks`` are its own unless a test has others.

    What living processes read and write they announce there, so that nothing goes under their feet.
    """

    def __init__(
        self,
        io: FileIO,
        store: Path,
        monitor: Monitor,
        *,
        cache_bytes: int = CACHE_BYTES,
        locks: Locks | None = None,
    ) -> None:
        self.io = io
        self.store = store
        self.locks = locks or Locks(io, store, self._sharing)
        self.temporary = TemporaryNames(io, store / "tmp", self.locks)
        super().__init__(FolderBackend(io, store, self.temporary, self.locks), monitor, cache_bytes)

    def announce(self, role: Role) -> AbstractContextManager[Announcement]:
        """Announce a reader or writer by a file."""
        return announce(self.io, self.store / INTENTS, role, self.locks)

    def free_epoch(self) -> int | None:
        """The least epoch that somebody living may rely on."""
        return oldest_epoch(self.io, self.store / INTENTS, self.locks)

    def confirm_root(self) -> None:
        """Sync the folder."""
        with storage_errors("cannot sync the store"):
            self.io.sync_folder(self.store)
        self.locks.check()

    def check_alive(self) -> None:
        """Ask the locks."""
        self.locks.check()

    def close(self) -> None:
        """Leave nothing in the folder of temporary files."""
        self.temporary.close()
        self.locks.close()

    def config(self) -> Config:
        """The store's settings."""
        path = self.store / "config"
        return Config(read_text(self.io, path) if exists(self.io, path) else "", str(path))

    def write_config(self, text: str) -> None:
        """Replace the store's settings."""
        self.write("config", text)

    def write(self, name: str, text: str) -> None:
        """Put a small text in the place of what was there.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors(f"cannot write {name}"):
            write_durable(self.io, self.temporary.new(), self.store / name, [text.encode()], replace=True)

    def sweep(self) -> None:
        """Remove temporary files whose owners are gone."""
        sweep_temporary(self.io, self.store / "tmp", self.locks)

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


class SharedFolder(FolderStore):
    """A store that is alone in its folder: what several people push to and fetch from."""

    @classmethod
    def create(cls, io: FileIO, folder: Path, monitor: Monitor, *, branch: str) -> SharedFolder:
        """Make an empty one, or finish one whose making was interrupted.

        Raises:
            UserError: the folder is a store already, or has something else in it.
            StorageError: the disk refuses.
        """
        if exists(io, folder / "format"):
            raise UserError(f"{folder} is a store already", hint="mvc clone makes a copy of it")
        with storage_errors("cannot create the store"):
            make_folders(io, folder)
            strange = {entry.name for entry in io.scan_folder(folder)} - {*FOLDERS, *_BEGUN}
            if strange:
                raise UserError(
                    f"{folder} is not empty: it has {min(strange)!r}", hint="name a folder of its own"
                )
            for name in FOLDERS:
                make_folders(io, folder / name)
        shared = cls(io, folder, monitor)
        if not exists(io, folder / "root"):
            shared.roots.swap(None, Root(extra={"default_branch": branch}))
        shared.write("format", FORMAT)  # the last step: without this file it is none yet
        return shared

    @classmethod
    def open(cls, io: FileIO, folder: Path, monitor: Monitor) -> SharedFolder:
        """The store in a folder.

        Raises:
            RepositoryNotFound: there is none.
            UnsupportedFeature: a newer mvc made it.
        """
        check_format(io, folder, f"no store in {folder}", hint=NO_STORE)
        return cls(io, folder, monitor)

    def close(self) -> None:
        """Leave nothing in the folder of temporary files; who changed the store takes along what the dead
        left there, as no command works here that would."""
        if self.published:
            try:
                self.sweep()
            except StorageError as error:  # what was published is safe; the next one tries again
                self.monitor.warn(error.message)
        super().close()


_BEGUN = ("root", "root.lock", "config")
"""What lies in a folder whose store was not finished."""


def check_format(io: FileIO, store: Path, otherwise: str, *, hint: str) -> None:
    """Make sure that a folder is a store that this program knows, and that its own folders lie in it.

    Raises:
        RepositoryNotFound: it is none; the message says ``otherwise``.
        UnsupportedFeature: a newer mvc made it.
        CorruptFile: it is damaged.
    """
    path = store / "format"
    if not exists(io, path):
        raise RepositoryNotFound(otherwise, hint=hint)
    check_format_text(read_text(io, path), str(path))
    for name in (*FOLDERS, SHARED_FOLDER, "weights", "sketches", "trash", "damaged", "transfers"):
        refuse_link(io, store / name)


def check_format_text(text: str, where: str) -> None:
    """Make sure that a store's ``format`` says what this program knows.

    Raises:
        UnsupportedFeature: a newer mvc made it.
        CorruptFile: it is damaged.
    """
    if text != FORMAT:
        if _NEWER.fullmatch(text):
            raise UnsupportedFeature(f"this repository has {text.strip()!r}", hint="upgrade mvc")
        raise CorruptFile(f"{where} is damaged", hint="run 'mvc repair'")


def refuse_link(io: FileIO, folder: Path) -> None:
    """Refuse a store whose folders lead elsewhere: what is written and deleted there must stay inside.

    Raises:
        CorruptFile: it is not a folder.
    """
    if exists(io, folder):
        with storage_errors(f"cannot look at {folder.name}"):
            if not S_ISDIR(io.stat(folder).st_mode):
                raise CorruptFile(f"{folder} is not a folder", hint="mvc never makes links in its store")


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
