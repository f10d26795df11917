"""ONNX: every tensor that lies in one stretch has a name, inside the model and beside it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import (
    ONNX_TYPES,
    BytesView,
    message,
    no_sibling,
    onnx_bytes,
    onnx_tensor,
    safetensors_bytes,
    varint,
)
from scan_files import described, tensors_in

from mvc.dtypes import DTYPES
from mvc.formats import describe_siblings, may_describe_siblings, read_values
from mvc.formats import onnx as onnx_module
from mvc.formats.wire import protobuf
from mvc.spans import Span

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "weights"


def raw_of(dtype: str, *shape: int) -> bytes:
    return np.random.default_rng(len(dtype)).bytes(DTYPES[dtype].byte_count(math.prod(shape)))


def node(kind: str, output: str, *attributes: bytes, name: str = "") -> tuple[int, bytes]:
    return 1, message((2, output), (3, name), (4, kind), *((5, attribute) for attribute in attributes))


def outside(data: bytes, name: str = "m.onnx") -> dict[str, list[Span]]:
    layouts = describe_siblings(BytesView(name, data), no_sibling)
    return {place: list(layout.spans) for place, layout in layouts.items()}


@pytest.mark.parametrize("dtype", ONNX_TYPES)
def test_initializers_of_every_dtype(dtype: str) -> None:
    raw = raw_of(dtype, 3, 5)
    data = onnx_bytes(
        (5, onnx_tensor("w", dtype, (3, 5), raw)), (5, onnx_tensor("s", dtype, (), raw_of(dtype)))
    )
    assert tensors_in("m.onnx", data, "onnx") == {
        "w": (dtype, (3, 5), raw),
        "s": (dtype, (), raw_of(dtype)),
    }


def test_tensors_are_those_of_safetensors() -> None:
    tensors = {"a": ("F32", (2, 3), raw_of("F32", 2, 3)), "b": ("BF16", (4,), raw_of("BF16", 4))}
    data = onnx_bytes(*((5, onnx_tensor(name, *entry)) for name, entry in tensors.items()))
    assert tensors_in("m.onnx", data, "onnx") == tensors_in(
        "m.safetensors", safetensors_bytes(tensors), "safetensors"
    )


def test_constants_and_graphs_within_graphs() -> None:
    raw = raw_of("F32", 2)

    def constant(output: str, name: str = "") -> tuple[int, bytes]:
        attribute = message((1, "value"), (5, onnx_tensor("hidden", "F32", (2,), raw)), (20, 4))
        return node("Constant", output, attribute, name=name)

    branch = message(constant("in_branch"), (5, onnx_tensor("branch.w", "F32", (2,), raw)))
    several = message(
        (1, "ts"), (10, onnx_tensor("", "F32", (2,), raw)), (10, onnx_tensor("", "F32", (2,), raw))
    )
    data = onnx_bytes(
        constant("out"),
        constant("", name="only named"),
        node("If", "y", message((1, "then_branch"), (6, branch)), message((1, "else_branch"), (11, branch))),
        node("Custom", "z", several, name="custom"),
        more=[
            (20, message((1, message((5, onnx_tensor("training", "F32", (2,), raw)))))),
            (25, message((1, "f"), (7, constant("in_function")[1]))),
        ],
    )
    spans = described("m.onnx", data).layout.spans
    assert sorted(span.name for span in spans) == sorted(
        [
            "out",
            "only named",
            *(["in_branch", "branch.w"] * 2),
            "custom.ts.0",
            "custom.ts.1",
            "training",
            "in_function",
        ]
    )
    assert {data[span.offset : span.offset + span.length] for span in spans} == {raw}


def test_sparse_initializers() -> None:
    values = onnx_tensor("sparse", "F32", (3,), raw_of("F32", 3))
    indices = onnx_tensor("", "I64", (3,), raw_of("I64", 3))
    data = onnx_bytes((15, message((2, indices), (1, values), (3, 100))))
    assert tensors_in("m.onnx", data, "onnx") == {
        "sparse": ("F32", (3,), raw_of("F32", 3)),
        "sparse.indices": ("I64", (3,), raw_of("I64", 3)),
    }


def test_packed_numbers_of_fixed_width() -> None:
    floats, doubles = raw_of("F32", 4), raw_of("F64", 4)
    data = onnx_bytes(
        (5, onnx_tensor("f", "F32", (4,), floats, field=4)),
        (5, onnx_tensor("c", "C64", (2,), floats, field=4)),
        (5, onnx_tensor("d", "F64", (4,), doubles, field=10)),
        (5, onnx_tensor("varints", "I64", (4,), bytes(4), field=7)),
        (5, onnx_tensor("small", "U8", (4,), bytes(4), field=5)),
        (5, onnx_tensor("other", "F32", (8,), bytes(32), field=10)),
        (5, onnx_tensor("twice", "F32", (2,), floats[:4], field=4) + message((4, floats[:4]))),
    )
    assert tensors_in("m.onnx", data, "onnx") == {
        "f": ("F32", (4,), floats),
        "c": ("C64", (2,), floats),
        "d": ("F64", (4,), doubles),
    }


def test_what_is_no_stretch_of_bytes_has_no_name() -> None:
    unpacked = b"".join(varint(4 << 3 | 5) + bytes(4) for _ in range(3))
    data = onnx_bytes(
        (5, message((1, 3), (2, 1), (8, "unpacked")) + unpacked),
        (5, message((1, 1), (2, 8), (6, "text"), (8, "strings"))),
        (5, message((1, 1), (2, 77), (9, b"x"), (8, "a type of the future"))),
        (5, message((1, -1), (2, 1), (9, b""), (8, "negative"))),
    )
    assert tensors_in("m.onnx", data, "onnx") == {}


# --- external data -----------------------------------------------------------------------------------------


def external(**entries: object) -> bytes:
    texts = {key: str(value) for key, value in entries.items()}
    return onnx_bytes((5, onnx_tensor("w", "F32", (2, 2), external=texts)))


def test_tensors_beside_the_model() -> None:
    data = onnx_bytes(
        (5, onnx_tensor("a", "F32", (2,), external={"location": "m.data", "offset": "64", "length": "8"})),
        (5, onnx_tensor("b", "BF16", (2,), external={"location": "m.data"})),
        (5, onnx_tensor("c", "I4", (3,), external={"location": "c", "checksum": "ignored"})),
        (5, onnx_tensor("d", "F32", (2,), raw_of("F32", 2))),
    )
    assert outside(data) == {
        "m.data": [Span(64, 8, "a", "F32", (2,)), Span(0, 4, "b", "BF16", (2,))],
        "c": [Span(0, 2, "c", "I4", (3,))],
    }
    assert tensors_in("m.onnx", data, "onnx").keys() == {"d"}


@pytest.mark.parametrize(
    "location",
    ["", ".", "..", "/etc/passwd", "../x", "sub/x", "./x", "a/../x", "..\\x", "C:\\x", "x\0", "m.onnx"],
)
def test_a_location_that_is_no_bare_name_is_left_alone(location: str) -> None:
    data = external(location=location)
    assert outside(data) == {}
    assert tensors_in("m.onnx", data, "onnx") == {}


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "-1"},
        {"offset": "1e3"},
        {"offset": "٣"},
        {"offset": "9" * 30},
        {"length": "15"},
        {"length": "x"},
    ],
)
def test_nonsense_about_a_place_is_left_alone(entries: dict[str, str]) -> None:
    data = external(location="d", **entries)
    assert outside(data) == {}
    assert described("m.onnx", data).layout.format == "onnx"


def test_external_data_need_to_be_declared() -> None:
    tensor = onnx_tensor("w", "F32", (1,), external={"location": "d"}).removesuffix(message((14, 1)))
    assert outside(onnx_bytes((5, tensor))) == {}


def test_only_some_names_may_describe_siblings() -> None:
    assert may_describe_siblings("model.ONNX")
    assert not any(map(may_describe_siblings, ["model.onnx.data", "a.pb", "a.gguf", "a.safetensors", "onnx"]))
    assert outside(external(location="d"), "m.txt") == {} and outside(b"no model") == {}


# --- values ------------------------------------------------------------------------------------------------


def test_values() -> None:
    ports = [(11, message((1, f"in{n}"), (2, b""))) for n in range(2)]
    ports += [(12, message((1, f"out{n}"))) for n in range(20)]
    more: list[tuple[int, int | str | bytes]] = [
        (5, -3),
        (8, message((1, "com.microsoft"), (2, 1))),
        (14, message((1, "epoch"), (2, "7"))),
        (14, message((1, "long"), (2, "x" * 70_000))),
    ]
    data = onnx_bytes((5, onnx_tensor("w", "F32", (), bytes(4))), node("Relu", "y"), *ports, more=more)
    assert dict(read_values("onnx", BytesView("m.onnx", data), no_sibling)) == {
        "ir_version": 10,
        "producer_name": "tests",
        "graph.name": "g",
        "graph.inputs.0": "in0",
        "graph.inputs.1": "in1",
        "graph.outputs.#": 20,
        "graph.initializers.#": 1,
        "graph.nodes.#": 1,
        "opset_import.ai.onnx": 21,
        "opset_import.com.microsoft": 1,
        "model_version": -3,
        "metadata.epoch": "7",
    }


def test_values_are_bounded() -> None:
    many = [(14, message((1, f"key {n}"), (2, "x"))) for n in range(20_000)]
    values = read_values("onnx", BytesView("m.onnx", onnx_bytes(more=many)), no_sibling)
    assert 9_000 < len(values) <= 10_000


# --- single tensors ----------------------------------------------------------------------------------------


def test_a_file_of_one_tensor() -> None:
    data = onnx_tensor("x", "F32", (2,), raw_of("F32", 2))
    assert tensors_in("input_0.pb", data, "onnx-tensor") == {"x": ("F32", (2,), raw_of("F32", 2))}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message((2, 1)),
        onnx_bytes(),
        onnx_tensor("x", "F32", (2,), external={"location": "y"}),
        b"\0" * 50,
    ],
    ids=["empty", "no bytes", "a model", "external", "zeros"],
)
def test_what_is_no_single_tensor(data: bytes) -> None:
    assert described("input_0.pb", data).layout.format == "opaque"


# --- the reference package ---------------------------------------------------------------------------------

_NUMPY = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def reference_tensors(onnx: object, model: object) -> dict[str, bytes]:
    """Every initializer of the main graph that is kept as raw bytes, as the onnx package reads it."""
    return {t.name: bytes(t.raw_data) for t in model.graph.initializer if t.HasField("raw_data")}  # type: ignore[attr-defined]


def test_what_the_reference_package_writes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(1)
    arrays = {"a": rng.standard_normal((20, 30)).astype("f4"), "b": rng.integers(0, 9, 700)}
    constant = onnx.helper.make_node(
        "Constant", [], ["k"], value=onnx.numpy_helper.from_array(arrays["a"][:2], "hidden")
    )
    output = onnx.helper.make_tensor_value_info("k", onnx.TensorProto.FLOAT, [2, 30])
    graph = onnx.helper.make_graph(
        [constant],
        "g",
        [],
        [output],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
        + [onnx.helper.make_tensor("floats", onnx.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])],
    )
    model = onnx.helper.make_model(graph)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    expected = {
        "a": ("F32", (20, 30), arrays["a"].tobytes()),
        "b": ("I64", (700,), arrays["b"].tobytes()),
        "k": ("F32", (2, 30), arrays["a"][:2].tobytes()),
        "floats": ("F32", (3,), np.array([1, 2, 3], "<f4").tobytes()),
    }
    assert tensors_in("m.onnx", data, "onnx") == expected

    path = tmp_path / "m.onnx"
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        location="m.onnx.data",
        size_threshold=0,
        convert_attribute=True,
    )
    (spans,) = outside(path.read_bytes()).values()
    beside = (tmp_path / "m.onnx.data").read_bytes()
    moved = {s.name: (s.dtype, s.shape, beside[s.offset : s.offset + s.length]) for s in spans}
    assert moved == {name: entry for name, entry in expected.items() if name != "floats"}


def test_the_reference_package_reads_what_these_tests_make() -> None:
    onnx = pytest.importorskip("onnx")
    data = onnx_bytes(*((5, onnx_tensor(name, name, (8,), raw_of(name, 8))) for name in ONNX_TYPES))
    model = onnx.load_from_string(data)
    assert [t.data_type for t in model.graph.initializer] == list(ONNX_TYPES.values())
    assert {t.name: bytes(t.raw_data) for t in model.graph.initializer} == {
        name: raw_of(name, 8) for name in ONNX_TYPES
    }
    for tensor in model.graph.initializer:
        assert onnx.numpy_helper.to_array(tensor).shape == (8,)


REAL = sorted(p for p in DATA.rglob("*.onnx") if p.stat().st_size > 1000) if DATA.is_dir() else []


@pytest.mark.skipif(not REAL, reason="needs the real files beside the repository")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_all_raw_bytes_of_real_files_have_names(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    data = path.read_bytes()
    spans = described(path.name, data).layout.spans
    found: list[bytes] = []

    def collect(graph: object) -> None:
        for tensor in graph.initializer:  # type: ignore[attr-defined]
            found.append(bytes(tensor.raw_data))
        for one in graph.node:  # type: ignore[attr-defined]
            for attribute in one.attribute:
                if attribute.HasField("t"):
                    found.append(bytes(attribute.t.raw_data))
                if attribute.HasField("g"):
                    collect(attribute.g)

    collect(onnx.load_from_string(data).graph)
    named = sorted(data[s.offset : s.offset + s.length] for s in spans if s.length)
    assert named == sorted(filter(None, found)) and len(named) > 50


# --- bad files ---------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    graph = message((2, "deep"))
    for _ in range(depth):
        graph = message(node("If", "y", message((1, "b"), (6, graph))))
    return message((1, 10), (7, graph))


BAD = {
    "empty": (b"", "no model of one graph"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", ""),
    "no graph": (message((1, 10)), "no model of one graph"),
    "two graphs": (message((1, 10), (7, b""), (7, b"")), "no model of one graph"),
    "no version": (message((7, b"")), "no model of one graph"),
    "graph a number": (message((1, 10), (7, 5)), "wire type 0 where 2 belongs"),
    "cut short": (onnx_bytes((5, onnx_tensor("w", "F32", (2,), bytes(8))))[:-1], "leaves its message"),
    "a group": (message((1, 10)) + b"\x3b", "wire type 3"),
    "field number 0": (b"\0\0", "number 0"),
    "a number without end": (b"\x08" + b"\xff" * 20, "does not end"),
    "a number of 70 bits": (b"\x08" + b"\xff" * 9 + b"\x7f", "does not end"),
    "a number at the end": (b"\x08\xff", "does not end"),
    "a length that leaves the file": (b"\x08\x0a\x3a" + b"\xff" * 8 + b"\x01", "leaves its message"),
    "length not that of the shape": (
        onnx_bytes((5, onnx_tensor("w", "F32", (3,), bytes(8)))),
        "'w' has a length that its shape contradicts",
    ),
    "shape absurd": (onnx_bytes((5, onnx_tensor("w", "F32", (2**62, 2**62), bytes(8)))), "contradicts"),
    "empty but impossible": (
        onnx_bytes((5, onnx_tensor("w", "F32", (2**62, 2**62, 0), b""))),
        "impossible shape",
    ),
    "too many dimensions": (onnx_bytes((5, onnx_tensor("w", "F32", [1] * 65, bytes(4)))), "64 dimensions"),
    "dimensions without end": (
        onnx_bytes((5, onnx_tensor("w", "F32", [1] * 9999, bytes(4)))),
        "more than 64",
    ),
    "a dimension a time": (onnx_bytes((5, message(*[(1, 1)] * 65))), "64 dimensions"),
    "name no UTF-8": (onnx_bytes((5, message((2, 1), (8, b"\xff"), (9, bytes(4))))), "not UTF-8"),
    "name absurd": (onnx_bytes((5, onnx_tensor("x" * 5000, "F32", (), bytes(4)))), "a text of 5000 bytes"),
    "graphs nested deeply": (nested(5000), "nested more than"),
    "too many entries": (
        onnx_bytes((5, onnx_tensor("w", "F32", (), external={str(n): "" for n in range(99)}))),
        "too many entries",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_opaque_with_the_reason(name: str) -> None:
    data, reason = BAD[name]
    description = described("bad.onnx", data)
    assert description.layout.format == "opaque"
    assert description.reason is not None and reason in description.reason, description.reason
    assert outside(data) == {}


def test_graphs_nest_as_deep_as_models_need() -> None:
    assert described("m.onnx", nested(20)).layout.format == "onnx"


def test_tensors_and_fields_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_module, "MAX_TENSORS", 10)
    few = onnx_bytes(*[(5, onnx_tensor("w", "U8", (), b"x"))] * 10)
    many = onnx_bytes(*[(5, onnx_tensor("w", "U8", (), b"x"))] * 11)
    assert described("m.onnx", few).layout.format == "onnx"
    assert "tensors" in (described("m.onnx", many).reason or "")
    wire = protobuf.Wire(BytesView("m", few), max_fields=3)
    with pytest.raises(protobuf.NotThisFormat, match="more fields"):
        list(wire.fields(0, len(few)))


def test_a_bomb_of_fields_is_bounded_by_its_own_size() -> None:
    began = time.process_time()
    described("m.onnx", onnx_bytes((1, b"\x50\0" * 500_000)))
    assert time.process_time() - began < 10


@given(
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=3), st.booleans()), max_size=4),
    st.integers(0, 40),
)
@settings(deadline=None, max_examples=300)
def test_any_mutation_is_refused_or_sound(edits: list[tuple[int, bytes, bool]], cut: int) -> None:
    value = message((1, "value"), (5, onnx_tensor("", "F32", (2,), bytes(8))))
    data = onnx_bytes(
        (5, onnx_tensor("w", "BF16", (2, 3), bytes(12))),
        (5, onnx_tensor("e", "F32", (2,), external={"location": "d", "offset": "4"})),
        node("Constant", "k", value),
        (11, message((1, "x"))),
        more=[(14, message((1, "k"), (2, "v")))],
    )
    for position, raw, insert in edits:
        data = data[:position] + raw + data[position + (0 if insert else len(raw)) :]
    data = data[: len(data) - cut]
    for name in ("m.onnx", "m.pb"):
        described(name, data)
    assert all("/" not in place for place in outside(data))
    read_values("onnx", BytesView("m.onnx", data), no_sibling)


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_bytes(data: bytes) -> None:
    described("m.onnx", data)
    described("m.pb", data)
