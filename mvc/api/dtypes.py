"""Element types of files as numpy dtypes, and back; ml_dtypes for those that numpy itself lacks."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mvc.dtypes import BY_PYTHON_NAME, DTYPES, ML_DTYPES_NAMES, NUMPY_NAMES
from mvc.errors import UnsupportedFeature

_BIG = ":be"


def name_of(dtype: np.dtype[Any]) -> str | None:
    """What files call a numpy dtype, whatever its byte order; None if they have no such thing."""
    return BY_PYTHON_NAME.get(dtype.name)


def torch_name_of(dtype: str) -> str | None:
    """What files call a torch dtype (``torch.bfloat16``); None if they have no such thing."""
    return BY_PYTHON_NAME.get(dtype.removeprefix("torch."))


def torch_type_of(name: str) -> str | None:
    """The name in torch of an element type of files; None if it has none."""
    return (NUMPY_NAMES | ML_DTYPES_NAMES).get(name.removesuffix(_BIG))


def is_block_type(name: str) -> bool:
    """Whether elements of this type come in blocks, or in less than a byte, that numpy cannot take apart."""
    plain = name.removesuffix(_BIG)
    return plain not in NUMPY_NAMES and plain not in ML_DTYPES_NAMES


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
    if plain in NUMPY_NAMES:
        return np.dtype(NUMPY_NAMES[plain])
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
            f"numpy has no {ML_DTYPES_NAMES[plain]} of its own",
            hint="pip install ml_dtypes, or ask with as_bits=True for unsigned integers",
        ) from None
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, ML_DTYPES_NAMES[plain]))
    return dtype
