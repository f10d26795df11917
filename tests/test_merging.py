"""Files of weights merged tensor by tensor: what comes from where, and what stays in conflict."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import UsageError
from mvc.history.reader import read_manifest
from mvc.merging.strategy import Strategies
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from tests.archive_files import npz_bytes, read_npz, read_torch, torch_bytes
from tests.family import LARGE, file_of, rounded, tuned, weights
from tests.make_files import gguf_bytes, npy_bytes, safetensors_bytes
from tests.merging import Bench, bench, tensors_of

BASE = rounded(weights(0), "BF16")
OURS, THEIRS = (rounded(tuned(BASE, seed), "BF16") for seed in (1, 2))
AVERAGE, MINE, YOURS = (Strategies.parse(name) for name in ("average", "ours", "theirs"))

CHECKPOINTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "checkpoints"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("merging")) as made:
        yield made


def mean(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.float32(0.5) * one + np.float32(0.5) * other


# --- what a merge costs, and what it takes from where -------------------------------------------------------
@pytest.mark.parametrize("strategy", ["average", "task-arithmetic", "ties", "slerp"])
def test_a_merge_costs_almost_nothing(at: Bench, strategy: str) -> None:
    result = at.merge(
        "m.safetensors", file_of(BASE), file_of(OURS), file_of(THEIRS), Strategies.parse(strategy)
    )
    assert result.clean
    assert at.stored_bytes(result.manifest) * 100 < len(result.data)


def test_an_average_is_one(at: Bench) -> None:
    result = at.merge("m.safetensors", file_of(BASE), file_of(OURS), file_of(THEIRS), AVERAGE)
    wanted = {name: mean(OURS[name], THEIRS[name]) for name in OURS}
    assert result.data == file_of(rounded(wanted, "BF16"))


def test_what_one_side_changed_is_that_sides_and_what_both_did_needs_a_word(at: Bench) -> None:
    small = "model.layers.0.mlp.down_proj.weight"
    ours = {**BASE, LARGE: OURS[LARGE], small: OURS[small]}
    theirs = {**BASE, LARGE: THEIRS[LARGE], "model.norm.weight": THEIRS["model.norm.weight"]}
    result = at.merge("m.safetensors", file_of(BASE), file_of(ours), file_of(theirs))
    assert (result.clean, result.details) == (False, (LARGE,))
    wanted = {**ours, "model.norm.weight": THEIRS["model.norm.weight"]}
    assert result.data == file_of(wanted)
    result = at.merge("m.safetensors", file_of(BASE), file_of(ours), file_of(theirs), YOURS)
    assert result.clean
    assert result.data == file_of({**wanted, LARGE: THEIRS[LARGE]})


def test_the_same_change_on_both_sides_is_no_conflict(at: Bench) -> None:
    ours = {**BASE, LARGE: OURS[LARGE]}
    theirs = {**ours, "model.norm.weight": THEIRS["model.norm.weight"]}
    result = at.merge("m.safetensors", file_of(BASE), file_of(ours), file_of(theirs))
    assert result.clean
    assert result.data == file_of(theirs)


def test_patterns_choose_for_each_tensor_and_the_last_one_counts(at: Bench) -> None:
    strategies = Strategies.parse("average", ["model.*=theirs", f"{LARGE}=ours"])
    result = at.merge("m.safetensors", file_of(BASE), file_of(OURS), file_of(THEIRS), strategies)
    assert result.clean
    assert result.data == file_of({**THEIRS, LARGE: OURS[LARGE]})


def test_a_pattern_that_fits_nothing_is_named(at: Bench) -> None:
    """Misspelt, it would silently leave its tensors to the default."""
    strategies = Strategies.parse("average", [f"{LARGE}=ours", "model.nrom.*=ours"])
    merging = at.merging(strategies)
    merging.warn_of_idle_patterns()
    assert at.monitor.warnings == []  # no weights were looked at: nothing is known
    merging("m.safetensors", *(at.put("m.safetensors", file_of(each)) for each in (BASE, OURS, THEIRS)))
    merging.warn_of_idle_patterns()
    (warning,) = at.monitor.warnings
    assert "'model.nrom.*'" in warning


def test_both_sides_added_the_file(at: Bench) -> None:
    result = at.merge("m.safetensors", None, file_of(OURS), file_of(THEIRS), AVERAGE)
    assert result.clean
    ties = at.merge("m.safetensors", None, file_of(OURS), file_of(THEIRS), Strategies.parse("ties"))
    assert not ties.clean
    assert all(
        detail.endswith("there is no common version of it to tell changes from") for detail in ties.details
    )
    assert ties.data == file_of(OURS)


def test_merge_upon_merge_never_costs_more_than_a_fine_tune(at: Bench) -> None:
    """Recipes stand on recipes until they are too deep; then a tensor is predicted otherwise."""
    shapes = {"w": (256, 512)}
    base = rounded(weights(0, shapes), "BF16")
    ours = rounded(tuned(base, 1), "BF16")
    alone = at.stored_bytes(read_manifest(at.writer.database, at.put("n.safetensors", file_of(base))))
    costs = []
    for seed in range(2, 12):
        theirs = rounded(tuned(base, seed), "BF16")
        result = at.merge("n.safetensors", file_of(base), file_of(ours), file_of(theirs), AVERAGE)
        ours = rounded({"w": mean(ours["w"], theirs["w"])}, "BF16")
        assert result.data == file_of(ours)
        costs.append(at.stored_bytes(result.manifest))
    assert sum(cost * 100 < alone for cost in costs) >= 8
    assert max(costs) * 2 < alone


@pytest.mark.skipif(
    not CHECKPOINTS.is_dir(), reason="trained checkpoints (../shared/data) are not on this machine"
)
@pytest.mark.parametrize("strategy", ["average", "task-arithmetic", "ties", "slerp"])
def test_trained_fine_tunes_merge_for_a_few_hundred_bytes(at: Bench, strategy: str) -> None:
    base, ours, theirs = (
        (CHECKPOINTS / name).read_bytes()
        for name in (
            "pretrain-bf16/step-0800.safetensors",
            "finetune-bf16/lr1e-5/final.safetensors",
            "finetune-bf16/lr2e-5/final.safetensors",
        )
    )
    result = at.merge("m.safetensors", base, ours, theirs, Strategies.parse(strategy))
    assert result.clean
    assert at.stored_bytes(result.manifest) * 1000 < len(result.data)
    assert {name for name, _tensor in safetensors.deserialize(result.data)} == {
        name for name, _tensor in safetensors.deserialize(ours)
    }


# --- tensors that come and go -------------------------------------------------------------------------------
def plain(**tensors: tuple[str, tuple[int, ...], bytes]) -> bytes:
    return safetensors_bytes(tensors)


def small(seed: int, dtype: str = "F32", count: int = 100) -> tuple[str, tuple[int, ...], bytes]:
    width = {"F32": 4, "I64": 8, "U8": 1, "BF16": 2}[dtype]
    return dtype, (count,), np.random.default_rng(seed).integers(0, 100, count * width, np.uint8).tobytes()


def test_added_and_removed_tensors_make_a_new_header(at: Bench) -> None:
    base = plain(a=small(1), b=small(2), gone=small(3))
    ours = plain(a=small(4), b=small(2), gone=small(3), mine=small(5, "U8", 7))
    theirs = plain(a=small(1), b=small(6), yours=small(7, "I64", 3))
    result = at.merge("m.safetensors", base, ours, theirs)
    assert result.clean
    found = safetensors.numpy.load(result.data)
    wanted = {"a": small(4), "b": small(6), "mine": small(5, "U8", 7), "yours": small(7, "I64", 3)}
    assert {name: value.tobytes() for name, value in found.items()} == {n: v[2] for n, v in wanted.items()}
    assert result.data == safetensors.numpy.save(found)
    for span in result.manifest.tensors:
        assert span.offset % {"F32": 4, "I64": 8, "U8": 1}[span.dtype] == 0


def test_removed_on_one_side_and_changed_on_the_other_is_in_conflict(at: Bench) -> None:
    base, ours, theirs = plain(a=small(1), b=small(2)), plain(a=small(1)), plain(a=small(1), b=small(3))
    result = at.merge("m.safetensors", base, ours, theirs)
    assert (result.clean, result.details, result.data) == (False, ("b",), ours)
    assert at.merge("m.safetensors", base, ours, theirs, YOURS).data == theirs
    assert at.merge("m.safetensors", base, theirs, ours, MINE).data == theirs
    average = at.merge("m.safetensors", base, ours, theirs, AVERAGE)
    assert average.details == ("b: one side took it away, the other one changed it",)


def test_a_cast_or_reshaped_tensor_on_one_side_is_taken_and_on_both_is_in_conflict(at: Bench) -> None:
    base = plain(a=small(1), b=small(2))
    cast = plain(a=small(4, "BF16", 120), b=small(2))
    moved = plain(a=small(1), b=small(3))
    result = at.merge("m.safetensors", base, cast, moved)
    assert result.clean
    assert tensors_of(result) == {"a": small(4, "BF16", 120)[2], "b": small(3)[2]}
    both = at.merge("m.safetensors", base, cast, plain(a=small(9), b=small(2)), AVERAGE)
    assert both.details == ("a: its dtype or shape differs",)


def test_whole_numbers_are_not_calculated_with(at: Bench) -> None:
    base, ours, theirs = (plain(steps=small(seed, "I64", 50)) for seed in (1, 2, 3))
    result = at.merge("m.safetensors", base, ours, theirs, AVERAGE)
    assert (result.details, result.data) == (("steps: I64 is not calculated with",), ours)
    assert at.merge("m.safetensors", base, ours, theirs, YOURS).data == theirs


@pytest.mark.parametrize("dtype", ["I64", "U8"])
def test_of_two_counters_a_calculating_strategy_takes_the_larger(at: Bench, dtype: str) -> None:
    """``num_batches_tracked`` of batch norm: a model that has it merges without a word about it."""

    def model(seed: int, counter: int) -> bytes:
        width = 8 if dtype == "I64" else 1
        return plain(
            w=small(seed), steps=(dtype, (), counter.to_bytes(width, "little", signed=dtype == "I64"))
        )

    before, less, more = model(1, 3), model(2, 100), model(3, 120)
    for ours, theirs in ((less, more), (more, less)):
        result = at.merge("m.safetensors", before, ours, theirs, AVERAGE)
        assert result.clean
        assert tensors_of(result)["steps"][0] == 120
    assert not at.merge("m.safetensors", before, less, more).clean, "without a strategy it is a conflict"


def test_metadata_are_merged_by_key(at: Bench) -> None:
    tensors = {"a": small(1)}
    base = safetensors_bytes(tensors, {"format": "pt", "epoch": "1", "old": "x"})
    ours = safetensors_bytes(tensors, {"format": "pt", "epoch": "2", "old": "x", "mine": "y"})
    theirs = safetensors_bytes({"a": small(2)}, {"format": "pt", "epoch": "1", "yours": "ä"})
    result = at.merge("m.safetensors", base, ours, theirs)
    assert result.clean
    with_metadata = io.BytesIO(result.data)
    header = with_metadata.read()[8:].split(b"}", 1)[0]
    assert header == '{"__metadata__":{"format":"pt","epoch":"2","mine":"y","yours":"ä"'.encode()
    assert safetensors.numpy.load(result.data)["a"].tobytes() == small(2)[2]
    clash = safetensors_bytes({"a": small(2)}, {"format": "pt", "epoch": "3", "old": "x"})
    result = at.merge("m.safetensors", base, ours, clash)
    assert result.details == ("__metadata__ epoch",)
    assert at.merge("m.safetensors", base, ours, clash, AVERAGE).clean


def test_a_header_stays_as_it_is_where_it_says_what_is_meant(at: Bench) -> None:
    def odd(a: int, b: int) -> bytes:
        """Another order than the library's, and spaces in the header."""
        data = safetensors_bytes({"b": small(b, "U8", 8), "a": small(a)})
        length = int.from_bytes(data[:8], "little")
        return (length + 8).to_bytes(8, "little") + data[8 : 8 + length] + b" " * 8 + data[8 + length :]

    result = at.merge("m.safetensors", odd(1, 2), odd(3, 2), odd(1, 4))
    assert result.clean
    assert result.data == odd(3, 4)


