"""Tensors of torch files are named where they lie, whichever of its three formats they are in."""

from __future__ import annotations

import io
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import BytesView, no_sibling, npy_bytes, safetensors_bytes
from make_pickles import (
    Made,
    Name,
    Pid,
    evil_pickles,
    pickled,
    storage,
    tensor,
    torch_legacy,
    torch_tar,
    torch_zip,
    zip_bytes,
)

from mvc.dtypes import DTYPES
from mvc.formats import Description, describe, read_values
from mvc.formats.base import Value
from mvc.spans import Span, tile

SIX = np.arange(6, dtype="<f4").tobytes()


def described(data: bytes, name: str = "model.pt") -> Description:
    description = describe(BytesView(name, data), no_sibling)
    assert sum(region.length for region in tile(len(data), description.layout.spans)) == len(data)
    return description


def logical(data: bytes, span: Span) -> bytes:
    """The bytes of a tensor in row-major order, without looking at what they mean."""
    width = DTYPES[span.dtype].width
    cells = np.frombuffer(data, f"V{width}", span.length // width, span.offset)
    strides = None if span.strides is None else [width * step for step in span.strides]
    if 0 in span.shape:
        return b""
    return np.lib.stride_tricks.as_strided(cells, span.shape, strides).tobytes()


def named(data: bytes, name: str = "model.pt") -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    spans = described(data, name).layout.spans
    found = {span.name: (span.dtype, span.shape, logical(data, span)) for span in spans}
    assert len(found) == len(spans)
    return found


def values(data: bytes, name: str = "model.pt") -> dict[str, Value]:
    view = BytesView(name, data)
    return dict(read_values(describe(view, no_sibling).layout.format, view, no_sibling))


# --- the zip archive ---------------------------------------------------------------------------------------


def test_tensors_are_found_in_nested_values_under_all_their_names() -> None:
    shared = tensor("0")
    saved = {
        "model": Made(Name("collections", "OrderedDict"), ([["w", shared], ["tied", shared]],)),
        "optimizer": {"state": {0: {"exp_avg": tensor("1", (3, 2), (1, 3))}}, "param_groups": [{"lr": 0.5}]},
        "list": [tensor("0", (2,), (3,), 2), (tensor("0", (), (), 5),)],
        "epoch": 7,
    }
    data = torch_zip(saved, {"0": SIX, "1": SIX})
    column = np.arange(6, dtype="<f4").reshape(2, 3).T.tobytes()
    assert named(data) == {
        "model.w": ("F32", (2, 3), SIX),
        "model.tied": ("F32", (2, 3), SIX),
        "optimizer.state.0.exp_avg": ("F32", (3, 2), column),
        "list.0": ("F32", (2,), SIX[8:12] + SIX[20:24]),
        "list.1.0": ("F32", (), SIX[20:24]),
    }
    assert values(data) == {"optimizer.param_groups.0.lr": 0.5, "epoch": 7}


def test_a_file_is_known_by_its_name_or_by_its_first_member() -> None:
    data = torch_zip(tensor("0"), {"0": SIX})
    for name in ("model.pt", "pytorch_model.bin", "last.ckpt", "3f786850e387550f", "x.zip"):
        description = described(data, name)
        assert (description.layout.format, description.layout.spans[0].name) == ("torch", "tensor")


def test_views_empty_and_expanded_tensors() -> None:
    saved = {
        "empty": tensor("0", (0, 4), (4, 1), 0),
        "empty at the end": tensor("0", (0,), (1,), 6),
        "expanded": tensor("0", (4, 3), (0, 1), 1),
        "one row": tensor("0", (1, 3), (99, 1), 3),
        "diagonal": tensor("0", (2,), (4,), 0),
        "size": tensor("0", Made(Name("torch", "Size"), ((2, 3),)), (3, 1)),
    }
    data = torch_zip(saved, {"0": SIX})
    found = named(data)
    assert found["empty"] == ("F32", (0, 4), b"") and found["empty at the end"] == ("F32", (0,), b"")
    assert found["expanded"] == ("F32", (4, 3), SIX[4:16] * 4)
    assert found["one row"] == ("F32", (1, 3), SIX[12:])
    assert found["diagonal"] == ("F32", (2,), SIX[:4] + SIX[16:20])
    assert found["size"] == ("F32", (2, 3), SIX)
    spans = {span.name: span for span in described(data).layout.spans}
    assert spans["one row"].strides is None and spans["expanded"].strides == (0, 1)


STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexDoubleStorage": "C128",
    "ComplexFloatStorage": "C64",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
}


