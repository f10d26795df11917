"""Files that are taken for stored, as those who look for recipes see a repository: an index of sketches and a
database, of which nothing is there but depths, and the bytes in the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mvc.errors import ObjectMissing
from mvc.forecast.survey import Piece, Surveyed
from mvc.monitor import Monitor
from mvc.objectid import BlobId, ManifestId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Recipe, Record
from mvc.odb.segment import Entry
from mvc.predictors import predict
from mvc.recipes.adapters import adapter_key, adapter_module
from mvc.sketch import count_of
from mvc.sketches import NewRow, Rows, SketchIndex, rows_of


class Plan(NamedTuple):
    """How a piece is to be stored: the depth of its record, and the bases and the recipe of it."""

    depth: int = 0
    bases: tuple[Base, ...] = ()
    recipe: Recipe | None = None


class PlannedObjects(ObjectDatabase):
    """The objects of files that are taken for stored."""

    def __init__(self, files: Mapping[ManifestId, Surveyed], monitor: Monitor) -> None:
        self._monitor = monitor
        self._files = files
        self._plans: dict[bytes, Plan] = {}
        self._places: dict[bytes, tuple[Surveyed, Piece]] = {}

    def add(self, file: Surveyed, piece: Piece, plan: Plan) -> None:
        """From now on a piece counts as stored."""
        self._plans[bytes(piece.id)] = plan
        self._places[bytes(piece.id)] = file, piece

    def __contains__(self, identity: ObjectId) -> bool:
        return bytes(identity) in self._plans

    def entries(self, identity: ObjectId) -> list[Entry]:
        """An entry that says no more than the depth, for a planned piece."""
        plan = self._plans.get(bytes(identity))
        return [] if plan is None else [Entry(bytes(identity), identity.kind, b"", 0, 0, plan.depth)]

    def record(self, identity: ObjectId) -> Record:
        """What would be stored of a planned piece, but for its bytes."""
        plan = self._plans[bytes(identity)]
        length = self._places[bytes(identity)][1].length
        return Record(identity, length, plan.depth, (), plan.recipe, plan.bases, b"")

    def get(self, identity: ObjectId) -> bytes:
        """A file's manifest; pieces are only had in stretches."""
        if isinstance(identity, ManifestId) and identity in self._files:
            return self._files[identity].manifest.to_bytes()
        raise ObjectMissing(f"{identity.word} {identity.short} is only planned")

    def find_prefix(self, hex_prefix: str) -> set[ObjectId]:
        """Files whose ids in hexadecimal form start so."""
        return {identity for identity in self._files if identity.hex().startswith(hex_prefix)}

    def get_part(self, identity: ObjectId, offset: int, length: int) -> bytes:
        """A stretch of a piece, out of the file that has it."""
        file, piece = self._places[bytes(identity)]
        return file.read(piece.offset + offset, length)

    def predict(
        self, bases: Sequence[Base], recipe: Recipe | None, below: int, length: int
    ) -> bytes | memoryview:
        """As for stored objects, out of the files themselves."""
        pieces = [self.get_part(base.id, base.offset, base.length) for base in bases]
        return predict(recipe, pieces, length)


class PlannedIndex(SketchIndex):
    """The sketches of files that are taken for stored; ``hidden`` are first pieces that it does not tell
    of."""

    def __init__(self) -> None:
        self._rows: dict[int, Rows] = {}
        self.hidden: set[bytes] = set()

    def find(self, key: int) -> Rows:
        """The rows of a key, newest last."""
        rows = self._rows.get(key)
        if rows is None:
            return rows_of(ManifestId(bytes(32)), ())
        if not self.hidden:
            return rows
        return rows[[row.tobytes() not in self.hidden for row in rows["blob"]]]

    def add(self, rows: Rows, lives: Callable[[int], bool] | None = None) -> None:
        """Tensors of a file that counts as stored; all live."""
        for key in np.unique(rows["key"]).tolist():
            new = rows[rows["key"] == key]
            old = self._rows.get(key)
            self._rows[key] = new if old is None else np.concatenate([old, new])

    def save(self) -> None:
        """Nothing is stored."""


def sketched_rows(file: Surveyed) -> Rows:
    """A file's rows of the index, as a commit would add them."""
    return rows_of(file.identity, _listed(file))


def first_pieces(file: Surveyed) -> dict[int, BlobId]:
    """The first piece of each tensor, by the tensor's number."""
    return {
        piece.tensor: piece.id for piece in file.pieces if piece.tensor is not None and piece.position == 0
    }


def _listed(file: Surveyed) -> Iterator[NewRow]:
    first = first_pieces(file)
    for place, span in enumerate(file.spans):
        if place not in first:
            continue
        if place in file.sketches:
            yield NewRow(count_of(span), place, first[place], span.dtype, file.sketches[place])
        module = adapter_module(span.name)
        if module is not None:
            yield NewRow(adapter_key(module), place, first[place], span.dtype, None)
