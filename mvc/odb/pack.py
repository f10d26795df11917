"""Packs: bounded, write-once files of records (docs/format.md)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from blake3 import blake3

from mvc.backends import Backend, Incoming, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.objectid import ObjectId
from mvc.odb.record import PREFIX, Record, read_lengths
from mvc.odb.segment import Entry
from mvc.parallel import Behind

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAGIC = b"mvcPACK1"
HEAD_BYTES = 24
MAX_PACK = 64 << 20
TARGET_PACK = 32 << 20


def pack_key(name: bytes) -> str:
    """Where a pack lies in a backend."""
    text = name.hex()
    return f"packs/{text[:2]}/{text}.pack"


class PackWriter:
    """Collects records into packs of about 32 MiB and puts each, durable, as it fills.

    ``entries`` say where each record went; those of the pack that is still open appear with :meth:`flush`.
    A pack that grows beyond a few MiB is hashed, written and synced behind the caller, by a thread of its
    own; nothing is waited for before :meth:`flush`. Who does not come to that calls :meth:`close`.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._behind = Behind(_WINDOW)
        self.entries: list[Entry] = []
        self.written_bytes = 0
        self._unfinished: list[_OpenPack] = []
        self._begin()

    def _begin(self) -> None:
        self._pack = _OpenPack(self._backend)
        self._unfinished.append(self._pack)
        self._handed: list[Buffer] = [MAGIC, os.urandom(16)]
        self._waiting = 0
        self._streams = False
        self._length = HEAD_BYTES
        self._open: list[tuple[ObjectId, int, int, int]] = []  # id, depth, offset, length

    def add(self, record: Record) -> None:
        """Append a record. Its stored bytes must not change afterwards.

        Raises:
            StorageError: the store refuses what was added before.
        """
        head, stored = record.to_pieces()
        length = len(head) + memoryview(stored).nbytes
        if self._open and self._length + length > TARGET_PACK:
            self._behind.run(self._ending())
            self._begin()
        self._handed += [head, stored]
        self._open.append((record.id, record.depth, self._length, length))
        self._length += length
        self._waiting += length
        if self._waiting >= (_HAND_OVER if self._streams else _STREAM_FROM):
            self._streams = True
            self._behind.run(partial(self._pack.add, self._handed))
            self._handed, self._waiting = [], 0

    def flush(self) -> None:
        """Put the open pack, if it holds anything; all packs are durable when this returns.

        Raises:
            StorageError: the store refuses.
        """
        if self._open:
            ending = self._ending()
            if self._streams:
                self._behind.run(ending)
            else:
                self._behind.wait()
                ending()
            self._begin()
        self._behind.wait()

    def close(self) -> None:
        """Forget what was not flushed."""
        self._behind.stop()
        for pack in self._unfinished:
            pack.discard()
        self._unfinished.clear()
        self._begin()

    def _ending(self) -> Callable[[], None]:
        """The call that puts what is now the open pack."""
        pack, last, records, length = self._pack, self._handed, self._open, self._length

        def end() -> None:
            name = pack.finish(last)
            self._unfinished.remove(pack)
            self.written_bytes += length
            self.entries += [
                Entry(bytes(identity), identity.kind, name, offset, size, depth)
                for identity, depth, offset, size in records
            ]

        return end


_STREAM_FROM = 4 << 20  # bytes of a pack that are worth a thread
_HAND_OVER = 1 << 20
_WINDOW = 8  # stretches of a pack that wait to be written


