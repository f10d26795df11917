"""Where records go that are taken from another store, so that what once arrived stays."""

from __future__ import annotations

from typing import Protocol

from mvc.objectid import ObjectId
from mvc.odb.record import Record
from mvc.odb.segment import Entry


class Sink(Protocol):
    """Takes records as they are and keeps what it has for the next attempt, whatever happens.

    Used from one thread. The records of an earlier attempt that did not come to its end are in it from the
    start: :meth:`depth` knows them, and :meth:`finish` tells of them too.
    """

    @property
    def kept_bytes(self) -> int:
        """Bytes of the records that are in it, those of earlier attempts too."""
        ...

    def depth(self, identity: ObjectId, /) -> int | None:
        """The least depth of the records of an object that are here already; None where there is none."""
        ...

    def add(self, record: Record, /) -> None:
        """Append a record, whose checksum is right.

        Raises:
            StorageError: there is no room, or the store refuses; what came before is kept.
        """
        ...

    def finish(self) -> list[Entry]:
        """Make everything durable; returns where all records lie, in packs of the store that they go to.

        Raises:
            StorageError: the store refuses.
        """
        ...

    def done(self) -> None:
        """The store's root names what :meth:`finish` told of: nothing is kept for another attempt."""
        ...

    def close(self) -> None:
        """Let go; what is not finished waits for the next attempt."""
        ...
