"""Where the bytes of a file to be imported lie: in a file of their own, in Git, or nowhere any more."""

from __future__ import annotations

import errno
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from mvc.errors import UserError
from mvc.fileio import FileIO, discard_unfinished, storage_errors, write_all
from mvc.importing.version import Digest
from mvc.memoryfile import MemoryFile, Stretch
from mvc.origins.git import GitObjects
from mvc.source import OpenFile, Source

IN_MEMORY = 8 << 20
"""Bytes of a blob of Git up to which it is held in memory; a larger one goes through a temporary file, since
a pipe cannot be read at any place."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """A plain file at ``path`` below ``root``, reached through no link; ``what`` says what it is."""

    io: FileIO
    root: Path
    path: str
    size: int
    what: str
    key: Hashable
    digest: Digest | None = None

    def missing(self) -> str | None:
        """It, where no plain file of this size stands there."""
        with storage_errors(f"cannot look at {self.what}"):
            try:
                status = self.io.stat(self.root / self.path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    return self.what
                raise
        if not S_ISREG(status.st_mode):
            return f"{self.what} (no file)"
        if status.st_size != self.size:
            return f"{self.what} ({status.st_size:,} bytes instead of {self.size:,})"
        return None

    @contextmanager
    def opened(self, name: str) -> Iterator[Source]:
        """The open file."""
        fd = self.io.open_beneath(self.root, self.path)
        try:
            source = OpenFile(self.io, fd, name)
            if not S_ISREG(source.status.st_mode):
                raise UserError(f"{self.what} is no longer a file", hint="run the command again")
            yield source
        finally:
            self.io.close(fd)


@dataclass(frozen=True, slots=True)
class GitBlob:
    """A blob of a Git repository; ``scratch`` gives paths for temporary files."""

    io: FileIO
    objects: GitObjects
    id: str
    size: int
    scratch: Callable[[], Path]

    @property
    def key(self) -> Hashable:
        """Its id."""
        return self.id

    @property
    def digest(self) -> Digest | None:
        """Its id, which Git does not check on every way."""
        return Digest("git", self.id)

    def missing(self) -> str | None:
        """Nothing: its size was asked for."""
        return None

    @contextmanager
    def opened(self, name: str) -> Iterator[Source]:
        """In memory, or in a temporary file."""
        if self.size <= IN_MEMORY:
            yield MemoryFile(name, [Stretch.of(self.objects.read(self.id, "blob", self.size))])
            return
        path = self.scratch()
        with storage_errors("cannot write a temporary file"):
            fd = self.io.create(path)
            try:
                self.objects.copy(self.id, lambda piece: write_all(self.io, fd, piece))
            except BaseException:
                discard_unfinished(self.io, fd, path)
                raise
            self.io.close(fd)
        try:
            fd = self.io.open_read(path, follow=False)
            try:
                yield OpenFile(self.io, fd, name)
            finally:
                self.io.close(fd)
        finally:
            self.io.unlink(path)


@dataclass(frozen=True, slots=True)
class Absent:
    """What the source names and does not have."""

    what: str
    size: int = 0

    @property
    def key(self) -> Hashable:
        """What is missing."""
        return self.what

    @property
    def digest(self) -> Digest | None:
        """None: there is nothing to check."""
        return None

    def missing(self) -> str | None:
        """It."""
        return self.what

    def opened(self, name: str) -> AbstractContextManager[Source]:
        """Refuses."""
        raise UserError(f"{name}: {self.what} is missing")
