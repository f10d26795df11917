"""Element types: their width and where their exponent lies.

Names are those of the safetensors specification, of ONNX (integers of less than a byte) and of ggml
(quantised types). A big-endian variant carries the suffix ``:be``. Codecs see elements as unsigned
little-endian integers only, so every bit pattern (signalling NaNs, subnormals) survives.

A block type holds several elements in one block of bytes that cannot be taken apart. ggml's are sequences of
blocks along the last dimension, whose extent is a whole number of them. Bit-packed types follow each other
without regard to rows; their last byte may be filled up with zero bits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    ``width`` is in bytes: of one element, or of the block that holds ``elements`` of them. ``exponent_shift``
    and ``exponent_bits`` locate the exponent in the little-endian unsigned view (bits 0 = least significant);
    ``exponent_bits`` is 0 where there is none (integers, booleans, blocks, and big-endian variants, whose
    exponent is not where the view expects it). ``bit_packed``: a block's elements are bit fields of equal
    size, so a tensor may end at any byte that holds its last one, and rows may begin inside a block.
    """

    name: str
    width: int
    exponent_shift: int = 0
    exponent_bits: int = 0
    elements: int = 1
    bit_packed: bool = False

    @property
    def block(self) -> int:
        """Bytes that must stay together in a chunk: one element, or one block of a block type."""
        return self.width

    @property
    def unit(self) -> int:
        """Bytes of the smallest piece that two tensors are compared by: an element, a block, or one byte of
        a bit-packed type."""
        return 1 if self.bit_packed else self.width

    def byte_count(self, elements: int) -> int:
        """Bytes of so many elements end to end; a last block counts as far as its bits reach."""
        return -(-elements * self.width // self.elements)


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
    DType("F4", 1, elements=2, bit_packed=True),
    DType("F6_E2M3", 3, elements=4, bit_packed=True),
    DType("F6_E3M2", 3, elements=4, bit_packed=True),
    DType("U4", 1, elements=2, bit_packed=True),
    DType("I4", 1, elements=2, bit_packed=True),
    DType("U2", 1, elements=4, bit_packed=True),
    DType("I2", 1, elements=4, bit_packed=True),
)

_GGML = (
    DType("Q1_0", 18, elements=128),
    DType("Q4_0", 18, elements=32),
    DType("Q4_1", 20, elements=32),
    DType("Q5_0", 22, elements=32),
    DType("Q5_1", 24, elements=32),
    DType("Q8_0", 34, elements=32),
    DType("Q8_1", 40, elements=32),
    DType("Q2_K", 84, elements=256),
    DType("Q3_K", 110, elements=256),
    DType("Q4_K", 144, elements=256),
    DType("Q5_K", 176, elements=256),
    DType("Q6_K", 210, elements=256),
    DType("Q8_K", 292, elements=256),
    DType("IQ1_S", 50, elements=256),
    DType("IQ1_M", 56, elements=256),
    DType("IQ2_XXS", 66, elements=256),
    DType("IQ2_XS", 74, elements=256),
    DType("IQ2_S", 82, elements=256),
    DType("IQ3_XXS", 98, elements=256),
    DType("IQ3_S", 110, elements=256),
    DType("IQ4_NL", 18, elements=32),
    DType("IQ4_XS", 136, elements=256),
    DType("TQ1_0", 54, elements=256),
    DType("TQ2_0", 66, elements=256),
    DType("MXFP4", 17, elements=32),
    DType("NVFP4", 36, elements=64),
    # files of 2024 with rows interleaved for one kind of processor
    DType("Q4_0_4_4", 18, elements=32),
    DType("Q4_0_4_8", 18, elements=32),
    DType("Q4_0_8_8", 18, elements=32),
    DType("IQ4_NL_4_4", 18, elements=32),
    DType("IQ4_NL_4_8", 18, elements=32),
    DType("IQ4_NL_8_8", 18, elements=32),
)
"""ggml's quantised types, by ``GGML_QUANT_SIZES`` of the gguf package."""

DTYPES: dict[str, DType] = {d.name: d for d in _TABLE + _GGML} | {
    f"{d.name}:be": DType(f"{d.name}:be", d.width, elements=d.elements)
    for d in _TABLE + _GGML
    if d.width > 1 and not d.bit_packed
}
"""Every element type by name."""

NUMPY_NAMES = {
    "BOOL": "bool",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "C128": "complex128",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}
"""What numpy and torch call those element types that both of them have."""

ML_DTYPES_NAMES = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
"""What torch and ml_dtypes call those that numpy lacks."""

BY_PYTHON_NAME = {python: name for name, python in (NUMPY_NAMES | ML_DTYPES_NAMES).items()}
"""Element types by what Python's libraries call them."""
