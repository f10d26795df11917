"""Finds recipes for the tensors of a file: by sketches anywhere in the repository, by names in relatives."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mvc.dtypes import DTYPES
from mvc.errors import DamageError
from mvc.objectid import BlobId, ManifestId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.odb.writer import Hint
from mvc.recipes import FINDERS
from mvc.recipes.adapters import adapter_key, adapter_module, partner_name
from mvc.recipes.cast import Cast
from mvc.recipes.known import KnownFile, KnownTensor
from mvc.recipes.moved import Moved
from mvc.recipes.recipe import Candidate, Target, TensorRecipe
from mvc.recipes.rows import Grown
from mvc.sketch import KINDS, Sketch, can_sketch, count_of, distances, sketch
from mvc.sketches import NewRow, Rows, SketchIndex, rows_of, short_name
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

NEAREST = 24
"""Candidates of a tensor that are looked at."""

_RELATIVES = 2
_KEPT_TENSORS = 100_000  # of files whose tables stay in memory


class Library:
    """The files that a repository holds, by the first bytes of their manifests' ids. Thread-safe."""

    def __init__(self, database: ObjectDatabase, index: SketchIndex) -> None:
        self.database = database
        self.index = index
        self._files: dict[int, KnownFile | None] = {}
        self._new: dict[int, ManifestId] = {}
        self._lock = threading.Lock()

    def file(self, identity: ManifestId) -> KnownFile | None:
        """A file by its manifest's id; None where it cannot be read, which the monitor hears."""
        return self._file(short_name(identity), identity)

    def short(self, name: int) -> KnownFile | None:
        """A file by what a row of the index keeps of its id; None where there is none."""
        return self._file(name, None)

    def learn(self, identity: ManifestId, manifest: Manifest, recipes: FileRecipes) -> None:
        """A file was stored: from now on others find it."""
        name = short_name(identity)
        with self._lock:
            self._new[name] = identity
            self._keep(name, KnownFile(identity, manifest))
        self.index.add(recipes.rows(identity, manifest))

    def save(self) -> None:
        """Store the sketches of what was learned."""
        self.index.save()

    def _file(self, name: int, identity: ManifestId | None) -> KnownFile | None:
        with self._lock:
            if name not in self._files:
                self._keep(name, self._read(name, identity or self._new.get(name)))
            return self._files[name]

    def _keep(self, name: int, file: KnownFile | None) -> None:
        while sum(len(kept.tensors) for kept in self._files.values() if kept) > _KEPT_TENSORS:
            self._files.pop(next(iter(self._files)))
        self._files[name] = file

    def _read(self, name: int, identity: ManifestId | None) -> KnownFile | None:
        if identity is None:
            found = self.database.find_prefix(name.to_bytes(8, "little").hex())
            identity = next((one for one in found if isinstance(one, ManifestId)), None)
        if identity is None:
            return None
        try:
            return KnownFile(identity, Manifest.from_bytes(self.database.get(identity)))
        except DamageError as error:
            self.database.note_damage(f"{error.message}; stored without it as a base")
            return None


class Choice:
    """The recipes of one tensor, of which the first piece that is stored chooses one."""

    def __init__(self, database: ObjectDatabase, recipes: Sequence[TensorRecipe]) -> None:
        self.recipes = list(recipes)
        self.lock = threading.Lock()
        self._database = database

    def settle(self, recipe: TensorRecipe | None) -> None:
        """From now on only this one is used, or none."""
        self.recipes = [] if recipe is None else [recipe]

    def hints(self, position: int, piece: Buffer) -> Iterator[tuple[TensorRecipe, Hint]]:
        """What the recipes say of a piece that begins ``position`` bytes into the tensor."""
        for recipe in self.recipes:
            found = recipe.hint(self._database, position, piece)
            if found is not None:
                yield recipe, found


