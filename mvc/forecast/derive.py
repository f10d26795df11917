"""Tensors that were calculated from others: which recipe gives the samples of one exactly. That says the
direction too, because what was rounded, pruned or merged does not give back what it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mvc.dtypes import DTYPES
from mvc.forecast.numbers import numbers_of
from mvc.forecast.planned import Plan, PlannedIndex, PlannedObjects, first_pieces, sketched_rows
from mvc.forecast.survey import Content, Surveyed
from mvc.forecast.trial import explained, predict
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.predictors.floats import FLOATS
from mvc.recipes.finder import FileRecipes
from mvc.recipes.known import KnownFile, KnownTensor
from mvc.recipes.library import Library
from mvc.recipes.linear import Combined
from mvc.recipes.lora import Merged
from mvc.recipes.prune import Pruned
from mvc.recipes.quantise import Quantised
from mvc.recipes.recipe import NEAR, TensorRecipe
from mvc.recipes.rows import Grown
from mvc.sketch import KINDS, count_of, distances
from mvc.spans import Span

_LEAST = {"cast": 0.999, "prune": 0.99, "quantise": 0.97, "merge": 0.97, "LoRA merge": 0.97}
"""For each relation the share of sampled elements that must be right. Whoever merged or quantised may have
calculated with other precision than mvc; a cast leaves no choice."""

_AS_GOOD = 0.002
_PRUNED = 16  # operands of a pruned tensor that are tried
_QUANTISED = 3  # operands of a quantised one, if the first is not right: to find out takes long
_MERGED = 4  # weights that each adapter may have been merged into
_CERTAIN = 0.9999
_CONVINCED = 4  # tensors that say the same, until the rest of a file is not asked
_STRETCH = 32  # elements

_ROWS = 0.9  # of the rows that a grown tensor had before, those that stayed
_SOME_ROWS = 0.05


class Derivation(NamedTuple):
    """How a tensor was made: the relation, what it was made from, and the share of its sample that is
    exactly so; ``dtype`` is that of the first operand."""

    relation: str
    operands: tuple[Content, ...]
    share: float
    dtype: str = ""


@dataclass(slots=True)
class _Memory:
    """What the tensors of one file that came first have shown: the type that they were quantised from, from
    which files how many were, how many were not merged with an adapter that there is, and what files they are
    a combination of."""

    dtype: str = ""
    quantised: Counter[ManifestId] = field(default_factory=Counter)
    not_merged: int = 0
    combined: Counter[tuple[ManifestId, ...]] = field(default_factory=Counter)


class Derivations:
    """Finds out, for the tensors of some files, which were calculated from others among them."""

    def __init__(self, files: Mapping[ManifestId, Surveyed], monitor: Monitor) -> None:
        self._files = files
        self._objects = PlannedObjects(files, monitor)
        self._index = PlannedIndex()
        self._library = Library(self._objects, self._index)
        self._first: dict[Content, bytes] = {}
        self._holders: dict[Content | None, list[Surveyed]] = {}
        for file in files.values():
            self._take_in(file)

    def _take_in(self, file: Surveyed) -> None:
        for piece in file.pieces:
            self._objects.add(file, piece, Plan())
        rows = sketched_rows(file)
        seen = set(self._first.values())
        self._index.add(rows[[row.tobytes() not in seen for row in rows["blob"]]])
        for place, blob in first_pieces(file).items():
            content = file.contents[place]
            if content is not None:
                self._holders.setdefault(content, []).append(file)
                self._first.setdefault(content, bytes(blob))

    def all(self) -> dict[Content, tuple[Derivation, ...]]:
        """How each tensor that was calculated may have been: the best ones, where a sample does not tell
        relatives apart several."""
        found: dict[Content, tuple[Derivation, ...]] = {}
        done: set[Content] = set()
        for file in self._files.values():
            places = [place for place in file.sketches if file.contents[place] not in done]
            self._index.hidden = {
                self._first[content]
                for content in file.contents
                if content is not None and content in self._first
            }
            done.update(content for content in file.contents if content is not None)
            recipes = FileRecipes(self._library, [file.spans[place] for place in places], file.read, None)
            memory = _Memory()
            for place in places:
                content = file.contents[place]
                ways = self._ways(file, place, recipes.choice(file.spans[place]).recipes, memory)
                if ways and content is not None:
                    found[content] = ways
                if content is not None and any(way.relation == "merge" for way in ways):
                    memory.combined[self._merged_from(ways)] += 1
            for place in places:
                content = file.contents[place]
                if content is None or (content in found and found[content][0].share >= _CERTAIN):
                    continue
                combined = self._combined(file, place, memory)
                if combined is not None:
                    found[content] = (combined,)
        self._index.hidden = set()
        return {
            content: kept
            for content, ways in found.items()
            if (kept := tuple(way for way in ways if not _was_widened(content, way, found)))
        }

    def _ways(
        self, file: Surveyed, place: int, recipes: Sequence[TensorRecipe], memory: _Memory
    ) -> tuple[Derivation, ...]:
        assumed = self._assumed(file, place, recipes, memory)
        if assumed is not None:
            return (assumed,)
        ways: list[Derivation] = []
        adapters: set[Sequence[KnownTensor]] = set()
        # what was right for other tensors of the file first
        for recipe in sorted(recipes, key=lambda recipe: recipe.operands[0].span.dtype != memory.dtype):
            if isinstance(recipe, Quantised) and any(way.share >= _CERTAIN for way in ways):
                continue
            if isinstance(recipe, Merged):
                if recipe.operands[1:] in adapters or memory.not_merged >= _CONVINCED:
                    continue
                if any(way.share >= _CERTAIN for way in ways):
                    continue
                adapters.add(recipe.operands[1:])
            found = list(self._tried_all(file, place, recipe))
            ways += [way for way in found if way.share >= _LEAST[way.relation]]
            if isinstance(recipe, Quantised) and ways:
                memory.dtype = max(ways, key=lambda way: way.share).dtype
        if adapters and not any(way.relation == "LoRA merge" for way in ways):
            memory.not_merged += 1
        best = max((way.share for way in ways), default=0.0)
        kept = tuple(way for way in ways if way.share >= best - _AS_GOOD)
        if kept and best >= _CERTAIN and kept[0].relation == "quantise":
            memory.quantised.update(
                holder.identity for way in kept for holder in self._holders[way.operands[0]]
            )
        return kept

    def _merged_from(self, ways: Sequence[Derivation]) -> tuple[ManifestId, ...]:
        """The files of the operands of a merge."""
        way = next(way for way in ways if way.relation == "merge")
        return tuple(self._holders[operand][0].identity for operand in way.operands)

    def _combined(self, file: Surveyed, place: int, memory: _Memory) -> Derivation | None:
        """A tensor as the combination of the files that most others of its file are a combination of: a
        sketch is short, and does not show every one."""
        span = file.spans[place]
        if not memory.combined or span.dtype not in FLOATS:
            return None
        tensors: list[KnownTensor] = []
        for identity in memory.combined.most_common(1)[0][0]:
            known = self._library.file(identity)
            tensor = None if known is None else known.named(span.name)
            if tensor is None or (tensor.span.dtype, tensor.span.shape) != (span.dtype, span.shape):
                return None
            tensors.append(tensor)
        made = self._tried(file, place, Combined(tensors, span.dtype))
        return made if made is not None and made.share >= _LEAST[made.relation] else None

    def _assumed(
        self, file: Surveyed, place: int, recipes: Sequence[TensorRecipe], memory: _Memory
    ) -> Derivation | None:
        """What a quantised tensor was made from, where several of the same file were made from one file's:
        to find out takes long."""
        if not any(isinstance(recipe, Quantised) for recipe in recipes) or not memory.quantised:
            return None
        times = max(memory.quantised.values())
        if times < _CONVINCED:
            return None
        span = file.spans[place]
        tensors: list[KnownTensor] = []
        for identity in sorted(one for one, number in memory.quantised.items() if number == times):
            known = self._library.file(identity)
            tensor = None if known is None else known.named(span.name)
            if tensor is not None and count_of(tensor.span) == count_of(span):
                tensors.append(tensor)
        if not tensors:
            return None
        tensor = min(tensors, key=lambda tensor: self._misfit(file, place, tensor))
        content = self._held(tensor)
        if content is None:
            return None
        memory.quantised.update(holder.identity for holder in self._holders[content])
        return Derivation("quantise", (content,), 1.0, tensor.span.dtype)

    def _tried_all(self, file: Surveyed, place: int, recipe: TensorRecipe) -> Iterator[Derivation]:
        """A recipe, and those that look the same on sketches: the finders stop at the newest operand."""
        span = file.spans[place]
        recipes: list[TensorRecipe] = [recipe]
        if isinstance(recipe, Merged):
            weight, down, up = recipe.operands
            near = sorted(
                self._alike(weight),
                key=lambda other: (-self._shared(file, other), self._distance(file, place, other)),
            )
            recipes = [Merged(other, down, up, span) for other in near[:_MERGED]]
        elif isinstance(recipe, Pruned):
            recipes = [Pruned(other) for other in self._alike(recipe.operands[0])[:_PRUNED]]
        elif isinstance(recipe, Quantised):
            alike = self._alike(recipe.operands[0])
            misfits = {other: self._misfit(file, place, other) for other in alike}
            recipes = [
                Quantised(other, span) for other in sorted(alike, key=misfits.__getitem__)[:_QUANTISED]
            ]
        for one in recipes:
            made = self._tried(file, place, one)
            if made is not None:
                yield made
                if made.relation != "prune" and made.share >= _CERTAIN:
                    return

    def _alike(self, operand: KnownTensor) -> list[KnownTensor]:
        """Tensors of the same type that are near to one, that one first."""
        place = operand.file.tensors.index(operand.span)
        values = self._files[operand.file.identity].sketches[place]
        rows = self._index.find(count_of(operand.span))
        rows = rows[rows["kind"] == KINDS.index(operand.span.dtype)]
        apart = distances(values, rows["values"])
        found = [operand]
        for number in np.argsort(apart, kind="stable").tolist():
            file = self._library.short(int(rows[number]["manifest"]))
            if file is None or apart[number] > NEAR:
                break
            other = KnownTensor(file, file.tensors[int(rows[number]["tensor"])])
            if other.span != operand.span or file is not operand.file:
                found.append(other)
        return found

    def _shared(self, file: Surveyed, other: KnownTensor) -> int:
        """How many tensors a file has from the one that holds another tensor, as far as is known."""
        own = set(file.contents)
        held = self._holders.get(self._held(other), ())
        return max((len(own & set(holder.contents)) for holder in held), default=0)

    def _distance(self, file: Surveyed, place: int, other: KnownTensor) -> float:
        """How far the samples of two tensors are apart."""
        there = self._files[other.file.identity]
        where = other.file.tensors.index(other.span)
        now = numbers_of(file.sample(place, file.runs[place][0]), file.spans[place].dtype)
        if not there.runs[where]:
            return np.inf
        before = numbers_of(there.sample(where, there.runs[where][0]), other.span.dtype)
        return float(np.linalg.norm(now - before)) if now.size == before.size else np.inf

    def _misfit(self, file: Surveyed, place: int, source: KnownTensor) -> float:
        """How far a source's numbers are from whole multiples of a scale that the target says, in units, on
        short stretches, which mostly have one scale each."""
        span, other = file.spans[place], self._files[source.file.identity]
        where = source.file.tensors.index(source.span)
        if not other.runs[where] or DTYPES[span.dtype].elements > 1 or span.dtype not in FLOATS | {"I8"}:
            return 0.0
        now = numbers_of(file.sample(place, file.runs[place][0]), span.dtype)
        before = numbers_of(other.sample(where, other.runs[where][0]), source.span.dtype)
        size = min(now.size, before.size) // _STRETCH * _STRETCH
        first, second = now[:size].reshape(-1, _STRETCH), before[:size].reshape(-1, _STRETCH)
        square = (first * first).sum(axis=1, keepdims=True)
        scale = (first * second).sum(axis=1, keepdims=True) / np.maximum(square, 1e-300)
        good = np.isfinite(scale[:, 0]) & (np.abs(scale[:, 0]) > 0)
        if not good.any():
            return np.inf
        return float(np.median(np.abs(second[good] / scale[good] - first[good]).mean(axis=1)))

    def _tried(self, file: Surveyed, place: int, recipe: TensorRecipe) -> Derivation | None:
        """What a recipe gives; None where it is of no kind that tells how a tensor was made."""
        if recipe.relation not in _LEAST or not file.runs[place]:
            return None
        operands = [self._held(operand) for operand in recipe.operands]
        given = predict(self._objects, file, place, recipe, 1)
        if given is None or any(operand is None for operand in operands):
            return None
        width = DTYPES[file.spans[place].dtype].width
        if DTYPES[file.spans[place].dtype].elements > 1:
            width = 1
        share = explained(given, width, or_zero=recipe.relation == "prune")
        return Derivation(
            recipe.relation,
            tuple(one for one in operands if one is not None),
            share,
            recipe.operands[0].span.dtype,
        )

    def _held(self, operand: KnownTensor) -> Content | None:
        file = self._files[operand.file.identity]
        return file.contents[file.manifest.tensors.index(operand.span)]

    # --- rows ----------------------------------------------------------------------------------------------
    def grown(self, file: Surveyed, before: Surveyed) -> Iterator[tuple[Content, Derivation]]:
        """Tensors of a file that are those of another and more rows behind."""
        names = {span.name: place for place, span in enumerate(before.spans)}
        for place in file.sketches:
            span, there = file.spans[place], names.get(file.spans[place].name)
            if there is None or there not in before.sketches or not _has_more_rows(span, before.spans[there]):
                continue
            tensor = KnownTensor(KnownFile(before.identity, before.manifest), before.spans[there])
            given = predict(self._objects, file, place, Grown(tensor, span, file.read, self._objects))
            content, source = file.contents[place], before.contents[there]
            if given is None or content is None or source is None:
                continue
            kept = before.spans[there].shape[0] / span.shape[0]
            share = explained(given, DTYPES[span.dtype].width)
            if share >= _ROWS * kept and kept > _SOME_ROWS:
                yield content, Derivation("rows", (source,), share)


def _has_more_rows(span: Span, before: Span) -> bool:
    return (
        span.dtype == before.dtype
        and len(span.shape) > 1
        and span.shape[1:] == before.shape[1:]
        and span.shape[0] > before.shape[0]
    )


def _was_widened(
    content: Content, made: Derivation, all_made: Mapping[Content, Sequence[Derivation]]
) -> bool:
    """Whether a tensor seems rounded from one that is nothing but itself widened."""
    source = made.operands[0]
    return made.relation == "cast" and any(
        back.relation == "cast" and back.operands[0] == content and content[0] < source[0]
        for back in all_made.get(source, ())
    )
