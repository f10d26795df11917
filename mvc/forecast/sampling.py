"""Which bytes of a tensor stand for all of it. The same for tensors of equally many elements, so that what
was sampled of two can be compared."""

from __future__ import annotations

from typing import NamedTuple

from mvc.chunking import INLINE_TENSOR
from mvc.dtypes import DTYPES
from mvc.sketch import count_of
from mvc.spans import Span

SHARE = 0.0098
"""Of a tensor's elements. Headers, sketches and what recipes look at beside come on top, below 2 % in all."""

FLOOR_BYTES = 40 << 10
"""Of a file at least, so that small ones are not judged by nothing."""

RUNS = 8
MOST_IN_RUN = 1024  # elements
MOST_GROUPS = 4  # of runs: what a sample says no better than this

_ROUNDED = 1.05  # sketches and small tensors come on top
_LEAST_IN_RUN = 64
_LEAST_BYTES = INLINE_TENSOR + 1
"""Of a tensor that is worth a sample; smaller ones stand in the manifest."""

_SMALL = 64 << 10  # bytes of a tensor of which the least sample may be more than its share
_BLOCK = 32  # elements: a run begins and ends at a block of every block type but the largest


class Run(NamedTuple):
    """A stretch of a tensor, in bytes."""

    position: int
    length: int


def can_sample(span: Span) -> bool:
    """Whether a tensor has elements enough to be told by a few. In which order they lie does not matter."""
    return span.dtype in DTYPES and span.length >= _LEAST_BYTES


def groups_of(span: Span) -> list[list[Run]]:
    """Runs of a tensor for which :func:`can_sample` holds, in groups of which each is spread over all of
    it."""
    dtype = DTYPES[span.dtype]
    count = count_of(span)
    block = max(_BLOCK, dtype.elements)
    wanted = int(count * SHARE)
    groups = min(max(wanted // (RUNS * MOST_IN_RUN), 1), MOST_GROUPS)
    length = min(max(wanted // (RUNS * groups), _LEAST_IN_RUN), MOST_IN_RUN)
    length = max(length // block, 1) * block
    if count <= RUNS * length:
        return [[Run(0, span.length)]]
    number = RUNS * groups
    starts = [place * (count - length) // (number - 1) // block * block for place in range(number)]
    unit = dtype.elements
    runs = [Run(start // unit * dtype.width, length // unit * dtype.width) for start in starts]
    return [runs[group::groups] for group in range(groups)]


def chosen(size: int, spans: tuple[Span, ...]) -> list[list[list[Run]]]:
    """For each tensor of a file of so many bytes its groups of runs, none where the file's share is used up
    by larger ones."""
    left = max(int(size * SHARE * _ROUNDED), FLOOR_BYTES)
    found: list[list[list[Run]]] = [[] for _span in spans]
    for place in sorted(range(len(spans)), key=lambda place: -spans[place].length):
        if not can_sample(spans[place]):
            continue
        groups = groups_of(spans[place])
        left -= sum(run.length for group in groups for run in group)
        if left < 0 and spans[place].length < _SMALL:
            break
        found[place] = groups
    return found
