"""A sketch of a tensor: 32 of its values, so coarse that it is the same whatever float type holds them.

Two tensors of which one was made from the other (by training, casting, averaging, pruning, quantising) have
sketches that say so, and unrelated ones have not. A sketch only proposes: whether a prediction is worth
keeping is decided on the bytes.

A value is the upper half of its binary32 form (binary32: IEEE 754-2008, 3.6), truncated: sign, exponent and
seven bits of the mantissa, which is bfloat16. They are taken in :data:`RUNS` runs of :data:`RUN` neighbours,
spread evenly, so that a run of a large matrix lies in one row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.spans import Span

RUNS = 4
RUN = 8
VALUES = RUNS * RUN

LEAST_BYTES = 16 << 10
"""Bytes of the smallest tensor that is worth a sketch."""

Sketch = NDArray[np.uint16]
"""Of shape (VALUES,); of several tensors (n, VALUES)."""

FAR = 512
"""Most steps that two values count as apart: a factor of 16."""

_BITS = np.log2(1 + np.arange(FAR + 1)).astype(np.float32)

_EIGHT_BITS = {"F8_E4M3": (4, 3, 7, False), "F8_E5M2": (5, 2, 15, True)}


def can_sketch(span: Span) -> bool:
    """Whether a tensor has values that a sketch is made of: large enough, contiguous, of a float type or
    int8."""
    return span.dtype in KINDS and span.strides is None and span.length >= LEAST_BYTES


def count_of(span: Span) -> int:
    """Elements of a tensor that can be sketched."""
    dtype = DTYPES[span.dtype]
    return span.length // dtype.width * dtype.elements


def places(count: int) -> list[int]:
    """The element with which each run of a tensor of ``count`` elements, at least :data:`VALUES`, begins: a
    multiple of :data:`RUN`, so that a run lies in one block of a block type."""
    return [run * (count - RUN) // (RUNS - 1) // RUN * RUN for run in range(RUNS)]


def sketch(span: Span, read: Callable[[int, int], bytes]) -> Sketch:
    """The sketch of a tensor for which :func:`can_sketch` holds; ``read`` gives so many bytes from an offset
    in the tensor."""
    dtype = DTYPES[span.dtype]
    if dtype.elements > 1:
        return _of_blocks(places(count_of(span)), read)
    raw = b"".join(read(place * dtype.width, RUN * dtype.width) for place in places(count_of(span)))
    return coarse(raw, span.dtype)


def _of_blocks(begin: list[int], read: Callable[[int, int], bytes]) -> Sketch:
    """The sketch of a tensor of Q8_0: 32 signed bytes in a block, behind their scale in binary16."""
    runs: list[NDArray[np.float32]] = []
    for place in begin:
        block = read(place // 32 * 34, 34)
        codes = np.frombuffer(block[2:], np.int8)[place % 32 :][:RUN]
        with np.errstate(invalid="ignore"):  # any scale: infinite, a signalling NaN
            runs.append(np.frombuffer(block[:2], "<f2").astype(np.float32) * codes)
    return _upper(np.concatenate(runs))


def coarse(raw: bytes, dtype: str) -> Sketch:
    """Elements of one of the :data:`KINDS`, except blocks, as the values of a sketch."""
    if dtype == "BF16":
        return np.frombuffer(raw, "<u2")
    if dtype == "F32":
        return np.frombuffer(raw, "<u2")[1::2].copy()
    if dtype in _EIGHT_BITS:
        return _upper(_table(dtype)[np.frombuffer(raw, np.uint8)])
    numbers = np.frombuffer(raw, {"F16": "<f2", "F64": "<f8", "I8": "i1"}[dtype])
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _upper(numbers.astype("<f4"))


KINDS = ("F64", "F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "I8", "Q8_0")
"""Element types that can be sketched."""


def _upper(numbers: NDArray[np.float32]) -> Sketch:
    return np.ascontiguousarray(numbers, "<f4").view("<u2")[1::2].copy()


def _table(dtype: str) -> NDArray[np.float32]:
    """The value of each byte of an eight-bit float (OCP 8-bit Floating Point Specification, revision 1.0)."""
    exponent_bits, mantissa_bits, bias, has_infinity = _EIGHT_BITS[dtype]
    codes = np.arange(256)
    exponent = codes >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = codes & (1 << mantissa_bits) - 1
    scale = np.exp2(np.maximum(exponent, 1) - bias - mantissa_bits)
    values = (mantissa + np.where(exponent > 0, 1 << mantissa_bits, 0)) * scale
    if has_infinity:
        values = np.where(exponent == 31, np.where(mantissa == 0, np.inf, np.nan), values)
    else:
        values = np.where(codes & 127 == 127, np.nan, values)
    return np.where(codes >> 7, -values, values).astype(np.float32)


def ordered(values: Sketch) -> NDArray[np.int32]:
    """Values as integers of the same order; neighbours differ by 1, and both zeros are 0."""
    seen = np.ascontiguousarray(values).view(np.int16)
    magnitude = seen & np.int16(0x7FFF)
    return np.where(seen < 0, -magnitude, magnitude).astype(np.int32)


def numbers(values: Sketch) -> NDArray[np.float64]:
    """Values as numbers."""
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return (values.astype("<u4") << 16).view("<f4").astype(np.float64)


def bits(apart: NDArray[np.int32]) -> NDArray[np.float64]:
    """How far values are apart that differ by so many steps: mean bits that it takes to say so. Shape (n,
    VALUES) becomes (n,)."""
    steps = np.abs(apart)
    np.minimum(steps, FAR, out=steps)
    result: NDArray[np.float64] = _BITS.take(steps).mean(axis=-1, dtype=np.float64)
    return result


def distances(target: Sketch, others: Sketch) -> NDArray[np.float64]:
    """How far each of some sketches, shape (n, VALUES), is from one, in :func:`bits`: 0 for equal ones, some
    3 after a fine-tune, 8 between tensors that have nothing to do with each other."""
    return bits(ordered(others) - ordered(target))