class FileRecipes:
    """Recipes for the tensors of a file with these spans; ``read`` gives bytes of the file.

    ``parent`` is the file's earlier version, ``relatives`` other files that it is said to come from. Nothing
    is looked for before the first question, because most files of a commit are known. Thread-safe.
    """

    def __init__(
        self,
        library: Library,
        spans: Sequence[Span],
        read: Callable[[int, int], bytes],
        parent: KnownFile | None,
        relatives: Sequence[KnownFile] = (),
    ) -> None:
        self._library = library
        self._spans = spans
        self._read = read
        self._parent = parent
        self._relatives = list(relatives)
        self._choices: dict[int, Choice] | None = None
        self._sketches: dict[int, Sketch] = {}
        self._lock = threading.Lock()

    def choice(self, span: Span) -> Choice:
        """The recipes of a tensor of this file."""
        with self._lock:
            if self._choices is None:
                self._choices = self._find()
            return self._choices[id(span)]

    def rows(self, identity: ManifestId, manifest: Manifest) -> Rows:
        """Rows of the index for the stored file; none where nobody asked for a recipe, because then all of
        it was known."""
        with self._lock:
            if self._choices is None:
                return rows_of(identity, ())
            return rows_of(identity, self._listed(manifest))

    def _listed(self, manifest: Manifest) -> Iterator[NewRow]:
        blobs = {offset: part.blob for offset, part in manifest.placed_parts()}
        for place, span in enumerate(manifest.tensors):
            blob, values = blobs.get(span.offset), self._sketches.get(id(span))
            if not isinstance(blob, BlobId):
                continue
            if values is not None:
                yield NewRow(count_of(span), place, blob, span.dtype, values)
            module = adapter_module(span.name)
            if module is not None:
                yield NewRow(adapter_key(module), place, blob, span.dtype, None)

    def _find(self) -> dict[int, Choice]:
        found: dict[int, list[TensorRecipe]] = {}
        votes: Counter[ManifestId] = Counter()
        files: dict[ManifestId, KnownFile] = {}
        for span in self._spans:
            recipes = found[id(span)] = list(self._by_sketch(span)) if can_sketch(span) else []
            for file in {operand.file for recipe in recipes[:1] for operand in recipe.operands}:
                votes[file.identity] += span.length
                files[file.identity] = file
        relatives = self._relatives + [files[name] for name, _bytes in votes.most_common(_RELATIVES)]
        if self._parent is not None:
            relatives = [self._parent, *relatives]
        for span in self._spans:
            if not found[id(span)]:
                found[id(span)] = list(_by_name(span, relatives, self._read, self._library.database))
        return {identity: Choice(self._library.database, recipes) for identity, recipes in found.items()}

    def _by_sketch(self, span: Span) -> Iterator[TensorRecipe]:
        values = sketch(span, lambda offset, length: self._read(span.offset + offset, length))
        self._sketches[id(span)] = values
        rows = self._library.index.find(count_of(span))
        target = Target(
            span, values, self._near(values, rows), partial(self._all_of, rows), partial(self._adapters, span)
        )
        moved = False
        for find in FINDERS:
            for recipe in find(target):
                moved = moved or isinstance(recipe, Moved)
                yield recipe
        parent = None if self._parent is None else _same(self._parent, span)
        if parent is not None and not moved:  # the index was lost, or the tensor moved far
            yield Moved(parent)

    def _near(self, values: Sketch, rows: Rows) -> list[Candidate]:
        if not rows.size:
            return []
        apart = distances(values, rows["values"])
        # newest first among equals, and each sketch once: copies say nothing new
        order = np.argsort(apart[::-1], kind="stable")[: 4 * NEAREST]
        near: dict[tuple[int, bytes], Candidate] = {}
        for place in rows.size - 1 - order:
            row = rows[place]
            near.setdefault(
                (int(row["kind"]), row["values"].tobytes()), self._candidate(row, float(apart[place]))
            )
        return list(near.values())[:NEAREST]

    def _all_of(self, rows: Rows, dtype: str) -> Iterator[Candidate]:
        for row in rows[rows["kind"] == KINDS.index(dtype)][::-1]:
            yield self._candidate(row, 0.0)

    def _candidate(self, row: Rows, distance: float) -> Candidate:
        kind = int(row["kind"])
        dtype = KINDS[kind] if kind < len(KINDS) else ""
        return Candidate(dtype, row["values"], distance, partial(self._known, row), partial(self._depth, row))

    def _depth(self, row: Rows) -> int | None:
        entries = self._library.database.entries(BlobId(row["blob"].tobytes()))
        return entries[0].depth if entries else None

    def _known(self, row: Rows) -> KnownTensor | None:
        file = self._library.short(int(row["manifest"]))
        place = int(row["tensor"])
        if file is None or place >= len(file.tensors):
            return None
        span = file.tensors[place]
        return None if span.strides is not None or span.dtype not in DTYPES else KnownTensor(file, span)

    def _adapters(self, span: Span) -> list[tuple[KnownTensor, KnownTensor]]:
        module = span.name.removesuffix(".weight")
        found: list[tuple[KnownTensor, KnownTensor]] = []
        for row in self._library.index.find(adapter_key(module))[::-1][:NEAREST]:
            first = self._known(row)
            second = None if first is None else first.file.named(partner_name(first.span.name))
            if first is not None and second is not None:
                found.append((first, second))
        return found


def _same(file: KnownFile, span: Span) -> KnownTensor | None:
    """The tensor of a file that has a span's name, dtype, shape and strides."""
    known = file.named(span.name)
    if known is None:
        return None
    other = known.span
    same = (other.dtype, other.shape, other.strides) == (span.dtype, span.shape, span.strides)
    return known if same else None


def _by_name(
    span: Span,
    relatives: Sequence[KnownFile],
    read: Callable[[int, int], bytes],
    database: ObjectDatabase,
) -> Iterator[TensorRecipe]:
    """What the same name stands for in relatives."""
    for file in relatives:
        known = _same(file, span)
        if known is not None:
            yield Moved(known)
            return
    for file in relatives:
        known = file.named(span.name)
        if known is None or known.span.strides is not None or span.strides is not None:
            continue
        if known.span.shape == span.shape and {known.span.dtype, span.dtype} <= set(KINDS) - {"I8"}:
            yield Cast(known, span.dtype)
            return
        if known.span.dtype == span.dtype and len(span.shape) > 1 and known.span.shape[1:] == span.shape[1:]:
            yield Grown(known, span, read, database)
            return
