"""Element types of files as numpy dtypes, and back; ml_dtypes for those that numpy itself lacks."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mvc.dtypes import DTYPES
from mvc.errors import UnsupportedFeature

_NUMPY = {
    "BOOL": "bool",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "C128": "complex128",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}
_ML_DTYPES = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
_BY_NAME = {name: key for key, name in (_NUMPY | _ML_DTYPES).items()}
_BIG = ":be"


def name_of(dtype: np.dtype[Any]) -> str | None:
    """What files call a numpy dtype, whatever its byte order; None if they have no such thing."""
    return _BY_NAME.get(dtype.name)


def torch_name_of(dtype: str) -> str | None:
    """What files call a torch dtype (``torch.bfloat16``); None if they have no such thing."""
    return _BY_NAME.get(dtype.removeprefix("torch."))


def torch_type_of(name: str) -> str | None:
    """The name in torch of an element type of files; None if it has none."""
    return (_NUMPY | _ML_DTYPES).get(name.removesuffix(_BIG))


def is_block_type(name: str) -> bool:
    """Whether elements of this type come in blocks, or in less than a byte, that numpy cannot take apart."""
    plain = name.removesuffix(_BIG)
    return plain not in _NUMPY and plain not in _ML_DTYPES


def is_big_endian(name: str) -> bool:
    """Whether the bytes of an element stand in the order that this machine does not use."""
    if is_block_type(name):
        return False
    return name.endswith(_BIG) != (sys.byteorder == "big") and DTYPES[name].width > 1


def numpy_type_of(name: str, *, bits: bool = False) -> np.dtype[Any]:
    """The numpy dtype, of this machine's byte order, that an element type of files has.

    With ``bits`` the unsigned integer of its width, for types that numpy lacks; bytes for blocks.

    Raises:
        UnsupportedFeature: there is none; or it needs ml_dtypes, which is not installed.
    """
    plain = name.removesuffix(_BIG)
    if plain in _NUMPY:
        return np.dtype(_NUMPY[plain])
    if is_block_type(name) and bits:
        return np.dtype(np.uint8)
    if is_block_type(name):
        raise UnsupportedFeature(
            f"elements of type {name} have no numpy dtype", hint="as_bits=True gives their blocks, as bytes"
        )
    if bits:
        return np.dtype(f"u{DTYPES[plain].width}")
    try:
        import ml_dtypes  # an extra: only where such a type is asked for
    except ImportError:
        raise UnsupportedFeature(
            f"numpy has no {_ML_DTYPES[plain]} of its own",
            hint="pip install ml_dtypes, or ask with as_bits=True for unsigned integers",
        ) from None
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _ML_DTYPES[plain]))
    return dtype
