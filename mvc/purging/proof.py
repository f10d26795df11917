"""Looks for purged objects as somebody would who has the store's files."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Protocol

from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.fileio import FileIO, storage_errors
from mvc.monitor import Monitor
from mvc.objectid import ID_BYTES, BlobId, ObjectId
from mvc.odb.header import RecordHeader, scan_headers
from mvc.oplog import piece_key
from mvc.store import FolderStore, Store
from mvc.view import View

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_CHUNK = 4 << 20
_PACK = re.compile(r"[0-9a-f]{64}\.pack")
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Proof:
    """What was looked at and found.

    ``ids`` were looked for in ``files`` files of ``bytes`` bytes below the store's folder. Found:
    ``index_rows`` that name one, ``records`` of one and ``leaning`` records that need one, in whatever pack;
    ``traces``, files in which one stands elsewhere, or whose name holds one. Where an id may stand: in the
    tombstones, and ``listed`` times in lists (trees, manifests, versions) that stay, as far as they are
    stored as they are; ``opaque`` counts stretches of packs that are no sound records, and were only
    searched for ids.
    """

    ids: int
    files: int
    bytes: int
    index_rows: int
    records: int
    leaning: int
    traces: tuple[str, ...]
    listed: int
    opaque: int

    @property
    def clean(self) -> bool:
        """Whether nothing is left."""
        return not (self.index_rows or self.records or self.leaning or self.traces)


class Place(Protocol):
    """Where the files of a store lie."""

    def files(self) -> Iterator[tuple[str, int]]:
        """Every file by its name below the store, with its size in bytes."""
        ...

    def chunks(self, name: str, overlap: int) -> Iterator[tuple[int, bytes]]:
        """A file piece by piece, with the offset of each; each goes on so many bytes into the next one."""
        ...

    def whole(self, name: str) -> Buffer:
        """A whole file, of some 64 MiB at most; empty where it is gone by now."""
        ...


def prove(store: Store, view: View) -> Proof:
    """Look for every id that may not come back.

    Raises:
        StorageError: a file cannot be read.
        CorruptFile: the index is damaged.
    """
    from mvc.purging.needles import Needles  # numpy, which a list of purges does not need

    ids = view.tombstones.refused()
    place = _InFolder(store.io, store.store) if isinstance(store, FolderStore) else _InBucket(store.backend)
    search = _Search(place, store.monitor, view, ids, Needles(ids))
    for name, size in place.files():
        search.file(name, size)
    rows = sum(1 for one in ids if one in view.index)
    return Proof(
        len(ids),
        search.files,
        search.bytes,
        rows,
        search.records,
        search.leaning,
        tuple(sorted(search.traces)),
        search.listed,
        search.opaque,
    )


class _InFolder:
    def __init__(self, io: FileIO, folder: Path) -> None:
        self._io = io
        self._folder = folder

    def files(self) -> Iterator[tuple[str, int]]:
        for path, size in _files(self._io, self._folder):
            yield str(path.relative_to(self._folder)), size

    def chunks(self, name: str, overlap: int) -> Iterator[tuple[int, bytes]]:
        with storage_errors(f"cannot read {name}"):
            try:
                handle = self._io.open_read(self._folder / name, follow=False)
            except FileNotFoundError:
                return
            try:
                offset = 0
                while True:
                    data = self._io.read_at(handle, _CHUNK + overlap, offset)
                    yield offset, data
                    if len(data) < _CHUNK + overlap:
                        return
                    offset += _CHUNK
            finally:
                self._io.close(handle)

    def whole(self, name: str) -> Buffer:
        with storage_errors(f"cannot read {name}"):
            try:
                return self._io.map_read(self._folder / name)
            except FileNotFoundError:
                return b""


class _InBucket:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._last: tuple[str, bytes] = ("", b"")  # packs are asked for twice

    def files(self) -> Iterator[tuple[str, int]]:
        yield from list(self._backend.list(""))

    def chunks(self, name: str, overlap: int) -> Iterator[tuple[int, bytes]]:
        data = self.whole(name)
        for offset in range(0, max(len(data), 1), _CHUNK):
            yield offset, data[offset : offset + _CHUNK + overlap]

    def whole(self, name: str) -> bytes:
        if self._last[0] != name:
            try:
                self._last = (name, self._backend.get(name))
            except NotFound:
                self._last = (name, b"")
        return self._last[1]


def _files(io: FileIO, folder: Path) -> Iterator[tuple[Path, int]]:
    with storage_errors("cannot look through the store"):
        for entry in sorted(io.scan_folder(folder), key=lambda entry: entry.name):
            path = folder / entry.name
            with suppress(FileNotFoundError):  # somebody's lock or temporary file
                status = io.stat(path)
                if S_ISDIR(status.st_mode):
                    yield from _files(io, path)
                elif S_ISREG(status.st_mode):
                    yield path, status.st_size


class _Search:
    def __init__(
        self, place: Place, monitor: Monitor, view: View, ids: set[ObjectId], needles: object
    ) -> None:
        from mvc.purging.needles import Needles

        assert isinstance(needles, Needles)
        self._place = place
        self._monitor = monitor
        self._view = view
        self._ids = ids
        self._needles = needles
        self._hex = {one.hex() for one in ids}
        self._tombs = {piece_key(name) for name in view.tombstones.piece_names()}
        self.files = self.bytes = self.records = self.leaning = self.listed = self.opaque = 0
        self.traces: set[str] = set()

    def file(self, name: str, size: int) -> None:
        """Search one file."""
        if name in self._tombs:
            return
        last = name.rpartition("/")[2]
        if any(word in self._hex for word in _ID.findall(last)):
            self.traces.add(name)
        self.files += 1
        self.bytes += size
        spans = self._records(name, bytes.fromhex(last[:64])) if _PACK.fullmatch(last) else None
        for at in self._hits(name):
            if spans is None or not spans.allows(at):
                self.traces.add(name)
            else:
                self.listed += 1

    def _hits(self, name: str) -> Iterator[int]:
        for offset, data in self._place.chunks(name, ID_BYTES - 1):
            self._monitor.advance(min(len(data), _CHUNK))
            yield from (offset + at for at in self._needles.find(data))

    def _records(self, name: str, pack: bytes) -> _Lists:
        """A pack's records are read by themselves; returns where in it ids may stand."""
        lists = _Lists()
        data = self._place.whole(name)
        for offset, length, header in scan_headers(data):
            if isinstance(header, CorruptObject):
                self.opaque += 1
                continue
            self.records += header.id in self._ids
            self.leaning += any(base.id in self._ids for base in header.bases)
            if self._is_list(header, pack, offset):
                lists.add(offset + length - header.stored_length, offset + length)
        return lists

    def _is_list(self, header: RecordHeader, pack: bytes, offset: int) -> bool:
        """Whether a record is of a list of a version that stays."""
        if isinstance(header.id, BlobId) or header.id in self._ids:
            return False
        with suppress(CorruptFile):
            return any((one.pack, one.offset) == (pack, offset) for one in self._view.index.find(header.id))
        return False


class _Lists:
    """Stretches of a pack, ascending."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """One more stretch, behind the others."""
        self._starts.append(start)
        self._ends.append(end)

    def allows(self, at: int) -> bool:
        """Whether an id that begins there lies in one of them."""
        number = bisect_right(self._starts, at) - 1
        return number >= 0 and at + ID_BYTES <= self._ends[number]
