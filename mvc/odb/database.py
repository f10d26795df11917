"""Plain bytes by id, out of packs that an index leads to."""

from __future__ import annotations

from typing import TypeVar

from mvc.backends import Backend
from mvc.errors import (
    CorruptFile,
    CorruptObject,
    DamageError,
    ObjectMissing,
    StorageError,
    UnsupportedFeature,
)
from mvc.monitor import Monitor
from mvc.objectid import KINDS, ObjectId
from mvc.odb.cache import PlainCache
from mvc.odb.decoder import decode_chain
from mvc.odb.index import Index
from mvc.odb.pack import read_record
from mvc.odb.record import MAX_DEPTH, Record
from mvc.odb.segment import Entry
from mvc.predictors import PREDICTORS

CACHE_BYTES = 48 << 20

_Id = TypeVar("_Id", bound=ObjectId)


class ObjectDatabase:
    """Reads objects. Every object is hashed before it is handed out.

    An id may have several records: the one of least depth is read, another one when it is damaged (the
    damage is told to the monitor). Safe to use from several threads.
    """

    def __init__(
        self, backend: Backend, index: Index, monitor: Monitor, cache: PlainCache | None = None
    ) -> None:
        self.backend = backend
        self.index = index
        self._monitor = monitor
        self._cache = cache or PlainCache(CACHE_BYTES)

    def __contains__(self, identity: ObjectId) -> bool:
        return identity in self.index

    def entries(self, identity: ObjectId) -> list[Entry]:
        """Where the object's records lie, least depth first."""
        return [entry for entry in self.index.find(identity) if entry.kind == identity.kind]

    def get(self, identity: ObjectId) -> bytes:
        """An object's plain bytes.

        Raises:
            ObjectMissing: there is no record of it.
            CorruptObject: no record of it, or of what it is built on, is sound.
        """
        return self._get(identity, MAX_DEPTH + 1)

    def find_prefix(self, hex_prefix: str) -> set[ObjectId]:
        """Ids of all kinds whose hexadecimal form starts so."""
        return {KINDS[kind](raw) for kind, raw in self.index.find_prefix(hex_prefix) if kind in KINDS}

    def record(self, identity: ObjectId) -> Record:
        """The record that :meth:`get` would read first, verified against its checksum but not decoded."""
        entries = self.entries(identity)
        if not entries:
            raise ObjectMissing(f"{identity.word} {identity.short} is missing", hint="run 'mvc fsck'")
        return read_record(self.backend, entries[0])

    def decode(self, record: Record) -> bytes:
        """A record's plain bytes, checked against its id.

        Raises:
            CorruptObject: they do not hash to it.
            UnsupportedFeature: it was encoded by something this mvc does not know.
        """
        prediction = self._predict(record) if record.bases else None
        plain = bytes(decode_chain(record.chain, record.stored, record.plain_length, prediction))
        if type(record.id).of(plain) != record.id:
            raise CorruptObject(f"{record.id.word} {record.id.short} does not hash to its id")
        return plain

    def _get(self, identity: ObjectId, below: int) -> bytes:
        plain = self._cache.get(identity)
        if plain is not None:
            return plain
        trouble: list[Failure] = []
        for entry in self.entries(identity):
            if entry.depth >= below:
                continue
            try:
                record = read_record(self.backend, entry)
                if record.depth >= below:
                    raise CorruptObject("a record is deeper than the index says")
                plain = self.decode(record)
            except (DamageError, StorageError, UnsupportedFeature) as error:
                trouble.append(error)
                continue
            for failure in trouble:
                self._monitor.note_damage(
                    f"{identity.word} {identity.short}: {failure.message}; used another record"
                )
            self._cache.put(identity, plain)
            return plain
        if not trouble:
            raise ObjectMissing(f"{identity.word} {identity.short} is missing", hint="run 'mvc fsck'")
        if len(trouble) == 1 and not isinstance(trouble[0], CorruptObject | CorruptFile):
            raise trouble[0]
        raise CorruptObject(
            f"{identity.word} {identity.short} cannot be read: {trouble[0].message}", hint="run 'mvc fsck'"
        ) from trouble[0]

    def _predict(self, record: Record) -> bytes | memoryview:
        pieces = []
        for base in record.bases:
            plain = memoryview(self._get(base.id, record.depth))
            if base.offset + base.length > len(plain):
                raise CorruptObject("a record uses more of its base than there is")
            pieces.append(plain[base.offset : base.offset + base.length])
        name, version, params = record.recipe or ("concat", 1, {})
        predictor = PREDICTORS.get((name, version))
        if predictor is None:
            raise UnsupportedFeature(
                f"a record needs the predictor {name!r} version {version}", hint="upgrade mvc"
            )
        length = sum(len(piece) for piece in pieces)
        return memoryview(predictor.predict(pieces, params, length))


Failure = DamageError | StorageError | UnsupportedFeature
