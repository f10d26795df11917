"""A whole store in one file that nobody changes: what is carried by hand (docs/format.md, *Bundle*).

A bundle holds packs, segments and pieces end to end, then root, then a directory of fixed rows, then a
trailer. A row has no place, only a length: places follow from what stands before, so none can overlap another
or lead out of the file. :func:`read_directory` believes the directory by its hash and its sums and
reads nothing else; :meth:`BundleBackend.verify` reads every byte.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from blake3 import blake3

from mvc import canonical
from mvc.backends.base import Backend, Incoming, NotFound, check_key, check_range, folder_of
from mvc.errors import CorruptFile, CorruptObject, StorageError, UnsupportedFeature
from mvc.objectid import ID_BYTES, CommitId

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAGIC = b"mvcBNDL1"
ROW = struct.Struct("<32sIB3s")
TRAILER = struct.Struct("<QII32s32s")
ROOT = "root"

MAX_ROWS = 1 << 20
"""Of one bundle: 32 TiB in packs of 32 MiB."""

MAX_OBJECT_BYTES = 64 << 20
MAX_NEEDS_BYTES = 1 << 20
MAX_SUBJECT = 200
"""Characters of a needed version's subject."""

_NEWER = re.compile(rb"mvcBNDL[2-9]")
_HASH_BYTES = 32
_CHUNK = 8 << 20


class Kind(NamedTuple):
    """A kind of object in a bundle: how its key is made of its name in hexadecimal, and back."""

    key: Callable[[str], str]
    pattern: re.Pattern[str]


KINDS = (
    Kind(
        lambda name: f"packs/{name[:2]}/{name}.pack",
        re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})\.pack"),
    ),
    Kind(lambda name: f"segments/{name}.seg", re.compile(r"segments/()([0-9a-f]{64})\.seg")),
    Kind(lambda name: f"pieces/{name}.piece", re.compile(r"pieces/()([0-9a-f]{64})\.piece")),
)
"""By the number that a row has for it. All three are named by the hash of their bytes."""


class Need(NamedTuple):
    """A version that must be there already where a bundle is taken in; its subject is for people."""

    commit: CommitId
    subject: str


class Place(NamedTuple):
    """Where an object lies in the file, in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Directory:
    """What a bundle's directory says: objects by key (``root`` too), and which versions it builds on."""

    places: Mapping[str, Place]
    needs: tuple[Need, ...]
    digest: bytes
    """Hash of everything in the file but itself."""
    size: int


Read = Callable[[int, int], bytes]
"""Reads so many bytes from an offset on; fewer only at the end."""


def begins_as_bundle(head: bytes) -> bool:
    """Whether the first eight bytes of a file are a bundle's, of this version or a later one."""
    return head[:8] == MAGIC or _NEWER.fullmatch(head[:8]) is not None


def read_directory(read: Read, size: int) -> Directory:
    """Read and check a bundle's directory; ``size`` is the file's, in bytes.

    Raises:
        CorruptFile: it is no bundle, or not a whole one.
        UnsupportedFeature: a newer mvc made it.
    """
    magic = read(0, len(MAGIC))
    if magic != MAGIC:
        if _NEWER.fullmatch(magic):
            raise UnsupportedFeature("a newer mvc made this bundle", hint="upgrade mvc")
        _refuse("does not begin as one")
    if size < len(MAGIC) + TRAILER.size:
        _refuse("is too short")
    trailer = read(size - TRAILER.size, TRAILER.size)
    if len(trailer) != TRAILER.size:
        _refuse("became shorter while it was read")
    count, root_bytes, needs_bytes, directory_hash, digest = TRAILER.unpack(trailer)
    if count > MAX_ROWS or root_bytes > MAX_OBJECT_BYTES or needs_bytes > MAX_NEEDS_BYTES:
        _refuse("does not end as one: it is cut off or damaged")
    rows_at = size - TRAILER.size - needs_bytes - ROW.size * count
    if rows_at < len(MAGIC) + root_bytes:
        _refuse("does not end as one: it is cut off or damaged")
    body = read(rows_at, size - TRAILER.size - rows_at)
    if blake3(body + trailer[: -2 * _HASH_BYTES]).digest() != directory_hash:
        _refuse("has a directory that does not fit its hash: it is cut off or damaged")
    places = _places(body[: ROW.size * count], rows_at - root_bytes)
    places[ROOT] = Place(rows_at - root_bytes, root_bytes)
    return Directory(places, _needs(body[ROW.size * count :]), digest, size)


