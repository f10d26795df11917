"""A bundle as a store: read like any other, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from mvc.backends.base import Backend
from mvc.backends.bundle import (
    MAGIC,
    BundleBackend,
    Directory,
    Need,
    Read,
    begins_as_bundle,
    read_directory,
)
from mvc.errors import CorruptFile, RepositoryNotFound, UnsupportedFeature, UserError
from mvc.fileio import FileIO, exists, storage_errors
from mvc.monitor import Monitor
from mvc.objectid import ObjectId
from mvc.odb.database import CACHE_BYTES
from mvc.sharing.bucket import BucketStore

_SHOWN = 3


class Known(Protocol):
    """Tells which objects are here: a database, or nothing."""

    def __contains__(self, identity: ObjectId, /) -> bool:
        """Whether this one is."""
        ...


class BundleStore(BucketStore):
    """The versions of a bundle, which ``where`` names for people. Who is done with it calls :meth:`close`."""

    def __init__(
        self,
        read: Read,
        directory: Directory,
        where: str,
        monitor: Monitor,
        *,
        close: Callable[[], None] = lambda: None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.where = where
        self.needs: tuple[Need, ...] = directory.needs
        """The versions that it builds on and does not hold."""
        self._close = close
        super().__init__(BundleBackend(read, directory), monitor, cache_bytes)

    @classmethod
    def open_file(cls, io: FileIO, path: Path, monitor: Monitor, *, verify: bool = True) -> BundleStore:
        """The store in a file. Without ``verify`` only its directory is checked, and what is read by ids.

        Raises:
            RepositoryNotFound: there is no such file, or it is no bundle.
            CorruptFile: it is damaged or not whole; nothing of it was believed.
            UnsupportedFeature: a newer mvc made it.
            StorageError: it cannot be read.
        """
        with storage_errors(f"cannot read {path}"):
            if not is_bundle(io, path):
                raise RepositoryNotFound(
                    f"{path} is no bundle" if exists(io, path) else f"there is no file {path}",
                    hint="'mvc bundle create FILE' makes one",
                )
            file = _OpenFile(io, path)
        try:
            with _named(str(path)):
                directory = read_directory(file.read, file.size)
            store = cls(file.read, directory, str(path), monitor, close=file.close)
            if verify:
                store.verify()
            return store
        except BaseException:
            file.close()
            raise

    @classmethod
    def open_object(cls, backend: Backend, key: str, where: str, monitor: Monitor) -> BundleStore | None:
        """The store in an object of a bucket, None where that is no bundle. Its directory is checked, and
        what is read by ids: to read all of it twice would cost more than a second look at the bucket.

        Raises:
            CorruptFile: it is damaged or not whole.
            UnsupportedFeature: a newer mvc made it.
            StorageError: it cannot be read.
        """
        size = next((size for found, size in backend.list(key) if found == key), 0)
        if size < len(MAGIC) or not begins_as_bundle(backend.get_range(key, 0, len(MAGIC))):
            return None

        def read(offset: int, length: int) -> bytes:
            return backend.get_range(key, offset, length)

        with _named(where):
            return cls(read, read_directory(read, size), where, monitor)

    def verify(self) -> None:
        """Read the whole file and check every hash.

        Raises:
            CorruptFile: a byte is not what was written.
            StorageError: it cannot be read.
        """
        backend = self.bundle
        self.monitor.start("verify", backend.directory.size)
        try:
            with _named(self.where):
                backend.verify(self.monitor.advance)
        finally:
            self.monitor.finish()

    @property
    def bundle(self) -> BundleBackend:
        """The file's objects."""
        if not isinstance(self.backend, BundleBackend):
            raise TypeError("a bundle's backend was replaced")
        return self.backend

    def close(self) -> None:
        """Let go of the file."""
        self._close()


class _OpenFile:
    """A file that is read at any place."""

    def __init__(self, io: FileIO, path: Path) -> None:
        self._io = io
        self._path = path
        self._handle: int | None = io.open_read(path)
        try:
            self.size = io.stat_handle(self._handle).st_size
        except BaseException:
            self.close()
            raise

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes; fewer only at the end."""
        if self._handle is None:
            raise ValueError("the bundle is closed")
        with storage_errors(f"cannot read {self._path}"):
            return self._io.read_at(self._handle, length, offset)

    def close(self) -> None:
        """Let go of it."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._io.close(handle)


def is_bundle(io: FileIO, path: Path) -> bool:
    """Whether a path names a file that begins as a bundle; whether it is whole is another question.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(f"cannot read {path}"):
        try:
            handle = io.open_read(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        try:
            regular = S_ISREG(io.stat_handle(handle).st_mode)
            return regular and begins_as_bundle(io.read_at(handle, len(MAGIC), 0))
        finally:
            io.close(handle)


def lacking(needs: Iterable[Need], here: Known) -> list[Need]:
    """The versions that a bundle builds on and that are not ``here``."""
    return [need for need in needs if need.commit not in here]


def check_needs(store: BundleStore, here: Known = ()) -> None:
    """Make sure that what a bundle builds on is ``here``; before anything of it is taken.

    Raises:
        UserError: it is not; the message names the versions.
    """
    missing = lacking(store.needs, here)
    if missing:
        shown = ", ".join(f"{need.commit.short} ({need.subject})" for need in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"{store.where} builds on versions that are not here: {shown}{more}",
            hint="fetch the bundle before this one, or ask for one made without --since",
        )


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Have what is wrong with a bundle begin with its name."""
    try:
        yield
    except (CorruptFile, UnsupportedFeature) as error:
        raise type(error)(f"{where}: {error.message}", hint=error.hint) from error
