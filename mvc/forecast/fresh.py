"""Whether a training run began at a file, or only passed near it: rounding tells.

A run that begins at a file of 16-bit weights begins exactly on its grid, and where an element goes from there
has nothing to do with where it came from. Where a file lies beside the way instead, its elements were rounded
from a common ancestor's in their own manner: of those that left the ancestor's value, more are back at it in
the third file than chance would have it. That shows where a unit in the last place is large beside the moves,
so that few elements left at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvc.elements import unsigned
from mvc.forecast.survey import Surveyed

ROUNDED = {"BF16": 7, "F16": 10}
"""16-bit types, with the bits of their mantissa."""

_FEW = 0.5
"""Of the elements of an exponent, those that may have left: more would have gone on to places of their
own."""

_FAR = 40  # units
_TIMES, _SIGMAS = 1.1, 4.0
"""By how much chance is to be exceeded."""


def is_beside(ancestor: Surveyed, middle: Surveyed, last: Surveyed) -> bool:
    """Whether rounding says that ``last`` did not begin at ``middle``, though both come from the ancestor."""
    back = expected = 0.0
    for exponents, there, on in _moves([ancestor, middle, last]):
        for exponent in np.unique(exponents):
            here = exponents == exponent
            first, second = there[here], on[here]
            left = first != 0
            if not left.any() or left.mean() > _FEW:
                continue
            first = first[left]
            chances = np.bincount(second + _FAR, minlength=2 * _FAR + 1) / second.size
            back += np.count_nonzero(second[left] == -first)
            expected += chances[_FAR - first].sum()
    return back > _TIMES * expected and back - expected > _SIGMAS * np.sqrt(max(expected, 1.0))


def _moves(files: Sequence[Surveyed]) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """For each type the exponents of the first file's elements, and by how many units they moved to the
    second file and to the third, over all sampled tensors that the three have under one name."""
    tables = [{file.spans[place].name: place for place in file.sketches} for file in files]
    found: dict[str, list[NDArray[np.int32]]] = {}
    for name, place in tables[0].items():
        places = [table[name] for table in tables if name in table]
        if len(places) < len(files) or not files[0].runs[place]:
            continue
        spans = [file.spans[other] for file, other in zip(files, places, strict=True)]
        if len({(span.dtype, span.length) for span in spans}) > 1 or spans[0].dtype not in ROUNDED:
            continue
        runs = [run for group in files[0].runs[place] for run in group]
        values = [
            b"".join(file.read(span.offset + run.position, run.length) for run in runs)
            for file, span in zip(files, spans, strict=True)
        ]
        found.setdefault(spans[0].dtype, []).append(np.stack([_ordered(value) for value in values]))
    for dtype, listed in found.items():
        first, second, third = np.concatenate(listed, axis=1)
        yield (
            np.abs(first) >> ROUNDED[dtype],
            np.clip(second - first, -_FAR, _FAR),
            np.clip(third - second, -_FAR, _FAR),
        )


def _ordered(data: bytes) -> NDArray[np.int32]:
    """16-bit floats as integers in their order, neighbours one apart."""
    bits = np.frombuffer(data, unsigned(2)).astype(np.int32)
    return np.where(bits >> 15, -(bits & 0x7FFF), bits & 0x7FFF)
