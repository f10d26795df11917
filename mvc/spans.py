"""Where tensors lie in a file, and how a file falls into regions that tile it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mvc.dtypes import DTYPES, DType

MAX_RANK = 64
"""Dimensions of a tensor, as in numpy and torch."""

_INT64_LIMIT = 1 << 63
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Span:
    """A tensor's place in a file.

    ``offset`` and ``length`` are in bytes. ``shape`` is in elements, ``strides`` in elements too and None
    where the tensor is contiguous in row-major order, as tensors of block types always are.
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
    """A stretch of a file: tensors (``span`` is the one that begins it) or what lies between them (``span``
    None). Longer than its span where others overlap it and reach further."""

    offset: int
    length: int
    span: Span | None


class NotTileable(ValueError):
    """Spans that leave the file, or claim a length that their shape contradicts.

    The message is one line, however hostile the names in it.
    """


def shown(text: str) -> str:
    """Foreign text as one short line for a message: quoted, cut, and free of control characters."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")


def element_count(shape: Sequence[int]) -> int:
    """Number of elements of a shape; 1 for a scalar."""
    count = 1
    for extent in shape:
        count *= extent
    return count


def row_major_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous tensor whose last index runs fastest."""
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def touched_elements(shape: Sequence[int], strides: Sequence[int] | None) -> int:
    """Elements from a tensor's first to its last, both included; 0 where the tensor is empty."""
    count = element_count(shape)
    if strides is None or count == 0:
        return count
    return 1 + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True))


def check_span(size: int, span: Span) -> None:
    """Check one span against the file's size and against itself.

    A span's length is the stretch that its dtype, shape and strides touch; shapes and strides are small
    enough for any library's 64-bit arithmetic; the name is valid Unicode, because the manifest stores it as
    UTF-8.

    Raises:
        NotTileable: one of these does not hold.
    """
    _check_name(span.name)
    dtype = DTYPES.get(span.dtype)
    if dtype is None:
        raise NotTileable(f"tensor {shown(span.name)} has an unknown dtype {shown(span.dtype)}")
    strides = span.strides
    if len(span.shape) > MAX_RANK:
        raise NotTileable(f"tensor {shown(span.name)} has {len(span.shape)} dimensions, more than {MAX_RANK}")
    if strides is not None and len(strides) != len(span.shape):
        raise NotTileable(f"tensor {shown(span.name)} has not one stride per dimension")
    # The product leaves zeros out: numpy refuses shape (0, 2**40, 2**40) although it has no elements.
    if (
        any(not 0 <= number < _INT64_LIMIT for number in (*span.shape, *(strides or ())))
        or element_count([extent for extent in span.shape if extent]) * dtype.width >= _INT64_LIMIT
    ):
        raise NotTileable(f"tensor {shown(span.name)} has an impossible shape")
    if dtype.elements > 1:
        _check_blocks(span, dtype)
    if span.length != dtype.byte_count(touched_elements(span.shape, strides)):
        raise NotTileable(f"tensor {shown(span.name)} has a length that its shape contradicts")
    if span.offset < 0 or span.offset + span.length > size:
        raise NotTileable(f"tensor {shown(span.name)} leaves the file")


def _check_blocks(span: Span, dtype: DType) -> None:
    """Blocks cannot be stridden through; ggml's fill rows of whole blocks."""
    if span.strides is not None:
        raise NotTileable(f"tensor {shown(span.name)} has strides through blocks of {dtype.name}")
    if not dtype.bit_packed and (not span.shape or span.shape[-1] % dtype.elements):
        raise NotTileable(f"tensor {shown(span.name)} has rows that are no whole blocks of {dtype.name}")


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:  # a lone surrogate, which JSON escapes can spell
        raise NotTileable(f"the tensor name {shown(name)} is not valid Unicode") from error


def tile(size: int, spans: Sequence[Span]) -> Iterator[Region]:
    """Cut a file of ``size`` bytes into regions, end to end, in order.

    Spans that overlap (aliases, and views of one storage) are one region, which the first of them begins and
    the furthest reaching ends; where several begin together, the longest is the first. Empty spans make no
    region. Every span is checked before the first region is handed out.

    Raises:
        NotTileable: a span fails :func:`check_span`.
    """
    for span in spans:
        check_span(size, span)
    regions: list[Region] = []
    position = 0
    for span in sorted(spans, key=lambda s: (s.offset, -s.length)):
        end = span.offset + span.length
        if end <= position or span.length == 0:
            continue
        if span.offset < position:
            last = regions[-1]
            regions[-1] = Region(last.offset, end - last.offset, last.span)
            position = end
            continue
        if span.offset > position:
            regions.append(Region(position, span.offset - position, None))
        regions.append(Region(span.offset, span.length, span))
        position = end
    if position < size:
        regions.append(Region(position, size - position, None))
    return iter(regions)
