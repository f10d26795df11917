"""What a push has put at the other side, remembered here until root there names it.

One file for each store that is pushed to, ``FOLDER/push-HASH``, only ever appended to: a pack's name, length
and records, before the pack is sent. It is never synced and never believed: what counts is whether a pack of
that name and length is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from blake3 import blake3

from mvc import canonical
from mvc.errors import CorruptFile, CorruptObject
from mvc.fileio import FileIO, make_folders, read_file, storage_errors, write_all
from mvc.locks import Held, Locks
from mvc.objectid import ID_BYTES, KINDS, ObjectId
from mvc.odb.record import MAX_BASES, MAX_DEPTH
from mvc.odb.segment import MAX_PACK_BYTES, PACK_HEAD
from mvc.remotes.arrived import Arrived
from mvc.remotes.kept import FOLDER, lock_transfers

MAGIC = b"mvcPUSH1"
_FRAME = Struct("<I16s")  # bytes that follow, and the checksum of both


class Sent(NamedTuple):
    """A pack that was on its way: its name, its length in bytes, and its records in order of place."""

    name: bytes
    length: int
    records: tuple[Arrived, ...]


class Journal:
    """The packs that were sent to the store called ``to``, by whatever name it has for good; one at a time.

    Raises:
        Busy: another transfer is under way.
        StorageError: the disk refuses.
    """

    def __init__(self, io: FileIO, store: Path, locks: Locks, to: str) -> None:
        self._io = io
        self._path = store / FOLDER / f"push-{blake3(to.encode()).hexdigest(length=16)}"
        self._handle: int | None = None
        self.sent: list[Sent] = []
        self._held: Held | None = lock_transfers(locks)
        try:
            with storage_errors("cannot use what an earlier push left"):
                make_folders(io, self._path.parent)
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            data = read_file(self._io, self._path)
        except (FileNotFoundError, CorruptFile):
            data = b""
        end = 0
        if data.startswith(MAGIC):
            end = len(MAGIC)
            for sent, end in _frames(data):  # noqa: B007 (the last one counts)
                self.sent.append(sent)
        if not self.sent:
            with suppress(FileNotFoundError):
                self._io.unlink(self._path)
            return
        self._handle = self._io.open_append(self._path)
        if end < len(data):
            self._io.truncate(self._handle, end)

    def add(self, sent: Sent) -> None:
        """Remember a pack, before it is sent.

        Raises:
            StorageError: the disk refuses.
        """
        body = canonical.pack([sent.name, sent.length, [_row(record) for record in sent.records]])
        with storage_errors("cannot remember what is sent"):
            first = self._handle is None
            if self._handle is None:
                self._handle = self._io.open_append(self._path)
            frame = _FRAME.pack(len(body), blake3(body).digest(length=16)) + body
            write_all(self._io, self._handle, MAGIC + frame if first else frame)

    def forget(self) -> None:
        """Root there names all of it.

        Raises:
            StorageError: the disk refuses.
        """
        self.sent.clear()
        with storage_errors("cannot delete what a push left"), suppress(FileNotFoundError):
            self._close_handle()
            self._io.unlink(self._path)

    def close(self) -> None:
        """Let go; everything stays for the next attempt."""
        with suppress(OSError):  # closed all the same
            self._close_handle()
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def _close_handle(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._io.close(handle)


def _frames(data: bytes) -> Iterator[tuple[Sent, int]]:
    """What is whole, each with the place where it ends; nothing behind the first that is not."""
    at = len(MAGIC)
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        body = data[at + _FRAME.size : at + _FRAME.size + length]
        if len(body) < length or blake3(body).digest(length=16) != checksum:
            return
        try:
            sent = _parse(canonical.unpack(body, "what a push left"))
        except CorruptObject:
            return
        at += _FRAME.size + length
        yield sent, at


def _row(record: Arrived) -> list[Any]:
    bases = [[base.kind, bytes(base)] for base in record.bases]
    return [record.id.kind, bytes(record.id), record.depth, record.offset, record.length, bases]


def _parse(value: Any) -> Sent:
    name, length, rows = _array(value, 3)
    if not (
        type(name) is bytes
        and len(name) == ID_BYTES
        and type(length) is int
        and PACK_HEAD < length <= MAX_PACK_BYTES
        and isinstance(rows, list)
    ):
        raise CorruptObject("what a push left names no pack")
    return Sent(name, length, tuple(_record(row, length) for row in rows))


def _record(row: Any, size: int) -> Arrived:
    kind, identity, depth, offset, length, bases = _array(row, 6)
    if not (
        all(type(number) is int and number >= 0 for number in (depth, offset, length))
        and depth <= MAX_DEPTH
        and offset >= PACK_HEAD
        and offset + length <= size
        and isinstance(bases, list)
        and len(bases) <= MAX_BASES
    ):
        raise CorruptObject("what a push left names no record")
    return Arrived(_id(kind, identity), depth, offset, length, tuple(_id(*_array(base, 2)) for base in bases))


def _array(value: Any, length: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise CorruptObject("what a push left has another form")
    return value


def _id(kind: Any, identity: Any) -> ObjectId:
    if type(kind) is not int or kind not in KINDS or type(identity) is not bytes or len(identity) != ID_BYTES:
        raise CorruptObject("what a push left names an object of no known kind")
    return KINDS[kind](identity)
