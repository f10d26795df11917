"""What an ideal order-0 entropy coder would need: lower bounds that codecs are compared with.

Every bound is in bytes, is worked out per tensor and counts no tables, so that no coder which sees the same
symbols without their neighbours can beat it. Residuals are ``(t - b) mod 2^w``, zigzag.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.tensor_files import Tensor
from mvc.dtypes import DTYPES
from mvc.odb.estimate import lane

Elements = NDArray[np.unsignedinteger]


def entropy(counts: NDArray[np.integer]) -> float:
    """Bytes of symbols with this histogram, each in -log2(its share) bits."""
    counts = counts[counts > 0].astype(np.float64)
    total = counts.sum()
    return float((counts * np.log2(total / counts)).sum() / 8) if total else 0.0


def zigzag_residual(target: Elements, base: Elements) -> Elements:
    """``(t - b) mod 2^w`` with small moves up and down as small numbers: 0, -1, 1, -2, … → 0, 1, 2, 3, …"""
    difference = target - base
    signed = difference.view(f"<i{difference.dtype.itemsize}")
    return ((signed << 1) ^ (signed >> (8 * difference.dtype.itemsize - 1))).view(difference.dtype)


def planes(elements: Elements) -> float:
    """Each byte plane with one histogram of its own."""
    return _grouped_planes(elements, np.zeros(elements.size, np.intp))


def _grouped_planes(elements: Elements, keys: NDArray[np.intp]) -> float:
    """Each byte plane with a histogram of its own for each key below 256."""
    width = elements.dtype.itemsize
    octets = np.ascontiguousarray(elements).view(np.uint8).reshape(-1, width)
    total = 0.0
    for place in range(width):
        joint = np.bincount(keys << 8 | octets[:, place], minlength=1 << 8)
        joint = np.pad(joint, (0, -joint.size % 256)).reshape(-1, 256)
        total += sum(entropy(row) for row in joint)
    return total


def alone(tensor: Tensor) -> float:
    """No base: byte planes after rotating the sign away, as ``rot`` does, where there is an exponent."""
    bits = tensor.elements
    if lane(DTYPES[tensor.dtype]).bits and bits.dtype.itemsize > 1:
        bits = (bits << 1) | (bits >> (8 * bits.dtype.itemsize - 1))
    return planes(bits)


def of_residual(target: Tensor, base: Tensor) -> float:
    """Byte planes of the residual."""
    return planes(zigzag_residual(target.elements, base.elements))


def of_grouped_residual(target: Tensor, base: Tensor) -> float:
    """Byte planes of the residual, with a histogram for each exponent of the base."""
    seen = lane(DTYPES[target.dtype])
    residual = zigzag_residual(target.elements, base.elements)
    if not seen.bits:
        return planes(residual)
    keys = (base.elements >> seen.shift) & ((1 << seen.bits) - 1)
    return _grouped_planes(residual, (keys >> max(0, seen.bits - 8)).astype(np.intp))


def of_changes(target: Tensor, base: Tensor) -> float:
    """Which elements changed, each as likely as any other, and byte planes of the residuals of those."""
    residual = zigzag_residual(target.elements, base.elements)
    changed = residual != 0
    count = int(changed.sum())
    positions = entropy(np.array([count, residual.size - count]))
    return positions + planes(residual[changed])