@pytest.mark.parametrize("order", ["little", "big"])
def test_storages_of_all_classes(order: str) -> None:
    saved = {cls: tensor(cls, (2,), (1,), 0, cls) for cls in STORAGES}
    raw = {cls: bytes(range(2 * DTYPES[dtype].width)) for cls, dtype in STORAGES.items()}
    found = named(torch_zip(saved, raw, byteorder=order))
    for cls, dtype in STORAGES.items():
        expected = f"{dtype}:be" if order == "big" and DTYPES[dtype].width > 1 else dtype
        assert found[cls] == (expected, (2,), raw[cls])


def untyped(dtype: str) -> Made:
    owner = Pid(("storage", Name("torch.storage", "UntypedStorage"), "0", "cpu", 8))
    args = (owner, 0, (2,), (1,), False, Made(Name("collections", "OrderedDict"), ()), Name("torch", dtype))
    return Made(Name("torch._utils", "_rebuild_tensor_v3"), args)


@pytest.mark.parametrize(
    ("torchs", "ours"),
    [
        ("uint16", "U16"),
        ("uint32", "U32"),
        ("float8_e4m3fn", "F8_E4M3"),
        ("float8_e5m2", "F8_E5M2"),
        ("float8_e4m3fnuz", "F8_E4M3FNUZ"),
        ("float8_e8m0fnu", "F8_E8M0"),
    ],
)
def test_tensors_of_untyped_storages(torchs: str, ours: str) -> None:
    found = named(torch_zip({"w": untyped(torchs)}, {"0": bytes(range(8))}))
    assert found == {"w": (ours, (2,), bytes(range(2 * DTYPES[ours].width)))}


def test_where_bytes_mean_more_than_elements_the_storage_is_named() -> None:
    conjugated = tensor("1", (1,), (1,), 0, "ComplexFloatStorage", {"conj": True})
    packed = tensor("2", (4,), (1,), 0, "QUInt4x2Storage")
    data = torch_zip(
        {"new": untyped("complex32"), "conj": conjugated, "packed": packed},
        {"0": bytes(8), "1": bytes(8), "2": b"ab"},
    )
    assert named(data) == {
        "new.0": ("U8", (8,), bytes(8)),
        "conj.0": ("C64", (1,), bytes(8)),
        "packed.0": ("U8", (2,), b"ab"),
    }


def test_parameters_subclasses_sparse_tensors_and_modules() -> None:
    parameter = Made(Name("torch._utils", "_rebuild_parameter"), (tensor("0"), True, {}))
    subclass = Made(
        Name("torch._tensor", "_rebuild_from_type_v2"),
        (Name("torch._utils", "_rebuild_tensor_v2"), Name("my", "Tensor"), tensor("0").args, {"note": 1}),
    )
    layout = Made(Name("torch.serialization", "_get_layout"), ("torch.sparse_coo",))
    size = Made(Name("torch", "Size"), ((3, 3),))
    parts = (tensor("1", (1, 2), (2, 1), 0, "LongStorage"), tensor("0", (2,), (1,)), size)
    sparse = Made(Name("torch._utils", "_rebuild_sparse_tensor"), (layout, parts))
    inner = Made(
        Name("torch.nn", "Linear"), (), {"_parameters": {"weight": parameter}, "_buffers": {}, "_modules": {}}
    )
    module = Made(
        Name("my", "Net"),
        (),
        {"training": True, "_parameters": {}, "_buffers": {"mean": tensor("0")}, "_modules": {"fc": inner}},
    )
    data = torch_zip({"sub": subclass, "sparse": sparse, "net": module}, {"0": SIX, "1": bytes(16)})
    assert {name: (dtype, shape) for name, (dtype, shape, _) in named(data).items()} == {
        "sub": ("F32", (2, 3)),
        "sparse.indices": ("I64", (1, 2)),
        "sparse.values": ("F32", (2,)),
        "net.mean": ("F32", (2, 3)),
        "net.fc.weight": ("F32", (2, 3)),
    }
    assert values(data) == {"#globals": "my.Net my.Tensor torch.nn.Linear", "net.training": True}


def test_a_bare_storage_is_a_tensor_of_one_dimension() -> None:
    assert named(torch_zip({"s": storage("0")}, {"0": SIX + b"x"})) == {"s": ("F32", (6,), SIX)}


