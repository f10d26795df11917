"""Where history reads from: a store of plain objects, and any stretch of a file out of its parts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple, Protocol, TypeVar

from mvc.errors import CorruptObject, UsageError
from mvc.objectid import CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry, Commit, Manifest, Part, Tag, Tree, commit_links

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
    return _parsed(commit_links, reader.get(identity), identity)


def read_commit(reader: ObjectReader, identity: CommitId) -> Commit:
    """Read a commit."""
    return read_object(reader, Commit, identity)


def read_tree(reader: ObjectReader, identity: TreeId) -> Tree:
    """Read one folder's entries."""
    return read_object(reader, Tree, identity)


def read_manifest(reader: ObjectReader, identity: ManifestId) -> Manifest:
    """Read the description of a file."""
    if isinstance(reader, Remembering):
        return reader.manifest(identity)
    return read_object(reader, Manifest, identity)


class Remembering:
    """A reader that parses large manifests once, for a command that looks at the same files from several
    sides: a table of ten thousand tensors takes 0.1 s."""

    LEAST_TENSORS = 256
    MOST = 64

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._manifests: dict[ManifestId, Manifest] = {}
        self.get = reader.get
        self.find_prefix = reader.find_prefix

    def manifest(self, identity: ManifestId) -> Manifest:
        """Read the description of a file."""
        found = self._manifests.get(identity)
        if found is None:
            found = read_object(self._reader, Manifest, identity)
            if len(found.tensors) >= self.LEAST_TENSORS and len(self._manifests) < self.MOST:
                self._manifests[identity] = found
        return found


def read_tag(reader: ObjectReader, identity: TagId) -> Tag:
    """Read an annotated tag."""
    return read_object(reader, Tag, identity)


class Piece(NamedTuple):
    """A stretch of one part: ``length`` bytes from ``start`` of the part's bytes."""

    part: Part
    start: int
    length: int


class PartTable:
    """A manifest's parts, searchable by offset; build it once to look up many ranges of one file."""

    def __init__(self, manifest: Manifest) -> None:
        self.size = manifest.size
        self._parts = manifest.parts
        self._starts = list(accumulate((part.length for part in manifest.parts), initial=0))

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
    for part, start, count in table.pieces(offset, length):
        data = part.inline if part.blob is None else reader.get(part.blob)
        if len(data) != part.length:
            raise CorruptObject(f"a part of {part.length} bytes was stored with {len(data)}")
        yield data if count == part.length else data[start : start + count]
