"""A manifest in, an open file filled: parts decoded, or taken from an older file, in parallel ranges.

Every byte that the file has in the end was hashed in this process: decoded and compared with its id, or read
from the older file and compared, or, in a clone of the older file, read back from the clone.
"""

from __future__ import annotations

import errno
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mvc.errors import CorruptObject
from mvc.fileio import FileIO, write_all_at
from mvc.monitor import Monitor
from mvc.objectid import ObjectId
from mvc.objects import Manifest, Part
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.parallel import Behind, batches, ordered_map
from mvc.reuse import MOST_BYTES, OldFile, OldFileCache, read_part

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

BATCH_BYTES = 1 << 20
SYNC_BYTES = 16 << 20
"""Bytes that are written between two syncs, which run while more is decoded."""

_CLONE_SHARE = 0.5
"""Share of a file that must lie at the same place in the old one for a clone to be made."""

_NO_CLONES = {
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EXDEV,
    errno.EINVAL,
    errno.EPERM,
    errno.EACCES,
    errno.ETXTBSY,
}

_Placed = tuple[int, Part]


class Filler:
    """Fills files of one version.

    Counts ``reused_bytes`` (read from old files), ``reused_base_bytes`` (read there to decode others),
    ``cloned_bytes`` (shared with them on disk) and ``refused_clones`` (the file system has none).
    """

    def __init__(self, io: FileIO, database: ObjectDatabase, monitor: Monitor) -> None:
        self._io = io
        self._database = database
        self._monitor = monitor

    def fill(self, fd: int, path: Path, manifest: Manifest, old: OldFile | None) -> None:
        """Give the new, empty file that is open for writing at ``path`` the manifest's bytes; not synced
        when this returns.

        Raises:
            ObjectMissing, CorruptObject: a blob cannot be read.
            OSError: the file cannot be written.
        """
        clone = None if old is None else self._clone(fd, path, manifest, old)
        database, lent = self._database, None
        if old is not None and manifest.size > BATCH_BYTES:
            lent = OldFileCache(old)
            database = database.with_cache(lent)
        try:
            self._fill(fd, manifest, _Parts(database, manifest, self._io, old, clone))
        finally:
            if clone is not None:
                self._io.close(clone)
        if lent is not None:
            self._monitor.count("reused_base_bytes", lent.borrowed_bytes)

    def _fill(self, fd: int, manifest: Manifest, parts: _Parts) -> None:
        io = self._io

        def write(offset: int, data: Buffer) -> None:
            write_all_at(io, fd, data, offset)

        def work(batch: list[_Placed]) -> int:
            parts.put(batch, write)
            return sum(part.length for _offset, part in batch)

        ahead = parts.database.ahead(
            manifest.placed_parts(), lambda placed: (placed[1].blob, placed[1].length)
        )
        handed = batches(ahead, lambda placed: placed[1].length, BATCH_BYTES)
        if manifest.size <= BATCH_BYTES:
            for batch in handed:
                self._monitor.advance(work(batch))
        else:
            self._in_parallel(fd, work, handed)
        self._monitor.count("reused_bytes", parts.reused)
        self._monitor.count("cloned_bytes", parts.cloned)

    def _in_parallel(
        self, fd: int, work: Callable[[list[_Placed]], int], handed: Iterator[list[_Placed]]
    ) -> None:
        behind, unsynced = Behind(1), 0
        try:
            # Closed first, so that no thread still writes when the number of the handle is free again.
            with closing(cast(Generator[int, None, None], ordered_map(work, handed))) as results:
                for done in results:
                    self._monitor.advance(done)
                    unsynced += done
                    if unsynced >= SYNC_BYTES and behind.idle:
                        behind.run(partial(self._io.sync, fd))
                        unsynced = 0
            behind.wait()
        finally:
            behind.stop()

    def _clone(self, fd: int, path: Path, manifest: Manifest, old: OldFile) -> int | None:
        """Make the new file a clone of the old one where that pays; a handle to read it back, else None."""
        same = sum(part.length for offset, part in manifest.placed_parts() if old.has_at(offset, part))
        if same == 0 or same < _CLONE_SHARE * manifest.size:
            return None
        try:
            self._io.clone(old.fd, fd)
        except OSError as error:
            if error.errno not in _NO_CLONES:
                raise
            self._monitor.count("refused_clones")
            return None
        # what was behind the end is not ours, and what is missing there is written
        self._io.truncate(fd, manifest.size)
        return self._io.open_read(path, follow=False)


