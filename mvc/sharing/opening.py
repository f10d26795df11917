"""Stores by their addresses. (Folders and memory; a stand-in until stores.py is there.)"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mvc.backends.memory import MemoryBackend
from mvc.errors import RepositoryNotFound, UserError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.repo import STORE, Repository
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.sharing.settings import Remote
from mvc.store import SharedFolder, Store, exists

_MEMORY: dict[str, MemoryBackend] = {}


def open_store(
    io: FileIO, address: str, monitor: Monitor, *, base: Path, environment: Mapping[str, str]
) -> Store:
    """The store at an address."""
    split = urlsplit(address)
    if split.scheme == "memory":
        backend = _MEMORY.get(split.netloc)
        if backend is None:
            raise RepositoryNotFound(f"no store at {address}")
        return BucketStore(backend, monitor)
    folder = base / (unquote(split.path) if split.scheme == "file" else address)
    if exists(io, folder / STORE / "format"):
        return Repository.open(io, folder, monitor)
    return SharedFolder.open(io, folder, monitor)


def create_store(
    io: FileIO, address: str, monitor: Monitor, *, base: Path, environment: Mapping[str, str], branch: str
) -> Store:
    """The store at an address, made where there is none."""
    try:
        return open_store(io, address, monitor, base=base, environment=environment)
    except RepositoryNotFound:
        pass
    split = urlsplit(address)
    if split.scheme == "memory":
        backend = _MEMORY[split.netloc] = MemoryBackend()
        store = BucketStore(backend, monitor)
        store.roots.swap(None, Root(extra={"default_branch": branch}))
        return store
    if split.scheme not in ("", "file"):
        raise UserError(f"{address}: no such address")
    return SharedFolder.create(
        io, base / (unquote(split.path) if split.scheme == "file" else address), monitor, branch=branch
    )


def store_of(repository: Repository, remote: Remote) -> Store:
    """The store of a repository's remote.

    Raises:
        RepositoryNotFound: there is none at its address.
        StorageError: it cannot be reached.
    """
    return open_store(
        repository.io,
        remote.address,
        repository.monitor,
        base=repository.worktree,
        environment=getattr(repository, "environment", {}),
    )
