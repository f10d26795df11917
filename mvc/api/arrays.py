"""Tensors of numpy, torch and their kin as bytes for a file: dtype, shape, and the bytes when asked for.

torch is never imported here: a tensor of torch is known by the module that its program has loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.api.dtypes import name_of, torch_name_of
from mvc.dtypes import DTYPES
from mvc.errors import UserError
from mvc.spans import element_count

_COMPLEX = {"C64": 4, "C128": 8}  # bytes of a half, which is what a byte order turns round


class HostTensor(NamedTuple):
    """A tensor as a file holds it: dtype by the name in files, shape in elements.

    ``give`` returns its bytes, row-major and little-endian: a view where they lie so, else a copy made on the
    spot.
    """

    dtype: str
    shape: tuple[int, ...]
    give: Callable[[], memoryview]

    @property
    def length(self) -> int:
        """Bytes."""
        return element_count(self.shape) * DTYPES[self.dtype].width


def host_tensor(value: Any, where: str) -> HostTensor | None:
    """A value as a tensor; None if it is none. ``where`` names it in messages.

    Raises:
        UserError: a tensor that has no plain bytes (sparse, quantised, meta, masked, of objects), or elements
            that safetensors files lack.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_torch(value, where)
    if isinstance(value, np.ndarray):
        return _of_numpy(value, where)
    kind = type(value)
    # arrays of JAX and of others that take part in the array standards; numpy's own scalars do not
    if hasattr(kind, "__dlpack__") and hasattr(kind, "__array__") and not isinstance(value, np.generic):
        return _of_kin(value, where)
    return None


def _refuse(where: str, why: str, hint: str = "") -> UserError:
    return UserError(f"{where} {why}", hint=hint)


# --- numpy -------------------------------------------------------------------------------------------------
def _of_numpy(array: NDArray[Any], where: str) -> HostTensor:
    if isinstance(array, np.ma.MaskedArray):
        raise _refuse(where, "is a masked array, whose mask no file holds", "commit .data and .mask apart")
    dtype = _supported(name_of(array.dtype), array.dtype, where)
    return HostTensor(dtype, array.shape, lambda: _bytes(array).data)


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    # not through floating point, which could quiet a signalling NaN
    plain = np.asarray(array)  # of a subclass, the array itself
    flat = np.ascontiguousarray(plain).reshape(-1)
    if flat.dtype.byteorder == ">" or (flat.dtype.byteorder == "=" and sys.byteorder == "big"):
        flat = flat.byteswap()
    return flat.view(np.uint8)


def _supported(name: str | None, dtype: object, where: str) -> str:
    if name is None or name == "C128":
        raise _refuse(where, f"has elements of type {dtype}, which safetensors files cannot hold")
    return name


def _of_kin(value: Any, where: str) -> HostTensor:
    """An array that numpy can be asked for, on whatever device."""
    dtype = _supported(name_of(np.dtype(value.dtype)), value.dtype, where)
    shape = tuple(int(extent) for extent in value.shape)
    return HostTensor(dtype, shape, lambda: _bytes(np.asarray(value)).data)


# --- torch -------------------------------------------------------------------------------------------------
def _of_torch(tensor: Any, where: str) -> HostTensor:
    torch = sys.modules["torch"]
    if hasattr(tensor, "full_tensor"):
        raise _refuse(where, "is spread over several processes", "call full_tensor() on every one first")
    if tensor.is_meta:
        raise _refuse(where, "lies on the meta device and has no elements", "load the weights first")
    if tensor.is_nested or tensor.layout != torch.strided:
        raise _refuse(
            where, f"is stored as {tensor.layout}, which has no plain bytes", "call to_dense() first"
        )
    if tensor.is_quantized:
        raise _refuse(where, "is quantised by torch", "commit int_repr() and the scales apart")
    dtype = _supported(torch_name_of(str(tensor.dtype)), tensor.dtype, where)
    return HostTensor(dtype, tuple(tensor.shape), lambda: _torch_bytes(tensor, dtype, where).data)


def _torch_bytes(tensor: Any, dtype: str, where: str) -> NDArray[np.uint8]:
    torch = sys.modules["torch"]
    try:
        host = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        raw: NDArray[np.uint8] = host.reshape(-1).view(torch.uint8).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise _refuse(where, f"cannot be copied to the host: {error}".splitlines()[0]) from error
    if sys.byteorder == "big":
        width = _COMPLEX.get(dtype, DTYPES[dtype].width)
        raw = raw.view(f"u{width}").byteswap().view(np.uint8)
    return raw