class _Parts:
    """Puts parts of one manifest into place. Used from several threads."""

    def __init__(
        self,
        database: ObjectDatabase,
        manifest: Manifest,
        io: FileIO,
        old: OldFile | None,
        clone: int | None,
    ) -> None:
        self.database = database
        self._io = io
        self._old = old
        self._clone = clone
        counts: Counter[ObjectId] = Counter(part.blob for part in manifest.parts if part.blob is not None)
        self._repeated = {blob for blob, count in counts.items() if count > 1}
        self._buffers: deque[bytearray] = deque()  # fresh memory costs more than decoding into it
        self._reused: deque[int] = deque()  # appended to by threads, summed at the end
        self._cloned: deque[int] = deque()

    @property
    def reused(self) -> int:
        """Bytes that were read from the old file and not decoded."""
        return sum(self._reused)

    @property
    def cloned(self) -> int:
        """Bytes that were in place already."""
        return sum(self._cloned)

    def put(self, batch: list[_Placed], write: Callable[[int, Buffer], None]) -> None:
        """Have the bytes of some parts written, but for those that a clone has."""
        buffer = self._buffers.pop() if self._buffers else bytearray(MOST_BYTES)
        left = [placed for placed in batch if not self._from_old(*placed, memoryview(buffer), write)]
        small = self.database.get_small(
            part.blob for _offset, part in left if part.blob is not None and part.length <= SMALL_BYTES
        )
        run = _Run(write)
        for offset, part in left:
            if part.blob is None:
                run.add(offset, part.inline)
            elif part.blob in small:
                run.add(offset, _checked(small[part.blob], part))
            else:
                write(offset, self._plain(part.blob, part, memoryview(buffer)))
        run.end()
        self._buffers.append(buffer)

    def _from_old(
        self, offset: int, part: Part, buffer: memoryview, write: Callable[[int, Buffer], None]
    ) -> bool:
        if self._old is None or part.length > MOST_BYTES:
            return False
        out = buffer[: part.length]
        if (
            self._clone is not None
            and self._old.has_at(offset, part)
            and read_part(self._io, self._clone, offset, part, out)
        ):
            self._cloned.append(part.length)
            return True
        if not self._old.read(part, out):
            return False
        write(offset, out)
        self._reused.append(part.length)
        return True

    def _plain(self, blob: ObjectId, part: Part, buffer: memoryview) -> Buffer:
        if part.length > MOST_BYTES:
            return _checked(self.database.get(blob), part)
        out = buffer[: part.length]
        self.database.get_into(blob, out, keep=blob in self._repeated)
        return out


class _Run:
    """Small parts that follow each other, written together: a call for each would trade the interpreter's
    lock thousands of times."""

    def __init__(self, write: Callable[[int, Buffer], None]) -> None:
        self._write = write
        self._pieces: list[bytes] = []
        self._start = 0
        self._length = 0

    def add(self, offset: int, data: bytes) -> None:
        """A part's bytes; what came before and does not reach up to them is written now."""
        if offset != self._start + self._length:
            self.end()
            self._start = offset
        self._pieces.append(data)
        self._length += len(data)

    def end(self) -> None:
        """Write what is left."""
        if self._pieces:
            self._write(self._start, b"".join(self._pieces))
        self._start += self._length
        self._pieces, self._length = [], 0


def _checked(plain: bytes, part: Part) -> bytes:
    if len(plain) != part.length:
        raise CorruptObject(f"a blob has {len(plain):,} bytes where its manifest says {part.length:,}")
    return plain
