"""Tensors built again by a recipe, and compared bit by bit with those that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mvc.dtypes import DTYPES
from mvc.elements import view
from mvc.errors import DamageError, ObjectMissing
from mvc.explaining.units import StoredFile, Tensor
from mvc.history.reader import read_range
from mvc.history.tensordiff import count_unequal
from mvc.objectid import BlobId, ObjectId
from mvc.objects import Manifest, Part
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Recipe
from mvc.odb.segment import Entry
from mvc.odb.writer import Hint
from mvc.parallel import ordered_map
from mvc.predictors import predict
from mvc.recipes.known import KnownFile, KnownTensor
from mvc.recipes.recipe import TensorRecipe

_PIECE_BYTES = 1 << 20
_ENOUGH = 0.9
"""Share of the first piece that a recipe must give for the rest to be tried."""


class Operands(ObjectDatabase):
    """Files of which tensors are built, as recipes see a repository: each file one object, of depth 0."""

    def __init__(self) -> None:
        self._files: dict[bytes, StoredFile] = {}
        self._known: dict[int, KnownFile] = {}

    def known(self, tensor: Tensor) -> KnownTensor | None:
        """A tensor as an operand; None for one whose shape contradicts its length."""
        file = self._known.get(id(tensor.file))
        if file is None:
            identity = BlobId(len(self._files).to_bytes(32, "little"))
            self._files[bytes(identity)] = tensor.file
            manifest = tensor.file.manifest
            whole = (Part(manifest.size, identity),) if manifest.size else ()
            one = Manifest(manifest.format, manifest.size, manifest.sha256, whole, manifest.tensors)
            file = self._known[id(tensor.file)] = KnownFile(tensor.file.identity, one)
        return file.at(tensor.file.manifest.tensors.index(tensor.span))

    def file(self, identity: ObjectId) -> StoredFile:
        """The file that an object stands for."""
        return self._files[bytes(identity)]

    def __contains__(self, identity: ObjectId) -> bool:
        return bytes(identity) in self._files

    def entries(self, identity: ObjectId) -> list[Entry]:
        """An entry of depth 0 for each file."""
        if identity not in self:
            return []
        return [Entry(bytes(identity), identity.kind, b"", 0, 0, 0)]

    def get(self, identity: ObjectId) -> bytes:
        """Files are only had in stretches."""
        raise ObjectMissing(f"{identity.word} {identity.short} is no single object")

    def get_part(self, identity: ObjectId, offset: int, length: int) -> bytes:
        """A stretch of a file."""
        file = self._files[bytes(identity)]
        return b"".join(read_range(file.reader, file.parts, offset, length))

    def note_damage(self, message: str) -> None:
        """Nothing can be said of damaged weights.

        Raises:
            DamageError: always.
        """
        raise DamageError(message)

    def predict(
        self, bases: Sequence[Base], recipe: Recipe | None, below: int, length: int
    ) -> bytes | memoryview:
        """As for stored objects, out of the files."""
        pieces = [self.get_part(base.id, base.offset, base.length) for base in bases]
        return predict(recipe, pieces, length)


class Rebuilt(NamedTuple):
    """How much of a tensor came out: elements (blocks, bytes of less) that are the same bits, of all; and by
    which recipe its first piece did."""

    same: int
    elements: int
    hint: Hint | None

    @property
    def exact(self) -> bool:
        """Whether every bit is right."""
        return self.same == self.elements

    @property
    def share(self) -> float:
        """The part that is right, 0 to 1."""
        return self.same / self.elements if self.elements else 1.0


def rebuild(operands: Operands, recipe: TensorRecipe, tensor: Tensor) -> Rebuilt | None:
    """A tensor by a recipe whose operands came from ``operands``; None where the recipe says nothing of it,
    or gets less than nine tenths of its beginning right.

    Raises:
        DamageError: stored bytes are missing or wrong.
    """
    span = tensor.span
    dtype = DTYPES[span.dtype]
    unit = dtype.unit
    row = dtype.byte_count(span.shape[-1]) if span.shape else unit
    # whole rows where they fit: some recipes see their parameters on them only
    step = max(_PIECE_BYTES // row * row if unit <= row <= _PIECE_BYTES else 0, unit) or unit
    if row > _PIECE_BYTES:
        step = _PIECE_BYTES // unit * unit

    def one(position: int) -> tuple[int, int, Hint] | None:
        length = min(step, span.length - position)
        data = b"".join(read_range(tensor.file.reader, tensor.file.parts, span.offset + position, length))
        with np.errstate(all="ignore"):  # weights may hold anything
            hint = recipe.hint(operands, position, data)
            if hint is None:
                return None
            made = operands.predict(hint.bases, hint.recipe, hint.depth + 1, length)
        count = length // unit
        return count - count_unequal(data, memoryview(made).cast("B"), unit), count, hint

    first = one(0) if span.length else None
    if first is None or first[0] < _ENOUGH * first[1]:
        return None
    same, total, found = first
    for piece in ordered_map(one, range(step, span.length, step)):
        if piece is None:
            return None
        same, total = same + piece[0], total + piece[1]
    return Rebuilt(same, total, found)


class Zeroed(NamedTuple):
    """Of a tensor against an older one: elements that are the same or zero, zeros now, zeros before, and how
    many there are."""

    explained: int
    zeros: int
    zeros_before: int
    elements: int


def zeroed(old: Tensor, new: Tensor) -> Zeroed:
    """Count what was set to zero; both of one dtype of 1, 2, 4 or 8 bytes, and of one length."""
    width = DTYPES[new.span.dtype].width
    found = Zeroed(0, 0, 0, 0)
    for before, after in _pairs(old, new):
        first, second = view(before, width)[0], view(after, width)[0]
        sign = second.dtype.type(1 << (8 * width - 1))
        zero, zero_before = second & ~sign == 0, first & ~sign == 0
        explained, zeros, zeros_before = (
            int(np.count_nonzero(mask)) for mask in (zero | (first == second), zero, zero_before)
        )
        found = Zeroed(
            found.explained + explained,
            found.zeros + zeros,
            found.zeros_before + zeros_before,
            found.elements + second.size,
        )
    return found


def same_bits(old: Tensor, new: Tensor) -> bool:
    """Whether two tensors of one form and layout hold the same bits."""
    if old.content == new.content:
        return True
    return old.span.length == new.span.length and all(before == after for before, after in _pairs(old, new))


def _pairs(old: Tensor, new: Tensor) -> Iterator[tuple[bytes, bytes]]:
    """The bytes of two tensors of one length, a megabyte at a time."""
    for position in range(0, new.span.length, _PIECE_BYTES):
        length = min(_PIECE_BYTES, new.span.length - position)
        yield tuple(  # type: ignore[misc]
            b"".join(read_range(one.file.reader, one.file.parts, one.span.offset + position, length))
            for one in (old, new)
        )
