"""Adds objects to a database: hash, known? stop; else encode and append to the open pack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mvc.dtypes import DType
from mvc.errors import DamageError, ObjectPurged, UnsupportedFeature, UserError
from mvc.monitor import Monitor
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase, PendingRecords
from mvc.odb.effort import Effort
from mvc.odb.encoder import Encoded, encode_opaque, encode_tensor
from mvc.odb.pack import PackWriter
from mvc.odb.record import MAX_DEPTH, MAX_PLAIN, Base, Recipe, Record
from mvc.odb.segment import Entry

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_Id = TypeVar("_Id", bound=ObjectId)


@dataclass(frozen=True, slots=True)
class Hint:
    """What may help to encode an object.

    ``dtype`` None means bytes of no known type. ``recipe`` makes a prediction out of ``bases``, stretches of
    other objects; without one they predict the object end to end. ``depth`` is the greatest depth of the
    records that they are read from.
    """

    dtype: DType | None = None
    bases: tuple[Base, ...] = ()
    depth: int = 0
    recipe: Recipe | None = None


NO_HINT = Hint()


class ObjectWriter:
    """Writes new objects and knows what it relied on.

    ``database`` reads what is stored and what was written here. ``relied`` holds the ids that were found in
    the database instead of being written, ``leaned_on`` the bases of new records with the greatest depth at
    which each must be found: if packs were condemned meanwhile, both must be looked up again before root is
    swapped. ``effort`` is what encoding may take. :meth:`known` and :meth:`prepare` may be called from
    several threads.
    """

    def __init__(self, database: ObjectDatabase, monitor: Monitor, effort: Effort = Effort.NORMAL) -> None:
        self._pending = PendingRecords()
        self.database = database.with_pending(self._pending)
        self._monitor = monitor
        self.effort = effort
        self._packs = PackWriter(database.backend)
        self._told = 0
        self._new: set[ObjectId] = set()
        self.relied: set[ObjectId] = set()
        self.leaned_on: dict[ObjectId, int] = {}

    def known(self, identity: ObjectId) -> bool:
        """Whether the object needs no writing; remembers that it was relied upon.

        Raises:
            ObjectPurged: it may not come back.
        """
        self.database.refuse_purged(identity)
        if identity in self._new:
            return True
        if identity in self.database:
            self.relied.add(identity)
            return True
        return False

    def prepare(self, identity: ObjectId, plain: Buffer, hint: Hint = NO_HINT) -> Record:
        """Encode an object into a record, without adding it. ``plain`` may be reused afterwards.

        Raises:
            UserError: it is larger than a record may be.
        """
        size = len(memoryview(plain))
        if size > MAX_PLAIN:
            raise UserError(
                f"a {identity.word} of {size:,} bytes is larger than one object may be ({MAX_PLAIN:,})",
                hint="split the file, or the folder, into smaller ones",
            )
        try:
            prediction = self._prediction(hint, size)
        except (DamageError, ObjectPurged, UnsupportedFeature) as error:
            # an old version that cannot be read, or a recipe that cannot be calculated here, must not keep a
            # new one from being stored
            if not isinstance(error, ObjectPurged):
                self._monitor.note_damage(f"{error.message}; stored without it as a base")
            prediction = None
        if hint.dtype is None:
            encoded = encode_opaque(plain, prediction, self.effort)
        else:
            encoded = encode_tensor(plain, hint.dtype, prediction, self.effort)
        return _record(identity, len(memoryview(plain)), encoded, hint)

    def add(self, record: Record) -> None:
        """Append a prepared record, unless the object came in meanwhile.

        Raises:
            ObjectPurged: it may not come back.
        """
        self.database.refuse_purged(record.id)
        if record.id in self._new:
            return
        self._pending.add(record)
        self._packs.add(record)
        self._tell_packed()
        self._new.add(record.id)
        for base in record.bases:
            if base.id not in self._new:
                self.leaned_on[base.id] = min(record.depth - 1, self.leaned_on.get(base.id, MAX_DEPTH))

    def put(self, cls: type[_Id], plain: bytes, hint: Hint = NO_HINT) -> _Id:
        """Store plain bytes of a kind; returns their id."""
        identity = cls.of(plain)
        if not self.known(identity):
            self.add(self.prepare(identity, plain, hint))
        return identity

    def know(self, entries: Iterable[Entry]) -> None:
        """Records that somebody else put into packs that no index names yet: ``database`` reads them."""
        self._pending.packed(entries)

    def flush(self) -> list[Entry]:
        """Make everything durable; returns where all objects written so far lie."""
        self._packs.flush()
        self._tell_packed()
        return self._packs.entries

    @property
    def flushed(self) -> list[Entry]:
        """Where the objects lie whose packs are full, or were flushed."""
        return self._packs.entries

    def close(self) -> None:
        """Forget what was not flushed; nothing is written any more."""
        self._packs.close()

    def _tell_packed(self) -> None:
        entries = self._packs.entries
        if len(entries) > self._told:
            self._pending.packed(entries[self._told :])
            self._told = len(entries)

    @property
    def written_bytes(self) -> int:
        """Bytes of the packs written so far."""
        return self._packs.written_bytes

    def _prediction(self, hint: Hint, length: int) -> Buffer | None:
        if not hint.bases:
            return None
        return self.database.predict(hint.bases, hint.recipe, hint.depth + 1, length)


def _record(identity: ObjectId, length: int, encoded: Encoded, hint: Hint) -> Record:
    if not encoded.used_prediction:
        return Record(identity, length, 0, encoded.chain, None, (), encoded.stored)
    return Record(identity, length, hint.depth + 1, encoded.chain, hint.recipe, hint.bases, encoded.stored)