class _OpenPack:
    """A pack on its way into the backend; its name is the hash of its bytes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._hasher = blake3()
        self._incoming: Incoming | None = None

    def add(self, pieces: list[Buffer]) -> None:
        """Append bytes, which go to the backend now."""
        if self._incoming is None:
            self._incoming = self._backend.begin()
        for piece in pieces:
            self._hasher.update(piece)
            self._incoming.add(piece)

    def finish(self, pieces: list[Buffer]) -> bytes:
        """Append the last bytes and put the pack; returns its name."""
        if self._incoming is not None:
            self.add(pieces)
            name = self._hasher.digest()
            self._incoming.finish(pack_key(name))
            return name
        for piece in pieces:
            self._hasher.update(piece)
        name = self._hasher.digest()
        self._backend.put(pack_key(name), pieces)
        return name

    def discard(self) -> None:
        """Forget what was added, unless it is put."""
        if self._incoming is not None:
            self._incoming.discard()


def read_record(backend: Backend, entry: Entry, *, verify: bool = True) -> Record:
    """Fetch the record that an index entry points to; ``verify`` as for :meth:`Record.from_bytes`.

    Raises:
        CorruptObject: it is damaged, or another object's.
    """
    return _record(entry, _read(backend, entry, entry.length), verify=verify)


def _read(backend: Backend, first: Entry, length: int) -> bytes:
    """So many bytes of a pack, from a record on."""
    try:
        return backend.get_range(pack_key(first.pack), first.offset, length)
    except NotFound:
        raise CorruptFile(f"pack {first.pack.hex()[:12]} is missing", hint="run 'mvc fsck'") from None


def _record(entry: Entry, data: Buffer, *, verify: bool) -> Record:
    """Parse what lies where an entry points."""
    record = Record.from_bytes(data, verify=verify)
    if record.id != entry.id or record.id.kind != entry.kind:
        raise CorruptObject("the index points to another object's record")
    return record


def read_records_near(
    backend: Backend, entries: Iterable[Entry]
) -> Iterator[tuple[Entry, Record | CorruptFile | CorruptObject]]:
    """Fetch many records, those that lie near each other in one look at their pack; in order of place.

    Checksums are left out, so who decodes a record checks its plain bytes. In the place of a damaged one
    comes what is wrong with it.

    Raises:
        StorageError: the store refuses.
    """
    for run in _runs(sorted(entries, key=_PLACE)):
        start = run[0].offset
        try:
            data = memoryview(_read(backend, run[0], run[-1].offset + run[-1].length - start))
        except CorruptFile as error:
            yield from ((entry, error) for entry in run)
            continue
        for entry in run:
            at = entry.offset - start
            try:
                yield entry, _record(entry, data[at : at + entry.length], verify=False)
            except CorruptObject as error:
                yield entry, error


_PLACE = attrgetter("pack", "offset")
_GAP = 32 << 10  # bytes between two records that are read along; as many cost half of opening the file again
_RUN_BYTES = 1 << 20


def _runs(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries in order of place, as runs that one read fetches."""
    run: list[Entry] = []
    for entry in entries:
        if run and (
            entry.pack != run[0].pack
            or entry.offset - run[-1].offset > run[-1].length + _GAP
            or entry.offset + entry.length - run[0].offset > _RUN_BYTES
        ):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def scan_pack(name: bytes, data: Buffer) -> Iterator[tuple[int, int, Record | CorruptObject]]:
    """Every record of a pack as (offset, length, record), in order.

    A damaged record comes as the error; reading goes on at the next record's mark.

    Raises:
        CorruptFile: not a pack at all.
    """
    view = memoryview(data)
    if not HEAD_BYTES <= len(view) <= MAX_PACK or view[:8] != MAGIC:
        raise CorruptFile(f"pack {name.hex()[:12]} does not begin as a pack")
    offset = HEAD_BYTES
    while offset < len(view):
        try:
            header_length, stored_length = read_lengths(view[offset : offset + PREFIX.size])
            length = PREFIX.size + header_length + stored_length
            yield offset, length, Record.from_bytes(view[offset : offset + length])
        except CorruptObject as error:
            following = bytes(view[offset + 1 :]).find(b"mvcR")
            length = len(view) - offset if following < 0 else following + 1
            yield offset, length, error
        offset += length
