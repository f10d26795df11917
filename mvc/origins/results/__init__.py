"""Metrics that trainers leave in a file beside a checkpoint; one reader per kind of file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mvc.objects import Number
from mvc.origins.results import plain, trainer_state

READERS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Number]]] = {
    "trainer_state.json": trainer_state.read,
    "train_results.json": plain.read,
    "eval_results.json": plain.read,
    "all_results.json": plain.read,
    "metrics.json": plain.read,
}
"""Readers by the name of the file; of two that know a metric, the later one is right."""

MAX_BYTES = 64 << 20
MAX_METRICS = 1000

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_NAME = 255


def metrics(name: str, data: bytes) -> dict[str, Number]:
    """The metrics that a file of results holds; none where it is not what its name says."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    found = READERS[name](value)
    fine = {
        key: number for key, number in found.items() if 0 < len(key) <= _MAX_NAME and not _UNSEEN.search(key)
    }
    return dict(list(fine.items())[:MAX_METRICS])
