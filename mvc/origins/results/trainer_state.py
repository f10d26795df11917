"""``trainer_state.json`` of the Hugging Face trainer: the state of a run, and its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvc.objects import Number
from mvc.origins.results.numbers import is_number

_STATE = {"global_step": "step", "epoch": "epoch", "best_metric": "best_metric"}
_NO_METRICS = ("step", "epoch")


def read(value: Mapping[str, Any]) -> dict[str, Number]:
    """The step, the epoch, and of each metric of the log its last value."""
    found: dict[str, Number] = {}
    log = value.get("log_history")
    for entry in log if isinstance(log, list) else ():
        if isinstance(entry, dict):
            found |= {
                name: item for name, item in entry.items() if is_number(item) and name not in _NO_METRICS
            }
    for theirs, ours in _STATE.items():
        item = value.get(theirs)
        if is_number(item):
            found[ours] = item
    return found
