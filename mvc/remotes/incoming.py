"""Records that arrive, in files that outlive whoever receives them, until all are there.

Below :data:`mvc.remotes.kept.FOLDER` lies one file ``open`` that grows, a pack from its first byte on, and
beside it the full ones as ``NAME.pack``. Nothing is synced before a file is full, because whatever is in it
is checked before it is believed: the next attempt reads the records from the beginning as far as their
checksums are right, cuts off the rest and goes on there. In the end the files get second names among the
store's packs; the first ones go when root names them.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from mvc.backends.folder import FolderBackend
from mvc.errors import CorruptFile, CorruptObject
from mvc.fileio import FileIO, make_folders, read_file, storage_errors, write_all
from mvc.locks import Held, Locks
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.pack import HEAD_BYTES, MAGIC, MAX_PACK, TARGET_PACK, pack_key, scan_pack
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.remotes.arrived import Arrived, is_named, usable
from mvc.remotes.kept import FOLDER, lock_transfers

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

OPEN = "open"
_FULL = re.compile(r"([0-9a-f]{64})\.pack")

_AT_ONCE = 256 << 10
"""Bytes that are written together; what is lost of a process that is killed."""


class Incoming:
    """A :class:`mvc.remotes.sink.Sink` for the store in a folder; one at a time.

    ``target`` is that store's database: records count as here only with what they lean on. Whoever makes one
    is announced there as a writer, and none that was announced later deletes what root does not name.

    Raises:
        Busy: another transfer is under way.
        StorageError: the disk refuses.
    """

    def __init__(
        self, io: FileIO, store: Path, locks: Locks, backend: FolderBackend, target: ObjectDatabase
    ) -> None:
        self._io = io
        self._folder = store / FOLDER
        self._backend = backend
        self._target = target
        self._handle: int | None = None
        self._broken = False
        self._depths: dict[ObjectId, int] = {}
        self._full: dict[bytes, list[Arrived]] = {}
        self._begin_empty()
        self._held: Held | None = lock_transfers(locks)
        try:
            with storage_errors("cannot use what an earlier transfer left"):
                make_folders(io, self._folder)
                self._resume()
        except BaseException:
            self.close()
            raise

    def _begin_empty(self) -> None:
        self._hasher = blake3()
        self._records: list[Arrived] = []
        self._length = 0
        self._waiting = bytearray()

    expected: int | None = None
    """Bytes of all records that there will be in the end, once somebody has told."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of the records that are here, those of earlier attempts too."""
        records = (record for pack in (*self._full.values(), self._records) for record in pack)
        return sum(record.length for record in records)

    def expect(self, count: int) -> None:
        """Tell that so many bytes of records are to come."""
        self.expected = self.kept_bytes + count

    def depth(self, identity: ObjectId, /) -> int | None:
        """The least depth of an object's records that are here."""
        return self._depths.get(identity)

    def add(self, record: Record, /) -> None:
        """Append a record; with few calls, and no sync before a file is full.

        Raises:
            StorageError: the disk refuses; what came before is kept.
        """
        head, stored = record.to_pieces()
        length = len(head) + memoryview(stored).nbytes
        with storage_errors("cannot keep what arrives"):
            if self._records and self._length + length > TARGET_PACK:
                self._seal()
            if not self._length:
                self._append(MAGIC + os.urandom(HEAD_BYTES - len(MAGIC)))
            arrived = Arrived.of(record, self._length, length)
            self._append(head)
            self._append(stored)
            if len(self._waiting) >= _AT_ONCE:
                self._write()
        self._records.append(arrived)
        self._depths[record.id] = min(record.depth, self._depths.get(record.id, record.depth))

    def finish(self) -> list[Entry]:
        """Make everything durable, as packs of the store.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors("cannot keep what arrives"):
            if self._records:
                self._seal()
        for name in self._full:
            self._backend.take_in(pack_key(name), self._path(name))
        return [
            Entry(bytes(one.id), one.id.kind, name, one.offset, one.length, one.depth)
            for name, records in self._full.items()
            for one in records
        ]

    def done(self) -> None:
        """Root names the packs: their first names go, and with them all that was kept.

        Raises:
            StorageError: the disk refuses.
        """
        names = list(self._full)
        self._full.clear()
        self._begin_empty()
        with storage_errors("cannot delete what a transfer left"):
            self._drop_open()
            for name in names:
                self._io.unlink(self._path(name))

    def close(self) -> None:
        """Let go; everything stays for the next attempt."""
        # What is not written yet is a quarter of a megabyte at most. If the disk does not take it, that is
        # fetched again, and whoever had to hear of a full disk has.
        with suppress(OSError):
            if not self._broken:
                self._write()
        with suppress(OSError):  # closed all the same
            self._close_handle()
        held, self._held = self._held, None
        if held is not None:
            held.release()

    # --- the files -----------------------------------------------------------------------------------------
    def _path(self, name: bytes) -> Path:
        return self._folder / f"{name.hex()}.pack"

    def _append(self, data: Buffer) -> None:
        piece = memoryview(data).cast("B")
        self._hasher.update(piece)
        self._waiting += piece
        self._length += len(piece)

    def _write(self) -> None:
        """Hand what waits to the system, which keeps it even if this process is killed."""
        if not self._waiting:
            return
        if self._handle is None:
            self._handle = self._io.open_append(self._folder / OPEN)
        self._broken = True  # unless all of it is written: then nobody knows where the file ends
        write_all(self._io, self._handle, self._waiting)
        self._broken = False
        self._waiting.clear()

    def _seal(self) -> None:
        """Make the open file durable under its own name."""
        self._write()
        assert self._handle is not None
        name = self._hasher.digest()
        try:
            self._io.sync(self._handle)
        except OSError:
            # A second sync might call durable what was lost in the first one.
            self._drop_open()
            self._begin_empty()
            raise
        self._close_handle()
        self._io.replace(self._folder / OPEN, self._path(name))
        self._io.sync_folder(self._folder)
        self._full[name] = self._records
        self._begin_empty()

    def _drop_open(self) -> None:
        self._close_handle()
        with suppress(FileNotFoundError):
            self._io.unlink(self._folder / OPEN)

    def _close_handle(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._io.close(handle)

    # --- what an earlier attempt left ----------------------------------------------------------------------
    def _resume(self) -> None:
        names = {entry.name for entry in self._io.scan_folder(self._folder)}
        full = [bytes.fromhex(match.group(1)) for name in sorted(names) if (match := _FULL.fullmatch(name))]
        for name in full:
            records = self._read_full(name)
            if records is None or is_named(self._target.index, name, records):
                self._io.unlink(self._path(name))
            else:
                self._full[name] = records
        if OPEN in names:
            self._reopen()
        packs = [*self._full.values(), self._records]
        found, self._depths = usable((one for records in packs for one in records), self._target)
        for records in packs:
            records[:] = [one for one in records if one in found]
        if not self._records:
            self._drop_open()
            self._begin_empty()

    def _read_full(self, name: bytes) -> list[Arrived] | None:
        """The records of a full file; None where it is not what it was."""
        data = self._content(self._path(name))
        if blake3(data).digest() != name:
            return None
        records = _sound(data)
        return records if _end(records) == len(data) else None

    def _reopen(self) -> None:
        """Go on with the open file, behind the last record that is whole."""
        path = self._folder / OPEN
        data = self._content(path)
        records = _sound(data)
        end = _end(records)
        if not records:
            self._io.unlink(path)
            return
        self._handle = self._io.open_append(path)
        if end < len(data):
            self._io.truncate(self._handle, end)
        self._hasher.update(memoryview(data)[:end])
        self._records, self._length = records, end

    def _content(self, path: Path) -> bytes:
        """A file's bytes; none where it is larger than any of ours."""
        try:
            return read_file(self._io, path, MAX_PACK)
        except CorruptFile:
            return b""


def _sound(data: bytes) -> list[Arrived]:
    """The records that a pack, or the beginning of one, holds before the first that is damaged or torn."""
    records: list[Arrived] = []
    with suppress(CorruptFile):  # it does not even begin as a pack
        for offset, length, record in scan_pack(bytes(32), data):
            if isinstance(record, CorruptObject):
                break
            records.append(Arrived.of(record, offset, length))
    return records


def _end(records: list[Arrived]) -> int:
    return records[-1].offset + records[-1].length if records else 0
