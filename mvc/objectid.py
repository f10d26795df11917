"""Object ids: BLAKE3-256 of plain bytes, one distinct type and hash domain per kind.

A kind's ids come from BLAKE3's key-derivation mode with the kind's own context string, so equal bytes of two
kinds never share an id and one kind can never be passed off as another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from blake3 import blake3

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

ID_BYTES = 32


class ObjectId(bytes):
    """32 bytes that name an object; use the subclass of its kind.

    ``kind`` is the number stored in records and indexes, ``word`` the kind's name in messages.
    """

    __slots__ = ()
    kind: ClassVar[int] = -1
    word: ClassVar[str] = "object"
    context: ClassVar[str] = ""

    def __new__(cls, raw: bytes) -> Self:
        """Wrap 32 raw bytes.

        Raises:
            ValueError: the length is not 32.
        """
        if len(raw) != ID_BYTES:
            raise ValueError(f"an object id has {ID_BYTES} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def of(cls, plain: Buffer) -> Self:
        """The id of plain bytes."""
        return cls(blake3(plain, derive_key_context=cls.context).digest())

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Parse 64 hexadecimal digits."""
        return cls(bytes.fromhex(text))

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, for people."""
        return self.hex()[:12]

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:12]}…)"


class BlobId(ObjectId):
    """Names a piece of a file's bytes."""

    __slots__ = ()
    kind = 0
    word = "blob"
    context = "mvc 2026 object blob"


class ManifestId(ObjectId):
    """Names the description of one file."""

    __slots__ = ()
    kind = 1
    word = "manifest"
    context = "mvc 2026 object manifest"


class TreeId(ObjectId):
    """Names a folder."""

    __slots__ = ()
    kind = 2
    word = "tree"
    context = "mvc 2026 object tree"


class CommitId(ObjectId):
    """Names a version."""

    __slots__ = ()
    kind = 3
    word = "commit"
    context = "mvc 2026 object commit"


class TagId(ObjectId):
    """Names an annotated tag."""

    __slots__ = ()
    kind = 4
    word = "tag"
    context = "mvc 2026 object tag"


class AliasId(ObjectId):
    """Names one entry of an alias's history."""

    __slots__ = ()
    kind = 5
    word = "alias"
    context = "mvc 2026 object alias"


class OperationId(ObjectId):
    """Names one entry of the operation log; operations live in root and its pieces, never in packs."""

    __slots__ = ()
    kind = 6
    word = "operation"
    context = "mvc 2026 operation"


KINDS: dict[int, type[ObjectId]] = {
    cls.kind: cls for cls in (BlobId, ManifestId, TreeId, CommitId, TagId, AliasId)
}
"""Kinds that records may have."""
