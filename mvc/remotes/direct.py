"""Records straight into packs of a store, without a memory of earlier attempts."""

from __future__ import annotations

from mvc.backends import Backend
from mvc.objectid import ObjectId
from mvc.odb.pack import PackWriter
from mvc.odb.record import Record
from mvc.odb.segment import Entry


class DirectSink:
    """A :class:`mvc.remotes.sink.Sink` that begins with nothing: for what is small, or cannot be cut."""

    def __init__(self, backend: Backend) -> None:
        self._packs = PackWriter(backend)
        self._depths: dict[ObjectId, int] = {}
        self.kept_bytes = 0

    def depth(self, identity: ObjectId, /) -> int | None:
        """The least depth of an object's records that were added."""
        return self._depths.get(identity)

    def add(self, record: Record, /) -> None:
        """Append a record."""
        self._packs.add(record)
        self.kept_bytes += memoryview(record.stored).nbytes
        self._depths[record.id] = min(record.depth, self._depths.get(record.id, record.depth))

    def finish(self) -> list[Entry]:
        """Make everything durable."""
        self._packs.flush()
        return list(self._packs.entries)

    def done(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Forget what was not made durable."""
        self._packs.close()
