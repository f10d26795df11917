"""Tensors of any file that mvc understands, as bytes; and safetensors files out of arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.fileio import FileIO
from mvc.formats import Sibling, View, describe
from mvc.source import OpenFile

SAFETENSORS_NAMES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8", "int64": "I64"}


class Tensor(NamedTuple):
    """One tensor's row-major bytes; ``dtype`` is a name of :data:`mvc.dtypes.DTYPES`."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def elements(self) -> NDArray[np.unsignedinteger]:
        """Little-endian unsigned integers of the element's width, flat; single bytes for blocks."""
        kind = DTYPES[self.dtype]
        width = kind.width if kind.elements == 1 and kind.width in (1, 2, 4, 8) else 1
        return np.frombuffer(self.data, f"<u{width}")

    @property
    def values(self) -> NDArray[np.float64] | None:
        """The numbers, flat; None for types that this module does not read as numbers."""
        bits = self.elements
        if self.dtype == "BF16":
            return (bits.astype("<u4") << 16).view("<f4").astype(np.float64)
        plain = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}.get(self.dtype)
        return None if plain is None else bits.view(plain).astype(np.float64)


class Bits(NamedTuple):
    """Elements that numpy has no type for: their bits, and the type's name in a safetensors header."""

    dtype: str
    bits: NDArray[np.unsignedinteger]


@contextmanager
def in_its_folder(path: Path) -> Iterator[tuple[OpenFile, Sibling]]:
    """An open file, and what opens those beside it."""
    io = FileIO()
    with ExitStack() as stack:

        def view(path: Path) -> OpenFile:
            handle = io.open_read(path)
            stack.callback(io.close, handle)
            return OpenFile(io, handle, path.name)

        def sibling(name: str) -> View | None:
            other = path.parent / name
            return view(other) if other.parent == path.parent and other.is_file() else None

        yield view(path), sibling


def read(path: Path) -> dict[str, Tensor]:
    """All contiguous tensors of a file, by name; empty for a file that no format understands."""
    with in_its_folder(path) as (file, sibling):
        return {
            span.name: Tensor(span.dtype, span.shape, file.read(span.offset, span.length))
            for span in describe(file, sibling).layout.spans
            if span.strides is None
        }


def safetensors(tensors: Mapping[str, NDArray | Bits], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file, laid out as the library does: wide types first, then by name."""

    def parts(tensor: NDArray | Bits) -> tuple[str, NDArray]:
        if isinstance(tensor, Bits):
            return tensor.dtype, tensor.bits
        return SAFETENSORS_NAMES[tensor.dtype.name], tensor

    order = sorted(tensors, key=lambda name: (-parts(tensors[name])[1].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata or {"format": "pt"})}
    offset = 0
    for name in order:
        dtype, array = parts(tensors[name])
        span = [offset, offset + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": span}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(parts(tensors[name])[1]).tobytes() for name in order)
    return len(text).to_bytes(8, "little") + text + body


def bf16(values: NDArray[np.float32]) -> Bits:
    """Round finite float32 to bf16, ties to even."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    return Bits("BF16", ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2"))


def from_bf16(tensor: Bits) -> NDArray[np.float32]:
    """The float32 of the same value."""
    return (tensor.bits.astype("<u4") << 16).view("<f4")