def _places(rows: bytes, end: int) -> dict[str, Place]:
    places: dict[str, Place] = {}
    offset = len(MAGIC)
    for name, length, kind, zero in ROW.iter_unpack(rows):
        if kind >= len(KINDS) or any(zero):
            raise UnsupportedFeature("a bundle holds something unknown", hint="upgrade mvc")
        if length > MAX_OBJECT_BYTES:
            _refuse("claims an object longer than any is")
        key = KINDS[kind].key(name.hex())
        if key in places:
            _refuse(f"lists {key} twice")
        places[key] = Place(offset, length)
        offset += length
    if offset != end:
        _refuse("has a directory that does not fit what lies before it")
    return places


def _needs(data: bytes) -> tuple[Need, ...]:
    try:
        value = canonical.unpack(data, "a bundle's list of needed versions")
    except CorruptObject as error:
        _refuse(f"is damaged: {error.message}")
    if type(value) is not list or not all(map(_is_need, value)):
        _refuse("has a list of needed versions that is none")
    return tuple(Need(CommitId(commit), subject) for commit, subject in value)


def _is_need(item: Any) -> bool:
    return (
        type(item) is list
        and len(item) == 2
        and type(item[0]) is bytes
        and len(item[0]) == ID_BYTES
        and type(item[1]) is str
        and len(item[1]) <= MAX_SUBJECT
    )


def _refuse(how: str) -> NoReturn:
    raise CorruptFile(
        f"the bundle {how}", hint="get it again; 'mvc bundle verify FILE' tells whether it is whole"
    )


class BundleBackend(Backend):
    """The objects of a bundle. Whatever would change one is refused."""

    request_bytes = 1 << 20
    """More than of what counts as near, though it lies on this machine: records may lean on what only the
    reader's own store has, and from far away they are read together with that."""

    def __init__(self, read: Read, directory: Directory) -> None:
        self._read = read
        self.directory = directory

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        place = self._place(key)
        return self._bytes(place.offset, place.length)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        place = self._place(key)
        check_range(key, offset, length, place.length)
        return self._bytes(place.offset + offset, length)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with ``prefix``, ascending, with sizes."""
        folder_of(prefix)
        places = self.directory.places
        return iter(sorted((key, places[key].length) for key in places if key.startswith(prefix)))

    def put(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Refused.

        Raises:
            StorageError: always.
        """
        _is_whole()

    def begin(self) -> Incoming:
        """Refused, as :meth:`put`."""
        _is_whole()

    def delete(self, key: str) -> None:
        """Refused, as :meth:`put`."""
        _is_whole()

    def replace(self, key: str, expected: bytes | None, data: bytes) -> None:
        """Refused, as :meth:`put`."""
        _is_whole()

    def verify(self, advance: Callable[[int], None]) -> None:
        """Read the whole file and check every hash; ``advance`` hears how many bytes were read.

        Raises:
            CorruptFile: a byte is not what was written; the message says in what, where that can be told.
        """
        whole = blake3()
        blame: list[str] = []
        for what, name, place in self._in_order():
            own = blake3()
            for offset in range(place.offset, place.offset + place.length, _CHUNK):
                chunk = self._bytes(offset, min(_CHUNK, place.offset + place.length - offset))
                whole.update(chunk)
                own.update(chunk)
                advance(len(chunk))
            if name is not None and own.digest() != name:
                blame.append(what)
        if blame:
            _refuse(f"is damaged: {blame[0]} does not hash to its name" + _others(len(blame) - 1))
        if whole.digest() != self.directory.digest:
            _refuse("is damaged: it does not fit its own hash")

    def _in_order(self) -> Iterator[tuple[str, bytes | None, Place]]:
        """Everything in the file but the last hash, from its first byte to its last, with the hash that
        each part must have where it has one of its own."""
        yield "its beginning", None, Place(0, len(MAGIC))
        end = len(MAGIC)
        for key, place in self.directory.places.items():
            yield key, None if key == ROOT else name_of(key)[1], place
            end = place.offset + place.length
        yield "its directory", None, Place(end, self.directory.size - _HASH_BYTES - end)

    def _place(self, key: str) -> Place:
        try:
            return self.directory.places[check_key(key)]
        except KeyError:
            raise NotFound(f"there is no {key}") from None

    def _bytes(self, offset: int, length: int) -> bytes:
        data = self._read(offset, length)
        if len(data) != length:
            _refuse("became shorter while it was read")
        return data


def name_of(key: str) -> tuple[int, bytes]:
    """The number of a key's kind, and the name in it.

    Raises:
        StorageError: a bundle holds no such things.
    """
    for number, kind in enumerate(KINDS):
        found = kind.pattern.fullmatch(key)
        if found:
            return number, bytes.fromhex(found[2])
    raise StorageError(f"a bundle cannot hold {key}")


def _others(count: int) -> str:
    return f", and {count:,} more" if count else ""


def _is_whole() -> NoReturn:
    raise StorageError("a bundle cannot be changed", hint="'mvc bundle create' makes another one")
