"""Finds recipes for the tensors of a file: by sketches anywhere in the repository, by names in relatives."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from mvc.dtypes import DTYPES
from mvc.errors import DamageError, UnsupportedFeature
from mvc.objectid import BlobId, ManifestId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.odb.writer import Hint
from mvc.predictors.floats import FLOATS
from mvc.recipes import FINDERS, linear
from mvc.recipes.adapters import FIRST_ADAPTER_KEY, adapter_key, adapter_module, partner_name
from mvc.recipes.cast import CASTS, Cast
from mvc.recipes.known import KnownFile, KnownTensor
from mvc.recipes.linear import Combined
from mvc.recipes.moved import Moved
from mvc.recipes.quantise import SOURCES, Scales
from mvc.recipes.recipe import NEAR, Candidate, Target, TensorRecipe
from mvc.recipes.rows import Grown
from mvc.sketch import KINDS, Sketch, can_sketch, count_of, distances, sketch
from mvc.sketches import NewRow, Rows, SketchIndex, kind_of, rows_of, short_name
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_LOOKED_AT = 24
"""Candidates of a tensor that are looked at."""

_MOST, _FEWEST = 4096, 32
"""Known tensors of one size that a tensor is compared with."""

_COMPARED = 200_000
"""Comparisons for all tensors of one size in a file."""

_TRIED, _WORTH_A_FIT = 16, 256 << 10
"""After so many tensors that are no merge, those of a file that have fewer bytes are not looked at for one: a
fit takes as long as coding 64 KiB."""

_CLEARLY = 0.75
"""Bits by which another tensor must be nearer than that of the file which is nearest in the mean."""

_MISSING = 8.0
"""How far a file counts from a tensor that it has nothing like."""

_MOST_RELATIVES = 4

_SCALES = ("_scale", ".scale", "_scales", ".scales", "_scale_inv")
"""How names of scales go on behind the name of the tensor that they belong to."""
_KEPT_TENSORS = 100_000  # of files whose tables stay in memory


class Library:
    """The files that a repository holds, by the first bytes of their manifests' ids. Thread-safe."""

    def __init__(self, database: ObjectDatabase, index: SketchIndex) -> None:
        self.database = database
        self.index = index
        self._files: dict[int, KnownFile | None] = {}
        self._kept = 0
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
        self.index.add(recipes.rows(identity, manifest), self._lives)

    def save(self) -> None:
        """Store the sketches of what was learned."""
        self.index.save()

    def _file(self, name: int, identity: ManifestId | None) -> KnownFile | None:
        with self._lock:
            if name not in self._files:
                self._keep(name, self._read(name, identity or self._new.get(name)))
            return self._files[name]

    def _keep(self, name: int, file: KnownFile | None) -> None:
        self._drop(name)
        while self._kept > _KEPT_TENSORS:
            self._drop(next(iter(self._files)))
        self._files[name] = file
        self._kept += 0 if file is None else 1 + len(file.tensors)

    def _drop(self, name: int) -> None:
        file = self._files.pop(name, None)
        self._kept -= 0 if file is None else 1 + len(file.tensors)

    def _lives(self, name: int) -> bool:
        return name in self._new or self._stored(name) is not None

    def _stored(self, name: int) -> ManifestId | None:
        found = self.database.find_prefix(name.to_bytes(8, "little").hex())
        return next((one for one in found if isinstance(one, ManifestId)), None)

    def _read(self, name: int, identity: ManifestId | None) -> KnownFile | None:
        identity = identity or self._stored(name)
        if identity is None:
            return None
        try:
            return KnownFile(identity, Manifest.from_bytes(self.database.get(identity)))
        except (DamageError, UnsupportedFeature) as error:
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
            with np.errstate(all="ignore"):  # weights may hold anything
                found = recipe.hint(self._database, position, piece)
            if found is not None:
                yield recipe, found