def test_names_that_collide_are_told_apart() -> None:
    saved = {"a.b": tensor("0"), "a": {"b": tensor("1", (1,), (1,))}, 0: tensor("0"), "0": tensor("0")}
    assert sorted(named(torch_zip(saved, {"0": SIX, "1": SIX}))) == ["0", "0#2", "a.b", "a.b#2"]


def test_compressed_storages_are_glue_and_the_others_are_named() -> None:
    saved = {"a": tensor("0"), "b": tensor("1"), "epoch": 3}
    raw = {"0": SIX, "1": SIX}
    data = torch_zip(saved, raw, deflated=["data/0"])
    assert named(data) == {"b": ("F32", (2, 3), SIX)}
    data = torch_zip(saved, raw, deflated=["data.pkl"])
    assert named(data).keys() == {"a", "b"} and values(data) == {"epoch": 3}


def test_arrays_of_numpy_inside_are_named() -> None:
    raw = np.arange(3, dtype="<f8").tobytes()
    dtype = Made(Name("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0))
    state = (1, (3,), dtype, False, raw)
    array = Made(
        Name("numpy._core.multiarray", "_reconstruct"), (Name("numpy", "ndarray"), (0,), b"b"), state
    )
    data = torch_zip({"mean": array, "w": tensor("0")}, {"0": SIX})
    assert named(data) == {"mean": ("F64", (3,), raw), "w": ("F32", (2, 3), SIX)}
    data = torch_zip({"mean": array, "w": tensor("0")}, {"0": SIX}, deflated=["data.pkl"])
    assert named(data).keys() == {"w"}


def test_constants_of_a_script_are_named_too() -> None:
    more = {
        "constants.pkl": pickled((tensor("0", (1,), (1,)),)),
        "constants/0": b"abcd",
        "code/x.py": b"pass",
    }
    data = torch_zip({"w": tensor("0")}, {"0": SIX}, more=more)
    assert named(data) == {"w": ("F32", (2, 3), SIX), "constants.0": ("F32", (1,), b"abcd")}


LIES = {
    "beyond the storage": (tensor("0", (7,), (1,)), "beyond its storage"),
    "beyond by its offset": (tensor("0", (2, 3), (3, 1), 1), "beyond its storage"),
    "beyond by its strides": (tensor("0", (2, 3), (4, 1)), "beyond its storage"),
    "beyond by huge strides": (tensor("0", (2,), (2**900,)), "beyond its storage"),
    "a negative offset": (tensor("0", (1,), (1,), -1), "no counts"),
    "negative strides": (tensor("0", (2,), (-1,), 5), "no counts"),
    "a negative shape": (tensor("0", (-2,), (1,)), "no counts"),
    "a shape of texts": (tensor("0", ("2",), (1,)), "no counts"),
    "a shape of truths": (tensor("0", (True,), (1,)), "no counts"),
    "no shape": (tensor("0", None, (1,)), "no counts"),
    "strides of another rank": (tensor("0", (2, 3), (1,)), "one stride per dimension"),
    "many dimensions": (tensor("0", (1,) * 65, (1,) * 65), "or too many"),
    "impossible but empty": (tensor("0", (0, 2**62, 2**62), (1, 1, 1)), "impossible shape"),
    "no such storage": (tensor("1"), "the storage '1' is missing"),
    "a storage of another folder": (tensor("../data/0"), "is missing"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_tensor_that_contradicts_its_storage_makes_the_file_opaque(what: str) -> None:
    lie, reason = LIES[what]
    description = described(torch_zip({"w": lie}, {"0": SIX}))
    assert description.layout.format == "opaque"
    assert description.reason is not None and description.reason.startswith("torch: ")
    assert reason in description.reason


def test_reasons_are_those_of_the_format_that_a_file_shows() -> None:
    for name, data, reason in [
        ("m.pt", b"not a zip", "torch: truncated: no zip directory"),
        ("m.bin", b"not a zip", None),
        ("m.pt", zip_bytes({"a": b"x"}), "torch: a zip archive without data.pkl"),
        ("m.zip", zip_bytes({"a": b"x"}), "zip: no stored member that is a file of tensors"),
        ("m.pth", torch_legacy({}, {})[:-5], "torch-legacy: truncated: the pickle leaves the file"),
        ("m.npz", b"not a zip", "npz: truncated: no zip directory"),
        ("m.npz", zip_bytes({"a": b"x"}), "npz: a zip archive without npy files"),
        ("m.pkl", b"not a pickle", "pickle: "),
        ("m.tar", torch_tar({}, pickled(0), pickled(0))[:900], "torch-tar: truncated"),
    ]:
        found = described(data, name).reason
        assert found is None if reason is None else str(found).startswith(reason), (name, found)


@pytest.mark.parametrize("way", evil_pickles(""))
def test_a_malicious_checkpoint_is_read_without_harm(way: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = evil_pickles(f"touch '{marker}'")[way]
    for data in (
        zip_bytes({"archive/data.pkl": evil, "archive/data/0": SIX}),
        torch_legacy({}, {})[: -len(pickled({}) + pickled([]))] + evil + pickled([]),
    ):
        description = described(data)
        assert description.layout.format in ("torch", "torch-legacy")
        assert "system" in str(values(data)["#globals"])
    assert not marker.exists()


# --- the formats before it ---------------------------------------------------------------------------------


def test_legacy_files() -> None:
    saved = {
        "w": tensor("11", (2, 3), (3, 1)),
        "n": tensor("22", (2,), (1,), 1, "LongStorage"),
        "view": tensor(storage("11", "FloatStorage", 6, ("33", 2, 3)), (3,), (1,)),
        "whole": tensor(storage("11", "FloatStorage", 6, None)),
        "net": Made(Pid(("module", Name("my", "Net"), "net.py", "class Net: ...")), (), {"depth": 2}),
        "epoch": 9,
    }
    numbers = struct.pack("<3q", 1, 2, 3)
    data = torch_legacy(saved, {"22": (3, numbers), "11": (6, SIX)})
    assert described(data).layout.format == "torch-legacy"
    assert described(data, "renamed").layout == described(data).layout
    assert named(data) == {
        "w": ("F32", (2, 3), SIX),
        "n": ("I64", (2,), numbers[8:]),
        "view": ("F32", (3,), SIX[8:20]),
        "whole": ("F32", (2, 3), SIX),
    }
    assert values(data) == {"#globals": "my.Net", "net.depth": 2, "epoch": 9}


BAD_LEGACY = {
    "another protocol": (torch_legacy({}, {}, protocol=1002), "the protocol is another"),
    "a storage cut short": (torch_legacy({"w": tensor("0")}, {"0": (6, SIX)})[:-1], "leaves the file"),
    "a count cut short": (torch_legacy({"w": tensor("0")}, {"0": (0, b"")})[:-1], "leaves the file"),
    "a huge count": (torch_legacy({"w": tensor("0")}, {"0": (2**62, SIX)}), "leaves the file"),
    "a negative count": (torch_legacy({"w": tensor("0")}, {"0": (-1, SIX)}), "leaves the file"),
    "bytes behind": (torch_legacy({"w": tensor("0")}, {"0": (6, SIX + b"x")}), "1 bytes behind"),
    "a key too many": (torch_legacy({}, {"0": (6, SIX)}), "keys of the storages"),
    "a key too few": (torch_legacy({"w": tensor("0")}, {}), "a storage is missing"),
    "an unknown class": (
        torch_legacy({"w": tensor(Pid(("storage", Name("my", "Storage"), "0", "cpu", 6)))}, {"0": (6, SIX)}),
        "the unknown class 'my.Storage'",
    ),
    "a view beyond": (
        torch_legacy({"w": tensor(storage("0", "FloatStorage", 6, ("1", 4, 3)))}, {"0": (6, SIX)}),
        "view that reaches beyond",
    ),
    "a view of texts": (
        torch_legacy({"w": tensor(storage("0", "FloatStorage", 6, ("1", "4", 3)))}, {"0": (6, SIX)}),
        "view of a storage is malformed",
    ),
}


@pytest.mark.parametrize("what", BAD_LEGACY)
def test_malformed_legacy_files_are_opaque_with_a_reason(what: str) -> None:
    data, reason = BAD_LEGACY[what]
    description = described(data)
    assert description.layout.format == "opaque" and reason in str(description.reason)


def test_tar_archives() -> None:
    kept = pickled(1) + pickled((140, "cpu", Name("torch", "FloatStorage"))) + struct.pack("<q", 6) + SIX
    kept += pickled([(141, 140, 2, 3)])
    looks = pickled(2)
    looks += pickled((7, 140, Name("torch", "FloatTensor"))) + struct.pack("<ii5q", 2, 0, 2, 3, 3, 1, 0)
    looks += pickled((8, 141, Name("torch", "FloatTensor"))) + struct.pack("<ii3q", 1, 0, 2, 1, 1)
    data = torch_tar({"w": Pid("7"), "tied": Pid(7), "view": Pid("8"), "lr": 0.5}, kept, looks)
    assert described(data).layout.format == "torch-tar"
    assert named(data) == {
        "w": ("F32", (2, 3), SIX),
        "tied": ("F32", (2, 3), SIX),
        "view": ("F32", (2,), SIX[12:20]),
    }
    assert values(data) == {"lr": 0.5}
    for broken, reason in [
        (torch_tar({"w": Pid("9")}, kept, looks), "missing"),
        (
            torch_tar({}, kept.replace(struct.pack("<q", 6) + SIX, struct.pack("<q", 99) + SIX), looks),
            "leaves",
        ),
        (
            torch_tar({}, kept, looks.replace(b"\x02\0\0\0\0\0\0\0", b"\xff\0\0\0\0\0\0\0", 1)),
            "255 dimensions",
        ),
        (torch_tar({}, pickled("many"), looks), "no number"),
        (data.replace(b"sys_info", b"sys_inf0", 1), None),
    ]:
        description = described(broken)
        assert description.layout.format == "opaque"
        assert reason is None or reason in str(description.reason)


# --- archives of other things ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(order: str) -> None:
    arrays = {
        "w": np.asarray(np.arange(6.0).reshape(2, 3), order=order),  # type: ignore[call-overload]
        "layer/b": np.arange(3, dtype=">i4"),
        "größe": np.float32(2.5),
        "none": np.zeros((0, 2)),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, objects=np.array([None, {}], dtype=object))
    data = buffer.getvalue()
    assert described(data, "w.npz").layout == described(data, "hash").layout
    found = named(data, "w.npz")
    assert {name: raw for name, (_, _, raw) in found.items()} == {
        name: np.ascontiguousarray(array).tobytes() for name, array in arrays.items()
    }
    assert (found["layer/b"][0], found["none"][1]) == ("I32:be", (0, 2))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    assert described(buffer.getvalue(), "w.npz") == Description(
        described(b"PK\5\6" + bytes(18), "x.npz").layout
    )


def test_a_zip_of_files_names_their_tensors() -> None:
    members = {
        "policy.pth": torch_zip({"w": tensor("0"), "step": 5}, {"0": SIX}),
        "old.pth": torch_legacy({"w": tensor("0")}, {"0": (6, SIX)}),
        "m.safetensors": safetensors_bytes({"a": ("F32", (6,), SIX)}),
        "w.npy": npy_bytes(np.arange(6, dtype="<f4")),
        "broken.pt": b"PK",
        "data": b"{}",
        "packed.npy": npy_bytes(np.arange(6, dtype="<f4")),
    }
    data = zip_bytes(members, deflated=["packed.npy"])
    description = described(data, "agent.zip")
    assert description.layout.format == "zip"
    found = named(data, "agent.zip")
    assert found.keys() == {"policy.pth.w", "old.pth.w", "m.safetensors.a", "w.npy.array"}
    assert {raw for _, _, raw in found.values()} == {SIX}
    assert values(data, "agent.zip") == {"policy.pth.step": 5}


# --- any bytes ---------------------------------------------------------------------------------------------

SOUND = [
    torch_zip(
        {"w": tensor("0"), "v": tensor("1", (2,), (1,)), "n": 3}, {"0": SIX, "1": SIX}, byteorder="little"
    ),
    torch_legacy({"w": tensor("0"), "lr": 0.5}, {"0": (6, SIX)}),
    torch_tar(
        {"w": Pid("7")},
        pickled(1) + pickled((140, "cpu", Name("torch", "FloatStorage"))) + struct.pack("<q", 6) + SIX,
        pickled(1) + pickled((7, 140, None)) + struct.pack("<ii3q", 1, 0, 2, 1, 1),
    )[:3000],
    zip_bytes({"w.npy": npy_bytes(np.arange(6.0))}),
    zip_bytes({"x.pth": torch_zip({"w": tensor("0")}, {"0": SIX})}),
]


@given(st.sampled_from(SOUND), st.data())
@settings(deadline=None, max_examples=400)
def test_mutated_files_are_described(sound: bytes, data: st.DataObject) -> None:
    mutated = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        if data.draw(st.booleans()):
            mutated[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
        else:
            mutated[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    for name in ("m.pt", "m.npz", "m.zip"):
        described(bytes(mutated), name)
        values(bytes(mutated), name)


def test_ten_thousand_tensors_are_named_in_little_time() -> None:
    saved = {f"layers.{number}": tensor(str(number), (1,), (1,)) for number in range(10_000)}
    data = torch_zip(saved, {str(number): b"abcd" for number in range(10_000)})
    start = time.process_time()
    assert len(described(data).layout.spans) == 10_000
    assert time.process_time() - start < 3  # 0.5 s here, of which a third is the garbage collector's


# --- torch itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_agrees(legacy: bool) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "plain": x,
        "alias": x,
        "transposed": x.t(),
        "window": x[1:3, 2:5],
        "steps": x[::2, ::3],
        "expanded": torch.ones(1).expand(3, 4),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        "parameter": torch.nn.Parameter(x.clone()),
        "channels last": torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last),
        "deep": torch.arange(64).reshape((2,) * 6).permute(5, 3, 1, 0, 2, 4),
    }
    dtypes = ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    tensors |= {name: (x % 3).to(getattr(torch, name)) for name in [*dtypes, "complex64", "complex128"]}
    tensors |= {name: x.to(torch.int32).to(getattr(torch, name)) for name in ("uint16", "uint32", "uint64")}
    tensors |= {name: x.to(getattr(torch, name)) for name in ("float8_e4m3fn", "float8_e5m2")}
    buffer = io.BytesIO()
    saved = {"nested": {"list": list(tensors.values())}, "state": tensors, "epoch": 3}
    torch.save(saved, buffer, _use_new_zipfile_serialization=not legacy)
    data = buffer.getvalue()
    assert described(data).layout.format == ("torch-legacy" if legacy else "torch")
    expected = {}
    for index, (name, value) in enumerate(tensors.items()):
        raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        expected[f"state.{name}"] = expected[f"nested.list.{index}"] = (tuple(value.shape), raw)
    assert {name: (shape, raw) for name, (_, shape, raw) in named(data).items()} == expected
    assert values(data) == {"epoch": 3, "nested.list.#": len(tensors)}


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_agrees_on_whole_modules(legacy: bool) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # torch warns of modules whose source it cannot find
        torch.save(module, buffer, _use_new_zipfile_serialization=not legacy)
    data = buffer.getvalue()
    expected = {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
    assert {name: raw for name, (_, _, raw) in named(data).items()} == expected
    found = values(data)
    assert found["0.in_features"] == 3 and found["training"] is True
    assert "torch.nn.modules.linear.Linear" in str(found["#globals"]).split()
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer, _use_new_zipfile_serialization=not legacy)
    assert {"state.0.exp_avg", "state.3.exp_avg_sq"} <= named(buffer.getvalue()).keys()
    assert values(buffer.getvalue())["param_groups.0.lr"] == 0.001


def test_torch_agrees_on_scripts() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # deprecated, and still in use
        torch.jit.save(torch.jit.trace(module, torch.ones(4, 3)), buffer)
    data = buffer.getvalue()
    expected = {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
    found = {name: raw for name, (_, _, raw) in named(data).items()}
    assert {name: found[name] for name in expected} == expected


# --- real files --------------------------------------------------------------------------------------------

SHARED = Path(__file__).parents[2] / "shared" / "data"
UNDERSTOOD = ("fmt_torch*", "fmt_pyannote*", "hist_facenet*", "hist_matgl*", "hist_rfb*", "fmt_numpy_object*")


def test_real_files_lie_in_named_tensors() -> None:
    files = [path for pattern in UNDERSTOOD for path in (SHARED / "weights").glob(f"{pattern}/**/*")]
    files += (SHARED / "checkpoints").glob("torch-*/*.pt")
    files = [
        path
        for path in files
        if path.suffix in (".pt", ".pth", ".tar", ".npy") and path.stat().st_size > 100_000
    ]
    if not files:
        pytest.skip("no shared/data beside the repository")
    total = covered = 0
    for path in files:
        data = path.read_bytes()
        regions = tile(len(data), described(data, path.name).layout.spans)
        share = sum(region.length for region in regions if region.span) / len(data)
        assert share > 0.94, path  # the rest is names and headers
        total += len(data)
        covered += round(share * len(data))
    assert covered / total > 0.97


def test_what_the_story_of_a_training_says() -> None:
    path = SHARED / "checkpoints" / "torch-training" / "step-0800.pt"
    if not path.exists():
        pytest.skip("no shared/data beside the repository")
    found = values(path.read_bytes(), path.name)
    assert (found["epoch"], found["global_step"], found["optimizer.param_groups.0.lr"]) == (1, 800, 0.0001)
    assert "#globals" not in found
