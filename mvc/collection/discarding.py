"""Puts into the trash what a collection is about to take out of the store.

A pack of nothing but garbage gets a second name there, which takes no room; of other packs the records are
copied whose objects go. Records that go because their object has a better one are no loss, and not kept.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from mvc.backends import NotFound
from mvc.collection.needs import uses
from mvc.collection.trash import Trash, TrashEntry
from mvc.errors import CorruptObject, StorageError
from mvc.fileio import make_folders, storage_errors, write_durable
from mvc.objectid import ObjectId
from mvc.odb.pack import HEAD_BYTES, MAGIC, TARGET_PACK, pack_key, scan_pack
from mvc.odb.record import Record
from mvc.oplog import Operation
from mvc.store import FolderStore
from mvc.upkeep.mark import Marks, typed
from mvc.upkeep.usage import unused
from mvc.view import View

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_NO_SECOND_NAME = {
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EXDEV,
    errno.EMLINK,
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Discarding:
    """The trash of one collection, which nobody else runs beside. Its entry is made when there is something
    to put into it; one that a collection left open which was killed is gone on with.

    ``time`` is when, in microseconds since 1970.
    """

    def __init__(self, repository: FolderStore, time: int) -> None:
        self._repository = repository
        self._io = repository.io
        self._trash = Trash(repository.io, repository.store)
        self._time = max(time, 0)
        self._entry = self._left_open()

    def operations(self, going: Sequence[Operation]) -> None:
        """Keep operations, oldest first, that are about to leave the log; durable when this returns.

        Raises:
            StorageError: the disk is full, or refuses.
        """
        tokens = {operation.token for operation in going}
        with _room():
            entry = self._begun()
            earlier = [operation for operation in entry.operations if operation.token not in tokens]
            self._write(replace(entry, operations=(*earlier, *going)))

    def objects(self, view: View, marks: Marks) -> None:
        """Keep the objects that no marked record holds, before they leave the index; durable when this
        returns.

        Raises:
            StorageError: the disk is full, or refuses; what was put into the trash is taken out again.
        """
        going = _going(marks)
        if not going:
            return
        with _room():
            entry = self._begun()
            try:
                self._keep(view, going, set(unused(uses(view, marks))))
            except BaseException:
                # nothing has left the store yet, and copies take room that may be what is lacking
                self._trash.remove_packs(entry)
                raise

    def finish(self) -> None:
        """Say that the collection came to its end."""
        entry = self._entry
        if entry is None or entry.state != "open":
            return
        if not entry.operations and not self._trash.packs_of(entry):
            self._trash.empty([entry])
            self._entry = None
            return
        with _room():
            self._write(replace(entry, state="whole"))

    def _begun(self) -> TrashEntry:
        if self._entry is not None:
            return self._entry
        name = self._trash.next_name()
        make_folders(self._io, self._trash.folder / name / "packs")
        return self._write(TrashEntry(name, self._time))

    def _write(self, entry: TrashEntry) -> TrashEntry:
        self._trash.write(self._repository.temporary, entry)
        self._entry = entry
        return entry

    def _left_open(self) -> TrashEntry | None:
        """The entry of a collection that was killed before anything left the index, without what it had put
        there; if something has left already, that entry is whole."""
        entries = self._trash.entries()
        if not entries or entries[-1].state != "open" or entries[-1].damage is not None:
            return None
        entry = entries[-1]
        with self._repository.reading() as view:
            logged = {operation.token for operation in view.operations()}
            here = all(identity in view.objects for identity in self._objects_of(entry))
        if not here:
            with _room():
                self._write(replace(entry, state="whole"))
            return None
        self._trash.remove_packs(entry)
        left = tuple(operation for operation in entry.operations if operation.token not in logged)
        with _room():
            make_folders(self._io, self._trash.folder / entry.name / "packs")
            return entry if left == entry.operations else self._write(replace(entry, operations=left))

    def _objects_of(self, entry: TrashEntry) -> Iterator[ObjectId]:
        for path in self._trash.packs_of(entry):
            with storage_errors("cannot read the trash"):
                data = self._io.map_read(path)
            for _offset, _length, record in scan_pack(bytes.fromhex(path.stem), data):
                if isinstance(record, Record):
                    yield record.id

    def _keep(self, view: View, going: Mapping[bytes, set[int]], whole: set[bytes]) -> None:
        copied: list[Buffer] = []
        size = 0
        for pack, places in sorted(going.items()):
            try:
                if pack in whole and self._linked(pack):
                    continue
                data = memoryview(view.backend.view(pack_key(pack)))
            except (NotFound, FileNotFoundError):
                self._note(pack, "missing")
                continue
            for place in sorted(places):
                offset, length = place >> 32, place & 0xFFFFFFFF
                record = data[offset : offset + length]
                try:
                    Record.from_bytes(record)
                except CorruptObject as error:
                    self._note(pack, f"at {offset}: {error.message}")
                    continue
                if size and size + len(record) > TARGET_PACK - HEAD_BYTES:
                    self._put(copied)
                    copied, size = [], 0
                copied.append(record)
                size += len(record)
        if copied:
            self._put(copied)

    def _note(self, pack: bytes, how: str) -> None:
        """Garbage that is damaged stops nothing, and is worth nothing in the trash."""
        self._repository.monitor.note_damage(f"pack {pack.hex()[:12]} {how}; not kept in the trash")

    def _linked(self, pack: bytes) -> bool:
        """Give a whole pack a second name; False where the file system has none."""
        target = self._place(pack)
        try:
            self._io.link(self._repository.store / pack_key(pack), target)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_SECOND_NAME:
                raise
            return False
        self._io.sync_folder(target.parent)
        return True

    def _put(self, records: list[Buffer]) -> None:
        pieces = [MAGIC, os.urandom(16), *records]
        hasher = blake3()
        for piece in pieces:
            hasher.update(piece)
        with storage_errors("cannot write to the trash"):
            temporary = self._repository.temporary.new()
            write_durable(self._io, temporary, self._place(hasher.digest()), pieces, replace=False)

    def _place(self, pack: bytes) -> Path:
        return self._trash.folder / self._begun().name / "packs" / f"{pack.hex()}.pack"


def _going(marks: Marks) -> dict[bytes, set[int]]:
    """Where the records of objects lie that are about to leave the index: by pack, offset and length of each
    in one number, because there may be millions."""
    found: dict[bytes, set[int]] = {}
    for entry in marks.unmarked():
        identity = typed(entry)
        if identity not in marks.again and not marks.records(identity):
            found.setdefault(entry.pack, set()).add(entry.offset << 32 | entry.length)
    return found


@contextmanager
def _room() -> Iterator[None]:
    """Tell what to do where the disk is too full for a trash."""
    try:
        with storage_errors("cannot write to the trash"):
            yield
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            hint = "'mvc gc --empty-trash' gives room, 'mvc gc --no-trash' needs less; nothing was lost"
            raise StorageError(error.message, hint=hint) from cause
        raise
