"""Element types: widths against those who defined them."""

from __future__ import annotations

import pytest

from mvc.chunking import TENSOR_PIECE, tensor_pieces
from mvc.dtypes import DTYPES


def test_quantised_types_are_those_of_ggml() -> None:
    constants = pytest.importorskip("gguf.constants")
    assert len(constants.GGML_QUANT_SIZES) > 30
    for kind, (elements, width) in constants.GGML_QUANT_SIZES.items():
        dtype = DTYPES[kind.name]
        assert (dtype.elements, dtype.width, dtype.block) == (elements, width, width)
        assert not dtype.bit_packed


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_is_sound(name: str) -> None:
    dtype = DTYPES[name]
    assert dtype.name == name and dtype.width >= 1 and dtype.elements >= 1
    assert dtype.byte_count(0) == 0 and dtype.byte_count(dtype.elements * 7) == dtype.width * 7
    assert dtype.width % dtype.unit == 0
    assert not dtype.exponent_bits or dtype.elements == 1
    assert not dtype.bit_packed or 8 * dtype.width % dtype.elements == 0
    if not name.endswith(":be") and dtype.width > 1 and not dtype.bit_packed:
        assert DTYPES[f"{name}:be"].byte_count(dtype.elements) == dtype.width


@pytest.mark.parametrize("name", ["Q8_0", "Q6_K", "F6_E2M3", "F32", "F4"])
def test_pieces_are_the_most_whole_blocks_in_a_mebibyte(name: str) -> None:
    width = DTYPES[name].width
    first, *rest = tensor_pieces(width * 1_100_000, DTYPES[name].block)
    assert first % width == 0 and TENSOR_PIECE - width < first <= TENSOR_PIECE
    assert all(piece == first for piece in rest[:-1])


def test_bits_that_do_not_fill_a_byte() -> None:
    assert [DTYPES["U4"].byte_count(n) for n in range(5)] == [0, 1, 1, 2, 2]
    assert [DTYPES["I2"].byte_count(n) for n in range(6)] == [0, 1, 1, 1, 1, 2]
    assert [DTYPES["F6_E3M2"].byte_count(n) for n in range(6)] == [0, 1, 2, 3, 3, 4]
