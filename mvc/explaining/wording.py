"""Relations of the tensors of one model as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from mvc.explaining.findings import Finding
from mvc.explaining.relation import Relation
from mvc.history.tensornames import is_state, numbers_text, place_of, shortened
from mvc.text import count, one_line, times

_NAMED = 6  # tensors or kinds that are listed by name
_UNRELATED = 0.3  # cosine below which weights have nothing in common
_SOME_LOW_RANK = 0.5  # of the moved matrices, those whose move has few directions


def told(relations: Sequence[Relation], path: str, against: str) -> Iterator[Finding]:
    """What happened to a model, the largest part first; nothing where all its tensors are the same."""
    groups: dict[tuple[Any, ...], list[Relation]] = {}
    for relation in relations:
        groups.setdefault(_group(relation), []).append(relation)
    ordered = sorted(groups.values(), key=lambda group: -sum(relation.elements for relation in group))
    for group in ordered:
        text = _TEXTS.get(group[0].kind)
        if text is None:
            continue
        words, figures = text(group, relations)
        certain = all(relation.certain for relation in group) and group[0].kind != "moved"
        if not certain and group[0].kind in _DERIVED:
            least = min(relation.share for relation in group)
            like = "looks like a" if group[0].kind == "LoRA" else "looks"
            words = f"{like} {words}; of the tensor that fits least {_percent(least)} of the elements do"
        figures = {"tensors": [one_line(relation.name) for relation in group], **figures}
        yield Finding(group[0].kind, words, path, against, certain, figures)


_DERIVED = (
    "strategy",
    "cast",
    "widened",
    "master",
    "quantise",
    "dequantise",
    "prune",
    "merge",
    "LoRA",
    "scale",
)


def _group(relation: Relation) -> tuple[Any, ...]:
    """What is said in one sentence."""
    old = None if relation.old is None else relation.old.dtype
    more: tuple[Any, ...] = ()
    if relation.kind == "merge":
        more = tuple(sorted(zip(relation.sources, _rounded(relation), strict=True)))
    elif relation.kind in ("LoRA", "taken"):
        more = relation.sources
    elif relation.kind == "strategy":
        more = (relation.detail["strategy"], *relation.sources)
    elif relation.kind == "prune":
        more = (relation.detail.get("pattern"),)
    elif relation.kind in ("cast", "quantise"):
        more = relation.sources
    if relation.kind in ("moved", "added"):
        return relation.kind, is_state(relation.name)
    if relation.kind in ("same", "renamed"):
        return (relation.kind,)
    return (relation.kind, old, relation.new.dtype, *more)


def _rounded(relation: Relation) -> list[float]:
    return [round(weight, 3) for weight in relation.detail["weights"]]


# --- what each kind says -----------------------------------------------------------------------------------
_Told = tuple[str, dict[str, Any]]


def _cast(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    return f"cast from {old} to {new}{_of(group)}: {_which(group, every)}", {"from": old, "to": new}


def _of(group: Sequence[Relation]) -> str:
    """Where what was cast or quantised comes from, if not from the old version."""
    return f", from {_label(group[0].sources[0])}" if group[0].sources else ""


def _rounded_otherwise(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    words = f"looks like the same weights in {new} instead of {old}, apart by no more than rounding"
    return f"{words}: {_which(group, every)}", {"from": old, "to": new}


def _widened(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    words = f"widened from {old} to {new}, every number the same: {_which(group, every)}"
    return words, {"from": old, "to": new}


def _master(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    words = f"more exact: the {old} weights before are these {new} weights, rounded: {_which(group, every)}"
    return words, {"from": old, "to": new}


def _quantise(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    how = _scales_text(group[0])
    words = f"quantised from {old} to {new}{how}{_of(group)}: {_which(group, every)}"
    return words, {"from": old, "to": new}


def _scales_text(relation: Relation) -> str:
    group, shape = relation.detail.get("group"), relation.new.shape
    if not group or not shape:
        return ""
    if group == shape[-1]:
        return " with a scale for each row"
    return " with one scale" if group >= relation.elements else f" with a scale for each {group:,} elements"


def _dequantise(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    return f"dequantised from {old} to {new}: {_which(group, every)}", {"from": old, "to": new}


def _scale(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    return f"added scales of {count(len(group), 'quantised tensor')}", {}


def _type(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    old, new = _dtypes(group)
    words = f"looks converted from {old} to {new}, which cannot be rebuilt: {_which(group, every)}"
    return words, {"from": old, "to": new}


def _prune(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    total = sum(relation.elements for relation in group)
    zeros = sum(relation.detail["zeros"] * relation.elements for relation in group) / total
    pattern = group[0].detail["pattern"]
    how = ""
    if pattern == "magnitude":
        how = ", the smallest by magnitude"
    elif pattern:
        keep, _colon, of = pattern.partition(":")
        how = f", {pattern} sparse (of each {of} the largest {keep} stay)"
    what = f"{_percent(zeros)} of the elements are zero{how}, the others as they were"
    return f"pruned: {what}: {_which(group, every)}", {"zeros": zeros, "pattern": pattern}


def _merge(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    first = group[0]
    parts = list(zip(first.sources, first.detail["weights"], strict=True))
    words = " + ".join(f"{weight:.4g} × {_label(label)}" for label, weight in parts).replace("+ -", "− ")
    weights = [weight for _label, weight in parts]
    even = max(weights) - min(weights) < 1e-3
    what = "averaged" if even else "merged"
    figures = {
        "sources": [label for label, _w in parts],
        "weights": weights,
        "form": first.detail.get("form"),
    }
    return f"{what}: {words}: {_which(group, every)}", figures


def _strategy(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    strategy, sources = group[0].detail["strategy"], list(group[0].sources)
    of = " and ".join(map(_label, sources[-2:]))
    base = f", whose common version is {_label(sources[0])}" if len(sources) > 2 else ""
    words = f"merged by {strategy}, as its version says, of {of}{base}: {_which(group, every)}"
    return words, {"strategy": strategy, "sources": sources}


def _label(label: str) -> str:
    return one_line(label) or "the old version"


def _taken(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    sources = group[0].sources
    return f"taken as it is from {_label(sources[0])}: {_which(group, every)}", {"sources": list(sources)}


def _lora(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    rank, scale = group[0].detail.get("rank"), group[0].detail.get("scale")
    sources = list(group[0].sources)
    what = f"LoRA of rank {rank} merged in, from {_label(sources[0])} with scale {scale:g}"
    words = f"{what}: {_which(group, every)}"
    return words, {"rank": rank, "scale": scale, "sources": sources}


def _rows(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    relation = group[0]
    added, place = relation.detail["added"], relation.detail["place"]
    rows = count(abs(added), "row")
    what = f"{rows} {'added' if added > 0 else 'removed'}"
    where = " at the end" if place == "end" else " between others"
    by = relation.stats.relative if relation.stats is not None else None
    others = "the others as they were" if relation.certain else "the others moved"
    if not relation.certain and by is not None and place == "end":
        others += f" by {_percent(by)}"
    return f"{what}{where}, {others}: {_which(group, every)}", {"rows": added}


def _renamed(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    pairs = [(str(relation.detail["old_name"]), relation.name) for relation in group]
    shown = ", ".join(f"{one_line(old)} → {one_line(new)}" for old, new in pairs[:2])
    more = f" and {len(pairs) - 2:,} more" if len(pairs) > 2 else ""
    return f"renamed {count(len(group), 'tensor')}: {shown}{more}", {"names": [list(pair) for pair in pairs]}


def _reshaped(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    return f"reshaped: {_which(group, every)}", {}


def _added(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    if is_state(group[0].name):
        return f"new state of an optimizer: {count(len(group), 'tensor')}", {}
    return f"new: {_which(group, every)}", {}


def _moved(group: Sequence[Relation], every: Sequence[Relation]) -> _Told:
    known = [relation for relation in group if relation.stats is not None]
    stats = [relation.stats for relation in known if relation.stats is not None]
    l2 = sum((one.l2 or 0.0) ** 2 for one in stats)
    norm = sum((one.norm or 0.0) ** 2 for one in stats)
    relative = sqrt(l2 / norm) if norm else None
    elements = sum(one.elements for one in stats)
    moved = sum((one.moved or 0.0) * one.elements for one in stats) / elements if elements else None
    # norms and biases of strangers are alike
    large = [one.stats for one in known if len(one.new.shape) > 1 and one.stats is not None] or stats
    weight = sum((one.norm or 0.0) ** 2 for one in large)
    cosine = sum((one.cosine or 0.0) * (one.norm or 0.0) ** 2 for one in large) / weight if weight else None
    figures: dict[str, Any] = {"relative": relative, "moved": moved, "cosine": cosine}
    if is_state(group[0].name):
        return f"the optimizer's state went on: {count(len(group), 'tensor')}", figures
    every = [relation for relation in every if not is_state(relation.name)]
    matrices = [one for one in known if len(one.new.shape) > 1 and one.stats is not None and one.stats.rank]
    low = [one for one in matrices if one.stats is not None and one.stats.low_rank]
    if cosine is not None and cosine < _UNRELATED and relative is not None and relative > _UNRELATED:
        words = f"other weights: nothing in common with those before (cosine {cosine:.2f})"
        return f"{words}: {_which(group, every)}", figures
    if low and len(low) >= _SOME_LOW_RANK * len(matrices):
        ranks = sorted({one.stats.low_rank for one in low if one.stats is not None and one.stats.low_rank})
        rank = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
        figures |= {"ranks": ranks}
        by = "" if relative is None else f", by {_of_norm(relative)}"
        return f"looks like a LoRA of rank {rank} merged in{by}: {_which(low, every)}", figures
    frozen = [relation for relation in every if relation.kind == "same"]
    by = _spread([one.relative for one in stats if one.relative is not None], relative)
    share = "" if moved is None else f", {_percent(moved)} of their elements changed"
    if all(_is_of_adapter(relation.name) for relation in group):
        return f"the adapter was trained on: {_which(group, every)} moved{by}{share}", figures
    if not frozen:
        some = count(len(group), "tensor")
        which = f"all {some}" if len(group) == len(every) else f"{some} of {len(every):,}"
        return f"full fine-tune: {which} moved{by}{share}", figures
    trained = sum(relation.elements for relation in group)
    all_of_it = trained + sum(relation.elements for relation in frozen)
    figures |= {"unchanged": [one_line(relation.name) for relation in frozen], "trained": trained / all_of_it}
    rest = _which(frozen, every)
    if trained >= 0.9 * all_of_it:
        words = f"full fine-tune: {len(group):,} of {count(len(every), 'tensor')} moved{by}{share}"
        return f"{words}; unchanged: {rest}", figures
    return f"fine-tuned in part: {_which(group, every)} moved{by}{share}; frozen: {rest}", figures


_TEXTS: Mapping[str, Callable[[Sequence[Relation], Sequence[Relation]], _Told]] = {
    "strategy": _strategy,
    "cast": _cast,
    "precision": _rounded_otherwise,
    "widened": _widened,
    "master": _master,
    "quantise": _quantise,
    "dequantise": _dequantise,
    "scale": _scale,
    "type": _type,
    "prune": _prune,
    "merge": _merge,
    "taken": _taken,
    "LoRA": _lora,
    "rows": _rows,
    "renamed": _renamed,
    "reshaped": _reshaped,
    "added": _added,
    "moved": _moved,
}


# --- pieces of sentences -----------------------------------------------------------------------------------
def _dtypes(group: Sequence[Relation]) -> tuple[str, str]:
    old = group[0].old
    return "" if old is None else old.dtype, group[0].new.dtype


def _percent(part: float) -> str:
    """``1.5 %``, ``40 times``; never all of something that is not all of it."""
    if part >= 10:
        return times(part)
    percent = 100 * part
    if 99.9 < percent < 100:
        return ">99.9 %"
    if 0 < percent < 0.1:
        return f"{percent:.1g} %"
    return f"{percent:.3g} %"


def _of_norm(part: float) -> str:
    return f"{_percent(part)} their norm" if part >= 10 else f"{_percent(part)} of their norm"


def _spread(known: Sequence[float], together: float | None) -> str:
    if together is None:
        return ""
    each = f" ({_percent(min(known))} to {_percent(max(known))})" if len(known) > 1 else ""
    return f" by {_of_norm(together)}{each}"


def _which(group: Iterable[Relation], every: Sequence[Relation]) -> str:
    """Which tensors: all, by name where they are few, by kind and layer where kinds are few, else how
    many."""
    names = [relation.name for relation in group]
    if len(names) == len(every) and len(every) > 1:
        return f"all {len(every):,} tensors"
    places = [place_of(name) for name in names]
    short = shortened(place_of(relation.name).kind for relation in every)
    kinds = list(dict.fromkeys(place.kind for place in places))
    layers = sorted({place.layer for place in places if place.layer is not None})
    layered = {place.kind for place in places if place.layer is not None}
    if len(names) <= 2:
        return " and ".join(one_line(name) for name in names)
    if len(kinds) > _NAMED:
        return f"{len(names):,} of {count(len(every), 'tensor')}"
    words = ", ".join(one_line(short.get(k, k).rpartition("*.")[2]) for k in kinds if k in layered)
    if layers:
        words += f" ({'layer' if len(layers) == 1 else 'layers'} {numbers_text(layers)})"
    loose = [one_line(short.get(kind, kind)) for kind in kinds if kind not in layered]
    return ", ".join([words, *loose] if words else loose)


def _is_of_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name
