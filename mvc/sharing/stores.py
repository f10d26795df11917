"""Opens and makes stores by their addresses."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

from mvc.backends.base import Backend
from mvc.backends.buckets import open_bucket
from mvc.backends.memory import MemoryBackend
from mvc.backends.objectstore import ObjectStoreBackend
from mvc.backends.patience import Patience
from mvc.backends.probe import probe
from mvc.config import Config
from mvc.errors import RepositoryNotFound, UserError
from mvc.fileio import FileIO, storage_errors
from mvc.monitor import Monitor
from mvc.repo import STORE, Repository
from mvc.sharing.addresses import Address, Bucket, Folder, Memory, parse_address
from mvc.sharing.bucket import BucketStore
from mvc.sharing.bundle import BundleStore, is_bundle
from mvc.store import FolderStore, SharedFolder, Store, exists, read_text

_memory: dict[str, MemoryBackend] = {}
_guard = threading.Lock()


def open_store(
    io: FileIO,
    address: str,
    monitor: Monitor,
    *,
    base: Path,
    environment: Mapping[str, str],
    patience: Patience | None = None,
) -> Store:
    """The store that an address names; relative paths begin at ``base``.

    ``environment`` has the variables from which credentials come, and is kept as ``Store.environment``.

    Raises:
        UserError: it is no address.
        RepositoryNotFound: there is no store.
        UnsupportedFeature: a newer mvc made it, or a package is missing.
        StorageError: it does not answer, or refuses us.
    """
    named = parse_address(address, base)
    if isinstance(named, Folder):
        return _open_folder(io, named.path, monitor, environment)
    backend = _backend(io, named, environment, patience)
    store: Store
    try:
        store = BucketStore.open(backend, monitor, str(named))
    except RepositoryNotFound:
        bundle = _bundle_in(io, named, monitor, environment, patience)
        if bundle is None:
            raise
        store = bundle
    store.environment = environment
    return store


def look_at(
    io: FileIO, address: str, monitor: Monitor, *, base: Path, environment: Mapping[str, str]
) -> Store:
    """As :func:`open_store`, for who only reads what people share, where it lies.

    Raises:
        UserError, RepositoryNotFound, UnsupportedFeature, StorageError: as there.
    """
    store = open_store(io, address, monitor, base=base, environment=environment)
    store.looked_at = True
    return store


def create_store(
    io: FileIO,
    address: str,
    monitor: Monitor,
    *,
    base: Path,
    environment: Mapping[str, str],
    branch: str,
    patience: Patience | None = None,
) -> Store:
    """The store that an address names, made empty where there is none. ``branch`` is what a clone of it
    checks out.

    A bucket is probed first for what mvc relies on, whether or not there is a store in it.

    Raises:
        UserError: it is no address, or something else lies there.
        UnsupportedFeature: the bucket lacks something, a newer mvc made the store, or a package is missing.
        StorageError: it does not answer, or refuses us.
    """
    named = parse_address(address, base)
    if isinstance(named, Folder):
        try:
            return _open_folder(io, named.path, monitor, environment)
        except RepositoryNotFound:
            shared = SharedFolder.create(io, named.path, monitor, branch=branch)
            shared.environment = environment
            return shared
    backend = _backend(io, named, environment, patience)
    if isinstance(backend, ObjectStoreBackend):
        probe(backend)
    store = BucketStore.create(backend, monitor, str(named), branch=branch)
    store.environment = environment
    return store


def store_of(repository: FolderStore, address: str, base: Path) -> Store:
    """The store of a repository's remote, at an address that begins at ``base``.

    Raises:
        RepositoryNotFound: there is none.
        StorageError: it cannot be reached.
    """
    return open_store(
        repository.io,
        address,
        repository.monitor,
        base=base,
        environment=repository.environment,
        patience=patience_of(repository.config()),
    )


def patience_of(config: Config) -> Patience:
    """What the settings say of waiting for a bucket.

    Raises:
        ConfigError: it is no number.
    """
    usual = Patience()
    stall, retry = config.count("transfer.stall-seconds"), config.count("transfer.retry-seconds")
    return replace(
        usual,
        stall=usual.stall if stall is None else max(stall, 1),
        total=usual.total if retry is None else retry,
    )


def _backend(
    io: FileIO, named: Address, environment: Mapping[str, str], patience: Patience | None
) -> Backend:
    if isinstance(named, Folder):
        raise AssertionError("folders are no buckets")
    if isinstance(named, Memory):
        with _guard:
            return _memory.setdefault(named.name, MemoryBackend())
    return open_bucket(
        named.scheme, named.name, named.prefix, environment, lambda path: _text(io, path), patience
    )


def _bundle_in(
    io: FileIO, named: Address, monitor: Monitor, environment: Mapping[str, str], patience: Patience | None
) -> BundleStore | None:
    """The bundle that an object of a bucket is, if it is one."""
    if not isinstance(named, Bucket) or not named.prefix:
        return None
    above, _, key = named.prefix.rpartition("/")
    backend = _backend(io, replace(named, prefix=above), environment, patience)
    return BundleStore.open_object(backend, key, str(named), monitor)


def _open_folder(io: FileIO, path: Path, monitor: Monitor, environment: Mapping[str, str]) -> Store:
    store: Store
    if exists(io, path / STORE / "format"):
        store = Repository.open(io, path, monitor)
    elif is_bundle(io, path):
        store = BundleStore.open_file(io, path, monitor)
    elif _is_file(io, path):
        raise UserError(f"{path} is no bundle", hint="a store is a folder, or a file of 'mvc bundle create'")
    else:
        store = SharedFolder.open(io, path, monitor)
    store.environment = environment
    return store


def _is_file(io: FileIO, path: Path) -> bool:
    with storage_errors(f"cannot look at {path.name}"):
        try:
            handle = io.open_read(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            return S_ISREG(io.stat_handle(handle).st_mode)
        finally:
            io.close(handle)


def _text(io: FileIO, path: Path) -> str | None:
    return read_text(io, path) if exists(io, path) else None
