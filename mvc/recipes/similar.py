"""The known tensors that are like one that is to be stored, and the files that are like its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np

from mvc.recipes.recipe import NEAR
from mvc.sketch import Sketch, distances
from mvc.sketches import Rows

LOOKED_AT = 24
"""Candidates of a tensor that are looked at."""

_CLEARLY = 0.75
"""Bits by which another tensor must be nearer than that of the file which is nearest in the mean."""

_MISSING = 8.0
"""How far a file counts from a tensor that it has nothing like."""


class Similar:
    """The known tensors of as many elements as one that is to be stored, and how far they are from it.

    ``rows`` are theirs in the index, ``distances`` in bits, ``same`` whether each has the tensor's dtype.
    ``identical``: whether the nearest of those has the same sketch; None where none is near. ``newest`` is
    what the index keeps of the id of the newest file that has an identical one.
    """

    def __init__(self, values: Sketch, rows: Rows, kind: int) -> None:
        self.values = values
        self.rows = rows
        self.distances = distances(values, rows["values"])
        self.same = rows["kind"] == kind
        nearest = self.distances[self.same].min(initial=np.inf)
        self.identical: bool | None = None if nearest > NEAR else bool(nearest == 0)
        equal = np.flatnonzero(self.same & (self.distances == 0))
        self.newest = int(rows["manifest"][equal[-1]]) if equal.size else None

    def near(self, ranking: Mapping[int, float]) -> list[tuple[int, float, float]]:
        """Places, distances and scores of the nearest, best score first.

        A sketch alone is too short to tell siblings apart, so what all tensors of a file together say goes
        before it, unless it is clearly wrong.
        """
        # newest first among equals
        order = self.rows.size - 1 - np.argsort(self.distances[::-1], kind="stable")[:LOOKED_AT]
        within = self.distances[self.same].min(initial=np.inf) + _CLEARLY
        found = []
        for place in order.tolist():
            distance = float(self.distances[place])
            score = ranking.get(int(self.rows["manifest"][place])) if self.same[place] else None
            found.append((place, distance, distance if score is None or distance > within else score))
        return sorted(found, key=itemgetter(2))


def rank_files(seen: Sequence[Similar]) -> dict[int, float]:
    """Files by how far their tensors are from those of the file that is to be stored, in the mean: the least
    first."""
    if not seen:
        return {}
    totals: dict[int, float] = {}
    for similar in seen:
        rows, apart = similar.rows[similar.same], similar.distances[similar.same]
        names, inverse = np.unique(rows["manifest"], return_inverse=True)
        nearest = np.full(names.size, _MISSING)
        np.minimum.at(nearest, inverse, apart)
        for name, distance in zip(names.tolist(), nearest.tolist(), strict=True):
            totals[name] = totals.get(name, 0.0) + distance - _MISSING
    ranked = sorted(totals, key=lambda name: totals[name])
    return {name: _MISSING + totals[name] / len(seen) for name in ranked}
