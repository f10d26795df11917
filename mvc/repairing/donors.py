"""Other copies of what a store holds: folders with a repository, or a part of one, and remotes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from mvc.backends import NotFound
from mvc.errors import ConfigError, MvcError, UserError
from mvc.fileio import FileIO, TemporaryNames
from mvc.monitor import Monitor
from mvc.objectid import ObjectId
from mvc.odb.cache import PlainCache
from mvc.odb.database import CACHE_BYTES
from mvc.odb.intents import announce
from mvc.repo import STORE, Repository
from mvc.root import RootStore
from mvc.sharing.addresses import Folder, parse_address
from mvc.sharing.settings import remotes as configured
from mvc.sharing.stores import store_of
from mvc.store import Store, exists
from mvc.upkeep.patched import PatchedDatabase, PatchedStore
from mvc.upkeep.stock import Stock, pack_files
from mvc.view import View


class Donor(Protocol):
    """Somebody who may have what was lost here. ``name`` is how people call him; ``is_copy`` whether he was
    given as a copy of the repository, whose refs are ours, and not as somebody whom others share with us."""

    name: str
    is_copy: bool

    def plain(self, identity: ObjectId, /) -> bytes | None:
        """An object's plain bytes, which hash to its id; None where he has none."""
        ...

    def file(self, key: str, name: bytes, /) -> bytes | None:
        """The file of a store whose bytes hash to ``name``; None where he has none."""
        ...

    def names(self) -> dict[str, bytes]:
        """His refs, as far as he has a root that can be read."""
        ...


class FolderDonor:
    """A store in a folder, asked through its index as far as it has one, else through all of its packs."""

    def __init__(self, io: FileIO, store: Path, name: str, *, is_copy: bool = False) -> None:
        self.name = name
        self.is_copy = is_copy
        self._io = io
        self._store = store
        self._backend = PatchedStore(io, store, TemporaryNames(io, store / "tmp"))
        self._view: View | None = None
        self._packs: PatchedDatabase | None = None

    def open(self, stack: ExitStack) -> None:
        """Read the donor's root, announced as a reader until ``stack`` ends. A damaged one counts as none."""
        stack.enter_context(announce(self._io, self._store / "intents", "reader"))
        try:
            root, raw = RootStore(self._backend).read()
            self._view = View(root, raw, self._backend, Monitor(), PlainCache(CACHE_BYTES))
        except MvcError:
            self._view = None

    def plain(self, identity: ObjectId) -> bytes | None:
        """An object's plain bytes; None where there are none."""
        if self._view is not None:
            try:
                return self._view.objects.get(identity)
            except MvcError:
                pass  # its packs may know more than its index
        try:
            return self._all_packs().get(identity)
        except MvcError:
            return None

    def _all_packs(self) -> PatchedDatabase:
        """Everything that lies in the folder; found where it is first needed, because that reads all of
        it."""
        if self._packs is None:
            stock = Stock()
            for file in pack_files(self._io, self._store):
                stock.take(self._io, file, lambda _entry: True)
            self._backend.add_packs(stock.paths)
            self._packs = PatchedDatabase(self._backend, stock.index, Monitor(), PlainCache(CACHE_BYTES))
        return self._packs

    def file(self, key: str, name: bytes) -> bytes | None:
        """The file that hashes to ``name``; None where there is none."""
        try:
            data = self._backend.get(key)
        except (NotFound, MvcError):
            return None
        return data if blake3(data).digest() == name else None

    def names(self) -> dict[str, bytes]:
        """The refs, as far as there is a root that can be read."""
        try:
            return {} if self._view is None else dict(self._view.refs.values())
        except MvcError:
            return {}


class StoreDonor:
    """A remote's store, asked through its index."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.is_copy = False
        self._store = store
        self._view: View | None = None

    def open(self, stack: ExitStack) -> None:
        """Read the donor's root. One that is damaged, or does not answer, has nothing to give."""
        try:
            self._view = stack.enter_context(self._store.reading())
        except MvcError as error:
            self._store.monitor.warn(f"{self.name} is not asked: {error.message}")

    def plain(self, identity: ObjectId) -> bytes | None:
        """An object's plain bytes; None where there are none, or the store does not answer."""
        try:
            return None if self._view is None else self._view.objects.get(identity)
        except MvcError:
            return None

    def file(self, key: str, name: bytes) -> bytes | None:
        """The file that hashes to ``name``; None where there is none."""
        if self._view is None:
            return None
        try:
            data = self._view.backend.get(key)
        except MvcError:
            return None
        return data if blake3(data).digest() == name else None

    def names(self) -> dict[str, bytes]:
        """The refs."""
        try:
            return {} if self._view is None else dict(self._view.refs.values())
        except MvcError:
            return {}


@contextmanager
def donors(repository: Repository, folders: Sequence[Path]) -> Iterator[list[Donor]]:
    """The folders given, then the configured remotes, those that are folders first.

    Raises:
        UserError: a folder that was given is no store, or is the one that is to be repaired.
    """
    io = repository.io
    found: list[Donor] = []
    with ExitStack() as stack:
        for folder in folders:
            store = _store_in(io, folder)
            if store is None:
                raise UserError(
                    f"{folder} is no copy of a repository", hint="--from takes a folder that has .mvc in it"
                )
            if store.resolve() == repository.store.resolve():
                raise UserError(
                    f"{folder} is the repository that is to be repaired",
                    hint="--from takes another copy",
                )
            found.append(_opened(FolderDonor(io, store, str(folder), is_copy=True), stack))
        for name, folder in _remotes(repository):
            store = _store_in(io, folder)
            if store is not None and store.resolve() != repository.store.resolve():
                found.append(_opened(FolderDonor(io, store, name), stack))
        for name, address in _buckets(repository):
            try:
                opened = store_of(repository, address, repository.worktree)
            except MvcError as error:
                repository.monitor.warn(f"{name} is not asked: {error.message}")
                continue
            found.append(_opened(StoreDonor(opened, name), stack))
        yield found


def _opened(donor: FolderDonor | StoreDonor, stack: ExitStack) -> Donor:
    donor.open(stack)
    return donor


def _store_in(io: FileIO, folder: Path) -> Path | None:
    """A folder's store, or the folder itself where it is one, be it a damaged one."""
    for store in (folder / STORE, folder):
        if any(exists(io, store / name) for name in ("packs", "root")):
            return store
    return None


def _remotes(repository: Repository) -> list[tuple[str, Path]]:
    try:
        return list(remotes(repository))
    except ConfigError as error:
        repository.monitor.warn(f"{error.message}; remotes are not asked")
        return []


def _buckets(repository: Repository) -> list[tuple[str, str]]:
    """Names and addresses of the configured remotes that are in no folder."""
    try:
        named = configured(repository.config())
        parsed = [(name, parse_address(item.address, repository.worktree)) for name, item in named.items()]
    except (ConfigError, UserError):
        return []  # what is wrong with the settings was told, or is told by whoever uses the remote
    return [(name, str(address)) for name, address in parsed if not isinstance(address, Folder)]


def remotes(repository: Repository) -> Iterator[tuple[str, Path]]:
    """Names and folders of the configured remotes that are folders; relative ones start in the work tree."""
    for name, section in repository.config().section("remote").items():
        value = section.get("url") if isinstance(section, dict) else None
        if isinstance(value, str):
            address = urlsplit(value)
            if address.scheme == "file":
                yield name, Path(unquote(address.path))
            elif not address.scheme and value:
                yield name, repository.worktree / value
