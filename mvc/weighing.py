"""Weights ids of stored files and folders, remembered beside the repository.

What a commit hashes while it reads is kept under the manifest's id in ``.mvc/weights``: derived, local,
checked when it is read. Without it (a clone, a lost file) tensors are decoded and hashed again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from mvc import canonical
from mvc.errors import CorruptObject, DamageError, ObjectPurged
from mvc.fileio import make_folders, storage_errors, write_all
from mvc.history.reader import ObjectReader, PartTable, read_manifest, read_range
from mvc.history.treediff import flatten
from mvc.objectid import ID_BYTES, ManifestId, ObjectId, TreeId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.repo import Repository
from mvc.store import Store
from mvc.weights import TensorHash, digests, tensor_hashes, weights_id

FOLDER_NAME = "weights"

NOTED_BYTES = 1 << 20
"""Bytes of a file whose digests are worth a note: a smaller one is read again in a few milliseconds."""

_NOTE = re.compile(r"(manifest|tree)-([0-9a-f]{64})")

_DIGEST_BYTES = 2 + ID_BYTES  # of a list, as it is encoded
_OTHER_BYTES = 256  # of a list's head or a text, and the checksum

MOST_ROWS = 500_000
"""Tensors of a folder; one of more has no id, because all of its rows are sorted at once."""


class Weigher:
    """Weights ids of what a repository holds. ``objects`` is where files are read from."""

    def __init__(self, store: Store, objects: ObjectReader) -> None:
        self._notes = _Notes(store) if isinstance(store, Repository) else None
        self._store = store
        self.monitor = store.monitor
        self._told: dict[TreeId, str | None] = {}
        self._objects = objects
        self._near: Weigher | None = None

    def remember(self, identity: ManifestId, manifest: Manifest, found: Sequence[bytes | None]) -> None:
        """Note the digests of a file's tensors, in the order of its manifest, where that saves time."""
        if found and manifest.size >= NOTED_BYTES and self._notes is not None:
            self._notes.write(identity, list(found))

    def hashes(self, identity: ManifestId, manifest: Manifest | None = None) -> list[TensorHash] | None:
        """The rows of a file in a weights id; None when one of its tensors has no digest.

        Raises:
            DamageError: the file cannot be read.
        """
        manifest = manifest or read_manifest(self._objects, identity)
        if not manifest.tensors:
            return []
        known = self._noted(identity, manifest)
        if known is None:
            known = list(self._read(manifest))
            self.remember(identity, manifest, known)
        return tensor_hashes(manifest.tensors, known)

    def digests(self, identity: ManifestId, manifest: Manifest) -> Iterable[bytes | None]:
        """The digests of a file's tensors, each worked out when it is asked for, unless they are known."""
        known = self._noted(identity, manifest)
        return self._read(manifest) if known is None else known

    def _noted(self, identity: ManifestId, manifest: Manifest) -> Sequence[bytes | None] | None:
        return None if self._notes is None else self._notes.digests(identity, len(manifest.tensors))

    @property
    def near(self) -> Weigher:
        """One that fetches nothing from elsewhere to tell an id."""
        if not isinstance(self._objects, ObjectDatabase):
            return self
        if self._near is None:
            self._near = Weigher(self._store, self._objects.at_hand())
        return self._near

    def file(self, identity: ManifestId, manifest: Manifest | None = None) -> str | None:
        """A file's weights id; None for a file without tensors, or with one too large to hash."""
        rows = self.hashes(identity, manifest)
        return None if rows is None else weights_id(rows)

    def folder(self, identity: TreeId) -> str | None:
        """The weights id of all tensors in a folder and below; None as for :meth:`file`, and for a folder of
        more than :data:`MOST_ROWS` tensors in different files."""
        known = None if self._notes is None else self._notes.text(identity)
        if known is None:
            known = self._weigh(identity) or ""
            if self._notes is not None:
                self._notes.write(identity, known)
        return known or None

    def told(self, identity: TreeId) -> str | None:
        """A folder's weights id for who can do without: damage is told to the monitor, and there is none."""
        if identity not in self._told:
            try:
                self._told[identity] = self.near.folder(identity)
            except ObjectPurged:
                self._told[identity] = None
            except DamageError as error:
                self.monitor.note_damage(f"{error.message}, so there is no weights id")
                self._told[identity] = None
        return self._told[identity]

    def _weigh(self, identity: TreeId) -> str | None:
        rows: list[TensorHash] = []
        # equal files have equal rows, and rows are a set
        manifests = dict.fromkeys(entry.id for entry in flatten(self._objects, identity).values())
        self.monitor.start("hash weights")
        try:
            for one in manifests:
                found = self.hashes(ManifestId(one))
                if found is None or len(rows) + len(found) > MOST_ROWS:
                    return None
                rows += found
        finally:
            self.monitor.finish()
        return weights_id(rows)

    def _read(self, manifest: Manifest) -> Iterator[bytes | None]:
        table = PartTable(manifest)

        def read(offset: int, length: int) -> bytes:
            self.monitor.advance(length)
            return b"".join(read_range(self._objects, table, offset, length))

        return digests(manifest.tensors, read)


