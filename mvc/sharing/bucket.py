"""A store on a backend where nobody can be asked who reads and writes now: a bucket.

Nothing there needs an announcement. A writer's swap of root fails if anything was condemned since it read
root, and then it looks again; a reader has the time that passes between condemning and deleting, which the
collection of such a store waits out (docs/format.md, the protocol).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Self

from mvc.backends import Backend, NotFound
from mvc.backends.probe import FOLDER as PROBES
from mvc.errors import CorruptFile, RepositoryNotFound, RootMoved, UserError
from mvc.monitor import Monitor
from mvc.odb.index import Index
from mvc.odb.intents import Role
from mvc.odb.pack import pack_key
from mvc.odb.segment import Segment
from mvc.parallel import ordered_map
from mvc.remotes.ahead import Ahead
from mvc.remotes.reaching import open_segment, whole_rows
from mvc.root import KEY as ROOT
from mvc.root import Root
from mvc.store import FORMAT, NO_STORE, Announcement, Store, check_format_text
from mvc.view import View, segment_key

_NEVER = -1
_ASKING = 8  # threads that ask whether packs are there
_FORMAT_KEY = "format"
_MOST_FORMAT_BYTES = 100


class _Nobody:
    """An announcement where there is nobody to tell."""

    def announce_epoch(self, _epoch: int, /) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass


class BucketStore(Store):
    """Packs, index and root in a bucket, or in memory."""

    @classmethod
    def create(cls, backend: Backend, monitor: Monitor, where: str, *, branch: str) -> BucketStore:
        """Make an empty one where nothing is yet, finish one whose making was interrupted, or open the one
        that is there: of several who make one at once all get the same. ``where`` is for messages.

        Raises:
            UserError: something else lies there.
            UnsupportedFeature: a newer mvc made the store.
        """
        store = cls(backend, monitor)
        if not _has_format(backend, where):
            # somebody else may be probing, or have made the store just now and put something there
            strange = backend.some_key(but=(ROOT, _FORMAT_KEY, PROBES))
            if strange is not None and not _has_format(backend, where):
                raise UserError(
                    f"{where} is not empty: it has {strange!r}", hint="name a prefix of its own in the bucket"
                )
            with suppress(RootMoved):  # somebody else makes it, too
                store.roots.swap(None, Root(extra={"default_branch": branch}))
            backend.put(_FORMAT_KEY, [FORMAT.encode()])  # the last step: without this object it is none yet
            _has_format(backend, where)
        return store

    @classmethod
    def open(cls, backend: Backend, monitor: Monitor, where: str) -> BucketStore:
        """The store on a backend.

        Raises:
            RepositoryNotFound: there is none.
            UnsupportedFeature: a newer mvc made it.
            CorruptFile: it is damaged.
        """
        if not _has_format(backend, where):
            raise RepositoryNotFound(f"no store in {where}", hint=NO_STORE)
        return cls(backend, monitor)

    def read(self) -> View:
        """The state now: segments and records are fetched by ranges, many at once."""
        root, raw = self.roots.read()
        index = self.index_of(root)
        supply = Ahead(self.backend, index)
        return View(
            root,
            raw,
            self.backend,
            self.monitor,
            self._cache,
            index=index,
            supply=supply,
            assume_head=self.looked_at,
        )

    def index_of(self, root: Root) -> Index:
        """The index that a root describes, to be read by ranges where its segments are large."""
        backend = self.backend
        rows = {row.name: row for row in root.segments}
        whole = whole_rows(root.segments) if self.looked_at else frozenset()

        def open_row(name: bytes) -> Segment:
            return open_segment(backend, rows[name], segment_key(name), whole=name in whole)

        return Index(root.segments, open_row, frozenset(fossil.pack for fossil in root.fossils))

    def announce(self, role: Role) -> AbstractContextManager[Announcement]:
        """Nobody is told."""
        return _Nobody()

    def free_epoch(self) -> int | None:
        """Nothing may be deleted but by the bucket's own collection."""
        return _NEVER

    def lost_packs(self, names: Collection[bytes]) -> list[bytes]:
        """Ask for each."""
        asked = ordered_map(self._has_pack, names, workers=min(_ASKING, max(len(names), 1)))
        return [name for name, there in zip(names, asked, strict=True) if not there]

    def _has_pack(self, name: bytes) -> bool:
        key = pack_key(name)
        return any(found == key for found, _size in self.backend.list(key))

    def confirm_root(self) -> None:
        """A conditional put that was answered is durable."""

    def check_alive(self) -> None:
        """Nobody takes anybody for dead."""


def _has_format(backend: Backend, where: str) -> bool:
    """Whether there is a store, of a format that this program knows."""
    try:
        data = backend.get(_FORMAT_KEY)
    except NotFound:
        return False
    if len(data) > _MOST_FORMAT_BYTES:
        raise CorruptFile(f"{where} is no store: its 'format' has {len(data):,} bytes")
    check_format_text(data.decode(errors="replace"), f"{where}/{_FORMAT_KEY}")
    return True
