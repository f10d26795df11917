"""A map of names to numbers, as ``all_results.json`` of the Hugging Face trainer and ``metrics.json`` are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvc.objects import Number
from mvc.origins.results.numbers import is_number

_MOST_NESTED = 8


def read(value: Mapping[str, Any]) -> dict[str, Number]:
    """Its numbers; those of maps inside of it by joined names."""
    found: dict[str, Number] = {}
    _collect(value, "", found, _MOST_NESTED)
    return found


def _collect(value: Mapping[str, Any], above: str, found: dict[str, Number], left: int) -> None:
    for name, item in value.items():
        if is_number(item):
            found[above + name] = item
        elif isinstance(item, dict) and left:
            _collect(item, f"{above}{name}.", found, left - 1)
