"""Element types: their width and where their exponent lies.

Names are those of the safetensors specification. A big-endian variant carries the suffix ``:be``. Codecs see
elements as unsigned little-endian integers only, so every bit pattern (signalling NaNs, subnormals) survives.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    ``width`` is in bytes. ``exponent_shift`` and ``exponent_bits`` locate the exponent in the little-endian
    unsigned view (bits 0 = least significant); ``exponent_bits`` is 0 where there is none (integers,
    booleans, and big-endian variants, whose exponent is not where the view expects it).
    """

    name: str
    width: int
    exponent_shift: int = 0
    exponent_bits: int = 0

    @property
    def block(self) -> int:
        """Bytes that must stay together in a chunk: one element (quantisation formats will say more)."""
        return self.width


_TABLE = (
    DType("BOOL", 1),
    DType("U8", 1),
    DType("I8", 1),
    DType("F8_E4M3", 1, 3, 4),
    DType("F8_E5M2", 1, 2, 5),
    DType("F8_E4M3FNUZ", 1, 3, 4),
    DType("F8_E5M2FNUZ", 1, 2, 5),
    DType("F8_E8M0", 1, 0, 8),
    DType("U16", 2),
    DType("I16", 2),
    DType("F16", 2, 10, 5),
    DType("BF16", 2, 7, 8),
    DType("U32", 4),
    DType("I32", 4),
    DType("F32", 4, 23, 8),
    DType("U64", 8),
    DType("I64", 8),
    DType("F64", 8, 52, 11),
    DType("C64", 8),
    DType("C128", 16),
)

DTYPES: dict[str, DType] = {d.name: d for d in _TABLE} | {
    f"{d.name}:be": DType(f"{d.name}:be", d.width) for d in _TABLE if d.width > 1
}
"""Every element type by name."""
