"""What a tensor's records would take, by its samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mvc.chunking import tensor_pieces
from mvc.dtypes import DTYPES
from mvc.elements import view
from mvc.odb.encoder import encode_tensor
from mvc.odb.estimate import cost, lane
from mvc.odb.writer import Hint
from mvc.spans import Span

RECORD_BYTES = 72
"""Of a record, beside what its steps, its first base and its stored bytes take."""

_STEPS_BYTES = 60
_BASE_BYTES = 46
_RECIPE_BYTES = 60


class Price(NamedTuple):
    """Bytes of a tensor's records, and whether its prediction is used."""

    stored: float
    based: bool


def price(span: Span, groups: Sequence[tuple[bytes, bytes | None]], pieces: int, hint: Hint | None) -> Price:
    """What ``pieces`` of a tensor's pieces would cost, by groups of samples and what is predicted of them.

    ``hint`` is that of the prediction, for what a record says of it.
    """
    share = pieces / max(sum(1 for _ in tensor_pieces(span.length, DTYPES[span.dtype].block)), 1)
    fixed = RECORD_BYTES * pieces
    alone = sum(_all(sample, None, span) for sample, _base in groups) / len(groups) * share + fixed
    if hint is None:
        return Price(alone, False)
    based = sum(_all(sample, base, span) for sample, base in groups) / len(groups) * share + fixed
    extra = (len(hint.bases) - 1) * _BASE_BYTES + (_RECIPE_BYTES if hint.recipe else 0)
    return Price(based + extra * pieces, True) if based < alone else Price(alone, False)


def _all(sample: bytes, predicted: bytes | None, span: Span) -> float:
    """Bytes of all pieces of a tensor, by one group of runs."""
    dtype = DTYPES[span.dtype]
    if len(sample) == span.length:
        encoded = encode_tensor(sample, dtype, predicted)
        return float(len(encoded.stored) + (_STEPS_BYTES if encoded.chain else 0))
    seen = lane(dtype)
    elements = view(sample, seen.width)[0]
    base = None if predicted is None else view(predicted, seen.width)[0]
    *whole, last = tensor_pieces(span.length, dtype.block)
    total = cost(elements, seen, base, last // seen.width)
    if whole:
        total += len(whole) * cost(elements, seen, base, whole[0] // seen.width)
    return total
