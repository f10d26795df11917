"""The versions of one file that a merge looks at: their tensors by name, and where their bytes lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.formats import NotThisFormat
from mvc.history.reader import ObjectReader, PartTable, read_manifest, read_range
from mvc.history.tensordiff import same_pieces
from mvc.memoryfile import Stretch
from mvc.merging.hybrid import stored
from mvc.objectid import ManifestId
from mvc.recipes.known import KnownFile
from mvc.spans import NotTileable, Span, check_span


class NotMergeable(Exception):
    """Versions of a file, or of a tensor, that no rule here makes one of; ``reason`` says why in one line.

    No failure: what it is raised for stays in conflict.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Side:
    """One stored version of a file."""

    def __init__(self, reader: ObjectReader, identity: ManifestId) -> None:
        self.reader = reader
        self.id = identity
        self.manifest = read_manifest(reader, identity)
        self.parts = PartTable(self.manifest)
        self.known = KnownFile(identity, self.manifest)
        self.spans = {span.name: span for span in self.manifest.tensors}

    def check(self) -> None:
        """Refuse what tensors cannot be told apart in.

        Raises:
            NotMergeable: two tensors of one name, a dtype that this mvc does not know, or a tensor whose
                place contradicts itself.
        """
        if len(self.spans) < len(self.manifest.tensors):
            raise NotMergeable("two of its tensors have one name")
        for span in self.manifest.tensors:
            try:
                check_span(self.manifest.size, span)
            except NotTileable as refusal:
                raise NotMergeable(str(refusal)) from None

    def stretches(self, offset: int, length: int) -> tuple[Stretch, ...]:
        """Bytes of the file as stretches of another one."""
        return stored(self.reader, self.parts, offset, length)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Bytes of the file, a part at a time."""
        return read_range(self.reader, self.parts, offset, length)

    def view(self, name: str) -> StoredView:
        """The file as formats read one, called ``name`` in its folder."""
        return StoredView(self, name)


class StoredView:
    """A stored file as formats read it."""

    def __init__(self, side: Side, name: str) -> None:
        self.name = name
        self.size = side.manifest.size
        self._side = side

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat("truncated")
        return b"".join(self._side.read(offset, length))


class Sides(NamedTuple):
    """The three versions of a file; no base where both sides added it."""

    base: Side | None
    ours: Side
    theirs: Side


class Operand(NamedTuple):
    """A tensor of a stored file."""

    side: Side
    span: Span

    def read(self, position: int, length: int) -> bytes:
        """So many bytes of it from a position on."""
        return b"".join(self.side.read(self.span.offset + position, length))


def same_form(left: Span, right: Span) -> bool:
    """Whether two tensors have one dtype, shape and order of elements, so that bytes mean the same."""
    return left is right or (left.dtype, left.shape, left.strides, left.length) == (
        right.dtype,
        right.shape,
        right.strides,
        right.length,
    )


def same_tensor(left: Side, right: Side, name: str) -> bool:
    """Whether both have a tensor of that name with the same bits, or neither has one.

    Bytes are read only where the two are cut into pieces differently.
    """
    one, other = left.spans.get(name), right.spans.get(name)
    if one is None or other is None:
        return one is other
    return same_form(one, other) and same_bytes(left, one.offset, right, other.offset, one.length)


def same_bytes(left: Side, offset: int, right: Side, other_offset: int, length: int) -> bool:
    """Whether two stored files hold the same bytes from these offsets on."""
    return same_pieces(
        left.reader, left.parts.pieces(offset, length), right.parts.pieces(other_offset, length)
    )
