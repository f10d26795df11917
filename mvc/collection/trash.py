"""What collections threw away, kept for a while: ``.mvc/trash`` (docs/format.md, *Local files*).

Each collection that throws something away has a folder there, its *entry*: packs with the objects that left
the index, and one file that says when, and which operations left the log. The file is there before anything
leaves, so nothing is in between; a folder without one holds nothing that counts, and goes with the next
collection. What is in the trash is of this machine: nobody else asks for it, and no version needs it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from blake3 import blake3

from mvc import canonical
from mvc.errors import CorruptFile, CorruptObject
from mvc.fields import damaged, parse_count, parse_exact_map, parse_list
from mvc.fileio import FileIO, TemporaryNames, read_file, storage_errors, write_durable
from mvc.oplog import Operation

FOLDER = "trash"
MAGIC = b"mvcTRSH1"
FILE = "entry"
STATES = ("open", "whole", "returned")

_NAME = re.compile(r"[0-9]{8,12}")
_PACK = re.compile(r"([0-9a-f]{64})\.pack")
_HASH_BYTES = 32
_MISSING = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """What one collection threw away.

    ``time`` is in microseconds since 1970. ``state`` is ``open`` until that collection came to its end,
    ``returned`` when all that could be brought back is back. ``operations`` left the log, oldest first.
    ``damage`` tells that the file which says all this is damaged: then ``time`` is None, and of the entry
    only packs are known.
    """

    name: str
    time: int | None
    state: str = "open"
    operations: tuple[Operation, ...] = ()
    damage: CorruptFile | None = None

    def to_bytes(self) -> bytes:
        """The entry's file."""
        value = {
            "operations": [operation.to_value() for operation in self.operations],
            "state": self.state,
            "time": self.time,
        }
        body = MAGIC + canonical.pack(value)
        return body + blake3(body).digest()

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> TrashEntry:
        """Parse the file of the entry ``name``.

        Raises:
            CorruptFile: it is none.
            UnsupportedFeature: a newer mvc requires something of its readers.
        """
        what = f"trash {name}"
        body, digest = data[:-_HASH_BYTES], data[-_HASH_BYTES:]
        if not body.startswith(MAGIC) or blake3(body).digest() != digest:
            damaged(what, "does not fit its hash")
        try:
            content = canonical.unpack(body[len(MAGIC) :], what)
        except CorruptObject as error:
            raise CorruptFile(error.message) from None
        value = parse_exact_map(content, what, ("operations", "state", "time"))
        if value["state"] not in STATES:
            damaged(what, "is in no known state")
        operations = parse_list(value["operations"], f"the operations of {what}")
        return cls(
            name,
            parse_count(value["time"], f"the time of {what}"),
            value["state"],
            tuple(Operation.from_value(item) for item in operations),
        )


class Trash:
    """The trash of the store in this folder."""

    def __init__(self, io: FileIO, store: Path) -> None:
        self._io = io
        self.folder = store / FOLDER

    def entries(self) -> list[TrashEntry]:
        """What was thrown away, the oldest first.

        Raises:
            StorageError: the disk refuses.
        """
        found = []
        with storage_errors("cannot read the trash"):
            for name in self._names():
                # emptied at this moment, or a folder that holds nothing that counts
                with suppress(*_MISSING):
                    try:
                        data = read_file(self._io, self.folder / name / FILE)
                        found.append(TrashEntry.from_bytes(name, data))
                    except CorruptFile as error:
                        found.append(TrashEntry(name, None, damage=error))
        return found

    def packs(self) -> list[Path]:
        """Every pack that lies in the trash. Whoever reads one hashes it, and finds that it may be gone.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors("cannot read the trash"):
            return [path for name in self._names() for path in self._packs(name)]

    def packs_of(self, entry: TrashEntry) -> list[Path]:
        """The packs of one entry.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors("cannot read the trash"):
            return list(self._packs(entry.name))

    def empty(self, entries: Sequence[TrashEntry] | None = None) -> None:
        """Delete these entries, or everything, for good.

        Raises:
            StorageError: the disk refuses; what is left can be deleted again.
        """
        with storage_errors("cannot empty the trash"):
            for name in self._names() if entries is None else [entry.name for entry in entries]:
                self._remove(name)
            with suppress(*_MISSING):
                if not self._io.scan_folder(self.folder):
                    self._io.remove_folder(self.folder)

    def sweep(self) -> None:
        """Delete folders that hold nothing that counts, of a collection that was killed at its beginning or
        in the middle of emptying; to be called only while nobody else collects."""
        with storage_errors("cannot empty the trash"):
            for name in self._names():
                if not S_ISREG(self._mode(self.folder / name / FILE)):
                    self._remove(name)

    def remove_packs(self, entry: TrashEntry) -> None:
        """Delete the packs of one entry, whose objects must be in the store."""
        with storage_errors("cannot empty the trash"):
            for path in self._packs(entry.name):
                self._io.unlink(path)

    def write(self, temporary: TemporaryNames, entry: TrashEntry) -> None:
        """Write or replace the file of an entry, whose folder is there; durable when this returns.

        Raises:
            StorageError: the disk is full, or refuses.
        """
        with storage_errors("cannot write to the trash"):
            path = self.folder / entry.name / FILE
            write_durable(self._io, temporary.new(), path, [entry.to_bytes()], replace=True)

    def next_name(self) -> str:
        """The name of the next entry: entries are numbered."""
        with storage_errors("cannot read the trash"):
            return f"{max(map(int, self._names()), default=0) + 1:08}"

    def _names(self) -> list[str]:
        try:
            found = [entry.name for entry in self._io.scan_folder(self.folder)]
        except _MISSING:
            return []
        real = (name for name in found if _NAME.fullmatch(name) and S_ISDIR(self._mode(self.folder / name)))
        return sorted(real, key=int)

    def _packs(self, name: str) -> Iterator[Path]:
        folder = self.folder / name / "packs"
        if S_ISDIR(self._mode(folder)):
            for found in sorted(entry.name for entry in self._io.scan_folder(folder)):
                if _PACK.fullmatch(found) and S_ISREG(self._mode(folder / found)):
                    yield folder / found

    def _mode(self, path: Path) -> int:
        """What kind of thing lies there, itself and not what a link leads to; 0 where there is none."""
        try:
            return self._io.stat(path).st_mode
        except _MISSING:
            return 0

    def _remove(self, name: str) -> None:
        """Delete a folder; its file first, so that what is left of it counts no more."""
        folder = self.folder / name
        with suppress(*_MISSING):
            self._io.unlink(folder / FILE)
            # else a power cut could bring the file back, and not the packs
            self._io.sync_folder(folder)
        for path in self._packs(name):
            with suppress(*_MISSING):
                self._io.unlink(path)
        for inner in (folder / "packs", folder):
            try:
                self._io.remove_folder(inner)
            except OSError as error:
                # what somebody else put there is not ours to delete, and must not stop every collection
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                    raise


def pack_name(path: Path) -> bytes:
    """The name of a pack in the trash: the hash of its bytes."""
    return bytes.fromhex(path.stem)