def sweep_notes(repository: Repository, known: Callable[[ObjectId], bool]) -> int:
    """Remove the notes of objects that are not ``known``; returns how many went.

    Raises:
        StorageError: the folder cannot be read, or a note cannot be removed.
    """
    io, folder = repository.io, repository.store / FOLDER_NAME
    removed = 0
    with storage_errors("cannot clear notes of weights"):
        try:
            names = [entry.name for entry in io.scan_folder(folder)]
        except FileNotFoundError:
            return 0
        for name in names:
            found = _NOTE.fullmatch(name)
            if found is None:
                continue
            kind = ManifestId if found[1] == ManifestId.word else TreeId
            if not known(kind.from_hex(found[2])):
                with suppress(FileNotFoundError):
                    io.unlink(folder / name)
                    removed += 1
    return removed


class _Notes:
    """Small values by object id, in files that nobody misses when they are gone.

    Nothing is synced: a torn file fails its checksum and is made again.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._folder = repository.store / FOLDER_NAME

    def digests(self, identity: ObjectId, count: int) -> list[bytes | None] | None:
        """A list of so many digests; None when there is none."""
        value = self._read(identity, count * _DIGEST_BYTES)
        if not isinstance(value, list) or len(value) != count:
            return None
        sound = all(item is None or (type(item) is bytes and len(item) == ID_BYTES) for item in value)
        return value if sound else None

    def text(self, identity: ObjectId) -> str | None:
        """A text; None when there is none."""
        value = self._read(identity, 0)
        return value if isinstance(value, str) else None

    def write(self, identity: ObjectId, value: object) -> None:
        """Note a value. Where the store takes no files it is worked out again next time."""
        body = canonical.pack(value)
        io, path = self._repository.io, self._path(identity)
        with suppress(OSError):
            temporary = self._repository.temporary.new()
            try:
                fd = io.create(temporary)
                try:
                    write_all(io, fd, body + blake3(body).digest())
                finally:
                    io.close(fd)
                try:
                    io.replace(temporary, path)
                except FileNotFoundError:
                    make_folders(io, path.parent)
                    io.replace(temporary, path)
            except OSError:
                with suppress(OSError):
                    io.unlink(temporary)
                raise

    def _read(self, identity: ObjectId, digest_bytes: int) -> object:
        io = self._repository.io
        try:
            fd = io.open_read(self._path(identity), follow=False)
        except OSError:
            return None
        try:
            size = io.stat_handle(fd).st_size
            data = io.read_at(fd, size, 0) if size <= digest_bytes + _OTHER_BYTES else b""
        except OSError:
            return None
        finally:
            io.close(fd)
        body, digest = data[:-ID_BYTES], data[-ID_BYTES:]
        if blake3(body).digest() != digest:
            return None
        try:
            return canonical.unpack(body, "a note of weights")
        except CorruptObject:
            return None

    def _path(self, identity: ObjectId) -> Path:
        return self._folder / f"{identity.word}-{identity.hex()}"
