"""Where history reads from: a store of plain objects, and any stretch of a file out of its parts."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple, Protocol, TypeVar

from mvc.errors import CorruptObject, ObjectPurged, UsageError
from mvc.objectid import CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry, Commit, Manifest, Part, Tag, Tree, commit_links, manifest_content
from mvc.odb.database import AHEAD_BYTES
from mvc.parallel import batches
from mvc.spans import Span

_Object = TypeVar("_Object", Manifest, Tree, Commit, Tag, AliasEntry)
_Parsed = TypeVar("_Parsed")


class ObjectReader(Protocol):
    """Plain bytes by typed id."""

    def get(self, identity: ObjectId, /) -> bytes:
        """The plain bytes of an object.

        Raises:
            ObjectMissing: there is no record of it.
            CorruptObject: its record is damaged.
        """
        ...

    def find_prefix(self, hex_prefix: str, /) -> set[ObjectId]:
        """Typed ids, of whatever kind, whose hexadecimal form starts with these lower-case digits."""
        ...


def read_object(reader: ObjectReader, kind: type[_Object], identity: ObjectId) -> _Object:
    """Read and parse an object of a kind; damage names the object."""
    return _parsed(kind.from_bytes, reader.get(identity), identity)


def _parsed(parse: Callable[[bytes], _Parsed], data: bytes, identity: ObjectId) -> _Parsed:
    try:
        return parse(data)
    except CorruptObject as error:
        raise CorruptObject(
            f"{identity.word} {identity.short} is damaged: {error.message}", hint=error.hint
        ) from error


def read_links(reader: ObjectReader, identity: CommitId) -> tuple[int, tuple[CommitId, ...]]:
    """A commit's time in microseconds and its parents, in less time than :func:`read_commit` takes."""
    links = _parsed(commit_links, reader.get(identity), identity)
    return (links[0], ()) if identity in shallow_of(reader) else links


def read_commit(reader: ObjectReader, identity: CommitId) -> Commit:
    """Read a commit, as history has it here: without parents where they were left out of what was fetched.

    Who makes another commit out of it needs :func:`read_whole_commit`.
    """
    commit = read_object(reader, Commit, identity)
    return replace(commit, parents=()) if identity in shallow_of(reader) else commit


def read_whole_commit(reader: ObjectReader, identity: CommitId) -> Commit:
    """Read a commit with the parents that it was made with, whether they are here or not."""
    return read_object(reader, Commit, identity)


def shallow_of(reader: ObjectReader) -> Collection[CommitId]:
    """Commits at which a reader's history ends, though they have parents."""
    found: Collection[CommitId] = getattr(reader, "shallow", ())
    return found


def prefetch(reader: ObjectReader, wanted: Iterable[ObjectId]) -> None:
    """Have a reader fetch together what is about to be read, where it lies elsewhere.

    Raises:
        StorageError: whoever has it cannot be reached.
    """
    bring = getattr(reader, "prefetch", None)
    if bring is not None:
        bring(wanted)


def read_tree(reader: ObjectReader, identity: TreeId) -> Tree:
    """Read one folder's entries."""
    return read_object(reader, Tree, identity)


def read_manifest(reader: ObjectReader, identity: ManifestId) -> Manifest:
    """Read the description of a file."""
    if isinstance(reader, Remembering):
        return reader.manifest(identity)
    return read_object(reader, Manifest, identity)


GAP = "purged"
"""The format of a file that was purged, as :func:`read_or_gap` describes it."""


def read_or_gap(reader: ObjectReader, identity: ManifestId) -> Manifest:
    """Read the description of a file, for who lists files: one that was purged is an empty one of the format
    :data:`GAP`, whose reason says when, by whom and why."""
    try:
        return read_manifest(reader, identity)
    except ObjectPurged as error:
        return Manifest(GAP, 0, bytes(32), (), (), error.message)


def read_content(reader: ObjectReader, identity: ManifestId) -> tuple[int, bytes]:
    """Size and SHA-256 of a file, in less time than :func:`read_manifest` takes."""
    return _parsed(manifest_content, reader.get(identity), identity)


