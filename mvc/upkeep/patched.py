"""A store as it would be: what is brought back lies over what is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from mvc.backends import Backend, Incoming, NotFound
from mvc.backends.folder import FolderBackend
from mvc.errors import MvcError
from mvc.fileio import FileIO, TemporaryNames, storage_errors, write_durable
from mvc.locks import Locks
from mvc.objectid import ObjectId
from mvc.odb.database import ObjectDatabase, PendingRecords
from mvc.odb.index import Index
from mvc.odb.pack import pack_key
from mvc.odb.segment import Entry
from mvc.upkeep.unsound import Place

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class PatchedStore(FolderBackend):
    """A store's folder with packs that lie elsewhere in it, at ``paths``, as if they stood in ``packs/``.

    With ``scratch`` nothing is written into the folder: new objects go there, and are read from there.
    """

    def __init__(
        self,
        io: FileIO,
        store: Path,
        temporary: TemporaryNames,
        locks: Locks | None = None,
        scratch: Backend | None = None,
    ) -> None:
        super().__init__(io, store, temporary, locks)
        self._scratch = scratch
        self._elsewhere: dict[str, Path] = {}
        self.made_again: set[str] = set()
        """Keys that were put here, and are sound whatever stood there before, or was missing."""
        self.keeps_previous = True
        """Whether what is replaced becomes the second copy: not where it is damaged, and the copy is not."""

    def add_packs(self, paths: Mapping[bytes, Path]) -> None:
        """From now on these packs are read from where they lie."""
        self._elsewhere.update({pack_key(name): path for name, path in paths.items()})

    def _path(self, key: str) -> Path:
        return self._elsewhere.get(key) or super()._path(key)

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        if self._scratch is not None:
            try:
                return self._scratch.get(key)
            except NotFound:
                pass
        return super().get(key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        if self._scratch is not None:
            try:
                return self._scratch.get_range(key, offset, length)
            except NotFound:
                pass
        return super().get_range(key, offset, length)

    def view(self, key: str) -> Buffer:
        """A read-only buffer of an object."""
        if self._scratch is not None:
            try:
                return self._scratch.view(key)
            except NotFound:
                pass
        return super().view(key)

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Create an object; False if there is one already. A damaged one is none."""
        if self._scratch is not None:
            return self._scratch.put(key, pieces)
        if not super().put(key, pieces):
            data = b"".join(pieces)
            if super().get(key) == data:
                return False
            self.mend(key, data)
        self.made_again.add(key)
        return True

    def begin(self) -> Incoming:
        """Start to put an object."""
        return super().begin() if self._scratch is None else self._scratch.begin()

    def _keep_previous(self, path: Path, data: bytes) -> None:
        if self.keeps_previous:
            super()._keep_previous(path, data)

    def mend(self, key: str, data: Buffer) -> None:
        """Put what a file should hold in the place of what it does hold, durable."""
        if self._scratch is not None:
            self._scratch.put(key, [data])
            return
        with storage_errors(f"cannot write {key}"):
            target = self.target_of(key)
            write_durable(self._io, self._temporary.new(), target, [data], replace=True)


class PatchedDatabase(ObjectDatabase):
    """A database that passes over ``dead`` records, and reads what was written here before all else."""

    dead: Collection[Place] = frozenset()

    def with_pending(self, pending: PendingRecords) -> PatchedDatabase:
        """This database and records that no index names yet."""
        database = PatchedDatabase(self.backend, self.index, self._monitor, self._cache)
        database.dead = self.dead
        database._pending = pending
        return database

    def entries(self, identity: ObjectId) -> list[Entry]:
        """Where the object's records lie, least depth first."""
        pending = [] if self._pending is None else self._pending.entries(identity)
        found = [
            entry
            for entry in self.index.find(identity)
            if entry.kind == identity.kind and (entry.pack, entry.offset) not in self.dead
        ]
        return sorted([*pending, *found], key=attrgetter("depth"))

    def gives(self, identity: ObjectId) -> bool:
        """Whether an object can be read."""
        try:
            self.get(identity)
        except MvcError:
            return False
        return True


def joined(first: Index, second: Index) -> Index:
    """One index of two."""
    own = {row.name for row in first.rows}
    top = 1 + max((row.run for row in first.rows), default=-1)
    rows = [row._replace(run=row.run + top) for row in second.rows if row.name not in own]
    return Index(
        [*first.rows, *rows],
        lambda name: first.segment(name) if name in own else second.segment(name),
        first.dead_packs,
    )