# --- other formats ------------------------------------------------------------------------------------------
Made = Mapping[str, np.ndarray]


def torch_legacy(arrays: Made) -> bytes:
    """As torch wrote before 2020, where each storage's name is an address in memory: with those of one file,
    as a tool writes that saves the same model again."""
    import torch

    if _LEGACY.get("names") != tuple(arrays):
        buffer = io.BytesIO()
        zeros = {name: torch.from_numpy(np.full_like(array, 7)) for name, array in arrays.items()}
        torch.save(zeros, buffer, _use_new_zipfile_serialization=False)
        _LEGACY.update(names=tuple(arrays), data=buffer.getvalue())
    data: bytes = _LEGACY["data"]
    for array in sorted(arrays.values(), key=lambda array: -array.nbytes):
        sevens = np.full_like(array, 7).tobytes()
        assert sevens in data
        data = data.replace(sevens, array.tobytes(), 1)
    return data


_LEGACY: dict[str, Any] = {}


def read_legacy(data: bytes) -> Made:
    import torch

    found = torch.load(io.BytesIO(data), weights_only=True)
    return {name: tensor.numpy() for name, tensor in found.items()}


def as_gguf(arrays: Made) -> bytes:
    return gguf_bytes(
        {name: ("F32", array.shape, array.tobytes()) for name, array in arrays.items()},
        {"general.architecture": "llama"},
    )


