"""Weights ids of stored files and folders, remembered beside the repository.

What a commit hashes while it reads is kept under the manifest's id in ``.mvc/weights``: derived, local,
checked when it is read. Without it (a clone, a lost file) tensors are decoded and hashed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from mvc import canonical
from mvc.errors import CorruptObject
from mvc.fileio import FileIO, make_folders, write_all
from mvc.history.reader import PartTable, read_manifest, read_range
from mvc.history.treediff import flatten
from mvc.objectid import ID_BYTES, ManifestId, ObjectId, TreeId
from mvc.objects import FOLDER, Manifest, TreeEntry
from mvc.odb.database import ObjectDatabase
from mvc.repo import Repository
from mvc.weights import TensorHash, digests, form, tensor_hashes, weights_id

if TYPE_CHECKING:
    from mvc.describing import Describer

FOLDER_NAME = "weights"
_DIGEST_BYTES = 2 + ID_BYTES  # of a list, as it is encoded
_OTHER_BYTES = 256  # of a list's head or a text, and the checksum

MOST_ROWS = 500_000
"""Tensors of a folder; one of more has no id, because all of its rows are sorted at once."""


class Weigher:
    """Weights ids of what a repository holds. ``objects`` is where files are read from."""

    def __init__(self, repository: Repository, objects: ObjectDatabase) -> None:
        self._notes = _Notes(repository)
        self._objects = objects

    def remember(self, identity: ManifestId, found: Sequence[bytes | None]) -> None:
        """Note the digests of a file's tensors, in the order of its manifest."""
        if found:
            self._notes.write(identity, list(found))

    def hashes(self, identity: ManifestId, manifest: Manifest | None = None) -> list[TensorHash] | None:
        """The rows of a file in a weights id; None when one of its tensors has no digest.

        Raises:
            DamageError: the file cannot be read.
        """
        manifest = manifest or read_manifest(self._objects, identity)
        if not manifest.tensors:
            return []
        known = self._notes.digests(identity, len(manifest.tensors))
        if known is None:
            known = list(self._read(manifest))
            self._notes.write(identity, known)
        return tensor_hashes(manifest.tensors, known)

    def digests(self, identity: ManifestId, manifest: Manifest) -> Iterable[bytes | None]:
        """The digests of a file's tensors, each worked out when it is asked for, unless they are known."""
        known = self._notes.digests(identity, len(manifest.tensors))
        return self._read(manifest) if known is None else known

    def file(self, identity: ManifestId, manifest: Manifest | None = None) -> str | None:
        """A file's weights id; None for a file without tensors, or with one too large to hash."""
        rows = self.hashes(identity, manifest)
        return None if rows is None else weights_id(rows)

    def folder(self, identity: TreeId) -> str | None:
        """The weights id of all tensors in a folder and below; None as for :meth:`file`, and for a folder of
        more than :data:`MOST_ROWS` tensors in different files."""
        known = self._notes.text(identity)
        if known is None:
            known = self._weigh(identity) or ""
            self._notes.write(identity, known)
        return known or None

    def entry(self, entry: TreeEntry) -> str | None:
        """The weights id of a file or folder of a tree."""
        return self.folder(TreeId(entry.id)) if entry.mode == FOLDER else self.file(ManifestId(entry.id))

    def same_as(self, new: TreeEntry, candidates: Mapping[str, TreeEntry]) -> str | None:
        """Which of some files, by path, holds the weights of another one; None when none does, or it has
        none. Differences of form are told from the manifests alone."""
        after = read_manifest(self._objects, ManifestId(new.id))
        forms = {form(span) for span in after.tensors}
        for path, old in candidates.items() if forms else ():
            before = read_manifest(self._objects, ManifestId(old.id))
            if {form(span) for span in before.tensors} == forms:
                found = self.file(ManifestId(new.id), after)
                if found is not None and found == self.file(ManifestId(old.id), before):
                    return path
        return None

    def work_file_same_as(
        self, describer: Describer, io: FileIO, root: Path, path: str, candidates: Mapping[str, TreeEntry]
    ) -> str | None:
        """The same for a file of the work tree below ``root``; nothing is read but its headers, and its
        tensors up to the first that differs.

        Raises:
            OSError: it cannot be read.
        """
        if not candidates:
            return None
        from mvc.ingest import has_weights  # 60 ms, which a look at a clean work tree need not pay

        for name, old in candidates.items():
            identity = ManifestId(old.id)
            manifest = read_manifest(self._objects, identity)
            if manifest.tensors and has_weights(
                io, root / path, path, describer, manifest.tensors, self.digests(identity, manifest)
            ):
                return name
        return None

    def _weigh(self, identity: TreeId) -> str | None:
        rows: list[TensorHash] = []
        # equal files have equal rows, and rows are a set
        for file in dict.fromkeys(entry.id for entry in flatten(self._objects, identity).values()):
            found = self.hashes(ManifestId(file))
            if found is None or len(rows) + len(found) > MOST_ROWS:
                return None
            rows += found
        return weights_id(rows)

    def _read(self, manifest: Manifest) -> Iterator[bytes | None]:
        table = PartTable(manifest)

        def read(offset: int, length: int) -> bytes:
            return b"".join(read_range(self._objects, table, offset, length))

        return digests(manifest.tensors, read)


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
