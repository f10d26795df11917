"""Plain bytes by id, out of packs that an index leads to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, TypeVar

from mvc.backends import Backend
from mvc.errors import (
    CorruptFile,
    CorruptObject,
    DamageError,
    ObjectElsewhere,
    ObjectMissing,
    ObjectPurged,
    StorageError,
    UnsupportedFeature,
)
from mvc.monitor import Monitor
from mvc.objectid import KINDS, CommitId, ObjectId
from mvc.odb.cache import PlainCache
from mvc.odb.decoder import decode_chain, decode_chain_into
from mvc.odb.index import Index
from mvc.odb.pack import read_record, read_records_near
from mvc.odb.record import MAX_DEPTH, Base, Recipe, Record
from mvc.odb.segment import Entry
from mvc.odb.supply import Supply
from mvc.parallel import batches
from mvc.predictors import predict

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

CACHE_BYTES = 48 << 20
MAX_DECODED = 10_000
MAX_DECODED_BYTES = 1 << 30
MAX_HELD_BYTES = 512 << 20
"""Stretches of bases that are held at once while one object is decoded: as many as a record may name
(``MAX_BASE_BYTES``), eight records deep, and writers never go deeper."""

_DEPTH = attrgetter("depth")
_Item = TypeVar("_Item")

AHEAD_BYTES = 32 << 20
"""Plain bytes of what is fetched together from elsewhere before it is read."""

SMALL_BYTES = 256 << 10
"""Plain bytes of the largest object that is worth asking :meth:`ObjectDatabase.get_small` for."""

_SMALL_STORED = 64 << 10  # bytes of a record; to look for a larger one costs little next to decoding it
_SMALL_TOGETHER = 8 << 20  # bytes of records and of plain objects that are held at once, each


class Refusal(Protocol):
    """Tells what was purged; :meth:`mvc.tombstones.Tombstones.refusal` is one."""

    def __call__(self, identity: ObjectId, /, *, missing: bool = False) -> ObjectPurged | None:
        """What to raise when somebody asks for an object that was purged, or stores it; None for any other.
        If it is ``missing``, also for one that may be stored again."""
        ...


def _nothing_purged(_identity: ObjectId, *, missing: bool = False) -> ObjectPurged | None:
    return None


class ObjectDatabase:
    """Reads objects. Every object is hashed before it is handed out.

    An id may have several records: the one of least depth is read, another one when it is damaged (the
    damage is told to the monitor). ``refusal`` tells what was purged, ``supply`` fetches what is not at hand.
    Safe to use from several threads.
    """

    def __init__(
        self,
        backend: Backend,
        index: Index,
        monitor: Monitor,
        cache: PlainCache | None = None,
        refusal: Refusal = _nothing_purged,
        supply: Supply | None = None,
    ) -> None:
        self.backend = backend
        self.index = index
        self.refusal = refusal
        self._supply = supply
        self._fetches = supply is not None
        self._monitor = monitor
        self._cache = cache or PlainCache(CACHE_BYTES)
        self._pending: PendingRecords | None = None

    def with_pending(self, pending: PendingRecords) -> ObjectDatabase:
        """This database and records that no index names yet, with the same cache."""
        return self._like(pending=pending)

    def with_cache(self, cache: PlainCache) -> ObjectDatabase:
        """This database with another cache."""
        return self._like(cache=cache)

    def with_index(self, index: Index) -> ObjectDatabase:
        """This database with another index."""
        return self._like(index=index)

    def with_refusal(self, refusal: Refusal) -> ObjectDatabase:
        """This database with others purged."""
        return self._like(refusal=refusal)

    def _like(
        self,
        *,
        index: Index | None = None,
        cache: PlainCache | None = None,
        pending: PendingRecords | None = None,
        refusal: Refusal | None = None,
    ) -> ObjectDatabase:
        database = ObjectDatabase(
            self.backend,
            index or self.index,
            self._monitor,
            cache or self._cache,
            refusal or self.refusal,
            self._supply,
        )
        database._pending = pending or self._pending
        database._fetches = self._fetches
        return database

    def with_supply(self, supply: Supply | None) -> ObjectDatabase:
        """This database with another supply of what is not at hand."""
        database = self._like()
        database._supply, database._fetches = supply, supply is not None
        return database

    def at_hand(self) -> ObjectDatabase:
        """This database without what lies elsewhere: nothing is fetched for whoever reads it."""
        database = self._like()
        database._fetches = False
        return database

    @property
    def shallow(self) -> Collection[CommitId]:
        """Commits whose parents were left out when they were fetched: history ends there."""
        return () if self._supply is None else self._supply.shallow

    def prefetch(self, wanted: Iterable[ObjectId]) -> None:
        """Have objects that are about to be read at hand, fetched together where they lie elsewhere.

        What cannot be had is no error here but for whoever reads it.

        Raises:
            StorageError: whoever has them cannot be reached.
        """
        if self._supply is not None and self._fetches:
            self._bring([one for one in dict.fromkeys(wanted) if self.refusal(one) is None])

    def ahead(
        self, items: Iterable[_Item], piece_of: Callable[[_Item], tuple[ObjectId | None, int]]
    ) -> Iterator[_Item]:
        """The items, each after what it needs was fetched together with what its next ones need.

        ``piece_of`` gives the object that an item needs, None for none, and its plain length in bytes. Where
        everything is at hand the items pass through one by one.
        """
        if self._supply is None or not self._fetches:
            yield from items
            return
        for some in batches(items, lambda item: piece_of(item)[1], AHEAD_BYTES):
            wanted = (piece_of(item)[0] for item in some)
            self.prefetch(identity for identity in wanted if identity is not None)
            yield from some

    def _bring(self, wanted: Sequence[ObjectId]) -> None:
        assert self._supply is not None
        if not self._supply.is_far:
            wanted = [one for one in wanted if not self.entries(one)]
        if wanted:
            self._supply.bring(wanted, self)

    def is_elsewhere(self, identity: ObjectId) -> bool:
        """Whether an object is not here and need not be: another store has it."""
        return self._supply is not None and self._supply.expects(identity) and not self.entries(identity)

    def is_gone(self, identity: ObjectId) -> bool:
        """Whether an object is missing on purpose: purged, and not stored again since."""
        return self.refusal(identity) is not None or (
            self.refusal(identity, missing=True) is not None and identity not in self
        )

    def refuse_purged(self, identity: ObjectId) -> None:
        """Refuse what was purged.

        Raises:
            ObjectPurged: it was.
        """
        error = self.refusal(identity)
        if error is not None:
            raise error

    def __contains__(self, identity: ObjectId) -> bool:
        return identity in self.index

    def entries(self, identity: ObjectId) -> list[Entry]:
        """Where the object's records lie, least depth first."""
        found = [entry for entry in self.index.find(identity) if entry.kind == identity.kind]
        if not found and self._pending is not None:
            found = self._pending.entries(identity)
        if self._supply is not None and (brought := self._supply.entries(identity)):
            found = sorted({*found, *brought}, key=_DEPTH)
        return found

    def get(self, identity: ObjectId) -> bytes:
        """An object's plain bytes.

        Raises:
            ObjectMissing: there is no record of it.
            ObjectPurged: it was purged.
            CorruptObject: no record of it, or of what it is built on, is sound.
        """
        self.refuse_purged(identity)  # a cache may have it still
        return self._get(identity, MAX_DEPTH + 1, Budget())

    def get_part(self, identity: ObjectId, offset: int, length: int) -> bytes:
        """A stretch of an object's plain bytes.

        Raises:
            ObjectMissing, CorruptObject: as :meth:`get`.
        """
        return self.get(identity)[offset : offset + length]

    def get_into(self, identity: ObjectId, out: memoryview, *, keep: bool = False) -> None:
        """Put an object's plain bytes, as many as ``out`` has, where the caller wants them.

        ``out`` is writable, contiguous and of bytes; after an error it holds anything. Decoded and hashed in
        place where that can be. Kept in the cache only with ``keep``: who reads more than it holds would
        drive everything else out.

        Raises:
            ObjectMissing, CorruptObject: as :meth:`get`; also where the object is longer or shorter.
        """
        self.refuse_purged(identity)
        plain = self._cache.get(identity, MAX_DEPTH + 1)
        if plain is None:
            entries = self.entries(identity)
            if entries and self._read_into(identity, entries[0], out):
                if keep:
                    self._cache.put(identity, bytes(out), entries[0].depth)
                return
            plain = self.get(identity)  # which tries every record, and tells of damage
        if len(plain) != len(out):
            raise CorruptObject(f"{identity.word} {identity.short} has not the length that is said of it")
        out[:] = plain

    def get_small(self, wanted: Iterable[ObjectId], *, keep: bool = False) -> dict[ObjectId, bytes]:
        """The small ones of several objects, whose records are read with few looks at the packs.

        What is not among them is for :meth:`get`: large, missing and damaged objects, what is more than a few
        megabytes, and all where there are fewer than two. Kept in the cache only with ``keep``.
        """
        return self._get_small(wanted, MAX_DEPTH + 1, keep, Budget())

    def _get_small(
        self, wanted: Iterable[ObjectId], below: int, keep: bool, budget: Budget
    ) -> dict[ObjectId, bytes]:
        found: dict[ObjectId, bytes] = {}
        entries: list[Entry] = []
        brought: list[Record] = []
        left = _SMALL_TOGETHER
        for identity in dict.fromkeys(wanted):
            if self.refusal(identity) is not None:
                continue  # who asks for it alone hears why
            plain = self._cache.get(identity, below)
            if plain is not None:
                found[identity] = plain
                continue
            record = None if self._supply is None else self._supply.record(identity)
            if record is not None and record.depth < below and record.plain_length <= SMALL_BYTES:
                brought.append(record)
                continue
            entry = next(iter(self.entries(identity)), None)
            if (
                entry is not None
                and entry.pack
                and entry.length <= min(_SMALL_STORED, left)
                and entry.depth < below
            ):
                entries.append(entry)
                left -= entry.length
        records = [*brought, *(self._small_records(entries) if len(entries) > 1 else [])]
        bases = [base.id for record in records for base in record.bases]
        if bases:
            # goes down at most MAX_DEPTH times, because depths fall; decoding finds them in the cache
            self._get_small(bases, max(record.depth for record in records), True, budget)
        left = _SMALL_TOGETHER
        for record in records:
            left -= record.plain_length
            if left < 0:
                break
            try:
                plain = self._decode(record, budget)
            except (DamageError, StorageError, UnsupportedFeature):
                continue  # who asks for it alone hears why
            found[record.id] = plain
            if keep:
                self._cache.put(record.id, plain, record.depth)
        return found

    def _small_records(self, entries: Iterable[Entry]) -> list[Record]:
        """The sound ones of some small records."""
        try:
            return [
                record
                for entry, record in read_records_near(self.backend, entries)
                if isinstance(record, Record)
                and record.plain_length <= SMALL_BYTES
                and record.depth <= entry.depth
            ]
        except StorageError:
            return []  # as above

    def _read_into(self, identity: ObjectId, entry: Entry, out: memoryview) -> bool:
        """Decode one record into place; False where that cannot be, for whatever reason."""
        budget = Budget()
        try:
            record = self._record(identity, entry, verify=False)  # the plain bytes are, below
            if record.plain_length != len(out) or record.depth > entry.depth:
                return False
            budget.spend(record.plain_length)
            prediction = self._prediction_of(record, budget)
            decode_chain_into(record.chain, record.stored, out, prediction)
        except (DamageError, StorageError, UnsupportedFeature):
            return False
        return type(record.id).of(out) == record.id

    def find_prefix(self, hex_prefix: str) -> set[ObjectId]:
        """Ids of all kinds whose hexadecimal form starts so."""
        return {KINDS[kind](raw) for kind, raw in self.index.find_prefix(hex_prefix) if kind in KINDS}

    def record(self, identity: ObjectId) -> Record:
        """The record that :meth:`get` would read first, verified against its checksum but not decoded."""
        self.refuse_purged(identity)
        entries = self.entries(identity)
        if not entries and self._supply is not None and self._fetches:
            self._bring((identity,))
            entries = self.entries(identity)
        if not entries:
            raise self.refusal(identity, missing=True) or ObjectMissing(
                f"{identity.word} {identity.short} is missing", hint="run 'mvc fsck'"
            )
        return self._record(identity, entries[0])

    def _record(self, identity: ObjectId, entry: Entry, *, verify: bool = True) -> Record:
        pending = None if self._pending is None else self._pending.record(identity)
        if pending is not None and not entry.pack:
            return pending
        brought = None if self._supply is None else self._supply.record(identity)
        if brought is not None and brought.depth <= entry.depth:
            return brought
        if not entry.pack:  # put into the store since it was looked up
            entry = next((one for one in self.entries(identity) if one.pack), None) or entry
        return read_record(self.backend, entry, verify=verify)

    def note_damage(self, message: str) -> None:
        """Tell the monitor of damage that stops nothing."""
        self._monitor.note_damage(message)

    def decode(self, record: Record) -> bytes:
        """A record's plain bytes, checked against its id.

        Raises:
            CorruptObject: they do not hash to it.
            UnsupportedFeature: it was encoded by something this mvc does not know.
        """
        return self._decode(record, Budget())

    def _decode(self, record: Record, budget: Budget) -> bytes:
        budget.spend(record.plain_length)
        prediction = self._prediction_of(record, budget)
        plain = bytes(decode_chain(record.chain, record.stored, record.plain_length, prediction))
        if type(record.id).of(plain) != record.id:
            raise CorruptObject(f"{record.id.word} {record.id.short} does not hash to its id")
        return plain

    def _get(self, identity: ObjectId, below: int, budget: Budget) -> bytes:
        plain = self._cache.get(identity, below)
        if plain is not None:
            return plain
        trouble: list[Failure] = []
        if self._supply is not None and self._fetches:
            self._bring((identity,))
        entries = self.entries(identity)
        for entry in entries:
            if entry.depth >= below:
                continue
            try:
                record = self._record(identity, entry)
                if record.depth >= below:
                    raise CorruptObject("a record is deeper than the index says")
                plain = self._decode(record, budget)
            except (DamageError, StorageError, UnsupportedFeature) as error:
                trouble.append(error)
                continue
            for failure in trouble:
                self._monitor.note_damage(
                    f"{identity.word} {identity.short}: {failure.message}; used another record"
                )
            self._cache.put(identity, plain, record.depth)
            return plain
        raise self._failure(identity, entries, trouble)

    def _failure(
        self, identity: ObjectId, entries: list[Entry], trouble: list[Failure]
    ) -> Failure | ObjectPurged:
        """The error for an object that no record gives."""
        name, hint = f"{identity.word} {identity.short}", "run 'mvc fsck'"
        if trouble:
            if len(trouble) == 1 and not isinstance(trouble[0], CorruptObject | CorruptFile):
                return trouble[0]
            return CorruptObject(f"{name} cannot be read: {trouble[0].message}", hint=hint)
        if entries:
            return CorruptObject(f"{name} has only records that lean on what leans on it", hint=hint)
        purged = self.refusal(identity, missing=True)
        if purged is not None:
            return purged
        if self._supply is not None and self._supply.expects(identity):
            if not self._fetches:
                return ObjectElsewhere(
                    f"{name} was not fetched", hint="'mvc checkout -- PATH' fetches what a file needs"
                )
            return ObjectMissing(
                f"{name} is not here, and what was left out of the clone has no such object",
                hint="'mvc fsck' in the store that was cloned tells more",
            )
        # a damaged id column hides ids; only a sound index may say that something is not there
        for damage in self.index.damage():
            return CorruptFile(f"{name} is not found, and the index is damaged: {damage.message}", hint=hint)
        return ObjectMissing(f"{name} is missing", hint=hint)

    def predict(
        self, bases: Sequence[Base], recipe: Recipe | None, below: int, length: int
    ) -> bytes | memoryview:
        """The prediction for ``length`` plain bytes that a record of depth ``below`` makes of these bases.

        Raises:
            DamageError: a base cannot be read, or does not fit.
            UnsupportedFeature: the recipe is one that this mvc does not know.
        """
        return self._predict(bases, recipe, below, length, Budget())

    def _predict(
        self, bases: Sequence[Base], recipe: Recipe | None, below: int, length: int, budget: Budget
    ) -> bytes | memoryview:
        pieces: list[Buffer] = []
        held = sum(base.length for base in bases)
        budget.hold(held)
        for base in bases:
            plain = memoryview(self._get(base.id, below, budget))
            if base.offset + base.length > len(plain):
                raise CorruptObject("a record uses more of its base than there is")
            whole = base.length == len(plain)
            # a copy of a small stretch lets go of a large base; the sum of the stretches is bounded
            pieces.append(plain if whole else bytes(plain[base.offset : base.offset + base.length]))
        budget.let_go(held)
        return predict(recipe, pieces, length)

    def _prediction_of(self, record: Record, budget: Budget) -> bytes | memoryview | None:
        if not record.bases and record.recipe is None:
            return None
        return self._predict(record.bases, record.recipe, record.depth, record.plain_length, budget)


