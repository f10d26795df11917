"""What recipes make of the samples of a tensor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvc.dtypes import DTYPES
from mvc.elements import view
from mvc.errors import DamageError
from mvc.forecast.planned import PlannedObjects
from mvc.forecast.survey import Surveyed
from mvc.odb.writer import Hint
from mvc.recipes.quantise import Scales
from mvc.recipes.recipe import TensorRecipe
from mvc.recipes.rows import Grown
from mvc.spans import Span

_OPENING_BYTES = 2 << 10  # of whole rows, on which recipes that need them find their parameters
_LONGEST_ROW = 64 << 10
_NEEDS_ROWS = ("quantise", "LoRA merge")
_RUNS_WITH_ROWS = 2  # whole rows of the operands are read for each


class Prediction(NamedTuple):
    """The samples of a tensor beside what a recipe makes of the rest: for each group of runs the elements,
    and the predicted ones."""

    groups: tuple[tuple[bytes, bytes], ...]
    hint: Hint


def predict(
    objects: PlannedObjects, file: Surveyed, place: int, recipe: TensorRecipe, most: int | None = None
) -> Prediction | None:
    """A recipe on the samples of a tensor (at ``most`` so many groups); None where it says nothing."""
    span, groups = file.spans[place], file.runs[place][:most]
    if isinstance(recipe, Scales):
        return None  # it looks at all of the tensor whose scales these are
    if isinstance(recipe, Grown):
        return _in_place(objects, file, place, recipe)
    if recipe.relation in _NEEDS_ROWS:
        _open(objects, file, span, recipe)
        groups = [groups[0][:_RUNS_WITH_ROWS]]
    found: list[tuple[bytes, bytes]] = []
    hint: Hint | None = None
    for group in groups:
        plain: list[bytes] = []
        predicted: list[bytes] = []
        for run in group:
            data = file.read(span.offset + run.position, run.length)
            hint = recipe.hint(objects, run.position, data)
            if hint is None:
                return None
            plain.append(data)
            try:
                predicted.append(bytes(objects.predict(hint.bases, hint.recipe, hint.depth + 1, run.length)))
            except DamageError:
                return None
        found.append((b"".join(plain), b"".join(predicted)))
    return None if hint is None else Prediction(tuple(found), hint)


def _open(objects: PlannedObjects, file: Surveyed, span: Span, recipe: TensorRecipe) -> None:
    """Show a recipe the tensor's first rows: from then on it knows its parameters."""
    row = DTYPES[span.dtype].byte_count(span.shape[-1] if span.shape else 1)
    length = min(max(_OPENING_BYTES // row, 1) * row, span.length)
    if length <= _LONGEST_ROW:
        recipe.hint(objects, 0, file.read(span.offset, length))


def _in_place(objects: PlannedObjects, file: Surveyed, place: int, recipe: Grown) -> Prediction | None:
    """A tensor of more rows: the earlier ones where they were. Where rows stand elsewhere, only all of them
    would say."""
    (base,), span = recipe.operands, file.spans[place]
    found: list[tuple[bytes, bytes]] = []
    bases = base.stretches(0, min(base.span.length, span.length))
    if bases is None or not all(stretch.id in objects for stretch in bases):
        return None
    for group in file.runs[place]:
        predicted: list[bytes] = []
        for run in group:
            there = max(min(run.length, base.span.length - run.position), 0)
            stretches = base.stretches(run.position, there) or []
            data = b"".join(objects.get_part(*stretch) for stretch in stretches)
            predicted.append(data + bytes(run.length - len(data)))
        found.append((file.sample(place, group), b"".join(predicted)))
    depth = max(entry.depth for stretch in bases for entry in objects.entries(stretch.id)[:1])
    return Prediction(tuple(found), Hint(DTYPES[span.dtype], tuple(bases[:1]), depth))


def explained(found: Prediction, width: int, *, or_zero: bool = False) -> float:
    """The share of sampled elements that are as predicted, or else zero."""
    right = total = 0
    for plain, predicted in found.groups:
        target, base = view(plain, width)[0], view(predicted, width)[0]
        same = target == base
        if or_zero:
            same |= (target << 1) == 0
        right += int(np.count_nonzero(same))
        total += target.size
    return right / total if total else 0.0
