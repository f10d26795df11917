"""Finds recipes for the tensors of a file: by sketches anywhere in the repository, by names in relatives."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mvc.chunking import TENSOR_PIECE
from mvc.objectid import BlobId, ManifestId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.odb.writer import Hint
from mvc.recipes import FINDERS, linear
from mvc.recipes.adapters import FIRST_ADAPTER_KEY, adapter_key, adapter_module, partner_name
from mvc.recipes.known import KnownFile, KnownTensor, plain
from mvc.recipes.library import Library
from mvc.recipes.linear import Combined
from mvc.recipes.moved import Moved
from mvc.recipes.named import by_name, combined, same_tensor
from mvc.recipes.recipe import Candidate, Target, TensorRecipe
from mvc.recipes.similar import LOOKED_AT, Similar, rank_files
from mvc.sketch import KINDS, Sketch, can_sketch, count_of, sketch
from mvc.sketches import NewRow, Rows, kind_of, rows_of
from mvc.spans import Span

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_MOST, _FEWEST = 4096, 32
"""Known tensors of one size that a tensor is compared with."""

_COMPARED = 200_000
"""Comparisons for all tensors of one size in a file."""

_TRIED, _WORTH_A_FIT = 16, 256 << 10
"""After so many tensors in a row that are no merge, those of a file that have fewer bytes are not looked at
for one: a fit takes as long as coding 64 KiB."""

_MOST_RELATIVES = 4


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
    ``operands`` those that it is said to be a combination of; tensors whose recipe is ``stated``, by name,
    are compared with nothing else. Nothing is looked for before the first question, because most files of a
    commit are known. Thread-safe.
    """

    def __init__(
        self,
        library: Library,
        spans: Sequence[Span],
        read: Callable[[int, int], bytes],
        parent: KnownFile | None,
        relatives: Sequence[KnownFile] = (),
        operands: Sequence[KnownFile] = (),
        stated: Mapping[str, TensorRecipe] | None = None,
    ) -> None:
        self._library = library
        self._spans = spans
        self._stated = stated or {}
        self._read = read
        self._parent = parent
        self._relatives = list(relatives)
        self._operands = list(operands)
        self._choices: dict[int, Choice] | None = None
        self._sketches: dict[int, Sketch] = {}
        self._fruitless = 0  # tensors in a row that no fit was found for
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
        ranking = rank_files([similar for similar in seen.values() if similar.identical is False])
        stated = {id(span): recipe for span, recipe in self._possible()}
        others = [span for span in self._spans if id(span) not in stated]
        found = {
            id(span): list(self._by_sketch(span, seen[id(span)], ranking)) if id(span) in seen else []
            for span in others
        }
        relatives = self._near_files(found.values(), ranking, seen.values())
        for span in others:
            if not found[id(span)]:
                found[id(span)] = list(by_name(span, relatives, self._read, self._library.database))
        merged = self._merged(found.values())
        for span in others:
            found[id(span)] = [*self._said(span), *combined(span, merged), *found[id(span)]]
        found.update({place: [recipe] for place, recipe in stated.items()})
        return {place: Choice(self._library.database, recipes) for place, recipes in found.items()}

    def _possible(self) -> Iterator[tuple[Span, TensorRecipe]]:
        """The tensors whose recipe is stated, unless its operands lie too deep to be predicted from."""
        for span in self._spans:
            recipe = self._stated.get(span.name)
            probe = bytes(min(span.length, TENSOR_PIECE))
            if recipe is not None and recipe.hint(self._library.database, 0, probe) is not None:
                yield span, recipe

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
        yield from combined(span, self._operands)
        for file in self._relatives:
            known = same_tensor(file, span)
            if known is not None:
                yield Moved(known)

    def _near_files(
        self,
        found: Iterable[Sequence[TensorRecipe]],
        ranking: Mapping[int, float],
        seen: Iterable[Similar],
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

    def _look(self, span: Span) -> Similar:
        values = sketch(span, lambda offset, length: self._read(span.offset + offset, length))
        self._sketches[id(span)] = values
        return Similar(values, self._alike[count_of(span)], KINDS.index(span.dtype))

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
        self, span: Span, similar: Similar, ranking: Mapping[int, float]
    ) -> Iterator[TensorRecipe]:
        near = [self._candidate(similar.rows[place], *item) for place, *item in similar.near(ranking)]
        target = Target(
            span,
            similar.values,
            near,
            partial(self._all_of, similar.rows),
            partial(self._adapters, span),
            self._plain,
        )
        moved = False
        for find in FINDERS:
            fits = find is linear.find
            if fits and self._fruitless >= _TRIED and span.length < _WORTH_A_FIT:
                continue
            recipes = list(find(target))
            if fits:
                self._fruitless = 0 if recipes else self._fruitless + 1
            moved = moved or any(isinstance(recipe, Moved) for recipe in recipes)
            yield from recipes
        parent = None if self._parent is None else same_tensor(self._parent, span)
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

    def _plain(self, tensor: KnownTensor, position: int, length: int) -> bytes | None:
        return plain(self._library.database, tensor.stretches(position, length))

    def _adapters(self, span: Span) -> list[tuple[KnownTensor, KnownTensor]]:
        module = span.name.removesuffix(".weight")
        found: list[tuple[KnownTensor, KnownTensor]] = []
        for row in self._library.index.find(adapter_key(module))[::-1][:LOOKED_AT]:
            first = self._known(row)
            second = None if first is None else first.file.named(partner_name(first.span.name))
            if first is not None and second is not None:
                found.append((first, second))
        return found
