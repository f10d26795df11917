"""Writes a bundle, in one go and from its first byte to its last (docs/format.md, *Bundle*)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from blake3 import blake3

from mvc import canonical
from mvc.backends.base import Backend, NotFound, check_range, folder_of
from mvc.backends.bundle import (
    MAGIC,
    MAX_NEEDS_BYTES,
    MAX_OBJECT_BYTES,
    MAX_ROWS,
    MAX_SUBJECT,
    ROOT,
    ROW,
    TRAILER,
    Need,
    Place,
    name_of,
)
from mvc.errors import RootMoved, StorageError, UserError
from mvc.fileio import FileIO, discard_unfinished, exists, make_visible, storage_errors, write_all

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class BundleWriter(Backend):
    """A store that becomes a bundle: objects are appended as they are put, and found again.

    Used as a context: what is not finished in the end leaves nothing behind. Until :meth:`finish` the bytes
    lie in a hidden file beside ``path``, which a process that is killed leaves there.

    Raises:
        UserError: there is a file already, and it is not to be replaced.
        StorageError: the disk refuses.
    """

    def __init__(self, io: FileIO, path: Path, *, replace: bool = False) -> None:
        self._io = io
        self._path = path
        self._replace = replace
        self._lock = threading.Lock()
        self._hasher = blake3()
        self._rows: list[bytes] = []
        self._places: dict[str, Place] = {}
        self._root: bytes | None = None
        self._length = 0
        self._temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
        with storage_errors(f"cannot write {path.name}"):
            if not replace and exists(io, path):
                self._refuse_taken()
            self._fd: int | None = io.create(self._temporary)
            try:
                self._reading = io.open_read(self._temporary, follow=False)
            except BaseException:
                discard_unfinished(io, self._fd, self._temporary)
                raise
        try:
            self._append(MAGIC)
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.discard()

    @property
    def written_bytes(self) -> int:
        """Bytes of the file so far."""
        return self._length

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Append an object, which must be named by the hash of its bytes; False if it is there."""
        kind, name = name_of(key)
        length = sum(memoryview(piece).nbytes for piece in pieces)
        with self._lock:
            if key in self._places:
                return False
            if length > MAX_OBJECT_BYTES or len(self._rows) == MAX_ROWS:
                raise StorageError(
                    f"one bundle holds at most {MAX_ROWS:,} objects",
                    hint="make several, each with --since what the one before it holds",
                )
            start = self._length
            for piece in pieces:
                self._append(piece)
            self._rows.append(ROW.pack(name, length, kind, bytes(3)))
            self._places[key] = Place(start, length)
        return True

    def get(self, key: str) -> bytes:
        """All bytes of an object that was put."""
        if key == ROOT and self._root is not None:
            return self._root
        return self.get_range(key, 0, self._place(key).length)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset`` of an object that was put."""
        place = self._place(key)
        check_range(key, offset, length, place.length)
        with storage_errors(f"cannot read {self._path.name}"):
            data = self._io.read_at(self._reading, length, place.offset + offset)
        check_range(key, offset, length, offset + len(data))
        return data

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, with sizes."""
        folder_of(prefix)
        with self._lock:
            found = sorted((key, at.length) for key, at in self._places.items() if key.startswith(prefix))
        return iter(found)

    def delete(self, key: str) -> None:
        """Refused: what was written stays.

        Raises:
            StorageError: always.
        """
        raise StorageError("a bundle is written from its beginning to its end, and nothing leaves it")

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Say what root is, which goes behind everything else."""
        if key != ROOT:
            name_of(key)
        if expected != self._root:
            raise RootMoved(f"{key} was changed by somebody else")
        self._root = data

    def finish(self, needs: Sequence[Need]) -> int:
        """Write root, directory and trailer, and give the file its name, durable; returns its bytes.

        Raises:
            UserError: somebody made a file of that name meanwhile; or too many versions are needed.
            StorageError: the disk refuses.
        """
        if self._root is None:
            raise ValueError("a bundle has a root")
        listed = canonical.pack([[bytes(need.commit), need.subject[:MAX_SUBJECT]] for need in needs])
        if len(listed) > MAX_NEEDS_BYTES:
            raise UserError("the bundle would build on too many versions", hint="name fewer with --since")
        self._append(self._root)
        counts = TRAILER.pack(len(self._rows), len(self._root), len(listed), b"", b"")[:-64]
        directory = b"".join(self._rows) + listed + counts
        self._append(directory)
        self._append(blake3(directory).digest())
        self._append(self._hasher.digest())
        fd, self._fd = self._handle(), None
        self._stop_reading()
        with storage_errors(f"cannot write {self._path.name}"):
            if not make_visible(self._io, fd, self._temporary, self._path, replace=self._replace):
                self._refuse_taken()
        return self._length

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._stop_reading()
            discard_unfinished(self._io, fd, self._temporary)

    def _stop_reading(self) -> None:
        with suppress(OSError):  # nothing was written through that handle
            self._io.close(self._reading)

    def _append(self, data: Buffer) -> None:
        self._hasher.update(data)
        with storage_errors(f"cannot write {self._path.name}"):
            write_all(self._io, self._handle(), data)
        self._length += memoryview(data).nbytes

    def _place(self, key: str) -> Place:
        try:
            return self._places[key]
        except KeyError:
            raise NotFound(f"there is no {key}") from None

    def _handle(self) -> int:
        if self._fd is None:
            raise ValueError("the bundle is finished or discarded")
        return self._fd

    def _refuse_taken(self) -> None:
        raise UserError(f"{self._path} is there already", hint="name another file, or say --force")
