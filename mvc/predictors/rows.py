"""``rows`` version 1: stretches of the bases with gaps of zeros between them.

For a tensor that grew, shrank, or had rows inserted: what is new is coded as if it had been zero.

Parameter ``runs``: whole numbers other than zero, at most 4,096: so many bytes from the bases, which count
end to end, or, where negative, so many zeros. Runs together are the prediction, positive ones all of the
bases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_RUNS = 4096
_MAX_BYTES = 1 << 26  # of one run: no plain object is longer


class Rows:
    """The predictor ``rows``."""

    name = "rows"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The bases' stretches, and zeros."""
        read = Params(self.name, params, ("runs",))
        runs = [read.within("runs", run, -_MAX_BYTES, _MAX_BYTES) for run in read.items("runs", MAX_RUNS)]
        if not all(runs):
            read.refuse("a run of no bytes")
        if sum(map(abs, runs)) != length:
            read.refuse(f"runs that are not {length} bytes together")
        (given,) = read.operands(bases, [sum(run for run in runs if run > 0)])
        made = bytearray(length)
        at = taken = 0
        for run in runs:
            if run > 0:
                made[at : at + run] = given[taken : taken + run]
                taken += run
            at += abs(run)
        return made


PREDICTOR = Rows()
