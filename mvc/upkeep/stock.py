"""Records that lie in a store's folder and that its index does not name: in packs of every sort, whole or
damaged."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from blake3 import blake3

from mvc.errors import CorruptFile
from mvc.fileio import FileIO, storage_errors
from mvc.objectid import CommitId
from mvc.odb.index import Index
from mvc.odb.pack import HEAD_BYTES, MAGIC, MAX_PACK, scan_pack
from mvc.odb.record import Record
from mvc.odb.segment import Entry, Segment, SegmentRow, build_segments, segment_name

DAMAGED = "damaged"
"""Folder in a store for what a repair took out of use; nothing deletes it but the user."""

_TRASH = "trash"
_AT_ONCE = 100_000
"""Entries that are held as such, before they become a table of a tenth of the memory."""


class PackFile(NamedTuple):
    """A file that is a pack, or was to become one. ``name`` is what entries of it say: the pack's own where
    it lies in ``packs/``, else a name that only this run knows. ``discarded``: a collection put it into the
    trash."""

    path: Path
    name: bytes
    stands: bool
    discarded: bool = False


def pack_files(io: FileIO, store: Path) -> Iterator[PackFile]:
    """Every file of a store that may hold records: packs, what repairs put aside, the trash of collections,
    and what writers left that were killed."""
    for folder in _folders(io, store / "packs"):
        for path in _files(io, folder):
            name = _named(path)
            if name is not None:
                yield PackFile(path, name, stands=True)
    trash = {path for folder in _folders(io, store / _TRASH) for path in _files(io, folder / "packs")}
    for path in (*_files(io, store / DAMAGED), *sorted(trash), *_files(io, store / "tmp")):
        name = blake3(str(path).encode()).digest()
        yield PackFile(path, name, stands=False, discarded=path in trash)


def _named(path: Path) -> bytes | None:
    try:
        return bytes.fromhex(path.stem) if path.suffix == ".pack" and len(path.stem) == 64 else None
    except ValueError:
        return None


def _listed(io: FileIO, folder: Path, is_kind: Callable[[int], bool]) -> list[Path]:
    try:
        if not S_ISDIR(io.stat(folder).st_mode):
            return []
        found = [folder / entry.name for entry in io.scan_folder(folder)]
        return sorted(path for path in found if is_kind(io.stat(path).st_mode))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(io: FileIO, folder: Path) -> list[Path]:
    with storage_errors("cannot list the store"):
        return _listed(io, folder, S_ISDIR)


def _files(io: FileIO, folder: Path) -> list[Path]:
    with storage_errors("cannot list the store"):
        return _listed(io, folder, S_ISREG)


class Stock:
    """All sound records of some files. Sound means: the checksum is right; whether what a record leans on is
    there, decoding tells.

    ``index`` leads to those that were taken in; ``whole`` names the packs of ``packs/`` that hash to their
    names, ``torn`` those that do not, whose records go by another name of the pack; ``discarded`` are
    versions of which the trash has a record. Memory: 46 bytes for each record, and one pack.
    """

    def __init__(self) -> None:
        self._waiting: list[Entry] = []
        self._segments: dict[bytes, Segment] = {}
        self._rows: list[SegmentRow] = []
        self.paths: dict[bytes, Path] = {}
        self.whole: set[bytes] = set()
        self.torn: set[bytes] = set()
        self.discarded: set[CommitId] = set()

    def take(self, io: FileIO, file: PackFile, wanted: Callable[[Entry], bool]) -> None:
        """Take in the sound records of a file, as far as ``wanted``."""
        data = _content(io, file.path)
        if file.stands:
            (self.whole if data and blake3(data).digest() == file.name else self.torn).add(file.name)
        elif not data.startswith(MAGIC):
            return
        here = file.name
        if here in self.torn:
            # where the index names a record that is not there any more, another one may stand now
            here = blake3(b"torn" + file.name).digest()
        self.paths[here] = file.path
        try:
            for offset, length, record in scan_pack(file.name, _with_head(data)):
                if isinstance(record, Record):
                    entry = Entry(bytes(record.id), record.id.kind, file.name, offset, length, record.depth)
                    if file.discarded and isinstance(record.id, CommitId):
                        self.discarded.add(record.id)
                    if wanted(entry):
                        self._waiting.append(entry._replace(pack=here))
        except CorruptFile:
            return  # too short, or too long, to hold anything
        if len(self._waiting) >= _AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        run = len(self._segments)
        for data in build_segments(self._waiting):
            segment = Segment.open(segment_name(data), data)
            self._segments[segment.name] = segment
            self._rows.append(SegmentRow(segment.name, run, segment.count, segment.first, segment.last))
        self._waiting = []

    @property
    def index(self) -> Index:
        """Leads to every record that was taken in."""
        if self._waiting:
            self._settle()
        return Index(self._rows, self._segments.__getitem__)


def _with_head(data: bytes) -> bytes:
    """A pack's bytes with the head that it should have: the records behind a damaged one are sound."""
    return data if data.startswith(MAGIC) or len(data) < HEAD_BYTES else MAGIC + data[len(MAGIC) :]


def _content(io: FileIO, path: Path) -> bytes:
    """A file's bytes; none where it is too large for a pack, or the disk does not give them: a bad sector is
    damage like any other."""
    with storage_errors(f"cannot read {path.name}"):
        try:
            fd = io.open_read(path, follow=False)
        except FileNotFoundError:
            return b""
        try:
            size = io.stat_handle(fd).st_size
            return io.read_at(fd, size, 0) if size <= MAX_PACK else b""
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise
        finally:
            io.close(fd)
