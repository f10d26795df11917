"""The bits of any plain element type as binary64 numbers, for statistics: not what recipes calculate with."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.elements import scratch, unsigned
from mvc.predictors.floats import FLOATS, load

Reals = NDArray[np.float64]

_BIG = ":be"
_INTEGERS = {
    f"{kind}{bits}": f"{letter}{bits // 8}"
    for kind, letter in (("I", "<i"), ("U", "<u"))
    for bits in (8, 16, 32, 64)
}
_COMPLEX = {"C64": "<f4", "C128": "<f8"}
_TABLES = ("F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0")
_WIDE = ("I64", "U64")


def is_numeric(dtype: str) -> bool:
    """Whether elements of this type are numbers of their own bytes: not blocks, nor less than a byte."""
    plain = dtype.removesuffix(_BIG)
    return dtype in DTYPES and (
        plain in FLOATS or plain in _INTEGERS or plain in _COMPLEX or plain in (*_TABLES, "BOOL")
    )


def reals_in(dtype: str) -> int:
    """Real numbers in an element: 2 of a complex type, else 1."""
    return 2 if dtype.removesuffix(_BIG) in _COMPLEX else 1


def to_reals(data: memoryview, dtype: str, out: Reals) -> None:
    """The numbers of whole elements; ``out`` has :func:`reals_in` for each, the real part first.

    Exact, but for integers of 64 bits, which are rounded. Any boolean byte but 0 is 1.
    """
    plain = dtype.removesuffix(_BIG)
    width = DTYPES[dtype].width // reals_in(dtype)
    bits = np.frombuffer(data, unsigned(width))
    if plain != dtype:
        bits = bits.byteswap()
    if plain in FLOATS:
        load(bits, plain, out)
    elif plain in _TABLES:
        np.take(_table(plain), bits, out=out, mode="clip")
    elif plain == "BOOL":
        np.copyto(out, bits != 0)
    else:
        np.copyto(out, bits.view(_INTEGERS.get(plain) or _COMPLEX[plain]), casting="unsafe")


def differences(
    old: memoryview, new: memoryview, dtypes: tuple[str, str], first: Reals, second: Reals, out: Reals
) -> None:
    """``new − old`` of elements that are given both as bytes and as numbers; rounded once.

    Integers of 64 bits are subtracted in halves: neighbours beyond 2^53 are one number in binary64.
    """
    np.subtract(second, first, out=out)
    if dtypes[0] == dtypes[1] and dtypes[0] in _WIDE:
        words = [np.frombuffer(side, unsigned(4)) for side in (old, new)]
        high = "<i4" if dtypes[0] == "I64" else "<u4"
        low = scratch("numeric.low", out.size, np.dtype(np.float64))
        np.subtract(words[1][0::2].astype(np.float64), words[0][0::2], out=low)
        np.subtract(words[1][1::2].view(high).astype(np.float64), words[0][1::2].view(high), out=out)
        np.multiply(out, 2.0**32, out=out)
        np.add(out, low, out=out)


@cache
def _table(dtype: str) -> NDArray[np.float64]:
    """The numbers of all bytes of an eight-bit type without infinities.

    Source: ONNX, "Float stored in 8 bits"; OCP Microscaling Formats 1.0, 5.4.1 for E8M0.
    """
    codes = np.arange(256)
    if dtype == "F8_E8M0":
        return np.asarray(np.where(codes == 255, np.nan, np.exp2(codes - 127.0)))
    mantissa_bits, bias = (3, 8) if dtype == "F8_E4M3FNUZ" else (2, 16)
    exponent = (codes & 127) >> mantissa_bits
    mantissa = codes & ((1 << mantissa_bits) - 1)
    sizes = (mantissa + np.where(exponent > 0, 1 << mantissa_bits, 0)) * np.exp2(
        np.maximum(exponent, 1) - float(bias + mantissa_bits)
    )
    values: NDArray[np.float64] = np.where(codes >> 7, -sizes, sizes)
    values[0x80] = np.nan
    return values
