"""How a tensor of a new version came from an older one of its name: which recipe gives its bits, or how far
it moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, groupby
from typing import Any, NamedTuple

import numpy as np

from mvc.dtypes import DTYPES
from mvc.explaining.rebuilding import Operands, Rebuilt, rebuild, same_bits, zeroed
from mvc.explaining.relation import Elsewhere, Relation, StatedMerge
from mvc.explaining.units import Tensor
from mvc.history.reader import read_range
from mvc.history.stretches import Compared
from mvc.history.tensordiff import SpanPair
from mvc.history.tensorstats import TensorStats, beyond_rounding, compare
from mvc.predictors.floats import FLOATS
from mvc.recipes.cast import Cast
from mvc.recipes.known import KnownTensor
from mvc.recipes.linear import Combined
from mvc.recipes.lora import Merged
from mvc.recipes.prune import Pruned
from mvc.recipes.quantise import SOURCES, Quantised, Scales
from mvc.recipes.recipe import TensorRecipe
from mvc.recipes.rows import Grown
from mvc.recipes.stated import Stated
from mvc.spans import Span, element_count

_LIKELY = 0.97
"""Share of a tensor's elements that a recipe must give: tools may calculate with other precision than mvc."""

_PRUNED = 0.05  # zeros that a pruned tensor has more than its parent
_QUANTISED = ("I8", "F8_E4M3", "F8_E5M2", "Q8_0")
_SCALES = ("_scale", ".scale", "_scales", ".scales", "_scale_inv")
_CERTAIN_ELSEWHERE = 0.999
_FRUITLESS = 3  # tensors that were no merge, after which no more are tried
_LEAST_FIT = 1024  # elements: of fewer, many combinations fit by chance
_LEAST_WEIGHT = 0.004  # of an operand in a merge
_COMBINED = 4  # tensors elsewhere that a merge is looked for among


class _Made(NamedTuple):
    """A tensor that a recipe of several operands gives: their labels, and what came out."""

    kind: str
    labels: tuple[str, ...]
    rebuilt: Rebuilt
    detail: Mapping[str, Any]