class FileRecipes:
    """Recipes for the tensors of a file with these spans; ``read`` gives bytes of the file.

    ``parent`` is the file's earlier version, ``relatives`` other files that it is said to come from,
    ``operands`` those that it is said to be a combination of. Nothing is looked for before the first
    question, because most files of a commit are known. Thread-safe.
    """

    def __init__(
        self,
        library: Library,
        spans: Sequence[Span],
        read: Callable[[int, int], bytes],
        parent: KnownFile | None,
        relatives: Sequence[KnownFile] = (),
        operands: Sequence[KnownFile] = (),
    ) -> None:
        self._library = library
        self._spans = spans
        self._read = read
        self._parent = parent
        self._relatives = list(relatives)
        self._operands = list(operands)
        self._choices: dict[int, Choice] | None = None
        self._sketches: dict[int, Sketch] = {}
        self._no_merge = 0
        self._lock = threading.Lock()

    def choice(self, span: Span) -> Choice:
        """The recipes of a tensor of this file."""
        with self._lock:
            if self._choices is None:
                with np.errstate(all="ignore"):
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
        seen = {id(span): self._look(span) for span in self._spans if can_sketch(span)}
        ranking = _rank([similar for similar in seen.values() if similar.identical is False])
        found = {
            id(span): list(self._by_sketch(span, seen[id(span)], ranking)) if id(span) in seen else []
            for span in self._spans
        }
        relatives = self._near_files(found.values(), ranking, seen.values())
        for span in self._spans:
            if not found[id(span)]:
                found[id(span)] = list(_by_name(span, relatives, self._read, self._library.database))
        merged = self._merged(found.values())
        for span in self._spans:
            found[id(span)] = [*self._said(span), *_together(span, merged), *found[id(span)]]
        return {place: Choice(self._library.database, recipes) for place, recipes in found.items()}

    def _merged(self, found: Iterable[Sequence[TensorRecipe]]) -> tuple[KnownFile, ...]:
        """The files that several tensors are a combination of: then others will be too, whose sketches are
        too much alike to show it."""
        votes = Counter(
            tuple(operand.file for operand in recipe.operands)
            for recipes in found
            for recipe in recipes
            if isinstance(recipe, Combined)
        )
        files, count = votes.most_common(1)[0] if votes else ((), 0)
        return files if count > 1 else ()

    def _said(self, span: Span) -> Iterator[TensorRecipe]:
        """What the user's word makes of a tensor."""
        yield from _together(span, self._operands)
        for file in self._relatives:
            known = _same(file, span)
            if known is not None:
                yield Moved(known)

    def _near_files(
        self,
        found: Iterable[Sequence[TensorRecipe]],
        ranking: Mapping[int, float],
        seen: Iterable[_Similar],
    ) -> list[KnownFile]:
        """The files whose tensors of the same names are worth a look: those that lineage names, those that
        recipes lead to, those that are near in the mean, and those that have equal tensors."""
        files = [*([] if self._parent is None else [self._parent]), *self._relatives]
        votes = Counter(recipes[0].operands[0].file for recipes in found if recipes)
        files += [file for file, _count in votes.most_common(_MOST_RELATIVES)]
        names = Counter(similar.newest for similar in seen if similar.newest is not None)
        for name in (*ranking, *(name for name, _count in names.most_common(_MOST_RELATIVES))):
            file = self._library.short(name) if len(set(files)) < _MOST_RELATIVES else None
            if file is not None:
                files.append(file)
        return list(dict.fromkeys(files))

    def _look(self, span: Span) -> _Similar:
        values = sketch(span, lambda offset, length: self._read(span.offset + offset, length))
        self._sketches[id(span)] = values
        return _Similar(values, self._alike[count_of(span)], KINDS.index(span.dtype))

    @cached_property
    def _alike(self) -> dict[int, Rows]:
        """For each number of elements the newest known tensors: as many as keep the work for a file bounded.

        Where it has thousands of one size, what some of them say of its relatives must do, and names for the
        rest.
        """
        counts = Counter(count_of(span) for span in self._spans if can_sketch(span))
        return {
            count: self._library.index.find(count)[-max(_FEWEST, min(_MOST, _COMPARED // number)) :]
            for count, number in counts.items()
        }

    def _by_sketch(
        self, span: Span, similar: _Similar, ranking: Mapping[int, float]
    ) -> Iterator[TensorRecipe]:
        near = [self._candidate(similar.rows[place], *item) for place, *item in similar.near(ranking)]
        target = Target(
            span,
            similar.values,
            near,
            partial(self._all_of, similar.rows),
            partial(self._adapters, span),
        )
        moved = False
        for find in FINDERS:
            if find is linear.find and self._no_merge >= _TRIED and span.length < _WORTH_A_FIT:
                continue
            for recipe in find(target):
                moved = moved or isinstance(recipe, Moved)
                self._no_merge -= _TRIED * isinstance(recipe, Combined)
                yield recipe
            self._no_merge += find is linear.find
        parent = None if self._parent is None else _same(self._parent, span)
        if parent is not None and not moved:  # the index was lost, or the tensor moved far
            yield Moved(parent)

    def _all_of(self, rows: Rows, dtype: str) -> Iterator[Candidate]:
        for row in rows[rows["kind"] == KINDS.index(dtype)][::-1]:
            yield self._candidate(row, inf, inf)

    def _candidate(self, row: Rows, distance: float, score: float) -> Candidate:
        kind = int(row["kind"])
        dtype = KINDS[kind] if kind < len(KINDS) else ""
        return Candidate(
            dtype, row["values"], distance, score, partial(self._known, row), partial(self._depth, row)
        )

    def _depth(self, row: Rows) -> int | None:
        entries = self._library.database.entries(BlobId(row["blob"].tobytes()))
        return entries[0].depth if entries else None

    def _known(self, row: Rows) -> KnownTensor | None:
        file = self._library.short(int(row["manifest"]))
        known = None if file is None else file.at(int(row["tensor"]))
        if known is None:
            return None
        span = known.span
        if span.strides is not None or int(row["kind"]) != kind_of(span.dtype):
            return None  # another file's row, or a damaged one
        key = int(row["key"])
        if key < FIRST_ADAPTER_KEY and not (can_sketch(span) and count_of(span) == key):
            return None
        return known

    def _adapters(self, span: Span) -> list[tuple[KnownTensor, KnownTensor]]:
        module = span.name.removesuffix(".weight")
        found: list[tuple[KnownTensor, KnownTensor]] = []
        for row in self._library.index.find(adapter_key(module))[::-1][:_LOOKED_AT]:
            first = self._known(row)
            second = None if first is None else first.file.named(partner_name(first.span.name))
            if first is not None and second is not None:
                found.append((first, second))
        return found


class _Similar:
    """The known tensors of as many elements as one that is to be stored, and how far they are from it."""

    def __init__(self, values: Sketch, rows: Rows, kind: int) -> None:
        self.values = values
        self.rows = rows
        self.distances = distances(values, rows["values"])
        self.same = rows["kind"] == kind
        nearest = self.distances[self.same].min(initial=np.inf)
        self.identical: bool | None = None if nearest > NEAR else bool(nearest == 0)
        equal = np.flatnonzero(self.same & (self.distances == 0))
        self.newest = int(rows["manifest"][equal[-1]]) if equal.size else None

    def near(self, ranking: Mapping[int, float]) -> list[tuple[int, float, float]]:
        """Places, distances and scores of the nearest, best score first.

        A sketch alone is too short to tell siblings apart, so what all tensors of a file together say goes
        before it, unless it is clearly wrong.
        """
        # newest first among equals
        order = self.rows.size - 1 - np.argsort(self.distances[::-1], kind="stable")[:_LOOKED_AT]
        within = self.distances[self.same].min(initial=np.inf) + _CLEARLY
        found = []
        for place in order.tolist():
            distance = float(self.distances[place])
            score = ranking.get(int(self.rows["manifest"][place])) if self.same[place] else None
            found.append((place, distance, distance if score is None or distance > within else score))
        return sorted(found, key=itemgetter(2))


def _rank(seen: Sequence[_Similar]) -> dict[int, float]:
    """Files by how far their tensors are from those of the file that is to be stored, in the mean: the least
    first."""
    if not seen:
        return {}
    totals: dict[int, float] = {}
    for similar in seen:
        rows, apart = similar.rows[similar.same], similar.distances[similar.same]
        names, inverse = np.unique(rows["manifest"], return_inverse=True)
        nearest = np.full(names.size, _MISSING)
        np.minimum.at(nearest, inverse, apart)
        for name, distance in zip(names.tolist(), nearest.tolist(), strict=True):
            totals[name] = totals.get(name, 0.0) + distance - _MISSING
    ranked = sorted(totals, key=lambda name: totals[name])
    return {name: _MISSING + totals[name] / len(seen) for name in ranked}


def _together(span: Span, files: Sequence[KnownFile]) -> Iterator[TensorRecipe]:
    """The combination of the tensors of that name in some files."""
    operands = [known for known in (_same(file, span) for file in files) if known is not None]
    if len(operands) > 1 and len(operands) == len(files) and span.strides is None and span.dtype in FLOATS:
        yield Combined(operands, span.dtype)


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
        if known.span.shape == span.shape and {known.span.dtype, span.dtype} <= CASTS:
            yield Cast(known, span.dtype)
            return
        if known.span.dtype == span.dtype and len(span.shape) > 1 and known.span.shape[1:] == span.shape[1:]:
            yield Grown(known, span, read, database)
            return
    for file in relatives:
        suffix = next((suffix for suffix in _SCALES if span.name.endswith(suffix)), None)
        source = None if suffix is None else file.named(span.name.removesuffix(suffix))
        if source is not None and _are_scales(source.span, span):
            yield Scales(source, span)
            return


def _are_scales(source: Span, span: Span) -> bool:
    """Whether a tensor may hold the scales of another's rows, or of parts of them."""
    if (
        source.dtype not in SOURCES
        or span.dtype not in SOURCES
        or source.strides
        or span.strides
        or not span.length
    ):
        return False
    scales = span.length // DTYPES[span.dtype].width
    elements = source.length // DTYPES[source.dtype].width
    return 1 < scales < elements and elements % scales == 0
