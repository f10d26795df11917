"""Tensors that the repository holds, as operands of a prediction."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from mvc.dtypes import DTYPES
from mvc.errors import DamageError, ObjectPurged, UnsupportedFeature
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import MAX_BASE_BYTES, MAX_BASES, Base, Recipe
from mvc.odb.writer import Hint
from mvc.spans import NotTileable, Span, check_span


class KnownFile:
    """A stored file, by what lies where in it."""

    def __init__(self, identity: ManifestId, manifest: Manifest) -> None:
        self.identity = identity
        self.tensors = manifest.tensors
        self._size = manifest.size
        self._parts = manifest.parts
        self._offsets = array("Q", accumulate((part.length for part in manifest.parts), initial=0))
        self._by_name: dict[str, Span] | None = None

    def named(self, name: str) -> KnownTensor | None:
        """The tensor of a name; None where there is none that can be calculated with."""
        if self._by_name is None:
            self._by_name = {span.name: span for span in self.tensors}
        span = self._by_name.get(name)
        return None if span is None else self._tensor(span)

    def at(self, place: int) -> KnownTensor | None:
        """The tensor at a place of the manifest's table."""
        return self._tensor(self.tensors[place]) if place < len(self.tensors) else None

    def _tensor(self, span: Span) -> KnownTensor | None:
        """None for one whose length is not what its dtype and shape say: manifests are checked for order and
        bounds only, for a newer mvc may know more dtypes, and finders calculate with these."""
        try:
            check_span(self._size, span)
        except NotTileable:
            return None
        return KnownTensor(self, span)

    def stretches(self, offset: int, length: int) -> list[Base] | None:
        """The stretches of blobs that hold these bytes of the file; None where some stand inline, are out of
        the file, or lie in more blobs than a record may name."""
        found: list[Base] = []
        at = bisect_right(self._offsets, offset) - 1
        while length > 0:
            if at >= len(self._parts) or len(found) == MAX_BASES:
                return None
            start, part = self._offsets[at], self._parts[at]
            if part.blob is None:
                return None
            inside = offset - start
            taken = min(length, part.length - inside)
            found.append(Base(part.blob, inside, taken))
            offset, length, at = offset + taken, length - taken, at + 1
        return found


class KnownTensor(NamedTuple):
    """A contiguous tensor of a stored file."""

    file: KnownFile
    span: Span

    def stretches(self, position: int, length: int) -> list[Base] | None:
        """The stretches of blobs that hold ``length`` bytes of the tensor from ``position`` on; None as for
        :meth:`KnownFile.stretches`."""
        if position < 0 or position + length > self.span.length:
            return None
        return self.file.stretches(self.span.offset + position, length)

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return DTYPES[self.span.dtype].width


def hint(
    database: ObjectDatabase, dtype: str, bases: Iterable[Base] | None, recipe: Recipe | None, cap: int
) -> Hint | None:
    """The hint of a prediction from these bases; None where one of them is missing or has no record of a
    depth below ``cap``, or where they are more than a record may name."""
    if bases is None:
        return None
    listed = tuple(bases)
    depth = 0
    for identity in {base.id for base in listed}:
        entries = database.entries(identity)
        if not entries or entries[0].depth >= cap:
            return None
        depth = max(depth, entries[0].depth)
    if not listed or len(listed) > MAX_BASES or sum(base.length for base in listed) > MAX_BASE_BYTES:
        return None
    return Hint(DTYPES[dtype], listed, depth, recipe)


def plain(database: ObjectDatabase, bases: Iterable[Base] | None) -> bytes | None:
    """The bytes of some stretches, for who looks for a recipe; None where they cannot be had."""
    if bases is None:
        return None
    try:
        return b"".join(database.get_part(*base) for base in bases)
    except (DamageError, ObjectPurged, UnsupportedFeature) as error:
        if not isinstance(error, ObjectPurged):
            database.note_damage(f"{error.message}; stored without it as a base")
        return None