def read_gguf(data: bytes, folder: Path) -> Made:
    import gguf

    (folder / "m.gguf").write_bytes(data)
    reader = gguf.GGUFReader(folder / "m.gguf")
    return {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


def as_onnx(arrays: Made) -> bytes:
    import onnx
    from onnx import numpy_helper

    graph = onnx.helper.make_graph(
        [], "g", [], [], [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    )
    data: bytes = onnx.helper.make_model(graph).SerializeToString()
    return data


def read_onnx(data: bytes) -> Made:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(data)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def as_hdf5(arrays: Made) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=False) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
    return buffer.getvalue()


def read_hdf5(data: bytes) -> Made:
    with h5py.File(io.BytesIO(data), "r") as file:
        return {name: np.array(file[name]) for name in file}


FORMATS: dict[str, tuple[str, Any, Any]] = {
    "npz": ("m.npz", npz_bytes, read_npz),
    "torch": ("m.pt", torch_bytes, read_torch),
    "torch-legacy": ("m.pt", torch_legacy, read_legacy),
    "gguf": ("m.gguf", as_gguf, read_gguf),
    "onnx": ("m.onnx", as_onnx, read_onnx),
    "hdf5": ("m.h5", as_hdf5, read_hdf5),
}


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "alpha": rng.standard_normal((30, 32), np.float32),
        "beta": rng.standard_normal((500,), np.float32),
        "gamma": rng.standard_normal((4, 32), np.float32),
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_merged_files_of_other_formats_load(at: Bench, kind: str, tmp_path: Path) -> None:
    name, write, read = FORMATS[kind]
    skip_without_library(kind)
    base = arrays(0)
    ours = {**base, "alpha": arrays(1)["alpha"], "beta": arrays(1)["beta"]}
    theirs = {**base, "beta": arrays(2)["beta"], "gamma": arrays(2)["gamma"]}
    result = at.merge(name, write(base), write(ours), write(theirs), AVERAGE)
    assert (result.clean, result.details, result.manifest.format) == (True, (), kind)
    found = read(result.data, tmp_path) if kind == "gguf" else read(result.data)
    wanted = {
        "alpha": ours["alpha"],
        "beta": mean(ours["beta"], theirs["beta"]),
        "gamma": theirs["gamma"],
    }
    assert found.keys() == wanted.keys()
    for tensor, values in wanted.items():
        np.testing.assert_array_equal(found[tensor].reshape(values.shape), values)


def skip_without_library(kind: str) -> None:
    """Skip where the library that would load such a file is not installed."""
    for library in ("torch", "onnx", "gguf"):
        if library in kind:
            pytest.importorskip(library)


@pytest.mark.parametrize("kind", sorted(FORMATS.keys() - {"torch-legacy"}))
def test_one_side_may_add_tensors_and_both_may_not(at: Bench, kind: str, tmp_path: Path) -> None:
    skip_without_library(kind)
    name, write, read = FORMATS[kind]
    base, more = arrays(0), {**arrays(0), "zeta": arrays(3)["beta"]}
    changed = {**arrays(0), "beta": arrays(2)["beta"]}
    result = at.merge(name, write(base), write(changed), write(more))
    assert result.clean
    found = read(result.data, tmp_path) if kind == "gguf" else read(result.data)
    np.testing.assert_array_equal(found["beta"], arrays(2)["beta"])
    np.testing.assert_array_equal(found["zeta"], arrays(3)["beta"])
    others = write({**arrays(0), "eta": arrays(4)["beta"]})
    result = at.merge(name, write(base), others, write(more))
    assert (result.clean, result.data) == (False, others)
    assert result.details == ("tensors were added or taken away, and its format has no room for that",)
    assert at.merge(name, write(base), others, write(more), YOURS).data == write(more)


def test_what_lies_between_tensors_is_one_sides_or_in_conflict(at: Bench) -> None:
    def model(seed: int, author: str) -> bytes:
        values = arrays(seed)["beta"]
        return gguf_bytes({"beta": ("F32", values.shape, values.tobytes())}, {"general.author": author})

    base, moved, named = model(0, "ada"), model(1, "ada"), model(0, "bob")
    assert at.merge("m.gguf", base, moved, named).data == model(1, "bob")
    assert at.merge("m.gguf", base, named, moved).data == model(1, "bob")
    result = at.merge("m.gguf", base, model(1, "eve"), named)
    assert (result.details, result.data) == (("what lies between its tensors",), model(1, "eve"))
    assert at.merge("m.gguf", base, model(1, "eve"), named, YOURS).data == model(1, "bob")


def test_tied_weights_change_together_or_not_at_all(at: Bench) -> None:
    torch = pytest.importorskip("torch")

    def tied(seed: int, *, apart: bool = False) -> bytes:
        values = torch.from_numpy(arrays(seed)["alpha"])
        buffer = io.BytesIO()
        torch.save({"embed": values, "head": values.clone() if apart else values}, buffer)
        return buffer.getvalue()

    result = at.merge("m.pt", tied(0), tied(1), tied(2), AVERAGE)
    assert result.clean
    found = torch.load(io.BytesIO(result.data), weights_only=True)
    wanted = mean(arrays(1)["alpha"], arrays(2)["alpha"])
    np.testing.assert_array_equal(found["embed"].numpy(), wanted)
    np.testing.assert_array_equal(found["head"].numpy(), wanted)
    assert found["embed"].data_ptr() == found["head"].data_ptr()
    split = at.merge("m.pt", tied(0), tied(1), tied(2), Strategies.parse("average", ["head=theirs"]))
    assert (split.clean, split.data) == (False, tied(1))
    assert "shares its bytes" in split.details[0]


def test_views_that_share_some_bytes_are_left_to_a_person(at: Bench) -> None:
    torch = pytest.importorskip("torch")

    def views(seed: int) -> bytes:
        values = torch.from_numpy(arrays(seed)["beta"])
        buffer = io.BytesIO()
        torch.save({"all": values, "some": values[100:300], "odd": values[::2]}, buffer)
        return buffer.getvalue()

    result = at.merge("m.pt", views(0), views(1), views(2), AVERAGE)
    assert (result.clean, result.data) == (False, views(1))
    assert at.merge("m.pt", views(0), views(1), views(0)).clean


def test_a_transposed_tensor_is_merged_in_its_own_order(at: Bench) -> None:
    torch = pytest.importorskip("torch")

    def transposed(seed: int, *, turned: bool = True) -> bytes:
        values = torch.from_numpy(arrays(seed)["alpha"])
        buffer = io.BytesIO()
        torch.save({"w": values.t() if turned else values.t().contiguous()}, buffer)
        return buffer.getvalue()

    result = at.merge("m.pt", transposed(0), transposed(1), transposed(2), AVERAGE)
    found = torch.load(io.BytesIO(result.data), weights_only=True)["w"]
    np.testing.assert_array_equal(found.numpy(), mean(arrays(1)["alpha"], arrays(2)["alpha"]).T)
    other = at.merge("m.pt", transposed(0), transposed(1), transposed(2, turned=False), AVERAGE)
    assert (other.clean, other.data) == (False, transposed(1))


class Unseekable(io.RawIOBase):
    """A pipe: nothing that is written can be gone back to, so a zip archive puts checksums behind members."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


def piped_npz(values: Made) -> bytes:
    pipe = Unseekable()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, array in values.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy_bytes(array))
    return bytes(pipe.data)


def test_checksums_behind_members_are_made_anew_too(at: Bench) -> None:
    base, ours, theirs = (piped_npz(arrays(seed)) for seed in range(3))
    assert b"PK\x07\x08" in ours
    result = at.merge("m.npz", base, ours, theirs, AVERAGE)
    assert result.clean
    wanted = {name: mean(values, arrays(2)[name]) for name, values in arrays(1).items()}
    assert result.data == piped_npz(wanted)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_archives_are_merged_soundly_or_left_alone(at: Bench, data: st.DataObject) -> None:
    """Whatever is clean reads as an archive of the tensors that were meant."""
    base, ours = npz_bytes(arrays(0)), npz_bytes(arrays(1))
    harmed = bytearray(npz_bytes(arrays(2)))
    for _flip in range(data.draw(st.integers(1, 4))):
        harmed[data.draw(st.integers(0, len(harmed) - 1))] ^= data.draw(st.integers(1, 255))
    result = at.merge("m.npz", base, ours, bytes(harmed), AVERAGE)
    if not result.clean:
        return
    with zipfile.ZipFile(io.BytesIO(result.data)) as archive:
        assert archive.testzip() is None
    assert read_npz(result.data).keys() == arrays(0).keys()


def test_archives_inside_archives_are_left_alone(at: Bench) -> None:
    pytest.importorskip("torch")

    def nested(values: Made) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo("policy.pth"), torch_bytes(values))
        return buffer.getvalue()

    result = at.merge("agent.zip", nested(arrays(0)), nested(arrays(1)), nested(arrays(2)), AVERAGE)
    assert result.manifest.format == "zip"
    assert (result.clean, result.data) == (False, nested(arrays(1)))
    assert any("archive inside an archive" in detail for detail in result.details)


def test_formats_that_differ_and_files_of_unknown_bytes_are_in_conflict(at: Bench) -> None:
    st_file, npz_file = plain(a=small(1)), npz_bytes(arrays(1))
    assert not at.merge("m", st_file, st_file + b"", npz_file).clean
    noise = np.random.default_rng(0)
    one, two, three = (noise.bytes(5000) for _ in range(3))
    result = at.merge("m.bin", one, two, three, AVERAGE)
    assert (result.clean, result.data) == (False, two)
    assert at.merge("m.bin", one, two, three, MINE).data == two
    assert at.merge("m.bin", one, two, three, YOURS).data == three


# --- files that are no weights ------------------------------------------------------------------------------
TEXT = b"".join(b"line %d\n" % number for number in range(20))


def edited(number: int, line: bytes) -> bytes:
    return TEXT.replace(b"line %d\n" % number, line + b"\n", 1)


def test_text_is_merged_by_lines_and_marked_where_both_changed_one(at: Bench) -> None:
    result = at.merge("run.sh", TEXT, edited(2, b"two"), edited(17, b"seventeen"))
    assert (result.clean, result.data) == (True, edited(2, b"two").replace(b"line 17\n", b"seventeen\n"))
    result = at.merge("run.sh", TEXT, edited(2, b"two"), edited(2, b"deux"))
    marked = TEXT.replace(b"line 2\n", b"<<<<<<< HEAD\ntwo\n=======\ndeux\n>>>>>>> side\n", 1)
    assert (result.clean, result.details, result.data) == (False, (), marked)
    both = edited(17, b"seventeen").replace(b"line 2\n", b"deux\n")
    assert at.merge("run.sh", TEXT, edited(2, b"two"), both, MINE).data == both.replace(b"deux", b"two")
    assert at.merge("run.sh", TEXT, edited(2, b"two"), both, YOURS).data == both
    assert not at.merge("run.sh", TEXT, edited(2, b"two"), both, AVERAGE).clean


def test_json_is_merged_by_key(at: Bench) -> None:
    base, ours, theirs = (
        b'{"lr": 0.1, "steps": 10}',
        b'{"lr": 0.2, "steps": 10}',
        b'{"lr": 0.1, "steps": 20}',
    )
    assert at.merge("config.json", base, ours, theirs).data == b'{"lr": 0.2, "steps": 20}'
    result = at.merge("config.json", base, ours, b'{"lr": 0.3, "steps": 20}')
    assert (result.clean, result.details) == (False, ("/lr",))
    assert result.data == b'{"lr": 0.2, "steps": 20}'
    assert not at.merge("config.txt", base, ours, theirs).clean  # one line, as text has it


def test_a_merge_of_bases_knows_no_strategies(at: Bench) -> None:
    base, ours, theirs = (at.put("m.safetensors", file_of(model)) for model in (BASE, OURS, THEIRS))
    content = at.merging(AVERAGE).virtual("m.safetensors", base, ours, theirs)
    assert not content.clean and set(content.details) == set(BASE)
    base, ours, theirs = (at.put("a", data) for data in (TEXT, edited(2, b"two"), edited(2, b"deux")))
    marked = at.data(at.merging(MINE).virtual("a", base, ours, theirs).id)
    assert b"<<<<<<< Temporary merge branch 1\ntwo\n" in marked


# --- what no file of ours would say -------------------------------------------------------------------------
def test_manifests_that_contradict_themselves_are_in_conflict(at: Bench) -> None:
    base, ours, theirs = (at.put("m.safetensors", plain(a=small(seed), b=small(9))) for seed in (1, 2, 3))
    sound = Manifest.from_bytes(at.writer.database.get(theirs))
    first, second = sound.tensors
    for tensors in (
        (replace(first, name="b"), second),
        (replace(first, length=first.length - 1), second),
        (replace(first, dtype="F33"), second),
        (replace(first, shape=(1 << 40, 1 << 40)), second),
        (replace(first, offset=first.offset + 4, length=396, shape=(99,)), second),
    ):
        odd = replace(sound, tensors=tensors).to_bytes()
        identity = at.writer.put(ManifestId, odd)
        for strategies in (Strategies(), AVERAGE):
            content = at.content("m.safetensors", base, ours, identity, strategies)
            assert not content.clean
            assert at.data(content.id) == plain(a=small(2), b=small(9))


def test_tables_that_tensors_do_not_lie_in_are_in_conflict(at: Bench) -> None:
    """A manifest may say of an archive that a tensor lies where its checksum does, or of any file that two
    tensors of one form lie the other way round."""
    base, ours, theirs = (at.put("m.npz", npz_bytes(arrays(seed))) for seed in range(3))
    for identity in (ours, theirs):
        sound = Manifest.from_bytes(at.writer.database.get(identity))
        first = sound.tensors[0]
        moved = replace(first, offset=first.offset - 80 - first.offset % 4, length=first.length)
        odd = at.writer.put(ManifestId, replace(sound, tensors=(moved, *sound.tensors[1:])).to_bytes())
        sides = (odd, theirs) if identity is ours else (ours, odd)
        content = at.content("m.npz", base, *sides, AVERAGE)
        assert (content.clean, at.data(content.id)) == (False, npz_bytes(arrays(1)))
    base, ours, theirs = (at.put("m.safetensors", plain(a=small(n), b=small(n + 3))) for n in (1, 2, 3))
    sound = Manifest.from_bytes(at.writer.database.get(ours))
    first, second = sound.tensors
    swapped = (replace(first, name="b"), replace(second, name="a"))
    odd = at.writer.put(ManifestId, replace(sound, tensors=swapped).to_bytes())
    assert not at.content("m.safetensors", base, odd, theirs, AVERAGE).clean


def test_tensors_that_another_file_describes_are_left_alone(at: Bench) -> None:
    files = [at.put("m.npy", npy_bytes(arrays(seed)["alpha"])) for seed in range(3)]
    outside = [
        at.writer.put(ManifestId, replace(manifest, format="onnx-data").to_bytes())
        for manifest in (Manifest.from_bytes(at.writer.database.get(file)) for file in files)
    ]
    content = at.content("m.npy", *outside, AVERAGE)
    assert (content.id, content.clean) == (outside[1], False)
    assert content.details == ("tensors of onnx-data files cannot be replaced",)
    assert at.content("m.npy", *outside, YOURS).id == outside[2]


# --- any three tables ---------------------------------------------------------------------------------------
VALUES = st.sampled_from([small(1), small(2), small(3), small(4, "BF16", 70), small(5, "I64", 9)])
TABLES = st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1)


@settings(deadline=None, max_examples=60)
@given(TABLES, TABLES, TABLES, st.sampled_from([None, "ours", "theirs"]))
def test_any_three_tables(at: Bench, base: dict, ours: dict, theirs: dict, strategy: str | None) -> None:
    sides = [plain(**dict(sorted(table.items()))) for table in (base, ours, theirs)]
    result = at.merge("m.safetensors", *sides, Strategies(strategy))
    wanted, conflicts = {}, set()
    for name in {*base, *ours, *theirs}:
        was, here, there = (table.get(name) for table in (base, ours, theirs))
        if here == there or there == was:
            chosen = here
        elif here == was:
            chosen = there
        else:
            chosen = there if strategy == "theirs" else here
            conflicts |= {name} if strategy is None else set()
        if chosen is not None:
            wanted[name] = chosen
    if not wanted:  # a file without tensors is no file of weights any more
        return
    assert set(result.details) == conflicts
    assert result.clean == (not conflicts)
    found = {span.name: (span.dtype, span.shape) for span in result.manifest.tensors}
    assert found == {name: value[:2] for name, value in wanted.items()}
    assert tensors_of(result) == {name: value[2] for name, value in wanted.items()}
    assert {name for name, _tensor in safetensors.deserialize(result.data)} == wanted.keys()


# --- what a user may ask for --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("default", "patterns", "parameters"),
    [
        ("mean", [], {}),
        (None, ["lm_head"], {}),
        (None, ["=ours"], {}),
        (None, ["lm_head=best"], {}),
        ("average", [], {"weight": 1.5}),
        ("average", [], {"weight": float("nan")}),
        ("average", [], {"scale": 1.0}),
        ("ties", [], {"density": 0.0}),
        ("ties", [], {"density": 2.0}),
        ("ties", [], {"scale": 0.0}),
        ("ties", [], {"scale": float("inf")}),
        ("ours", [], {"weight": 0.5}),
        (None, [], {"density": 0.5}),
    ],
)
def test_what_makes_no_sense_is_refused(default: Any, patterns: list[str], parameters: dict) -> None:
    with pytest.raises(UsageError) as refused:
        Strategies.parse(default, patterns, **parameters)
    assert refused.value.hint


def test_what_was_chosen_is_recorded() -> None:
    assert Strategies().to_value() == {}
    chosen = Strategies.parse("ties", ["lm_head.*=ours", "*=average"], weight=0, density=0.3)
    assert chosen.to_value() == {
        "strategy": "ties",
        "tensors": [["lm_head.*", "ours"], ["*", "average"]],
        "weight": 0.0,
        "scale": 1.0,
        "density": 0.3,
    }
    assert chosen.needs_base and chosen.side is None
    assert Strategies.parse(None, ["x=task-arithmetic"], scale=2).needs_base
    assert not AVERAGE.needs_base
    assert Strategies.parse(None, ["a[0]=ours", "a=b=theirs"]).of("a[0]") == "ours"
    assert Strategies.parse(None, ["a[0]=ours", "a=b=theirs"]).of("a=b") == "theirs"
