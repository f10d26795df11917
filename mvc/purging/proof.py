"""Looks for purged objects as somebody would who has the store's files."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from mvc.errors import CorruptFile, CorruptObject
from mvc.fileio import FileIO, storage_errors
from mvc.objectid import ID_BYTES, BlobId, ObjectId
from mvc.odb.header import RecordHeader, scan_headers
from mvc.oplog import piece_key
from mvc.repo import Repository
from mvc.view import View

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


def prove(repository: Repository, view: View) -> Proof:
    """Look for every id that may not come back.

    Raises:
        StorageError: a file cannot be read.
        CorruptFile: the index is damaged.
    """
    from mvc.purging.needles import Needles  # numpy, which a list of purges does not need

    ids = view.tombstones.refused()
    search = _Search(repository, view, ids, Needles(ids))
    for path, size in _files(repository.io, repository.store):
        search.file(path, size)
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
    def __init__(self, repository: Repository, view: View, ids: set[ObjectId], needles: object) -> None:
        from mvc.purging.needles import Needles

        assert isinstance(needles, Needles)
        self._repository = repository
        self._view = view
        self._ids = ids
        self._needles = needles
        self._hex = {one.hex() for one in ids}
        self._tombs = {repository.store / piece_key(name) for name in view.tombstones.piece_names()}
        self.files = self.bytes = self.records = self.leaning = self.listed = self.opaque = 0
        self.traces: set[str] = set()

    def file(self, path: Path, size: int) -> None:
        """Search one file."""
        if path in self._tombs:
            return
        name = str(path.relative_to(self._repository.store))
        if any(word in self._hex for word in _ID.findall(path.name)):
            self.traces.add(name)
        self.files += 1
        self.bytes += size
        spans = self._records(path) if _PACK.fullmatch(path.name) else None
        with storage_errors(f"cannot read {path.name}"):
            for at in self._hits(path):
                if spans is None or not spans.allows(at):
                    self.traces.add(name)
                else:
                    self.listed += 1

    def _hits(self, path: Path) -> Iterator[int]:
        io = self._repository.io
        try:
            handle = io.open_read(path, follow=False)
        except FileNotFoundError:
            return
        try:
            offset = 0
            while True:
                data = io.read_at(handle, _CHUNK + ID_BYTES - 1, offset)
                self._repository.monitor.advance(min(len(data), _CHUNK))
                yield from (offset + at for at in self._needles.find(data))
                if len(data) < _CHUNK + ID_BYTES - 1:
                    return
                offset += _CHUNK
        finally:
            io.close(handle)

    def _records(self, path: Path) -> _Lists:
        """A pack's records are read by themselves; returns where in it ids may stand."""
        lists = _Lists()
        with storage_errors(f"cannot read {path.name}"):
            try:
                data = self._repository.io.map_read(path)
            except FileNotFoundError:
                return lists
        pack = bytes.fromhex(path.name[:64])
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