class Remembering:
    """A reader that parses each manifest once, for a command that looks at the same files from several
    sides: a table of ten thousand tensors takes 0.1 s and 4 MB.

    Files with the same table of tensors, as versions of a model are, share it in memory. The oldest manifests
    are let go of where there are more than :attr:`MOST_ROWS`. Safe to use from several threads.
    """

    MOST_ROWS = 800_000
    """Tensors and parts, and a few for each manifest besides; 250 bytes each at most, a tenth of that where
    tables are shared."""

    _OWN_ROWS = 8

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._manifests: dict[ManifestId, Manifest] = {}
        self._tables: dict[tuple[int, Span, Span], tuple[Span, ...]] = {}
        self._rows = 0
        self._lock = threading.Lock()
        self.get = reader.get
        self.find_prefix = reader.find_prefix

    @property
    def shallow(self) -> Collection[CommitId]:
        """Where the reader's history ends."""
        return shallow_of(self._reader)

    def prefetch(self, wanted: Iterable[ObjectId]) -> None:
        """Have the reader fetch what is about to be read."""
        prefetch(self._reader, wanted)

    def manifest(self, identity: ManifestId) -> Manifest:
        """Read the description of a file."""
        with self._lock:
            found = self._manifests.get(identity)
            if found is None:
                found = self._shared(read_object(self._reader, Manifest, identity))
                self._keep(identity, found)
            return found

    def learn(self, identity: ManifestId, manifest: Manifest) -> None:
        """Take in a manifest that was just made, so that nobody need read it."""
        with self._lock:
            if identity not in self._manifests:
                self._keep(identity, self._shared(manifest))

    def _shared(self, manifest: Manifest) -> Manifest:
        """It, with the table of another file where that is the same."""
        if not manifest.tensors:
            return manifest
        known = self._tables.setdefault(_ends(manifest), manifest.tensors)
        same = known is not manifest.tensors and known == manifest.tensors
        return replace(manifest, tensors=known) if same else manifest

    def _keep(self, identity: ManifestId, manifest: Manifest) -> None:
        self._manifests[identity] = manifest
        self._rows += self._cost(manifest)
        while self._rows > self.MOST_ROWS:
            gone = self._manifests.pop(next(iter(self._manifests)))
            self._rows -= self._cost(gone)
            if gone.tensors:
                self._tables.pop(_ends(gone), None)

    def _cost(self, manifest: Manifest) -> int:
        return self._OWN_ROWS + len(manifest.tensors) + len(manifest.parts)


def _ends(manifest: Manifest) -> tuple[int, Span, Span]:
    """What two equal tables of tensors, neither of them empty, have in common."""
    return len(manifest.tensors), manifest.tensors[0], manifest.tensors[-1]


def read_tag(reader: ObjectReader, identity: TagId) -> Tag:
    """Read an annotated tag."""
    return read_object(reader, Tag, identity)


class Piece(NamedTuple):
    """A stretch of one part: ``length`` bytes from ``start`` of the part's bytes."""

    part: Part
    start: int
    length: int


def read_piece(reader: ObjectReader, piece: Piece) -> bytes:
    """The bytes of a stretch of a part.

    Raises:
        CorruptObject: the part's blob has another length than the manifest says.
    """
    part, start, length = piece
    data = part.inline if part.blob is None else reader.get(part.blob)
    if len(data) != part.length:
        raise CorruptObject(f"a part of {part.length} bytes was stored with {len(data)}")
    return data if length == part.length else data[start : start + length]


class PartTable:
    """A manifest's parts, searchable by offset; build it once to look up many ranges of one file."""

    def __init__(self, manifest: Manifest) -> None:
        self.size = manifest.size
        self._parts = manifest.parts
        self._starts = array("Q", accumulate((part.length for part in manifest.parts), initial=0))

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """The stretches of parts that make up ``length`` bytes of the file from ``offset``, in order.

        Raises:
            UsageError: the range leaves the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise UsageError(f"bytes {offset} to {offset + length} leave a file of {self.size} bytes")
        index = bisect_right(self._starts, offset) - 1
        end = offset + length
        while offset < end:
            part = self._parts[index]
            start = offset - self._starts[index]
            count = min(part.length - start, end - offset)
            yield Piece(part, start, count)
            offset += count
            index += 1


def read_range(
    reader: ObjectReader, manifest: Manifest | PartTable, offset: int, length: int
) -> Iterator[bytes]:
    """The bytes of a file from ``offset``, ``length`` of them, in pieces of up to 1 MiB.

    Only the parts that overlap the range are read, each once and when its turn comes.

    Raises:
        UsageError: the range leaves the file.
        CorruptObject: a blob has another length than the manifest says.
    """
    table = manifest if isinstance(manifest, PartTable) else PartTable(manifest)
    return _read_pieces(reader, table.pieces(offset, length))


def _read_pieces(reader: ObjectReader, pieces: Iterator[Piece]) -> Iterator[bytes]:
    if getattr(reader, "prefetch", None) is None:
        yield from (read_piece(reader, piece) for piece in pieces)
        return
    for window in batches(pieces, lambda piece: piece.part.length, AHEAD_BYTES):
        prefetch(reader, (piece.part.blob for piece in window if piece.part.blob is not None))
        yield from (read_piece(reader, piece) for piece in window)
