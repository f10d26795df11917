"""A bundle as a store: read like any other, and never changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mvc.backends.bundle import (
    MAGIC,
    BundleBackend,
    Directory,
    Need,
    begins_as_bundle,
    read_directory,
)
from mvc.errors import CorruptFile, MvcError, RepositoryNotFound, UnsupportedFeature, UserError
from mvc.fileio import FileIO, exists, storage_errors
from mvc.monitor import Monitor
from mvc.odb.database import CACHE_BYTES, ObjectDatabase
from mvc.sharing.bucket import BucketStore

_SHOWN = 3


class BundleStore(BucketStore):
    """The versions of a bundle. Who is done with it calls :meth:`close`."""

    def __init__(
        self, io: FileIO, path: Path, handle: int, directory: Directory, monitor: Monitor, cache_bytes: int
    ) -> None:
        self.path = path
        self.needs: tuple[Need, ...] = directory.needs
        """The versions that it builds on and does not hold."""
        self._io = io
        self._handle: int | None = handle
        super().__init__(BundleBackend(self._read, directory), monitor, cache_bytes)

    @classmethod
    def open_file(
        cls,
        io: FileIO,
        path: Path,
        monitor: Monitor,
        *,
        verify: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ) -> BundleStore:
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
            handle = io.open_read(path)
        try:
            with storage_errors(f"cannot read {path}"):
                size = io.stat_handle(handle).st_size
                directory = read_directory(lambda at, length: io.read_at(handle, length, at), size)
            store = cls(io, path, handle, directory, monitor, cache_bytes)
            if verify:
                store.verify()
            return store
        except (CorruptFile, UnsupportedFeature) as error:
            io.close(handle)
            raise _in_file(path, error) from error
        except BaseException:
            io.close(handle)
            raise

    def verify(self) -> None:
        """Read the whole file and check every hash.

        Raises:
            CorruptFile: a byte is not what was written.
            StorageError: it cannot be read.
        """
        backend = self.bundle
        self.monitor.start("verify", backend.directory.size)
        try:
            backend.verify(self.monitor.advance)
        except CorruptFile as error:
            raise _in_file(self.path, error) from error
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
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._io.close(handle)

    def _read(self, offset: int, length: int) -> bytes:
        if self._handle is None:
            raise ValueError("the bundle is closed")
        with storage_errors(f"cannot read {self.path}"):
            return self._io.read_at(self._handle, length, offset)


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
            return begins_as_bundle(io.read_at(handle, len(MAGIC), 0))
        except IsADirectoryError:
            return False
        finally:
            io.close(handle)


def lacking(needs: Iterable[Need], database: ObjectDatabase) -> list[Need]:
    """The versions that a bundle builds on and that are not in a database."""
    return [need for need in needs if need.commit not in database]


def check_needs(store: BundleStore, database: ObjectDatabase) -> None:
    """Make sure that a database has what a bundle builds on; before anything of it is taken.

    Raises:
        UserError: it has not; the message names the versions.
    """
    missing = lacking(store.needs, database)
    if missing:
        shown = ", ".join(f"{need.commit.short} ({need.subject})" for need in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"{store.path} builds on versions that are not here: {shown}{more}",
            hint="fetch the bundle before this one, or ask for one made without --since",
        )


def _in_file(path: Path, error: MvcError) -> MvcError:
    return type(error)(f"{path}: {error.message}", hint=error.hint)
