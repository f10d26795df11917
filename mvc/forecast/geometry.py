"""How far files are apart as points in the space of weights, by the samples of the tensors that they share.

Files are compared tensor by tensor, of the same name or, where names differ, of the same look. All that is
kept are inner products, so that distances and angles between any of many files cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mvc.forecast.numbers import numbers_of
from mvc.forecast.survey import Surveyed
from mvc.predictors.floats import FLOATS
from mvc.recipes.recipe import NEAR
from mvc.sketch import Sketch, count_of, distances

_MOST_ELEMENTS = 2048  # of a tensor's sample
_COMMON = 0.3
"""Of the smaller file's sampled elements, those that two files must have in common to be compared."""

_SIGMAS = 4.0

Slot = dict[int, NDArray[np.float64]]
"""One tensor as several files have it: its sample's numbers by the files' numbers."""


class Geometry:
    """Distances between files, which are known by their numbers in the list."""

    def __init__(self, files: Sequence[Surveyed]) -> None:
        count = len(files)
        self.slots = _slots(files)
        self._square = np.zeros((count, count))  # of distances, weighted by the tensors' sizes
        self._norms = np.zeros((count, count))  # of each file, on what it has in common with each other
        self._common = np.zeros((count, count))
        self._sampled = np.zeros((count, count))
        for slot, weight in self.slots:
            places = np.array(sorted(slot))
            points = np.stack([slot[place] for place in places.tolist()])
            lengths = (points * points).sum(axis=1)
            centred = points - points.mean(axis=0)  # so that little is lost where all are near each other
            gram = centred @ centred.T
            diagonal = np.diag(gram)
            square = np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * gram, 0)
            at = np.ix_(places, places)
            self._square[at] += square * weight
            self._norms[at] += np.broadcast_to(lengths[:, None], gram.shape) * weight
            self._common[at] += points.shape[1] * weight
            self._sampled[at] += points.shape[1]

    def distance(self, one: int, other: int) -> float:
        """Relative to how long both are, and to how much of the larger one they have in common; infinite
        where that is too little."""
        least = min(self._common[one, one], self._common[other, other])
        size = (self._norms[one, other] + self._norms[other, one]) / 2
        if not least or self._common[one, other] < _COMMON * least or not size:
            return np.inf
        most = max(self._common[one, one], self._common[other, other])
        return float(np.sqrt(self._square[one, other] / size) * most / self._common[one, other])

    def growth(self, one: int, other: int) -> float:
        """By how much the other is longer, as a part of the way to it: from -1 to 1."""
        way = np.sqrt(self._square[one, other])
        if not way:
            return 0.0
        return float((np.sqrt(self._norms[other, one]) - np.sqrt(self._norms[one, other])) / way)

    def onward(self, first: int, middle: int, last: int) -> float:
        """The cosine between the way to the middle and the way on: 1 where it goes straight on, -1 back."""
        if not min(self._common[first, last], self._common[first, middle], self._common[middle, last]):
            return 0.0
        here, there = self._square[first, middle], self._square[middle, last]
        if not here or not there:
            return 0.0
        return float((self._square[first, last] - here - there) / (2 * np.sqrt(here * there)))

    def undone(self, first: int, middle: int, last: int) -> float:
        """The part of the way to the middle that the way on takes back, as far as more than chance says so; 0
        where it takes nothing back."""
        here, there = self._square[first, middle], self._square[middle, last]
        if not here or not there:
            return 0.0
        ratio = np.sqrt(there / here)
        chance = _SIGMAS * ratio / np.sqrt(max(self._sampled[middle, last], 1))
        part = float(-self.onward(first, middle, last) * ratio)
        return part if part > chance else 0.0


def _slots(files: Sequence[Surveyed]) -> list[tuple[Slot, float]]:
    """Each tensor with the numbers that files have for it, and the elements that a sampled one stands for."""
    by_name: dict[tuple[str, int], int] = {}
    by_count: dict[int, list[int]] = {}
    looks: list[Sketch] = []
    counts: list[int] = []
    slots: list[Slot] = []
    for number, file in enumerate(files):
        taken: set[int] = set()
        for place, values in file.sketches.items():
            span = file.spans[place]
            if span.dtype not in FLOATS or not file.runs[place]:
                continue
            count = count_of(span)
            found = by_name.get((span.name, count))
            if found is None or found in taken:
                others = [slot for slot in by_count.get(count, ()) if slot not in taken]
                found = None
                if others:
                    apart = distances(values, np.stack([looks[slot] for slot in others]))
                    nearest = int(apart.argmin())
                    found = others[nearest] if apart[nearest] <= NEAR else None
            if found is None:
                found = len(slots)
                slots.append({})
                looks.append(values)
                counts.append(count)
                by_count.setdefault(count, []).append(found)
            by_name.setdefault((span.name, count), found)
            taken.add(found)
            sample = numbers_of(file.sample(place, file.runs[place][0]), span.dtype)
            slots[found][number] = sample[:: max(sample.size // _MOST_ELEMENTS, 1)]
    return [(slot, count / next(iter(slot.values())).size) for slot, count in zip(slots, counts, strict=True)]
