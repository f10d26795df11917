"""GGUF: tensors as the reference package sees them; every damaged file is refused quickly, with a reason."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import GGML_BLOCKS, GGML_TYPES, BytesView, gguf_bytes, no_sibling, safetensors_bytes
from scan_files import described, tensors_in

from mvc.dtypes import DTYPES
from mvc.formats import gguf as gguf_module
from mvc.formats import read_values

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "weights" / "fmt_gguf"


def tensor(dtype: str, *shape: int, seed: int = 1) -> tuple[str, tuple[int, ...], bytes]:
    return dtype, shape, np.random.default_rng(seed).bytes(DTYPES[dtype].byte_count(int(np.prod(shape))))


TENSORS = {
    "token_embd.weight": tensor("Q8_0", 5, 64),
    "blk.0.attn_q.weight": tensor("Q4_K", 2, 3, 256),
    "blk.0.attn_norm.weight": tensor("F32", 7),
    "blk.0.ffn_up.weight": tensor("BF16", 3, 5),
    "half": tensor("F16", 2, 3, 4, 5),
    "ids": tensor("I64", 3),
    "bytes": tensor("I8", 3),
    "scalar": tensor("F32"),
    "none": tensor("F32", 0, 4),
    "größe": tensor("MXFP4", 1, 32),
}
VALUES = {
    "general.architecture": "llama",
    "general.name": "größer",
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000.0,
    "negative": -5,
    "flag": True,
    "short": [1, 2, 3],
    "words": ["a", "b"],
    "none": [],
    "tokenizer.ggml.tokens": [f"token {n}" for n in range(1000)],
    "tokenizer.ggml.scores": [0.5] * 1000,
    "nested": [[1, 2], [3], [["deep"]]],
}


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("alignment", [32, 8, 1024])
def test_tensors_lie_where_the_bytes_are(version: int, alignment: int) -> None:
    data = gguf_bytes(TENSORS, VALUES, version=version, alignment=alignment)
    assert tensors_in("model.gguf", data, "gguf") == TENSORS


def test_a_tensor_of_plain_elements_is_described_as_in_safetensors() -> None:
    plain = {name: entry for name, entry in TENSORS.items() if entry[0] in ("F32", "BF16", "F16", "I64")}
    assert tensors_in("a.gguf", gguf_bytes(plain), "gguf") == tensors_in(
        "a.safetensors", safetensors_bytes(plain), "safetensors"
    )


def test_a_big_endian_file_has_big_endian_tensors() -> None:
    found = tensors_in("model.gguf", gguf_bytes(TENSORS, VALUES, order=">"), "gguf")
    expected = {
        name: (dtype if dtype == "I8" else f"{dtype}:be", shape, raw)
        for name, (dtype, shape, raw) in TENSORS.items()
    }
    assert found == expected


def test_it_is_known_by_its_head_under_any_name() -> None:
    data = gguf_bytes(TENSORS)
    assert described("3f786850e387550f", data) == described("model.gguf", data)


@pytest.mark.parametrize("order", ["<", ">"])
def test_values(order: str) -> None:
    data = gguf_bytes(TENSORS, VALUES, order=order, alignment=64)
    values = read_values("gguf", BytesView("m.gguf", data), no_sibling)
    assert dict(values) == {
        "general.architecture": "llama",
        "general.name": "größer",
        "llama.block_count": 2,
        "llama.rope.freq_base": 10000.0,
        "negative": -5,
        "flag": True,
        "short.0": 1,
        "short.1": 2,
        "short.2": 3,
        "words.0": "a",
        "words.1": "b",
        "tokenizer.ggml.tokens.#": 1000,
        "tokenizer.ggml.scores.#": 1000,
        "nested.#": 3,
        "general.alignment": 64,
    }


def test_values_are_bounded() -> None:
    many = {f"key {n}": n for n in range(10_050)}
    assert len(read_values("gguf", BytesView("m", gguf_bytes({}, many)), no_sibling)) == 10_000
    long = gguf_bytes({}, {"long": "x" * 70_000, "short": "y"})
    assert dict(read_values("gguf", BytesView("m", long), no_sibling)) == {"short": "y"}


def test_a_file_without_tensors_is_understood() -> None:
    assert tensors_in("vocab.gguf", gguf_bytes({}, VALUES), "gguf") == {}


# --- the reference package ---------------------------------------------------------------------------------


def test_what_the_reference_package_writes(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    rng = np.random.default_rng(3)
    arrays = {
        "a": rng.standard_normal((4, 6)).astype("f4"),
        "b": rng.standard_normal(7).astype("f2"),
        "c": rng.integers(-9, 9, (2, 3, 4)).astype("i4"),
    }
    quantised = gguf.quantize(rng.standard_normal((3, 64)).astype("f4"), gguf.GGMLQuantizationType.Q8_0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(12)
    writer.add_token_list([f"t{n}" for n in range(100)])
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.add_tensor("q", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    expected = {
        name: ({"f4": "F32", "f2": "F16", "i4": "I32"}[array.dtype.str[1:]], array.shape, array.tobytes())
        for name, array in arrays.items()
    }
    assert tensors_in("model.gguf", data, "gguf") == {**expected, "q": ("Q8_0", (3, 64), quantised.tobytes())}
    values = read_values("gguf", BytesView("m", data), no_sibling)
    assert values["general.architecture"] == "llama" and values["llama.block_count"] == 12
    assert values["tokenizer.ggml.tokens.#"] == 100


def test_the_reference_package_reads_what_these_tests_make(tmp_path: Path) -> None:
    """So that the files of these tests are GGUF, and not what the scanner takes for it."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    sound = {name: entry for name, entry in TENSORS.items() if entry[1] and 0 not in entry[1]}
    path.write_bytes(gguf_bytes(sound, VALUES, alignment=64))
    reader = gguf.GGUFReader(path)
    theirs = {
        t.name: (t.tensor_type.name, tuple(map(int, reversed(t.shape))), t.data.tobytes())
        for t in reader.tensors
    }
    assert theirs == sound


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real files beside the repository")
@pytest.mark.parametrize("path", sorted(DATA.glob("*.gguf")), ids=lambda path: path.name)
def test_real_files_as_the_reference_package_reads_them(path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    found = tensors_in(path.name, path.read_bytes(), "gguf")
    theirs = {
        t.name: (t.tensor_type.name, tuple(map(int, reversed(t.shape))), t.data.tobytes())
        for t in gguf.GGUFReader(path).tensors
    }
    assert found == theirs


# --- bad files ---------------------------------------------------------------------------------------------

SOUND = gguf_bytes({"a": tensor("F32", 4)}, {"k": 1})


def head(tensors: int, keys: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def info(
    name: str | bytes, extents: tuple[int, ...], kind: int = 0, offset: int = 0, rank: int | None = None
) -> bytes:
    count = len(extents) if rank is None else rank
    return text(name) + struct.pack(f"<I{len(extents)}QIQ", count, *extents, kind, offset)


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


def one(described_as: bytes, data: bytes = bytes(64)) -> bytes:
    raw = head(1, 0, described_as)
    return raw + bytes(-len(raw) % 32) + data


DEEP = b"".join(array(9, 1) for _ in range(10)) + array(4, 0)
BAD = {
    "empty": (b"", "truncated"),
    "another magic": (b"GGML" + SOUND[4:], "magic"),
    "version 0": (b"GGUF" + bytes(20), "unknown version 0"),
    "version 4": (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "unknown version 4"),
    "version 2, big-endian": (b"GGUF" + struct.pack(">IQQ", 2, 0, 0), "unknown version 2"),
    "no counts": (SOUND[:8], "truncated"),
    "tensors absurd": (head(2**64 - 1, 0), "tensors, more than"),
    "keys absurd": (head(0, 2**63), "keys, more than"),
    "keys missing": (head(0, 3), "truncated"),
    "key name absurd": (head(0, 1, struct.pack("<Q", 2**63)), "a name of"),
    "key no UTF-8": (head(0, 1, key("x", 4, b"")[:8] + b"\xff" + bytes(8)), "not UTF-8"),
    "key twice": (head(0, 2, key("k", 4, bytes(4)) * 2), "'k' occurs twice"),
    "value of unknown type": (head(0, 1, key("k", 13, bytes(8))), "unknown type 13"),
    "value missing": (head(0, 1, key("k", 12, bytes(7))), "truncated"),
    "text leaves the file": (head(0, 1, key("k", 8, struct.pack("<Q", 2**64 - 1))), "truncated"),
    "array absurd": (head(0, 1, key("k", 9, array(12, 2**64 - 1))), "truncated"),
    "array of absurdly many texts": (head(0, 1, key("k", 9, array(8, 2**62))), "items in arrays"),
    "array of unknown type": (head(0, 1, key("k", 9, array(99, 1))), "unknown type 99"),
    "arrays nested deeply": (head(0, 1, key("k", 9, DEEP)), "nested more than"),
    "arrays of empty arrays": (head(0, 1, key("k", 9, array(9, 2**40))), "items in arrays"),
    "alignment 0": (head(0, 1, key("general.alignment", 4, bytes(4))), "no power of two"),
    "alignment 12": (head(0, 1, key("general.alignment", 4, b"\x0c\0\0\0")), "no power of two"),
    "alignment absurd": (head(0, 1, key("general.alignment", 4, b"\0\0\0\x80")), "no power of two"),
    "alignment a text": (head(0, 1, key("general.alignment", 8, text("32"))), "no power of two"),
    "tensor info missing": (head(1, 0), "truncated"),
    "tensor name no UTF-8": (one(info(b"\xff", (4,))), "not UTF-8"),
    "dimensions absurd": (one(info("a", (), rank=2**31)), "dimensions, more than"),
    "type unknown": (one(info("a", (4,), 99)), "unknown type 99"),
    "type removed": (one(info("a", (32,), 4)), "unknown type 4"),
    "not aligned": (one(info("a", (4,), offset=4)), "not aligned"),
    "data cut short": (SOUND[:-17], "leaves the file"),
    "offset absurd": (one(info("a", (4,), offset=2**63)), "leaves the file"),
    "shape absurd": (one(info("a", (2**63, 2**63))), "impossible shape"),
    "shape overflows to its length": (one(info("a", (2**62, 4))), "impossible shape"),
    "rows of part of a block": (one(info("a", (16, 2), 8)), "no whole blocks"),
    "name twice": (
        head(2, 0, info("a", (1,)) * 2) + bytes(200),
        "one name",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_opaque_with_the_reason(name: str) -> None:
    data, reason = BAD[name]
    description = described("bad.gguf", data)
    assert description.layout.format == "opaque"
    assert description.reason is not None and reason in description.reason, description.reason


def test_tensors_that_overlap_are_one_region() -> None:
    raw = head(2, 0, info("a", (8,)) + info("b", (8,), offset=0))
    data = raw + bytes(-len(raw) % 32) + bytes(32)
    assert tensors_in("m.gguf", data, "gguf").keys() == {"a", "b"}


def test_the_header_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_module, "MAX_HEADER_BYTES", 1000)
    reason = described("m.gguf", gguf_bytes({}, {"k": "x" * 2000})).reason
    assert reason is not None and "header of more than" in reason


BOMBS = {
    "tensors": head(200_000, 0, bytes(60 << 20)),
    "texts": head(0, 1, key("k", 9, array(8, 4_000_000)) + bytes(33 << 20)),
    "arrays": head(0, 1, key("k", 9, array(9, 250_000)) + bytes(50 << 20)),
    "names": head(0, 900, b"".join(text(f"{n:065535}") + b"\0\0\0\0x" for n in range(900))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_quick(name: str) -> None:
    began = time.process_time()
    described("bomb.gguf", BOMBS[name])
    assert time.process_time() - began < 15  # seconds on a busy machine; two or three on a quiet one


@pytest.mark.parametrize("name", ["tensors", "names"])
def test_bombs_are_small(name: str) -> None:
    tracemalloc.start()
    try:
        described("bomb.gguf", BOMBS[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * gguf_module.MAX_HEADER_BYTES


@given(
    st.lists(
        st.tuples(
            st.integers(0, 400),
            st.sampled_from([b"\0", b"\xff", b"\x01", b"\x80", b"\x09", b"\xff" * 8, b""]),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.integers(0, 60),
    st.sampled_from(["<", ">"]),
)
@settings(deadline=None, max_examples=300)
def test_any_mutation_is_refused_or_sound(edits: list[tuple[int, bytes, bool]], cut: int, order: str) -> None:
    """``described`` checks what holds for any file; nothing but a refusal may come out."""
    data = gguf_bytes(
        {"a": tensor("F32", 4), "b": tensor("Q8_0", 1, 32)},
        {"k": 1, "list": [1, 2], "deep": [["x"]]},
        order=order,
    )
    for position, raw, insert in edits:
        data = data[:position] + raw + data[position + (0 if insert else len(raw)) :]
    data = data[: len(data) - cut]
    described("m.gguf", data)
    read_values("gguf", BytesView("m.gguf", data), no_sibling)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_any_sound_file_is_understood(data: st.DataObject) -> None:
    tensors = {}
    for name in data.draw(st.lists(st.text(max_size=5), unique=True, max_size=4)):
        dtype = data.draw(st.sampled_from(sorted(GGML_TYPES)))
        shape = data.draw(st.lists(st.integers(0, 3), max_size=3))
        shape = [*shape, GGML_BLOCKS[dtype] * data.draw(st.integers(0, 2))] if dtype in GGML_BLOCKS else shape
        tensors[name] = tensor(dtype, *shape)
    raw = gguf_bytes(tensors, version=data.draw(st.sampled_from([1, 2, 3])))
    assert tensors_in("m.gguf", raw, "gguf") == tensors