class PendingRecords:
    """Records that were written by a command under way: some still in memory, some in packs that no index
    names. May be read from several threads."""

    def __init__(self) -> None:
        self._records: dict[ObjectId, Record] = {}
        self._packed: dict[ObjectId, Entry] = {}

    def add(self, record: Record) -> None:
        """A record that is to be put into a pack."""
        self._records[record.id] = record

    def packed(self, entries: Iterable[Entry]) -> None:
        """Records that are in packs by now."""
        for entry in entries:
            identity = KINDS[entry.kind](entry.id)
            self._packed[identity] = entry
            self._records.pop(identity, None)

    def entries(self, identity: ObjectId) -> list[Entry]:
        """Where an object's record lies; its pack has no name while it is in memory."""
        record = self._records.get(identity)
        if record is not None:
            return [Entry(bytes(identity), identity.kind, b"", 0, 0, record.depth)]
        entry = self._packed.get(identity)
        return [] if entry is None else [entry]

    def forget(self, identity: ObjectId) -> None:
        """Take a record back that is in memory."""
        self._records.pop(identity, None)

    def record(self, identity: ObjectId) -> Record | None:
        """A record in memory."""
        return self._records.get(identity)


class Budget:
    """What one object may take to decode: depth and bases alone would allow 64 to the power of 64 records."""

    def __init__(self) -> None:
        self._records = MAX_DECODED
        self._bytes = MAX_DECODED_BYTES
        self._holdable = MAX_HELD_BYTES

    def spend(self, count_bytes: int) -> None:
        """One more record, of so many plain bytes.

        Raises:
            CorruptObject: that was too much.
        """
        self._records -= 1
        self._bytes -= count_bytes
        if self._records < 0 or self._bytes < 0:
            raise CorruptObject("an object takes more to decode than any honest one does")

    def hold(self, count_bytes: int) -> None:
        """So many bytes of bases are about to be held. Small records hold copies of much that is decoded once
        and found in the cache ever after, which :meth:`spend` does not see.

        Raises:
            CorruptObject: that was too much.
        """
        self._holdable -= count_bytes
        if self._holdable < 0:
            raise CorruptObject("an object takes more memory to decode than any honest one does")

    def let_go(self, count_bytes: int) -> None:
        """They are held no longer. Not called after an error: then what was held counts until the budget
        ends, which only makes it smaller."""
        self._holdable += count_bytes


Failure = DamageError | StorageError | UnsupportedFeature
