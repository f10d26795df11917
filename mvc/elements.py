"""Bytes as arrays of unsigned little-endian elements, and buffers that are used again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

Elements = NDArray[Any]
"""An array of one of the dtypes that :func:`unsigned` gives."""

U8 = np.dtype(np.uint8)

_KEPT_BYTES = 4 << 20  # of one buffer: several times a piece of a tensor; longer objects are rare
_local = threading.local()


def unsigned(width: int) -> np.dtype[Any]:
    """The dtype of an unsigned little-endian element of ``width`` bytes, on machines of either endianness."""
    return np.dtype(f"<u{width}")


def signed(width: int) -> np.dtype[Any]:
    """The dtype of a signed little-endian element of ``width`` bytes."""
    return np.dtype(f"<i{width}")


def view(data: Buffer, width: int) -> tuple[Elements, memoryview]:
    """``data`` as whole elements, and the bytes behind the last whole one; copies nothing."""
    raw = memoryview(data).cast("B")
    count = len(raw) // width
    if count == 0:
        return np.empty(0, unsigned(width)), raw
    return np.frombuffer(raw, unsigned(width), count), raw[count * width :]


def octets(elements: Elements) -> NDArray[np.uint8]:
    """The bytes of contiguous elements; copies nothing."""
    return elements.view(np.uint8)


def scratch(name: str, count: int, dtype: np.dtype[Any]) -> Elements:
    """``count`` uninitialised elements, valid until this thread asks for the same name and dtype again.

    Memory that is given back and fetched anew costs a page fault for each 4 KiB, more than the arithmetic
    done in it.
    """
    buffers: dict[tuple[str, np.dtype[Any]], Elements] = _local.__dict__.setdefault("buffers", {})
    buffer = buffers.get((name, dtype))
    if count * dtype.itemsize > _KEPT_BYTES:
        return np.empty(count, dtype)
    if buffer is None or buffer.size < count:
        buffer = buffers[name, dtype] = np.empty(count, dtype)
    return buffer[:count]
