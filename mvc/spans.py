"""Where tensors lie in a file, and how a file falls into regions that tile it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mvc.dtypes import DTYPES


@dataclass(frozen=True, slots=True)
class Span:
    """A tensor's place in a file.

    ``offset`` and ``length`` are in bytes. ``shape`` is in elements, ``strides`` in elements too and None where the
    tensor is contiguous in row-major order.
    """

    offset: int
    length: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What a format says of one file: its tensors' places. What lies between is glue."""

    format: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a file: a tensor (``span`` given) or what lies between tensors (``span`` None)."""

    offset: int
    length: int
    span: Span | None


class NotTileable(ValueError):
    """Spans that leave the file, overlap in part, or claim a length that their shape contradicts."""


def element_count(shape: Sequence[int]) -> int:
    """Number of elements of a shape; 1 for a scalar."""
    count = 1
    for extent in shape:
        count *= extent
    return count


def tile(size: int, spans: Sequence[Span]) -> Iterator[Region]:
    """Cut a file of ``size`` bytes into regions, end to end, in order.

    A span that lies wholly inside another (an alias or a view) is a row of the tensor table, not a region of its
    own. Empty spans make no region.

    Raises:
        NotTileable: a span leaves the file, has an unknown dtype, or overlaps another in part.
    """
    regions: list[Region] = []
    position = 0
    for span in sorted(spans, key=lambda s: (s.offset, -s.length)):
        end = span.offset + span.length
        if span.offset < 0 or span.length < 0 or end > size:
            raise NotTileable(f"tensor {span.name!r} leaves the file")
        if span.dtype not in DTYPES:
            raise NotTileable(f"tensor {span.name!r} has an unknown dtype {span.dtype!r}")
        if span.length == 0:
            continue
        if span.offset < position:
            if end <= position:
                continue
            raise NotTileable(f"tensor {span.name!r} overlaps another in part")
        if span.offset > position:
            regions.append(Region(position, span.offset - position, None))
        regions.append(Region(span.offset, span.length, span))
        position = end
    if position < size:
        regions.append(Region(position, size - position, None))
    return iter(regions)
