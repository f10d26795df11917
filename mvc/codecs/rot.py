"""``rot`` version 1: each element rotated left by one bit.

The sign moves from the top to the bottom, so that the exponent of bf16 and fp32 fills the top byte and
becomes a byte plane of its own. Stored bytes: as many as the plain ones; what follows the last whole element
is kept as it is. Parameters: ``{"width": 1, 2, 4 or 8}``, bytes per little-endian element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.codecs.params import WIDTHS, expect_keys, integer
from mvc.elements import scratch, unsigned, view
from mvc.errors import CorruptObject

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Rot:
    """The codec ``rot``."""

    name = "rot"
    version = 1
    needs_prediction = False

    def encode(self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None) -> memoryview:
        """Rotate left by one."""
        width = width_of(params)
        return _rotated(data, width, 1)

    def decode(
        self, data: Buffer, params: Mapping[str, Any], prediction: Buffer | None, length: int
    ) -> memoryview:
        """Rotate right by one."""
        width = width_of(params)
        if memoryview(data).nbytes != length:
            raise CorruptObject(f"rot: {memoryview(data).nbytes} bytes where {length} belong")
        return _rotated(data, width, 8 * width - 1)


def width_of(params: Mapping[str, Any]) -> int:
    """Read a step's parameters.

    Raises:
        CorruptObject: they are not those of ``rot``.
    """
    expect_keys("rot", params, {"width"})
    return integer("rot", params, "width", WIDTHS)


def _rotated(data: Buffer, width: int, left: int) -> memoryview:
    elements, tail = view(data, width)
    out = np.empty(elements.nbytes + len(tail), np.uint8)
    rotated = out[: elements.nbytes].view(unsigned(width))
    wrapped = scratch("rot", elements.size, unsigned(width))
    np.left_shift(elements, left, out=rotated)
    np.right_shift(elements, 8 * width - left, out=wrapped)
    np.bitwise_or(rotated, wrapped, out=rotated)
    out[elements.nbytes :] = tail
    return out.data


CODEC = Rot()
