"""A file that is an export: it appears whole and durable, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mvc.errors import UserError
from mvc.fileio import FileIO, discard_unfinished, exists, make_visible, storage_errors, write_all

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

Write = Callable[["Buffer"], None]
"""Appends bytes to what is being made."""


def part_of(path: Path) -> Path:
    """A hidden name beside a path, for what is not whole yet; a process that is killed leaves it there."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")


def refuse_taken(io: FileIO, path: Path) -> None:
    """Refuse to write where there is something.

    Raises:
        UserError: there is.
        StorageError: that cannot be told.
    """
    with storage_errors(f"cannot look at {path}"):
        if exists(io, path):
            raise taken(path)


def taken(path: Path) -> UserError:
    """That there is something already."""
    return UserError(f"{path} is there already", hint="name another one, or say --force")


class OutputFile:
    """A new file, written from its beginning to its end; used as a context.

    Raises:
        UserError: there is one already, and ``replace`` is not set.
        StorageError: the disk refuses.
    """

    def __init__(self, io: FileIO, path: Path, *, replace: bool) -> None:
        self._io = io
        self.path = path
        self._replace = replace
        if not replace:
            refuse_taken(io, path)
        self.temporary = part_of(path)
        with storage_errors(f"cannot write {path}"):
            self._fd: int | None = io.create(self.temporary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            discard_unfinished(self._io, fd, self.temporary)

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        with storage_errors(f"cannot write {self.path}"):
            write_all(self._io, self._handle(), data)

    def finish(self) -> None:
        """Make it durable and visible.

        Raises:
            UserError: another file took the name meanwhile.
            StorageError: the disk refuses.
        """
        fd, self._fd = self._handle(), None
        with storage_errors(f"cannot write {self.path}"):
            if not make_visible(self._io, fd, self.temporary, self.path, replace=self._replace):
                raise taken(self.path)

    def _handle(self) -> int:
        if self._fd is None:
            raise ValueError("the file is finished")
        return self._fd
