"""Arrays and scalars of numpy, as pickles describe them.

Sources: ``numpy/_core/src/multiarray/methods.c`` (``array_reduce``, ``array_setstate``) and
``descriptor.c`` (``arraydescr_reduce``); protocol 5 goes through ``numpy._core.numeric._frombuffer``. An
array of objects holds a list, which is walked like any other.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mvc.dtypes import DTYPES
from mvc.formats.base import NotThisFormat, Value
from mvc.formats.wire.inert import Bytes, Call, path_of, text_of
from mvc.formats.wire.npyheader import fortran_strides, type_name
from mvc.spans import MAX_RANK, Span, element_count

_CORES = ("numpy.core", "numpy._core")
RECONSTRUCT = frozenset(f"{core}.multiarray._reconstruct" for core in _CORES)
SCALAR = frozenset(f"{core}.multiarray.scalar" for core in _CORES)
FROM_BUFFER = frozenset(f"{core}.numeric._frombuffer" for core in _CORES)
DTYPE = "numpy.dtype"

_SCALAR_CODES = {"I8": "b", "U8": "B", "I16": "h", "U16": "H", "I32": "i", "U32": "I", "I64": "q", "U64": "Q"}
_SCALAR_CODES |= {"F16": "e", "F32": "f", "F64": "d", "BOOL": "?"}


@dataclass(frozen=True, slots=True)
class Array:
    """An array; ``data`` is its bytes, or the list of its elements if they are objects (``dtype`` None)."""

    dtype: str | None
    shape: tuple[int, ...]
    fortran: bool
    data: object


def array_of(call: Call) -> Array | None:
    """The array that a call makes; None for any other call, or one of a dtype that is not known here."""
    path = path_of(call.function)
    if path in RECONSTRUCT:
        state = call.state
        if not isinstance(state, tuple) or len(state) != 5:
            return None
        _, shape, dtype, fortran, data = state
        return _array(shape, dtype, fortran is True or fortran == 1, data)
    if path in FROM_BUFFER and isinstance(call.args, tuple) and len(call.args) == 4:
        data, dtype, shape, order = call.args
        return _array(shape, dtype, text_of(order) == "F", data)
    return None


def _array(shape: object, dtype: object, fortran: bool, data: object) -> Array | None:
    if not isinstance(shape, tuple) or len(shape) > MAX_RANK:
        return None
    if not all(type(extent) is int and extent >= 0 for extent in shape):
        return None
    if isinstance(data, list):
        return Array(None, shape, fortran, data)
    name = dtype_of(dtype)
    if name is None or not isinstance(data, Bytes):
        return None
    if element_count(shape) * DTYPES[name].width != data.length:
        raise NotThisFormat("a numpy array whose shape contradicts its bytes")
    return Array(name, shape, fortran, data)


def span_of(array: Array, base: int) -> Span | None:
    """Where an array's bytes stand, in a file in which the pickle's view starts at ``base``; None where they
    do not stand as such."""
    data = array.data
    if array.dtype is None or not isinstance(data, Bytes) or data.offset is None:
        return None
    strides = fortran_strides(array.shape) if array.fortran else None
    return Span(base + data.offset, data.length, "", array.dtype, array.shape, strides)


def dtype_of(value: object) -> str | None:
    """Our name of a ``numpy.dtype``; None if there is none for it."""
    if not isinstance(value, Call) or path_of(value.function) != DTYPE:
        return None
    code = text_of(value.args[0]) if isinstance(value.args, tuple) and value.args else None
    if code is None:
        return None
    order: str | None = "|"
    if isinstance(value.state, tuple) and len(value.state) > 1:
        order = text_of(value.state[1])
    if order is None:
        return None
    return type_name("<" if order == "=" else order, code)


def scalar_of(call: Call) -> Value:
    """The number that a call of ``scalar`` makes; None for any other call."""
    if path_of(call.function) not in SCALAR or not isinstance(call.args, tuple) or len(call.args) != 2:
        return None
    dtype, data = dtype_of(call.args[0]), call.args[1]
    if dtype is None or not isinstance(data, Bytes) or data.data is None:
        return None
    base, _, big = dtype.partition(":")
    code = _SCALAR_CODES.get(base)
    if code is None or len(data.data) != DTYPES[dtype].width:
        return None
    number: Value = struct.unpack((">" if big else "<") + code, data.data)[0]
    return number
