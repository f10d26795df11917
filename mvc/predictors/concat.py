"""``concat`` version 1: the bases end to end. No parameters.

One base is its own prediction. Whether the length must be that of the plain bytes is for the codec to say: a
residual needs it, a dictionary does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Concat:
    """The predictor ``concat``."""

    name = "concat"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The bases end to end; with one base, that base and no copy."""
        if params:
            raise CorruptObject("concat: unknown parameters")
        if not bases:
            raise CorruptObject("concat: no bases")
        return bases[0] if len(bases) == 1 else b"".join(bases)


PREDICTOR = Concat()
