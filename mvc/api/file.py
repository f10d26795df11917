"""A file of a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

from mvc.api.session import Session
from mvc.api.tensors import Tensors
from mvc.errors import UnsupportedFeature
from mvc.formats import NotThisFormat, Value, read_values
from mvc.history.reader import ObjectReader, PartTable, read_manifest, read_range
from mvc.objectid import ManifestId
from mvc.objects import EXECUTABLE, Manifest, TreeEntry
from mvc.paths import shown
from mvc.restore import file_pieces
from mvc.text import count, size
from mvc.weighing import Weigher

MAX_METADATA_READ_BYTES = 256 << 20
"""Of a file, for what it says beside its tensors."""


class File:
    """A file as a version holds it; nothing is read before it is asked for.

    ``path`` is its path in the repository.
    """

    def __init__(self, session: Session, path: str, entry: TreeEntry) -> None:
        self._session = session
        self._entry = entry
        self.path = path

    @cached_property
    def _manifest(self) -> Manifest:
        with self._session.reading() as view:
            return read_manifest(view.objects, ManifestId(self._entry.id))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._manifest.size

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole file, in hexadecimal digits."""
        return self._manifest.sha256.hex()

    @property
    def format(self) -> str:
        """What mvc understood it as (``safetensors``); ``opaque`` if as nothing."""
        return self._manifest.format

    @property
    def reason(self) -> str | None:
        """Why an opaque file was not understood, where that can be said."""
        return self._manifest.reason

    @cached_property
    def weights_id(self) -> str | None:
        """``w1:…``, equal for files that hold equal weights; None without tensors. See
        :attr:`mvc.Revision.weights_id`."""
        with self._session.reading() as view:
            weigher = Weigher(self._session.store, view.objects)
            return weigher.file(ManifestId(self._entry.id), self._manifest)

    @property
    def executable(self) -> bool:
        """Whether it may be run as a program."""
        return self._entry.mode == EXECUTABLE

    @cached_property
    def tensors(self) -> Tensors:
        """The tensors by name, each decoded when it is asked for; none where the format is unknown."""
        return Tensors(self._session, self.path, self._manifest)

    @cached_property
    def metadata(self) -> Mapping[str, Value]:
        """What the file says beside its tensors, by dotted names: the epoch and settings in a ``.pt``, the
        texts of a safetensors or GGUF file; nothing is unpickled or run for it.

        At most 10,000 values; long texts are left out, and a long list is given by its length, under its name
        and ``.#``.

        Raises:
            UnsupportedFeature: more than 256 MiB would have to be read for it.
            DamageError: stored bytes are missing or wrong.
        """
        with self._session.reading() as view:
            stored = _StoredView(self.path.rpartition("/")[2], self._manifest, view.objects)
            found = read_values(self.format, stored, lambda _: None)
        if stored.left < 0:
            most = f"{MAX_METADATA_READ_BYTES >> 20} MiB"
            raise UnsupportedFeature(f"the metadata of {shown(self.path)} take more than {most} to read")
        return MappingProxyType(dict(found))

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes end to end in pieces of up to 1 MiB, decoded ahead by several threads.

        The whole is checked against its SHA-256; that error comes after the last piece.

        Raises:
            DamageError: stored bytes are missing or wrong.
        """
        with self._session.reading() as view:
            yield from file_pieces(view.objects, self._manifest, verify=True)

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            DamageError: stored bytes are missing or wrong.
        """
        return b"".join(self.pieces())

    def __repr__(self) -> str:
        tensors = len(self._manifest.tensors)
        told = f", {count(tensors, 'tensor')}" if tensors else ""
        return f"<File {shown(self.path)}: {self.format}, {size(self.size)}{told}>"


class _StoredView:
    """A stored file as formats read it, up to :data:`MAX_METADATA_READ_BYTES`."""

    def __init__(self, name: str, manifest: Manifest, reader: ObjectReader) -> None:
        self.name = name
        self.size = manifest.size
        self.left = MAX_METADATA_READ_BYTES
        self._parts = PartTable(manifest)
        self._reader = reader

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat("truncated")
        self.left -= length
        if self.left < 0:
            raise NotThisFormat("too much to read")
        return b"".join(read_range(self._reader, self._parts, offset, length))
