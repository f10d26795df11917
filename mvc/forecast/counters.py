"""How far a training run was when a file was written, as the file itself says."""

from __future__ import annotations

import re
from math import isfinite

import numpy as np

from mvc.dtypes import DTYPES
from mvc.forecast.survey import Surveyed
from mvc.spans import element_count

_STEPS = re.compile(
    r"(?:^|[._/])(?:global_|current_|num_|total_|train_)?(?:steps?|iter(?:ation)?s?|epochs?)$"
)
_STEP_TENSOR = re.compile(r"(?:^|[._/])step(?:$|[._/])")
_NUMBERS = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I32": "<i4", "I64": "<i8", "U32": "<u4", "U64": "<u8"}
_MOST_TENSORS = 64


def steps_of(file: Surveyed) -> float | None:
    """The number of steps: an optimizer's own count, else what stands beside the tensors; None where nothing
    is said. An epoch counts as a step, since only files of one run are compared."""
    counted = [_of_tensor(file, place) for place in _counters(file)]
    found = [number for number in counted if number is not None]
    if not found:
        found = [
            number
            for name, value in file.values.items()
            if _STEPS.search(name.lower()) and (number := _number(value)) is not None
        ]
    return max(found, default=None)


def _counters(file: Surveyed) -> list[int]:
    places = [
        place
        for place, span in enumerate(file.spans)
        if span.dtype in _NUMBERS
        and span.strides is None
        and element_count(span.shape) == 1
        and _STEP_TENSOR.search(span.name)
    ]
    return places[:_MOST_TENSORS]


def _of_tensor(file: Surveyed, place: int) -> float | None:
    span = file.spans[place]
    data = file.read(span.offset, DTYPES[span.dtype].width)
    return _sensible(float(np.frombuffer(data, _NUMBERS[span.dtype])[0]))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return _sensible(float(value))
    except (ValueError, OverflowError):
        return None


def _sensible(number: float) -> float | None:
    return number if isfinite(number) and 0 <= number < 1e15 else None
