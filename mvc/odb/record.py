"""One stored object: how its plain bytes were encoded, from which bases, and the stored bytes
(docs/format.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from mvc import canonical
from mvc.codecs import Step
from mvc.errors import CorruptObject
from mvc.objectid import ID_BYTES, KINDS, ObjectId

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAGIC = b"mvcR"
PREFIX = struct.Struct("<4sHI16s")
_LENGTHS = struct.Struct("<HI")

MAX_PLAIN = 48 << 20
MAX_STORED = (64 << 20) - (128 << 10)
MAX_BASE_BYTES = 64 << 20
MAX_STEPS = 8
MAX_BASES = 64
MAX_DEPTH = 64


class Recipe(NamedTuple):
    """The predictor that makes one prediction out of the bases."""

    name: str
    version: int
    params: dict[str, Any]


class Base(NamedTuple):
    """A stretch of another object's plain bytes; offset and length in bytes."""

    id: ObjectId
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Record:
    """An encoded object. ``depth`` is 0 without bases, else greater than that of some record of every
    base."""

    id: ObjectId
    plain_length: int
    depth: int
    chain: tuple[Step, ...]
    recipe: Recipe | None
    bases: tuple[Base, ...]
    stored: Buffer

    def to_pieces(self) -> tuple[bytes, Buffer]:
        """Prefix with header, and the stored bytes."""
        header = canonical.pack(
            [
                self.id.kind,
                bytes(self.id),
                self.plain_length,
                self.depth,
                [list(step) for step in self.chain],
                None if self.recipe is None else list(self.recipe),
                [[base.id.kind, bytes(base.id), base.offset, base.length] for base in self.bases],
            ]
        )
        lengths = _LENGTHS.pack(len(header), len(memoryview(self.stored)))
        checksum = _checksum(lengths, header, self.stored)
        return MAGIC + lengths + checksum + header, self.stored

    @classmethod
    def from_bytes(cls, data: Buffer, *, verify: bool = True) -> Record:
        """Parse a whole record and verify its checksum.

        Without ``verify`` the checksum is left out, for who decodes the record and checks the plain bytes
        against the id, which says more.

        Raises:
            CorruptObject: anything about it is wrong.
        """
        view = memoryview(data)
        header_length, stored_length = read_lengths(view)
        if len(view) != PREFIX.size + header_length + stored_length:
            raise CorruptObject("a record's lengths do not fit its bytes")
        header = view[PREFIX.size : PREFIX.size + header_length]
        stored = view[PREFIX.size + header_length :]
        if verify and _checksum(bytes(view[4:10]), header, stored) != view[10:26]:
            raise CorruptObject("a record does not fit its checksum")
        return _parse(canonical.unpack(bytes(header), "record header"), stored)

    @property
    def codec(self) -> str:
        """The chain in one word, for people: ``ig+planes``, ``raw`` where it is empty."""
        return "+".join(step.name for step in self.chain) or "raw"


def _checksum(lengths: bytes, header: Buffer, stored: Buffer) -> bytes:
    hasher = blake3(lengths)
    hasher.update(header)
    hasher.update(stored)
    return hasher.digest(16)


def read_lengths(prefix: Buffer) -> tuple[int, int]:
    """Header length and stored length from a record's first 26 bytes.

    Raises:
        CorruptObject: not the start of a record.
    """
    view = memoryview(prefix)
    if len(view) < PREFIX.size or view[:4] != MAGIC:
        raise CorruptObject("no record where one should begin")
    _magic, header_length, stored_length, _checksum_bytes = PREFIX.unpack(view[: PREFIX.size])
    if stored_length > MAX_STORED:
        raise CorruptObject("a record claims more bytes than a pack may hold")
    return header_length, stored_length


def _parse(header: Any, stored: memoryview) -> Record:
    if not (isinstance(header, list) and len(header) == 7):
        raise CorruptObject("a record header has not seven items")
    kind, identity, plain_length, depth, chain, recipe, bases = header
    if not (_count(plain_length, MAX_PLAIN) and _count(depth, MAX_DEPTH)):
        raise CorruptObject("a record's length or depth is out of range")
    if not (isinstance(chain, list) and len(chain) <= MAX_STEPS):
        raise CorruptObject("a record has too many steps")
    if not (isinstance(bases, list) and len(bases) <= MAX_BASES and (depth > 0) == bool(bases)):
        raise CorruptObject("a record's bases do not fit its depth")
    steps = tuple(_step(item) for item in chain)
    last = steps[-1].output_length if steps else plain_length
    if last != len(stored):
        raise CorruptObject("a record's steps do not end in its stored length")
    stretches = tuple(_base(item) for item in bases)
    if sum(base.length for base in stretches) > MAX_BASE_BYTES:
        raise CorruptObject("a record leans on more bytes than it may")
    return Record(
        _object_id(kind, identity),
        plain_length,
        depth,
        steps,
        None if recipe is None else _recipe(recipe),
        stretches,
        stored,
    )


def _count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _object_id(kind: Any, identity: Any) -> ObjectId:
    if type(kind) is not int or kind not in KINDS or type(identity) is not bytes or len(identity) != ID_BYTES:
        raise CorruptObject("a record names an object of no known kind")
    return KINDS[kind](identity)


def _step(item: Any) -> Step:
    if not (isinstance(item, list) and len(item) == 4 and _count(item[3], MAX_STORED)):
        raise CorruptObject("a record's step is not [name, version, params, length]")
    name, version, params = _named(item[:3])
    return Step(name, version, params, item[3])


def _recipe(item: Any) -> Recipe:
    return Recipe(*_named(item))


def _named(item: Any) -> tuple[str, int, dict[str, Any]]:
    if not (
        isinstance(item, list)
        and len(item) == 3
        and type(item[0]) is str
        and type(item[1]) is int
        and isinstance(item[2], dict)
    ):
        raise CorruptObject("a record names a codec without name, version and params")
    return item[0], item[1], item[2]


def _base(item: Any) -> Base:
    if not (
        isinstance(item, list)
        and len(item) == 4
        and _count(item[2], MAX_PLAIN)
        and _count(item[3], MAX_PLAIN)
    ):
        raise CorruptObject("a record's base is not [kind, id, offset, length]")
    return Base(_object_id(item[0], item[1]), item[2], item[3])
