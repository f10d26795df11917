"""Cuts are frozen, cover everything, and depend on nothing but the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.chunking import (
    CONTENT_AVG,
    CONTENT_BUFFER,
    CONTENT_MAX,
    CONTENT_MIN,
    TENSOR_PIECE,
    content_pieces,
    tensor_pieces,
)
from mvc.dtypes import DTYPES
from mvc.errors import FileChanged

Reader = Callable[[memoryview, int], int]


class Vector(TypedDict):
    what: str
    seed: str
    length: int
    pieces: list[int]


VECTORS: list[Vector] = json.loads((Path(__file__).parent / "vectors" / "chunking.json").read_text())[
    "content"
]


def stream(seed: str, length: int) -> bytes:
    """Bytes that anyone can make again: BLAKE3's output stream for a seed; zeros for the seed "zeros"."""
    return bytes(length) if seed == "zeros" else blake3(seed.encode()).digest(length=length)


def reader(data: bytes, most: int | None = None) -> Reader:
    """Reads from memory, at most ``most`` bytes at a time."""

    def read_into(target: memoryview, offset: int) -> int:
        piece = data[offset : offset + (len(target) if most is None else min(most, len(target)))]
        target[: len(piece)] = piece
        return len(piece)

    return read_into


def cut(data: bytes, *, most: int | None = None, buffer_bytes: int | None = None) -> list[bytes]:
    buffer = None if buffer_bytes is None else memoryview(bytearray(buffer_bytes))
    return [bytes(piece) for piece in content_pieces(reader(data, most), 0, len(data), buffer=buffer)]


# --- by content --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["what"])
def test_cuts_are_frozen(vector: Vector) -> None:
    data = stream(vector["seed"], vector["length"])
    pieces = cut(data)
    assert [len(piece) for piece in pieces] == vector["pieces"]
    assert b"".join(pieces) == data


def test_the_vectors_reach_every_kind_of_cut() -> None:
    lengths = [length for vector in VECTORS for length in vector["pieces"][:-1]]
    assert min(lengths) < CONTENT_AVG // 2 and max(lengths) == CONTENT_MAX
    assert all(CONTENT_MIN <= length <= CONTENT_MAX for length in lengths)
    assert any(vector["length"] > CONTENT_BUFFER for vector in VECTORS)


def test_the_pure_python_cutter_agrees_with_the_compiled_one() -> None:
    from pyfastcdc.cy.fastcdc import FastCDC as Compiled
    from pyfastcdc.py.fastcdc import FastCDC as Pure

    data = stream("compiled and pure", 700_001)
    lengths = [
        [chunk.length for chunk in cutter.cut_buf(data)]
        for kind in (Compiled, Pure)
        for cutter in [kind(avg_size=CONTENT_AVG, min_size=CONTENT_MIN, max_size=CONTENT_MAX)]
    ]
    assert lengths[0] == lengths[1] == [len(piece) for piece in cut(data)]
    assert len(lengths[0]) > 5


@given(
    seed=st.integers(0, 3),
    length=st.integers(600_000, 1_500_000),
    buffer_bytes=st.integers(CONTENT_MAX, 500_000),
    most=st.none() | st.integers(10_000, 400_000),
)
@settings(deadline=None, max_examples=40)
def test_cuts_depend_on_neither_buffer_nor_reads(
    seed: int, length: int, buffer_bytes: int, most: int | None
) -> None:
    data = stream(f"any {seed}", length)
    assert cut(data, most=most, buffer_bytes=buffer_bytes) == cut(data, buffer_bytes=max(length, CONTENT_MAX))


def test_a_low_entropy_run_is_cut_alike_in_any_buffer() -> None:
    data = stream("head", 300_000) + bytes(1_000_000) + stream("tail", 300_000)
    expected = cut(data, buffer_bytes=len(data))
    assert any(len(piece) == CONTENT_MAX for piece in expected)
    for buffer_bytes in (CONTENT_MAX, CONTENT_MAX + 1, 500_009):
        assert cut(data, buffer_bytes=buffer_bytes) == expected


def test_an_insertion_moves_few_cuts() -> None:
    data = stream("insertion", 3_000_000)
    before, after = set(cut(data)), set(cut(data[:1000] + b"inserted" + data[1000:]))
    assert len(after - before) <= 3
    assert len(after & before) >= 25


def test_only_the_span_asked_for_is_cut() -> None:
    data = stream("span", 400_000)
    pieces = [bytes(piece) for piece in content_pieces(reader(data), 100_000, 200_000)]
    assert pieces == cut(data[100_000:300_000])


def test_the_buffer_is_reused() -> None:
    pieces = content_pieces(reader(bytes(CONTENT_BUFFER * 3)), 0, CONTENT_BUFFER * 3)
    owners = [piece.obj for piece in pieces]
    assert len(owners) > 40 and all(owner is owners[0] for owner in owners)
    assert len(memoryview(owners[0])) == CONTENT_BUFFER


def test_a_small_file_gets_a_small_buffer() -> None:
    (piece,) = content_pieces(reader(b"x" * 100), 0, 100)
    assert len(memoryview(piece.obj)) == 100


@pytest.mark.parametrize("length", [100, CONTENT_MAX * 2, CONTENT_BUFFER * 2])
def test_a_file_that_shrinks_while_read_is_reported(length: int) -> None:
    data = stream("shrinks", length - 1)
    with pytest.raises(FileChanged, match=rf"byte {length - 1}\b"):
        for _ in content_pieces(reader(data, 50_000), 0, length):
            pass


def test_a_buffer_too_small_to_find_the_cuts_is_refused() -> None:
    small = memoryview(bytearray(CONTENT_MAX - 1))
    with pytest.raises(ValueError, match="too small"):
        next(content_pieces(reader(bytes(CONTENT_MAX)), 0, CONTENT_MAX, buffer=small))
    assert len(list(content_pieces(reader(bytes(100)), 0, 100, buffer=small))) == 1


# --- tensors -----------------------------------------------------------------------------------------------


def test_tensor_pieces_are_frozen() -> None:
    assert list(tensor_pieces(0, 2)) == []
    assert list(tensor_pieces(6, 2)) == [6]
    assert list(tensor_pieces(1 << 20, 2)) == [1 << 20]
    assert list(tensor_pieces((1 << 20) + 2, 2)) == [1 << 20, 2]
    assert list(tensor_pieces(3_000_000, 18)) == [1_048_572, 1_048_572, 902_856]
    assert list(tensor_pieces(3 << 20, 3 << 19)) == [1 << 20] * 3


@given(st.integers(0, 10 << 20), st.integers(1, 1 << 21))
@settings(deadline=None, max_examples=200)
def test_tensor_pieces_cover_the_tensor_in_whole_blocks(length: int, block: int) -> None:
    pieces = list(tensor_pieces(length, block))
    assert sum(pieces) == length
    assert all(0 < piece <= TENSOR_PIECE for piece in pieces)
    assert len(set(pieces[:-1])) <= 1
    if block <= TENSOR_PIECE:
        assert all(piece % block == 0 and piece + block > TENSOR_PIECE for piece in pieces[:-1])


def test_every_dtype_is_cut_at_element_borders() -> None:
    for dtype in DTYPES.values():
        (first, *_) = tensor_pieces(5 << 20, dtype.block)
        assert first % dtype.width == 0


@pytest.mark.parametrize(("length", "block"), [(-1, 1), (1, 0), (1, -2)])
def test_nonsense_is_refused(length: int, block: int) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        next(tensor_pieces(length, block))
