"""TensorFlow and TFLite: constants and checkpoints; every damaged file is refused quickly, with a reason."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import (
    TF_TYPES,
    TFLITE_TYPES,
    BytesView,
    leveldb_bytes,
    message,
    no_sibling,
    onnx_tensor,
    tf_constant,
    tf_entry,
    tf_shape,
    tflite_bytes,
)
from scan_files import described, tensors_in

from mvc.describing import Describer
from mvc.dtypes import DTYPES
from mvc.fileio import FileIO
from mvc.formats import describe_siblings, read_values
from mvc.formats.wire import flatbuffers, leveldb
from mvc.source import OpenFile
from mvc.spans import Span

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "weights"


def raw_of(dtype: str, *shape: int) -> bytes:
    return np.random.default_rng(len(dtype)).bytes(DTYPES[dtype].byte_count(math.prod(shape)))


def all_of(types: dict[str, int]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {f"w {dtype}": (dtype, (2, 3), raw_of(dtype, 2, 3)) for dtype in types}


# --- checkpoints -------------------------------------------------------------------------------------------

HEADER = (b"", message((1, 1), (3, message((1, 1)))))
ROWS = [(b"layer/bias", tf_entry("F32", (3,), 24, 12)), (b"layer/kernel", tf_entry("I64", (3,), 0, 24))]


def beside(data: bytes, name: str = "variables.index") -> dict[str, list[Span]]:
    layouts = describe_siblings(BytesView(name, data), no_sibling)
    return {place: list(layout.spans) for place, layout in layouts.items()}


def test_an_index_describes_its_data() -> None:
    data = leveldb_bytes([[HEADER, ROWS[0]], [ROWS[1]]])
    assert described("variables.index", data).layout.format == "tf-index"
    assert beside(data) == {
        "variables.data-00000-of-00001": [
            Span(24, 12, "layer/bias", "F32", (3,)),
            Span(0, 24, "layer/kernel", "I64", (3,)),
        ]
    }


def test_shards_and_byte_order() -> None:
    header = (b"", message((1, 2), (2, 1)))
    rows = [(b"a", tf_entry("F32", (1,), 0, 4, 0)), (b"b", tf_entry("U8", (4,), 0, 4, 1))]
    rows.append((b"c", tf_entry("F32", (1,), 0, 4, 2)))
    assert beside(leveldb_bytes([[header, *rows]])) == {
        "variables.data-00000-of-00002": [Span(0, 4, "a", "F32:be", (1,))],
        "variables.data-00001-of-00002": [Span(0, 4, "b", "U8", (4,))],
    }


def test_what_is_no_stretch_of_elements_has_no_name() -> None:
    rows = [
        (b"\0\xffslice", tf_entry("F32", (1,), 0, 4)),
        (b"a", tf_entry("F32", (3,), 0, 4)),
        (b"b", message((1, 7), (2, tf_shape((1,))), (5, 9))),
        (b"c", tf_entry("F32", (1,), 0, 4) + message((7, b""))),
        (b"d", message((1, 1), (2, message((3, 1))), (5, 4))),
        (b"e", message((1, 1), (2, tf_shape((-1,))), (5, 4))),
    ]
    assert beside(leveldb_bytes([[HEADER, *rows]])) == {}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no footer"),
        (bytes(100), "magic"),
        (leveldb_bytes([[HEADER, *ROWS]], compression=1), "compressed"),
        (leveldb_bytes([[]]), "no header"),
        (leveldb_bytes([ROWS]), "no header"),
        (leveldb_bytes([[(b"", message((1, 0)))]]), "0 shards"),
        (leveldb_bytes([[(b"", message((1, 99_999)))]]), "99999 shards"),
        (leveldb_bytes([[HEADER, (b"a", b"\xff")]]), "does not end"),
        (leveldb_bytes([[HEADER, (b"a", message((2, message(*[(2, b"")] * 65))))]]), "64 dimensions"),
        (leveldb_bytes([[HEADER, *ROWS]])[40:], ""),
        (b"\xff" * 40 + leveldb.MAGIC, "does not end"),
        (b"\0\0\0\xff\xff\xff\x7f".ljust(40, b"\0") + leveldb.MAGIC, "a block of"),
        (b"\0\0\xff\xff\xff\x7f\x08".ljust(40, b"\0") + leveldb.MAGIC, "leaves the file"),
        (bytes(12) + b"\0\0\0\x02".ljust(40, b"\0") + leveldb.MAGIC, "without an end"),
    ],
)
def test_a_bad_index_is_opaque_with_the_reason(data: bytes, reason: str) -> None:
    description = described("variables.index", data)
    assert description.layout.format == "opaque"
    assert description.reason is not None and reason in description.reason, description.reason
    assert beside(data) == {}


INDEXES = sorted(DATA.rglob("*.index")) if DATA.is_dir() else []


@pytest.mark.skipif(not INDEXES, reason="needs the real files beside the repository")
@pytest.mark.parametrize("index", INDEXES, ids=lambda path: path.name)
def test_real_checkpoints_are_covered(index: Path) -> None:
    name = f"{index.stem}.data-00000-of-00001"
    io = FileIO()
    fd = io.open_read(index.parent / name)
    try:
        layout = Describer(io, index.parent).describe(name, OpenFile(io, fd, name)).layout
    finally:
        io.close(fd)
    assert layout.format == "tf-data"
    # the rest is a text: which Python object each tensor belongs to
    assert sum(span.length for span in layout.spans) > 0.9 * (index.parent / name).stat().st_size


# --- graphs ------------------------------------------------------------------------------------------------

LIBRARY = message((1, message((1, message((1, "f"))), (3, tf_constant("k", "F32", (1,), bytes(4))))))


def test_constants_of_a_graph() -> None:
    tensors = all_of(TF_TYPES)
    nodes = [(1, tf_constant(name, *entry)) for name, entry in tensors.items()]
    data = message(*nodes, (1, message((1, "x"), (2, "Relu"))), (4, message((1, 21))), (2, LIBRARY))
    assert tensors_in("frozen.pb", data, "tf-graph") == {**tensors, "f/k": ("F32", (1,), bytes(4))}


def test_constants_of_a_saved_model() -> None:
    graph = message((1, tf_constant("k", "F32", (2,), b"abcdefgh")), (2, LIBRARY))
    data = message((1, 1), (2, message((1, b"meta"), (2, graph), (7, b"objects"))))
    assert tensors_in("saved_model.pb", data, "tf-graph").keys() == {"k", "f/k"}


def test_numbers_packed_in_full_have_a_name_and_others_none() -> None:
    data = message(
        (1, tf_constant("full", "F32", (2,), bytes(8), field=5)),
        (1, tf_constant("doubles", "F64", (2,), bytes(16), field=6)),
        (1, tf_constant("once for all", "F32", (2,), bytes(4), field=5)),
        (1, tf_constant("varints", "I32", (2,), bytes(2), field=7)),
        (1, tf_constant("other", "F32", (2,), bytes(8), field=6)),
        (1, tf_constant("wrong", "F32", (3,), bytes(8))),
    )
    assert tensors_in("frozen.pb", data, "tf-graph") == {
        "full": ("F32", (2,), bytes(8)),
        "doubles": ("F64", (2,), bytes(16)),
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no graph of any node"),
        (message((1, message((1, "x")))), "without an operation"),
        (message((1, tf_constant("k", "F32", (), bytes(4))), (9, b"")), "field 9"),
        (message((1, 1), (3, b"")), "field 3"),
        (message((1, 1), (2, b"")), "no graph of any node"),
    ],
)
def test_a_bad_graph_is_opaque_with_the_reason(data: bytes, reason: str) -> None:
    description = described("frozen.pb", data)
    assert description.layout.format == "opaque"
    assert description.reason is not None and reason in description.reason, description.reason


def test_a_tensor_of_onnx_is_not_taken_for_a_graph() -> None:
    for shape in ((), (3,), (2, 3), (10, 18)):
        tensor = onnx_tensor("x", "F32", shape, raw_of("F32", *shape))
        assert described("x.pb", tensor).layout.format == "onnx-tensor"


# --- TFLite ------------------------------------------------------------------------------------------------


def test_tensors_of_a_model() -> None:
    tensors = all_of(TFLITE_TYPES)
    data = tflite_bytes({**tensors, "activation": ("F32", (1, 8), b"")}, description="a model")
    assert tensors_in("m.tflite", data, "tflite") == tensors
    assert described("3f786850e387550f", data).layout.format == "tflite"
    values = read_values("tflite", BytesView("m.tflite", data), no_sibling)
    assert dict(values) == {"version": 3, "description": "a model"}


def test_scales_by_channel_have_no_name() -> None:
    tensors = {"w": ("I8", (3, 4), raw_of("I8", 3, 4))}
    data = tflite_bytes(tensors, scales={"w": [0.5, 0.25, 2.0]})
    assert tensors_in("m.tflite", data, "tflite") == tensors


def test_a_buffer_of_another_length_has_no_name() -> None:
    data = tflite_bytes({"sparse": ("F32", (100,), bytes(12)), "negative": ("I8", (-1,), b"x")})
    assert tensors_in("m.tflite", data, "tflite") == {}


SOUND = tflite_bytes({"w": ("F32", (2,), bytes(8)), "v": ("I8", (4,), b"abcd")}, scales={"v": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (tflite_bytes({}, identifier=b"ABCD"), "TFL3"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "truncated"),
        (b"\0\0\0\0TFL3", "no model"),
        (SOUND[: len(SOUND) // 2], ""),
        (tflite_bytes({"\ud7ff" * 2000: ("F32", (), bytes(4))}), "a text of 6000 bytes"),
        (tflite_bytes({"w": ("F32", (1,) * 65, bytes(4))}), "65 numbers, more than 64"),
        (
            tflite_bytes({"w": ("F32", (), bytes(4))}).replace(
                struct.pack("<I", 1) + bytes(4), b"\x09" + bytes(7)
            ),
            "",
        ),
    ],
)
def test_a_bad_model_is_opaque_with_the_reason(data: bytes, reason: str) -> None:
    description = described("bad.tflite", data)
    assert description.layout.format == "opaque"
    assert description.reason is not None and reason in description.reason, description.reason


def test_vectors_that_claim_too_much_are_refused() -> None:
    for place in range(8, len(SOUND) - 4, 4):
        described("m.tflite", SOUND[:place] + b"\xff\xff\xff\x7f" + SOUND[place + 4 :])


def test_reads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatbuffers, "MAX_READS", 20)
    assert "more reads" in (described("m.tflite", SOUND).reason or "")


MODELS = sorted(path for path in DATA.rglob("*.tflite") if path.is_file()) if DATA.is_dir() else []


@pytest.mark.skipif(not MODELS, reason="needs the real files beside the repository")
def test_real_models_are_understood() -> None:
    for path in MODELS:
        data = path.read_bytes()
        layout = described(path.name, data).layout
        assert layout.format == "tflite" and len(layout.spans) > 5
        assert sum(span.length for span in layout.spans) > 0.4 * len(data)


# --- mutations ---------------------------------------------------------------------------------------------

FILES = {
    "m.tflite": SOUND,
    "variables.index": leveldb_bytes([[HEADER, *ROWS]]),
    "frozen.pb": message((1, tf_constant("k", "F32", (2,), bytes(8))), (2, LIBRARY)),
    "saved_model.pb": message((1, 1), (2, message((2, message((2, LIBRARY)))))),
}


@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=4), st.booleans()), max_size=4),
    st.integers(0, 60),
)
@settings(deadline=None, max_examples=500)
def test_any_mutation_is_refused_or_sound(name: str, edits: list[tuple[int, bytes, bool]], cut: int) -> None:
    data = FILES[name]
    for position, raw, insert in edits:
        position %= len(data) + 1
        data = data[:position] + raw + data[position + (0 if insert else len(raw)) :]
    data = data[: len(data) - cut]
    description = described(name, data)
    beside(data, name)
    read_values(description.layout.format, BytesView(name, data), no_sibling)
