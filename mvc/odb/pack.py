"""Packs: bounded, write-once files of records (docs/format.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    try:
        data = backend.get_range(pack_key(entry.pack), entry.offset, entry.length)
    except NotFound:
        raise CorruptFile(f"pack {entry.pack.hex()[:12]} is missing", hint="run 'mvc fsck'") from None
    record = Record.from_bytes(data, verify=verify)
    if record.id != entry.id or record.id.kind != entry.kind:
        raise CorruptObject("the index points to another object's record")
    return record


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
