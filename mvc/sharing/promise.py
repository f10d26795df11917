"""Pieces that a partial clone left out, fetched when they are read, and kept."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from mvc.collection.swapping import swap
from mvc.errors import Busy, CorruptObject, MvcError, RepositoryNotFound, StorageError, UserError
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ObjectId
from mvc.odb.database import ObjectDatabase, PendingRecords
from mvc.odb.pack import PackWriter
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.parallel import batches, ordered_map
from mvc.remotes.filters import Filter
from mvc.remotes.reaching import look_up, reach
from mvc.repo import SHALLOW, Repository
from mvc.root import Root
from mvc.sharing.damage import damage_at
from mvc.sharing.partial import filters, parse_shallow
from mvc.sharing.stores import open_store, patience_of
from mvc.store import Store, read_text
from mvc.transaction import add_entries
from mvc.view import View

BATCH_BYTES = 24 << 20
"""Of records that are fetched together; what is decoded of them mostly fits the cache."""


class Promise:
    """The :class:`mvc.odb.supply.Supply` of a partial clone.

    Pieces come from the remotes that have a filter, in the order of the settings, each decoded and hashed
    before anybody else sees it. They go into packs of this repository; :meth:`keep` makes them known to all.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.RLock()
        self._text: str | None = None
        self._shallow: frozenset[CommitId] = frozenset()
        self._filters: dict[str, Filter] | None = None
        self._stores: dict[str, tuple[Store, View | None]] = {}
        self._kept = PendingRecords()
        self._packs: PackWriter | None = None
        self._told = 0
        self._leaned_on: dict[ObjectId, int] = {}
        self._announced = ExitStack()

    def refresh(self) -> None:
        """Look again what was left out, for who reads root now: its index names what was kept."""
        with self._lock:
            if self._packs is None:
                self._kept = PendingRecords()
        text = read_text(self._repository.io, self._repository.store / SHALLOW)
        if text != self._text:
            self._shallow = frozenset(parse_shallow(text))
            self._text, self._filters = text, None

    @property
    def shallow(self) -> Collection[CommitId]:
        """Commits whose parents were left out."""
        return self._shallow

    @property
    def is_far(self) -> bool:
        """What is here is here."""
        return False

    def expects(self, identity: ObjectId, /) -> bool:
        """Whether an object may have been left out: pieces may, where a remote has a filter."""
        return isinstance(identity, BlobId) and bool(self._names())

    def entries(self, identity: ObjectId, /) -> list[Entry]:
        """Where a piece lies that was fetched."""
        return self._kept.entries(identity)

    def record(self, identity: ObjectId, /) -> Record | None:
        """A piece that was fetched and is not in a pack yet."""
        return self._kept.record(identity)

    def _names(self) -> list[str]:
        if self._filters is None:
            self._filters = filters(self._repository.config())
        return [name for name, made in self._filters.items() if made.leaves_pieces_out]

    def bring(self, wanted: Collection[ObjectId], database: ObjectDatabase, /) -> None:
        """Fetch pieces from whoever has them.

        Raises:
            StorageError: nobody who may have them can be reached.
            CorruptObject: what came is not what was asked for.
        """
        if not any(map(self.expects, wanted)):
            return
        with self._lock:
            # another thread may have been faster
            lacking = [one for one in wanted if self.expects(one) and not self._kept.entries(one)]
            trouble: list[tuple[str, MvcError]] = []
            for name in self._names():
                if not lacking:
                    return
                try:
                    with damage_at(name), self._reading(name) as view:
                        self._fetch(name, view, lacking, database)
                except (StorageError, UserError) as error:
                    trouble.append((name, error))
                lacking = [one for one in lacking if not self._kept.entries(one)]
            if lacking and trouble:
                name, why = trouble[0]
                raise StorageError(
                    f"{_pieces(len(lacking))} not here but with {name}, which cannot be asked: {why.message}",
                    hint=(not isinstance(why, RepositoryNotFound) and why.hint)
                    or f"try again when {name} can be reached; mvc remote -v tells its address",
                )

    def _fetch(self, name: str, view: View, lacking: Collection[ObjectId], database: ObjectDatabase) -> None:
        found = look_up(view.index, lacking)

        def depth(identity: ObjectId) -> int | None:
            entries = database.entries(identity)
            return entries[0].depth if entries else None

        for some in batches(found.values(), lambda entry: entry.length, BATCH_BYTES):
            ids = {bytes(entry.id) for entry in some}
            records = list(
                reach(view.backend, view.index, [one for one in found if bytes(one) in ids], depth)
            )
            for record in records:
                self._kept.add(record)
            try:
                for _plain in ordered_map(database.get, [record.id for record in records]):
                    pass
            except CorruptObject as error:
                for record in records:
                    self._kept.forget(record.id)
                raise CorruptObject(f"it sent what it should not: {error.message}") from error
            self._put(records)

    def _put(self, records: list[Record]) -> None:
        """Records into packs, those first that others lean on."""
        if self._packs is None:
            announcement = self._announced.enter_context(self._repository.announce("writer"))
            announcement.announce_epoch(self._repository.roots.read()[0].epoch)
            self._packs, self._told = PackWriter(self._repository.backend), 0
        for record in reversed(records):
            self._packs.add(record)
            for base in record.bases:
                self._leaned_on[base.id] = min(record.depth - 1, self._leaned_on.get(base.id, record.depth))
            self._repository.monitor.count("fetched_objects")
            self._repository.monitor.count("fetched_bytes", len(memoryview(record.stored)))
        entries = self._packs.entries
        self._kept.packed(entries[self._told :])
        self._told = len(entries)

    @contextmanager
    def _reading(self, name: str) -> Iterator[View]:
        """The state of a remote, from which nothing goes meanwhile."""
        store, known = self._stores.get(name) or (self._open(name), None)
        with store.reading() as view:
            if known is None or known.raw != view.raw:
                known = view
            self._stores[name] = store, known
            yield known

    def _open(self, name: str) -> Store:
        repository = self._repository
        address = repository.config().string(("remote", name, "url"))
        if address is None:
            raise UserError(f"{name} has no address", hint=f"mvc config remote.{name}.url ADDRESS")
        return open_store(
            repository.io,
            address,
            Monitor(),
            base=repository.worktree,
            environment=repository.environment,
            patience=patience_of(repository.config()),
        )

    def keep(self) -> None:
        """Have everything that was fetched found by others too, in one swap of root.

        It can be fetched again: whatever keeps it from staying is told as a warning.
        """
        with self._lock:
            if self._packs is None:
                return
            packs = self._packs
            try:
                packs.flush()
                self._kept.packed(packs.entries)
                self._name(packs.entries)
            except MvcError as error:
                self._repository.monitor.warn(
                    f"what was fetched did not stay, and is fetched again when it is needed: {error.message}"
                )
                packs.close()
                self._kept = PendingRecords()
            finally:
                self._packs = None
                self._leaned_on.clear()
                self._announced.close()

    def _name(self, entries: list[Entry]) -> None:
        def change(view: View) -> Root:
            for identity, depth in self._leaned_on.items():
                found = [*view.objects.entries(identity), *self._kept.entries(identity)]
                if not found or min(entry.depth for entry in found) > depth:
                    raise Busy(f"{identity.word} {identity.short} was moved meanwhile")
            return add_entries(self._repository, view, entries)

        swap(self._repository, change)


def _pieces(number: int) -> str:
    return "1 piece is" if number == 1 else f"{number:,} pieces are"
