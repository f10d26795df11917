"""Tells copies of one model by the names and shapes of their weights, whatever file and dtype they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mvc.registry.card.parameters import Weights

Shape = tuple[int, ...]

_MAX_FORMS = 16
"""Models of equally many parameters that are told apart; more are taken for different ones."""

_MAX_PREFIXES = 8


def distinct_parameters(weights: Iterable[Weights]) -> int:
    """Parameters of all weights, once for those of equal form: a model, its shards, its checkpoints in other
    dtypes. That their values differ does not count; nothing is decoded."""
    forms: dict[int, list[Mapping[str, Shape]]] = {}
    total = 0
    for item in weights:
        known = forms.setdefault(item.parameters, [])
        if any(same_form(item.shapes, form) for form in known[:_MAX_FORMS]):
            continue
        known.append(item.shapes)
        total += item.parameters
    return total


def same_form(one: Mapping[str, Shape], other: Mapping[str, Shape]) -> bool:
    """Whether the weights of one model have the names and shapes of another's, but for a prefix that all of
    one side have (``model.``, ``state_dict.``). The side of fewer names may lack some of tied tensors."""
    few, many = sorted((one, other), key=len)
    if not few:
        return False
    return _is_below(few, many) or _is_above(few, many)


def _is_below(few: Mapping[str, Shape], many: Mapping[str, Shape]) -> bool:
    """Whether ``many`` has all of ``few`` behind a prefix, which may be empty."""
    first = next(iter(few))
    ends = (name for name in many if name == first or name.endswith(f".{first}"))
    prefixes = [name[: len(name) - len(first)] for name, _ in zip(ends, range(_MAX_PREFIXES), strict=False)]
    return any(all(many.get(prefix + name) == shape for name, shape in few.items()) for prefix in prefixes)


def _is_above(few: Mapping[str, Shape], many: Mapping[str, Shape]) -> bool:
    """Whether all of ``few`` have a prefix, behind which ``many`` has them."""
    first = next(iter(few))
    steps = first.split(".")[:_MAX_PREFIXES]
    lengths = [sum(len(step) + 1 for step in steps[:count]) for count in range(1, len(steps) + 1)]
    prefixes = [first[:length] for length in lengths if length < len(first)]
    return any(
        all(name.startswith(prefix) and many.get(name[len(prefix) :]) == few[name] for name in few)
        for prefix in prefixes
    )
