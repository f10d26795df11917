"""Records that are sent to another store, pack by pack, so that a cut loses little of them.

How large a pack is follows from how much is there already: small ones at first, then a share of what would
have to be sent again. So what is under way when the line is cut is a small part of the whole, whatever the
whole is, and their number grows with the logarithm of it (docs/design/0028-resuming.md has the figures).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from blake3 import blake3

from mvc.backends import Backend
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.pack import HEAD_BYTES, MAGIC, TARGET_PACK, pack_key
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.parallel import Behind, ordered_map
from mvc.remotes.arrived import Arrived, is_named, usable
from mvc.remotes.journal import Journal, Sent

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

SHARE = 32
"""A pack has at most this part of what is there already, but :data:`LEAST`."""

LEAST = 512 << 10
IN_FLIGHT = 2
"""Packs on their way at once. As many wait besides the one that fills, each of 32 MiB at most."""

_ASKING = 8  # threads that ask for packs of an earlier attempt


class Outgoing:
    """A :class:`mvc.remotes.sink.Sink` that puts packs at another store.

    ``target`` is that store's database, by a root that was read before this is made and after the writer
    was announced there: the packs of an earlier push count as there only if that root condemns none of them,
    and whoever swaps root makes sure that none was condemned since.

    Raises:
        StorageError: the store cannot be asked.
    """

    def __init__(self, backend: Backend, target: ObjectDatabase, journal: Journal) -> None:
        self._backend = backend
        self._journal = journal
        self._behind = Behind(IN_FLIGHT, IN_FLIGHT)
        self._there: dict[bytes, tuple[Arrived, ...]] = {}
        self._depths: dict[ObjectId, int] = {}
        self._begin()
        self._handed = 0
        try:
            self._resume(target)
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        nonce = MAGIC + os.urandom(HEAD_BYTES - len(MAGIC))
        self._hasher = blake3(nonce)
        self._pieces: list[Buffer] = [nonce]
        self._records: list[Arrived] = []
        self._length = HEAD_BYTES

    expected: int | None = None
    """Bytes of all records that there will be in the end, once somebody has told."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of the records that are there, those of earlier attempts too."""
        return sum(record.length for records in list(self._there.values()) for record in records)

    def expect(self, count: int) -> None:
        """Tell that so many bytes of records are to come."""
        self.expected = self.kept_bytes + count

    def depth(self, identity: ObjectId, /) -> int | None:
        """The least depth of an object's records that are there, or on their way."""
        return self._depths.get(identity)

    def add(self, record: Record, /) -> None:
        """Append a record. Its stored bytes must not change afterwards.

        Raises:
            StorageError: the store refuses; the packs that it took are kept.
        """
        head, stored = record.to_pieces()
        length = len(head) + memoryview(stored).nbytes
        if self._records and self._length + length > min(max(self._handed // SHARE, LEAST), TARGET_PACK):
            self._send()
        self._hasher.update(head)
        self._hasher.update(stored)
        self._pieces += [head, stored]
        self._records.append(Arrived.of(record, self._length, length))
        self._length += length
        self._depths[record.id] = min(record.depth, self._depths.get(record.id, record.depth))

    def finish(self) -> list[Entry]:
        """Send the rest; all packs are durable there when this returns.

        Raises:
            StorageError: the store refuses.
        """
        if self._records:
            self._send()
        self._behind.wait()
        return [
            Entry(bytes(one.id), one.id.kind, name, one.offset, one.length, one.depth)
            for name, records in self._there.items()
            for one in records
        ]

    def done(self) -> None:
        """Root there names the packs: they need not be remembered."""
        self._there.clear()
        self._journal.forget()

    def close(self) -> None:
        """Let go, after what is on its way has come to its end."""
        self._behind.stop()
        self._journal.close()

    def _send(self) -> None:
        """Have the open pack put, and begin another one."""
        # Remembered first: if it comes there, and no answer comes back, the next attempt finds it.
        sent = Sent(self._hasher.digest(), self._length, tuple(self._records))
        self._journal.add(sent)
        self._handed += self._length
        self._behind.run(partial(self._put, sent, self._pieces))
        self._begin()

    def _put(self, sent: Sent, pieces: Sequence[Buffer]) -> None:
        self._backend.put(pack_key(sent.name), pieces)
        self._there[sent.name] = sent.records

    def _is_there(self, sent: Sent) -> bool:
        key = pack_key(sent.name)
        return (key, sent.length) in self._backend.list(key)

    def _resume(self, target: ObjectDatabase) -> None:
        """Take over what an earlier push has put, as far as it is still there."""
        index = target.index
        left = [
            sent
            for sent in self._journal.sent
            if sent.name not in index.dead_packs and not is_named(index, sent.name, sent.records)
        ]
        if not left:
            return
        workers = min(_ASKING, len(left))
        there = [
            sent
            for sent, found in zip(left, ordered_map(self._is_there, left, workers=workers), strict=True)
            if found
        ]
        found, self._depths = usable((record for sent in there for record in sent.records), target)
        for sent in there:
            self._backend.confirm(pack_key(sent.name))
            self._there[sent.name] = tuple(record for record in sent.records if record in found)
            self._handed += sent.length
