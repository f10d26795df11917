"""Packs: bounded, write-once files of records (docs/format.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from blake3 import blake3

from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.odb.record import PREFIX, Record, read_lengths
from mvc.odb.segment import Entry

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
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.entries: list[Entry] = []
        self.written_bytes = 0
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[Buffer] = [MAGIC, os.urandom(16)]
        self._hasher = blake3(b"".join(bytes(piece) for piece in self._pieces))
        self._length = HEAD_BYTES
        self._open: list[tuple[Record, int, int]] = []

    def add(self, record: Record) -> None:
        """Append a record. Its stored bytes must not change afterwards."""
        head, stored = record.to_pieces()
        length = len(head) + len(memoryview(stored))
        if self._open and self._length + length > TARGET_PACK:
            self.flush()
        self._hasher.update(head)
        self._hasher.update(stored)
        self._pieces += [head, stored]
        self._open.append((record, self._length, length))
        self._length += length

    def flush(self) -> None:
        """Put the open pack, if it holds anything."""
        if not self._open:
            return
        name = self._hasher.digest()
        self._backend.put(pack_key(name), self._pieces)
        self.written_bytes += self._length
        self.entries += [
            Entry(bytes(record.id), record.id.kind, name, offset, length, record.depth)
            for record, offset, length in self._open
        ]
        self._begin()


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