class Relating:
    """Finds the relations of the tensors of one model.

    ``old`` are the tensors that each may have come from, by name; ``elsewhere`` gives other tensors of a name
    that may have gone into a merge, ``adapters`` pairs (A, B) for a module, ``stated`` what the version
    itself says of a tensor's merge.
    """

    def __init__(
        self,
        old: Mapping[str, Tensor],
        elsewhere: Mapping[str, Sequence[Elsewhere]],
        adapters: Mapping[str, Sequence[tuple[str, Tensor, Tensor]]],
        stated: Callable[[str], StatedMerge | None] | None = None,
    ) -> None:
        self._stated = stated
        self._old = old
        self._elsewhere = elsewhere
        self._adapters = adapters
        self._operands = Operands()
        self._no_merge = 0
        self._merges: Counter[tuple[str, ...]] = Counter()

    def all(self, new: Mapping[str, Tensor]) -> Iterator[Relation]:
        """A relation for each tensor: those that need no arithmetic, then the others, the largest first."""
        gone = {tensor.content: name for name, tensor in self._old.items() if name not in new}
        left: list[tuple[str, Tensor, Tensor]] = []
        for name, tensor in new.items():
            old = self._old.get(name)
            if old is None:
                known = gone.get(tensor.content) if tensor.span.length else None
                yield (
                    self._renamed(name, tensor, known)
                    or self._scales(name, tensor)
                    or Relation("added", name, tensor.span)
                )
            elif _form(old.span) == _form(tensor.span) and old.content == tensor.content:
                yield Relation("same", name, tensor.span, old.span, certain=True)
            else:
                left.append((name, old, tensor))
        left.sort(key=lambda item: -item[2].span.length)
        for (name, old, tensor), stats in zip(left, self._stats(left), strict=True):
            yield self._relation(name, old, tensor, stats)

    def _stats(self, left: Sequence[tuple[str, Tensor, Tensor]]) -> Iterator[TensorStats | None]:
        # a file of the work tree has a reader of its own
        for reader, group in groupby(left, key=lambda item: item[2].file.reader):
            pairs = [
                Compared(old.file.parts, new.file.parts, SpanPair(old.span, new.span))
                for _name, old, new in group
            ]
            yield from compare(reader, pairs, rank=True)

    # --- one tensor ----------------------------------------------------------------------------------------
    def _relation(self, name: str, old: Tensor, new: Tensor, stats: TensorStats | None) -> Relation:
        before, after = old.span, new.span
        if before.shape != after.shape:
            return self._of_other_shape(name, old, new, stats)
        if before.dtype != after.dtype:
            return self._of_other_type(name, old, new, stats)
        if stats is not None and stats.moved == 0:
            return Relation("same", name, after, before, certain=True, stats=stats)
        plain = after.strides is None and before.strides is None
        if plain and after.dtype in FLOATS:
            said = self._as_stated(name, old, new, stats)
            if said is not None:
                return said
            counted = zeroed(old, new)
            grown = counted.zeros - counted.zeros_before
            if grown >= _PRUNED * counted.elements and counted.explained >= _LIKELY * counted.elements:
                share = counted.explained / counted.elements
                zeros = counted.zeros / counted.elements
                detail = {"zeros": zeros, "pattern": _pattern(self._operands, old, new)}
                return Relation("prune", name, after, before, share == 1, share, stats, detail=detail)
            made = self._lora(name, old, new) or self._merge(name, old, new)
            if made is not None and made.rebuilt.share > (0 if stats is None else 1 - (stats.moved or 0)):
                detail = {**_detail(made.rebuilt), **made.detail}
                built = made.rebuilt
                return Relation(
                    made.kind, name, after, before, built.exact, built.share, stats, made.labels, detail
                )
        return self._from_elsewhere(name, new) or Relation("moved", name, after, before, stats=stats)

    def _as_stated(self, name: str, old: Tensor, new: Tensor, stats: TensorStats | None) -> Relation | None:
        said = None if self._stated is None else self._stated(name)
        if said is None:
            return None
        tensors = [one.tensor for one in said.operands]
        dtype, recipe = new.span.dtype, said.recipe
        found = self._built(lambda given: Stated(given, dtype, recipe), new, *tensors)
        if found is None or found.share < _LIKELY:
            return None
        labels = tuple(one.label for one in said.operands)
        detail = {"strategy": said.strategy}
        return Relation("strategy", name, new.span, old.span, found.exact, found.share, stats, labels, detail)

    def _from_elsewhere(self, name: str, new: Tensor) -> Relation | None:
        """What a tensor is a cast or a quantisation of, in another version."""
        dtype = new.span.dtype
        for label, other in self._elsewhere.get(name, ()):
            before = other.span.dtype
            if other.span.shape != new.span.shape or before == dtype:
                continue
            found, kind = None, "cast"
            if {before, dtype} <= FLOATS and DTYPES[before].width > DTYPES[dtype].width:
                found = self._built(lambda given: Cast(given[0], dtype), new, other)
            if found is None and before in SOURCES and dtype in _QUANTISED:
                found, kind = self._built(lambda given: Quantised(given[0], new.span), new, other), "quantise"
            if found is not None and found.share >= _CERTAIN_ELSEWHERE:
                detail = _detail(found)
                return Relation(
                    kind, name, new.span, other.span, found.exact, found.share, None, (label,), detail
                )
        return None

    def _apart_by_rounding(self, old: Tensor, new: Tensor) -> bool:
        """Whether two tensors of different float types may both be roundings of one that is more exact: no
        element is further from its counterpart than half a unit in the last place of each."""
        one = Compared(old.file.parts, new.file.parts, SpanPair(old.span, new.span))
        return beyond_rounding(new.file.reader, one) == 0

    def _of_other_type(self, name: str, old: Tensor, new: Tensor, stats: TensorStats | None) -> Relation:
        before, after = old.span.dtype, new.span.dtype
        tried: list[tuple[str, Rebuilt | None]] = []
        if {before, after} <= FLOATS:
            wider = DTYPES[after].width > DTYPES[before].width
            tried.append(("cast", self._built(lambda given: Cast(given[0], after), new, old)))
            if wider and stats is not None and stats.moved == 0:
                return Relation("widened", name, new.span, old.span, certain=True, stats=stats)
            if wider:
                tried.append(("master", self._built(lambda given: Cast(given[0], before), old, new)))
        if after in _QUANTISED and before in SOURCES:
            tried.append(("quantise", self._built(lambda given: Quantised(given[0], new.span), new, old)))
        if before in _QUANTISED and after in SOURCES:
            tried.append(("dequantise", self._built(lambda given: Quantised(given[0], old.span), old, new)))
        likely = [(kind, found) for kind, found in tried if found is not None and found.share >= _LIKELY]
        exact = [(kind, found) for kind, found in likely if found.exact]
        if not exact:
            made = self._from_elsewhere(name, new)
            if made is not None:
                return made
            if {before, after} <= FLOATS and self._apart_by_rounding(old, new):
                return Relation("precision", name, new.span, old.span, stats=stats)
        for kind, found in exact or likely:
            return Relation(
                kind, name, new.span, old.span, found.exact, found.share, stats, detail=_detail(found)
            )
        if {before, after} <= FLOATS and stats is not None and stats.relative is not None:
            return Relation("moved", name, new.span, old.span, stats=stats)
        return Relation("type", name, new.span, old.span, stats=stats)

    def _of_other_shape(self, name: str, old: Tensor, new: Tensor, stats: TensorStats | None) -> Relation:
        before, after = old.span, new.span
        if (
            before.shape[1:] == after.shape[1:]
            and before.shape
            and after.shape
            and before.dtype == after.dtype
        ):
            added = after.shape[0] - before.shape[0]
            if stats is not None and stats.moved == 0:
                return Relation(
                    "rows", name, after, before, True, 1.0, stats, detail={"added": added, "place": "end"}
                )
            kept = self._rows_kept(old, new)
            if kept >= 0.5 * min(before.shape[0], after.shape[0]):
                whole = kept == min(before.shape[0], after.shape[0])
                detail = {"added": added, "place": "between", "kept": kept}
                return Relation(
                    "rows", name, after, before, whole, kept / after.shape[0], stats, detail=detail
                )
            return Relation("rows", name, after, before, stats=stats, detail={"added": added, "place": "end"})
        certain = stats is not None and stats.moved == 0
        return Relation("reshaped", name, after, before, certain=certain, stats=stats)

    def _rows_kept(self, old: Tensor, new: Tensor) -> int:
        """Rows of the new tensor that are rows of the old one, in the same order."""
        known = self._operands.known(old)
        if known is None or old.span.strides or new.span.strides:
            return 0

        def read(offset: int, length: int) -> bytes:
            return _bytes(new, offset - new.span.offset, length)

        recipe = Grown(known, new.span, read, self._operands)
        row = new.span.length // new.span.shape[0]
        kept = 0
        for position in range(0, new.span.length, max((1 << 18) // row, 1) * row):
            data = _bytes(new, position, min(max((1 << 18) // row, 1) * row, new.span.length - position))
            hint = recipe.hint(self._operands, position, data)
            if hint is None:
                continue
            made = bytes(self._operands.predict(hint.bases, hint.recipe, 1, len(data)))
            kept += sum(data[at : at + row] == made[at : at + row] for at in range(0, len(data), row))
        return min(kept, old.span.shape[0])

    def _renamed(self, name: str, new: Tensor, old_name: str | None) -> Relation | None:
        if old_name is None:
            return None
        old = self._old[old_name]
        kind = "renamed" if old.span.shape == new.span.shape else "reshaped"
        return Relation(kind, name, new.span, old.span, certain=True, detail={"old_name": old_name})

    def _scales(self, name: str, new: Tensor) -> Relation | None:
        """What scales of a quantised tensor are: its rows' greatest magnitudes over a number."""
        suffix = next((suffix for suffix in _SCALES if name.endswith(suffix)), None)
        old = None if suffix is None else self._old.get(name.removesuffix(suffix))
        if (
            old is None
            or old.span.dtype not in SOURCES
            or new.span.dtype not in SOURCES
            or not new.span.length
        ):
            return None
        count = element_count(new.span.shape)
        if old.span.strides or new.span.strides or not 1 < count < element_count(old.span.shape):
            return None
        found = self._built(lambda given: Scales(given[0], new.span), new, old)
        if found is None:
            return Relation("scale", name, new.span, old.span, share=0.0)
        return Relation("scale", name, new.span, old.span, found.exact, found.share, detail=_detail(found))

    # --- what several tensors went into -------------------------------------------------------------------
    def _lora(self, name: str, old: Tensor, new: Tensor) -> _Made | None:
        best: _Made | None = None
        for label, down, up in self._adapters.get(name.removesuffix(".weight"), ()):
            if not _fits(down.span, up.span, new.span):
                continue
            found = self._built(
                lambda given: Merged(given[0], given[1], given[2], new.span), new, old, down, up
            )
            better = found is not None and (best is None or found.share > best.rebuilt.share)
            if found is not None and found.share >= _LIKELY and better:
                best = _Made("LoRA", (label,), found, {"rank": down.span.shape[0]})
        return best

    def _merge(self, name: str, old: Tensor, new: Tensor) -> _Made | None:
        """A tensor out of others of its name, or as the combination of two or three, the older one among
        them or not."""
        others = [one for one in self._elsewhere.get(name, ()) if _form(one.tensor.span) == _form(new.span)]
        distinct = {one.tensor.content: one for one in others if one.tensor.content != old.content}
        for one in distinct.values():
            if one.tensor.content == new.content or same_bits(one.tensor, new):
                count = DTYPES[new.span.dtype].unit
                whole = new.span.length // count
                return _Made("taken", (one.label,), Rebuilt(whole, whole, None), {})
        if self._no_merge >= _FRUITLESS or element_count(new.span.shape) < _LEAST_FIT:
            return None
        known = [Elsewhere("", old), *list(distinct.values())[:_COMBINED]]
        best: _Made | None = None
        sets = [chosen for size in (2, 3) for chosen in combinations(known, size)]
        # what other tensors were made of goes first
        sets.sort(key=lambda chosen: -self._merges[tuple(sorted(one.label for one in chosen))])
        for chosen in sets:
            found = self._combined(new, chosen)
            if found is not None and (best is None or found.rebuilt.share > best.rebuilt.share):
                best = found
                if found.rebuilt.exact:
                    break
        if best is not None:
            self._merges[tuple(sorted(best.labels))] += 1
        elif not self._merges:
            self._no_merge += 1
        return best

    def _combined(self, new: Tensor, chosen: Sequence[Elsewhere]) -> _Made | None:
        dtype = new.span.dtype
        found = self._built(lambda given: Combined(list(given), dtype), new, *(one.tensor for one in chosen))
        if found is None or found.share < _LIKELY or found.hint is None or found.hint.recipe is None:
            return None
        labels = {id(one.tensor.file): one.label for one in chosen}
        order = [labels[id(self._operands.file(base.id))] for base in found.hint.bases]
        weights = weights_of(found.hint.recipe.params)
        if len(weights) != len(order) or min(map(abs, weights)) < _LEAST_WEIGHT:
            return None  # one operand alone, said in another way
        return _Made("merge", tuple(order), found, {"weights": weights})

    def _built(self, make: _Making, target: Tensor, *sources: Tensor) -> Rebuilt | None:
        if target.span.strides is not None or any(one.span.strides is not None for one in sources):
            return None
        known = [self._operands.known(one) for one in sources]
        operands = [one for one in known if one is not None]
        if len(operands) != len(sources):
            return None
        return rebuild(self._operands, make(operands), target)


_Making = Callable[[Sequence[KnownTensor]], TensorRecipe]
"""Makes a recipe out of operands."""


def _form(span: Span) -> tuple[object, ...]:
    return span.dtype, span.shape, span.strides


def _bytes(tensor: Tensor, position: int, length: int) -> bytes:
    file = tensor.file
    return b"".join(read_range(file.reader, file.parts, tensor.span.offset + position, length))


def _fits(down: Span, up: Span, span: Span) -> bool:
    """Whether A and B have shapes whose product is the weight's."""
    if not len(down.shape) == len(up.shape) == len(span.shape) == 2 or down.dtype != up.dtype:
        return False
    if not {down.dtype, span.dtype} <= set(SOURCES):
        return False
    return (up.shape[0], down.shape[1]) == span.shape and up.shape[1] == down.shape[0] > 0


def _pattern(operands: Operands, old: Tensor, new: Tensor) -> str:
    """Which elements are zero: ``2:4``, ``magnitude`` (the small ones of a piece), or neither."""
    known = operands.known(old)
    if known is None:
        return ""
    row = DTYPES[new.span.dtype].byte_count(new.span.shape[-1]) if new.span.shape else 1
    length = min(max((1 << 20) // row, 1) * row, new.span.length)
    with np.errstate(all="ignore"):
        hint = Pruned(known).hint(operands, 0, _bytes(new, 0, length))
    if hint is None or hint.recipe is None:
        return ""
    params = hint.recipe.params
    return f"{params['keep']}:{params['of']}" if hint.recipe.name == "n_of_m" else "magnitude"


def _detail(found: Rebuilt) -> dict[str, Any]:
    """What a recipe says that people want to know."""
    if found.hint is None or found.hint.recipe is None:
        return {}
    kept = ("rank", "scale", "group", "divisor", "form", "compute")
    params = found.hint.recipe.params
    return {"recipe": found.hint.recipe.name} | {key: params[key] for key in kept if key in params}


def weights_of(params: Mapping[str, Any]) -> list[float]:
    """What each operand of a combination is multiplied by, all in all."""
    given = [float(value) for value in params["coefficients"]]
    if params["form"] == "sum":
        return [value / float(params["divisor"]) for value in given]
    if params["form"] == "analogy":
        return [given[0], given[1], -given[1]]
    return [given[0] - sum(given[1:]), *given[1:]]
