"""The Python API: what goes in comes out, bit for bit, and what cannot go in is refused by name."""

from __future__ import annotations

import argparse
import enum
import json
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import mvc
from mvc.api.state import Flattened, NotOurs, parse, rebuild
from mvc.context import Context
from mvc.errors import CorruptObject, InvalidPath
from mvc.fileio import FileIO
from mvc.formats.safetensors import Described, emit_header
from mvc.memoryfile import MemoryFile, Stretch
from mvc.objects import Commit
from mvc.repo import Repository
from tests.engine import assert_sound
from tests.make_files import safetensors_bytes
from tests.make_pickles import tensor, torch_zip

CIRCULAR: dict = {}
CIRCULAR["x"] = CIRCULAR
CIRCULAR_LIST: list = []
CIRCULAR_LIST.append(CIRCULAR_LIST)
RNG = np.random.default_rng(11)
ALL_DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64"),
    *("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


@pytest.fixture
def repo(tmp_path: Path):
    with mvc.Repo.init(tmp_path / "repo") as made:
        yield made


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def random_array(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Any bit patterns, signalling NaNs among them."""
    kind = dtype_of(dtype)
    raw = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * kind.itemsize, np.uint8)
    return (raw & 1 if dtype == "bool" else raw).view(kind).reshape(shape)


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


def assert_same(given, back) -> None:
    """Equal in type and to the last bit."""
    if isinstance(given, np.ndarray):
        assert isinstance(back, np.ndarray)
        assert bits(given) == bits(back)
    elif isinstance(given, dict):
        assert type(back) is dict
        assert list(map(repr, given)) == list(map(repr, back))
        assert [type(key) for key in given] == [type(key) for key in back]
        for one, other in zip(given.values(), back.values(), strict=True):
            assert_same(one, other)
    elif isinstance(given, list | tuple):
        assert type(back) is type(given) and len(back) == len(given)
        for one, other in zip(given, back, strict=True):
            assert_same(one, other)
    elif isinstance(given, float):
        assert type(back) is type(given)
        assert np.float64(given).tobytes() == np.float64(back).tobytes()
    elif isinstance(given, np.generic):
        assert type(back) is type(given) and given.tobytes() == back.tobytes()
    elif isinstance(given, complex):
        assert type(back) is complex
        assert np.complex128(given).tobytes() == np.complex128(back).tobytes()
    else:
        assert type(back) is type(given)
        assert back == given


# --- a value through the store and back --------------------------------------------------------------------
tensors = st.builds(
    lambda shape, dtype, seed: random_array(shape, dtype, seed),
    arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
    st.sampled_from(ALL_DTYPES),
    st.integers(0, 1000),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
nan_payloads = st.integers(0, 2**64 - 1).map(lambda n: float(np.uint64(n).view(np.float64)))
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | nan_payloads
    | texts
    | st.sampled_from(["$tensor", "$dict"])
    | st.binary(max_size=6)
    | st.complex_numbers()
    | st.builds(np.float32, st.floats(width=32))
    | st.builds(np.int64, st.integers(-5, 5))
)
keys = texts | st.integers(-3, 300) | st.booleans() | st.none() | st.sampled_from(["$float", "$dict", "a.b"])
# no float keys of which two are equal to an integer, and so one key to Python
values = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_a_value_taken_apart_comes_together_again(value) -> None:
    try:
        flattened = Flattened("key", value)
    except mvc.UserError as error:
        assert "would both be called" in error.message
        return
    tree = (
        {name: {"$tensor": name} for name in flattened.tensors}
        if flattened.structure is None
        else parse(flattened.structure)
    )
    found = {
        name: np.frombuffer(bytes(tensor.give()), np.uint8)
        .view(dtype_of(_numpy_name(tensor.dtype)))
        .reshape(tensor.shape)
        for name, tensor in flattened.tensors.items()
    }
    assert_same(value, rebuild(tree, found))


def _numpy_name(dtype: str) -> str:
    from mvc.api.dtypes import numpy_type_of

    return numpy_type_of(dtype).name


@pytest.fixture(scope="module")
def shared_repo(tmp_path_factory):
    with mvc.Repo.init(tmp_path_factory.mktemp("shared")) as made:
        yield made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["model", "optimizer", "a/b", "rng"]), values, min_size=1, max_size=3))
def test_a_nested_dict_goes_through_a_commit(shared_repo, state) -> None:
    state = {key: [value] if isinstance(value, np.ndarray) else value for key, value in state.items()}
    try:
        revision = shared_repo.commit(state, "state", allow_empty=True)
    except mvc.UserError as error:
        assert "would both be called" in error.message
        return
    for key, value in state.items():
        back = revision.state_dict(key)
        if isinstance(value, dict) and f"{key}.json" not in revision:
            assert value.keys() == back.keys()  # of names and tensors only, which files sort
            back = {name: back[name] for name in value}
        assert_same(value, back)


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_every_element_type_comes_back_bit_for_bit(repo, dtype: str) -> None:
    given = {
        "two": random_array((37, 41), dtype),
        "zero": random_array((), dtype),
        "none": random_array((0, 3), dtype),
        "turned": random_array((12, 50), dtype, 1).T,
        "sliced": random_array((40, 9), dtype, 2)[::3, 1:],
        "backwards": random_array((50,), dtype, 3)[::-1],
    }
    back = repo.commit({"m": given}, "all").state_dict("m")
    assert {name: bits(np.ascontiguousarray(a).reshape(a.shape)) for name, a in given.items()} == {
        name: bits(back[name]) for name in given
    }
    assert all(array.flags.writeable and array.flags.c_contiguous for array in back.values())


def test_big_endian_arrays_are_stored_by_value(repo) -> None:
    given = np.array([1.5, -0.0, np.nan], ">f4")
    back = repo.commit({"m": {"x": given}}, "be").state_dict("m")["x"]
    assert back.dtype == np.float32
    assert back.tobytes() == given.byteswap().tobytes()


def test_a_state_dict_is_the_file_that_safetensors_writes(repo) -> None:
    given = {
        "b": random_array((3, 5)),
        "a": random_array((7,), "int8"),
        'é\n"': random_array((2,), "float64"),
    }
    revision = repo.commit({"model": given}, "one")
    assert list(revision) == ["model.safetensors"]
    assert revision["model.safetensors"].read() == safetensors.numpy.save(given)
    assert revision["model.safetensors"].format == "safetensors"


def test_emitted_headers_are_those_of_the_library_for_every_dtype() -> None:
    from safetensors import TensorSpec, serialize

    names = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"}
    names |= {"F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "BF16": "bfloat16"}
    names |= {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64"}
    names |= {f"I{n}": f"int{n}" for n in (8, 16, 32, 64)} | {f"U{n}": f"uint{n}" for n in (8, 16, 32, 64)}
    specs, described, alive = {}, [], []
    for dtype, name in names.items():
        for prefix in ("z", "\x1f\x7f☃"):
            array = np.zeros(3, dtype_of(name))
            alive.append(array)
            specs[prefix + dtype] = TensorSpec(
                dtype=name, shape=array.shape, data_ptr=array.ctypes.data, data_len=array.nbytes
            )
            described.append(Described(prefix + dtype, dtype, (3,)))
    header, ordered = emit_header(described)
    assert bytes(serialize(specs)).startswith(header)
    assert sorted(ordered) == sorted(described)


def test_a_tensor_alone_is_a_value_like_any_other(repo) -> None:
    state = {"best/rng": random_array((16,), "uint8"), "step": np.array(7), "model": {"w": np.ones(2)}}
    version = repo.commit(state, "one")
    assert set(version) >= {"best/rng.safetensors", "best/rng.json", "step.safetensors", "step.json"}
    assert json.loads(version["best/rng.json"].read()) == {"$tensor": "rng"}
    assert list(version["best/rng.safetensors"].tensors) == ["rng"]
    back = repo.load_state_dict("HEAD")
    assert set(back) == set(state)
    for key, value in state.items():
        assert_same(value, back[key])
    assert_same(state["best/rng"], repo.load_state_dict("HEAD", "best/rng"))


def test_an_optimizer_comes_back_with_its_integer_keys(repo) -> None:
    optimizer = {
        "state": {0: {"step": np.array(3.0, np.float32), "exp_avg": random_array((300,))}, 1: {"step": 7}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "eps": float("inf"), "params": [0, 1]}],
    }
    revision = repo.commit({"optimizer": optimizer, "epoch": 3, "note": None}, "state")
    assert set(revision) == {"optimizer.safetensors", "optimizer.json", "epoch.json", "note.json"}
    assert set(revision["optimizer.safetensors"].tensors) == {"state.0.step", "state.0.exp_avg"}
    assert_same(
        {"epoch": 3, "note": None, "optimizer": optimizer}, dict(sorted(revision.state_dict().items()))
    )
    assert json.loads(revision["epoch.json"].read()) == 3


def test_plain_values_stand_in_json_as_they_are(repo) -> None:
    config = {"hidden": 768, "act": "gelü", "rate": 0.1, "tied": True, "sizes": [1, 2], "none": None}
    revision = repo.commit({"config": config}, "config")
    assert json.loads(revision["config.json"].read()) == config


def test_arrays_of_other_libraries_are_taken_as_numpy_sees_them(repo) -> None:
    class Foreign:
        """As JAX's arrays show themselves."""

        dtype, shape = np.dtype("float32"), (2, 3)

        def __dlpack__(self):
            raise AssertionError("numpy was asked for another way")

        def __array__(self, dtype=None, copy=None):
            return np.arange(6, dtype=np.float32).reshape(2, 3)

    back = repo.commit({"m": {"x": Foreign()}}, "foreign").state_dict("m")
    assert_same(np.arange(6, dtype=np.float32).reshape(2, 3), back["x"])


def test_tied_tensors_are_stored_once(repo) -> None:
    array = random_array((1 << 19,), "int32")
    repo.commit({"one": {"a": array}}, "one")
    before = packed_bytes(repo)
    repo.commit({"one": {"a": array, "b": array, "c": array.copy()}}, "three")
    assert packed_bytes(repo) - before < 4000


def torch_checkpoint() -> bytes:
    """A file as torch.save writes it: a model, an epoch, an optimizer's settings."""
    saved = {"model": {"w": tensor("0")}, "epoch": 7, "optim": {"lr": 0.5}, "name": "tiny"}
    return torch_zip(saved, {"0": np.arange(6, dtype=np.float32).tobytes()})


def packed_bytes(repo) -> int:
    return sum(path.stat().st_size for path in (repo.path / ".mvc" / "packs").rglob("*.pack"))


# --- what cannot be stored ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"m": {"a.b": np.ones(1), "a": {"b": np.ones(1)}}}, "would both be called 'a.b'"),
        ({"m": {0: np.ones(1), "0": np.ones(1)}}, "would both be called '0'"),
        ({"m": np.ones(3), "n": np.ones(3)}, "a mapping of tensors, and its keys would name files"),
        ({"m": {"x": np.array([object()])}}, "elements of type object"),
        ({"m": {"x": np.array(["text"])}}, "which safetensors files cannot hold"),
        ({"m": {"x": np.ones(2, np.complex128)}}, "complex128"),
        ({"m": {"x": np.ma.masked_array([1.0], [True])}}, "masked"),
        ({"m": {"x": {1, 2}}}, "'m.x' is a set"),
        ({"m": {(1, 2): 1}}, "a tuple among its keys"),
        ({"m": {"__metadata__": np.ones(1)}}, "__metadata__"),
        ({"m": {"x": "\ud800"}}, "not valid Unicode"),
        ({"m": {"\ud800": np.ones(1)}}, "not valid Unicode"),
        ({"m": 10**5000}, "digits"),
        ({"m": np.datetime64("2020")}, "numpy datetime64"),
        ({"../m": {"x": 1}}, "../m"),
        ({".mvc/m": {"x": 1}}, ".mvc"),
        ({"m.safetensors": {"x": 1}}, "ending"),
        ({3: {"x": 1}}, "is no key"),
        ({}, "nothing to commit"),
        ([1], "nothing to commit"),
    ],
)
def test_what_no_file_can_hold_is_refused_by_name(repo, state, told: str) -> None:
    with pytest.raises((mvc.UserError, mvc.UsageError)) as caught:
        repo.commit(state, "no")
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert repo.head is None


def test_a_value_that_holds_itself_is_refused(repo) -> None:
    loop: dict = {}
    loop["again"] = loop
    with pytest.raises(mvc.UserError, match="nested deeper"):
        repo.commit({"m": loop}, "loop")


def test_two_keys_of_one_path_are_refused(repo) -> None:
    with pytest.raises(InvalidPath, match="file and a folder"):
        repo.commit({"a": {"x": 1}, "a.json/b": {"x": 1}}, "clash")


# --- memory files ------------------------------------------------------------------------------------------
@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(0, 60), st.integers(0, 60))
def test_a_memory_file_reads_like_its_pieces_joined(pieces, offset: int, length: int) -> None:
    file = MemoryFile("x", [Stretch.of(piece) for piece in pieces])
    whole = b"".join(pieces)
    buffer = bytearray(length)
    assert file.size == len(whole)
    got = file.read_into(memoryview(buffer), offset)
    assert bytes(buffer[:got]) == whole[offset : offset + length]
    assert got == len(whole[offset : offset + length])


def test_a_memory_file_holds_one_copied_stretch_at_a_time() -> None:
    alive: list[str] = []

    class Copy(bytearray):
        def __del__(self) -> None:
            alive.remove("copy")

    def give() -> Copy:
        assert not alive
        alive.append("copy")
        return Copy(1000)

    file = MemoryFile("x", [Stretch(1000, give) for _ in range(5)])
    assert file.read_into(memoryview(bytearray(5000)), 0) == 5000


def test_a_stretch_of_another_length_than_promised_is_refused() -> None:
    with pytest.raises(mvc.UsageError, match="promised"):
        MemoryFile("x", [Stretch(4, lambda: b"abc")]).read(0, 4)


# --- where the files go ------------------------------------------------------------------------------------
def test_a_commit_from_memory_leaves_other_files_and_the_work_tree_alone(repo) -> None:
    (repo.path / "README").write_text("hello")
    (repo.path / "model.safetensors").write_bytes(safetensors_bytes({"x": ("U8", (3,), b"abc")}))
    first = repo.commit(message="files")
    second = repo.commit({"model": {"x": np.arange(4)}}, "memory")
    assert set(second) == {"README", "model.safetensors"}
    assert second.parents == (first.id,)
    assert (repo.path / "model.safetensors").read_bytes() == first["model.safetensors"].read()
    status = repo.status()
    assert (status.modified, status.added, status.deleted) == (("model.safetensors",), (), ())
    third = repo.commit({"other": {"x": np.arange(4)}}, "memory")
    assert repo.status().deleted == ("other.safetensors",)
    assert set(third) == {"README", "model.safetensors", "other.safetensors"}
    assert_sound(repo.path)


def test_a_key_owns_both_its_paths(repo) -> None:
    repo.commit({"a": {"x": np.ones(3), "n": 1}, "b": 1}, "one")
    assert set(repo.commit({"a": {"x": np.ones(3)}}, "flat")) == {"a.safetensors", "b.json"}
    assert set(repo.commit({"a": {"n": 1}}, "plain")) == {"a.json", "b.json"}


def test_files_of_the_folder_that_a_key_replaces_are_told(repo) -> None:
    first, second = {"model": {"w": np.ones(3)}}, {"model": {"w": np.zeros(3)}}
    repo.commit(first, "one", checkout=True)
    assert not repo.monitor.warnings
    repo.commit(second, "two")
    assert "'model.safetensors'" in repo.monitor.warnings[-1] and "checkout" in repo.monitor.warnings[-1]
    heard = len(repo.monitor.warnings)
    repo.commit(first, "as the folder has it")
    repo.commit({"other": {"w": np.ones(3)}}, "not in the folder")
    (repo.path / "folder.json").mkdir()
    repo.commit({"folder": 1}, "a folder in the way")
    assert len(repo.monitor.warnings) == heard


def test_checkout_brings_the_work_tree_along(repo) -> None:
    revision = repo.commit({"a": {"x": np.ones(300), "n": 1}}, "one", checkout=True)
    assert repo.status().clean
    assert (repo.path / "a.safetensors").read_bytes() == revision["a.safetensors"].read()
    repo.commit({"a": {"x": np.zeros(300)}}, "two", checkout=True)
    assert repo.status().clean
    assert sorted(path.name for path in repo.path.iterdir()) == [".mvc", "a.safetensors"]
    repo.commit({"a": {"x": np.full(300, 2.0)}}, "two, amended", checkout=True, amend=True)
    assert repo.status().clean
    assert len(repo.log()) == 2


def test_checkout_writes_what_is_given_and_leaves_the_rest(repo) -> None:
    (repo.path / "gone.txt").write_text("x")
    repo.commit(message="file")
    (repo.path / "gone.txt").unlink()
    state = {"a": {"x": np.ones(300)}}
    repo.commit({**state, "b": 1}, "one")
    repo.commit({**state, "b": 2}, "two", checkout=True)
    assert repo.status().deleted == ("gone.txt",)
    assert repo.undo().startswith("checkout")
    assert repo.status().deleted == ("a.safetensors", "b.json", "gone.txt")
    assert_sound(repo.path)


def test_checkout_refuses_uncommitted_work_before_anything_is_stored(repo) -> None:
    first = repo.commit({"a": {"x": np.ones(300)}}, "one", checkout=True)
    (repo.path / "a.safetensors").write_bytes(b"mine")
    (repo.path / "b.json").write_bytes(b"mine")
    with pytest.raises(mvc.WouldOverwrite, match=r"a\.safetensors.*b\.json"):
        repo.commit({"a": {"x": np.zeros(300)}, "b": 1}, "two", checkout=True)
    assert repo.head == first
    assert (repo.path / "a.safetensors").read_bytes() == b"mine"


def test_nothing_new_is_refused_unless_allowed(repo) -> None:
    repo.commit({"a": {"x": np.ones(3)}}, "one")
    with pytest.raises(mvc.AnswerIsNo, match="nothing to commit: what was given"):
        repo.commit({"a": {"x": np.ones(3)}}, "again")
    assert len(repo.log()) == 1
    repo.commit({"a": {"x": np.ones(3)}}, "again", allow_empty=True)
    assert len(repo.log()) == 2


def test_commits_from_memory_at_the_same_time_lose_nothing(repo) -> None:
    def work(name: str) -> list[str]:
        with mvc.Repo.open(repo.path) as mine:
            return [mine.commit({name: {"x": np.full(300, n), "n": n}}, f"{name} {n}").id for n in range(4)]

    with ThreadPoolExecutor(3) as pool:
        made = [identity for ids in pool.map(work, ["a", "b", "c"]) for identity in ids]
    assert {revision.id for revision in repo.log()} == set(made)
    assert {key: value["n"] for key, value in repo.load_state_dict().items()} == {"a": 3, "b": 3, "c": 3}
    assert_sound(repo.path)


def test_versions_from_memory_lean_on_each_other(repo) -> None:
    weights = RNG.standard_normal(200_000, dtype=np.float32)
    repo.commit({"m": {"w": weights}}, "one")
    first = packed_bytes(repo)
    repo.commit({"m": {"w": weights * np.float32(1.0001)}}, "two")
    assert packed_bytes(repo) - first < 0.8 * first
    assert_same(weights, repo["HEAD~1"].state_dict("m")["w"])


# --- what is said of a version -----------------------------------------------------------------------------
def test_a_version_tells_what_is_known_of_it(repo) -> None:
    when = datetime(2026, 11, 21, 10, 30, 0, 5, timezone(timedelta(hours=2)))
    revision = repo.commit(
        {"m": {"x": np.ones(3)}},
        "Epoch 3\n\nLonger.",
        metrics={"loss": np.float32(1.5), "steps": np.int64(7)},
        params={"lr": 2e-5, "name": "x", "seed": 7, "amp": True, "none": None},
        author="Ada Lovelace <ada@example.org>",
        time=when,
    )
    assert (revision.subject, revision.message) == ("Epoch 3", "Epoch 3\n\nLonger.")
    assert dict(revision.metrics) == {"loss": 1.5, "steps": 7}
    assert dict(revision.params) == {"lr": 2e-5, "name": "x", "seed": 7, "amp": True, "none": None}
    assert tuple(revision.author) == ("Ada Lovelace", "ada@example.org")
    assert revision.time == when and revision.time.utcoffset() == timedelta(hours=2)
    assert repo[revision.short] == revision == repo["main"] == repo.head
    assert hash(repo["main"]) == hash(revision)
    assert (revision.branches, revision.tags, revision.parents) == (("main",), (), ())
    repo.tag("v1")
    assert repo["v1"].tags == ("v1",)
    file = revision["m.safetensors"]
    assert (file.size, file.format) == (len(file.read()), "safetensors")
    assert repr(revision) == f"<Revision {revision.short} 'Epoch 3'>"


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": {"loss": "low"}},
        {"metrics": {"ok": True}},
        {"metrics": {3: 1.0}},
        {"params": {"x": [{1}]}},
        {"params": {"x": print}},
        {"params": {"x": {"y": object()}}},
        {"params": {"x": "\ud800"}},
        {"params": {"x": b"bytes"}},
        {"params": {"a.b": 1, "a": {"b": 2}}},
        {"params": {1: 2}},
        {"params": argparse.Namespace(lr=1)},
        {"params": CIRCULAR},
        {"params": {"x": CIRCULAR_LIST}},
        {"params": {"x": 2**70}},
        {"time": datetime(2026, 1, 1)},
        {"paths": ["a"]},
        {"message": "  "},
        {"message": None},
        {"message": 5},
        {"data": {"d": 5}},
        {"data": {5: "d"}},
        {"data": ["d"]},
        {"metrics": [1]},
        {"params": 3},
        {"author": "<>"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(repo, options) -> None:
    with pytest.raises(mvc.UsageError):
        repo.commit({"m": {"x": 1}}, **{"message": "m", **options})
    assert repo.head is None


class Kind(enum.Enum):
    FAST = 1


class Named(enum.StrEnum):
    ADAM = "adam"


def test_nested_settings_are_recorded_flat(repo) -> None:
    params = {
        "optimizer": {"name": Named.ADAM, "betas": (0.9, 0.999), "groups": [{"lr": 1e-3}, {"lr": 1e-4}]},
        "layers": {0: {"size": np.int64(4)}},
        "kind": Kind.FAST,
        "level": enum.IntEnum("Level", ["LOW"])(1),
        "out": Path("runs/1"),
        "dtype": np.dtype("float16"),
        "type": np.float32,
        "day": datetime(2026, 1, 2, tzinfo=UTC).date(),
        "hidden": [[1, 2], ["ä", None, True]],
        "none": {},
        "loss": float("nan"),
        "wandb": {"api_key": "x"},
    }
    recorded = dict(repo.commit({"m": 1}, "one", params=params).params)
    assert np.isnan(recorded.pop("loss"))
    assert recorded == {
        "optimizer.name": "adam",
        "optimizer.betas": "[0.9, 0.999]",
        "optimizer.groups.0.lr": 1e-3,
        "optimizer.groups.1.lr": 1e-4,
        "layers.0.size": 4,
        "kind": "FAST",
        "level": "LOW",
        "out": "runs/1",
        "dtype": "float16",
        "type": "float32",
        "day": "2026-01-02",
        "hidden": '[[1, 2], ["ä", null, true]]',
        "none": "{}",
        "wandb.api_key": "***",
    }
    args = argparse.Namespace(lr=3e-4, config="a.yaml")
    assert dict(repo.commit({"m": 2}, "two", params=vars(args)).params) == vars(args)


def test_a_time_that_no_calendar_holds_is_told_and_shown(repo, monkeypatch) -> None:
    repo.commit({"m": 1}, "one")
    revision = repo["HEAD"]
    commit = revision._commit
    far = Commit(commit.tree, (), commit.author, commit.time._replace(microseconds=1 << 61), "far")
    revision._commit = far
    with pytest.raises(mvc.UnsupportedFeature, match="year 9999"):
        _ = revision.time
    assert "far" in revision._repr_html_()


def test_history_is_read_newest_first(repo) -> None:
    assert len(repo.log()) == 0 and repo.head is None
    ids = [repo.commit({"m": n}, f"v{n}", metrics={"n": n}).id for n in range(4)]
    log = repo.log()
    assert [revision.id for revision in log] == ids[::-1]
    assert log[0].metrics["n"] == 3 and isinstance(log[1:], mvc.Log) and len(log[1:]) == 3
    assert [r.id for r in repo.log("HEAD~1", limit=2)] == [ids[2], ids[1]]
    assert repo["HEAD~3"].id == ids[0]
    with pytest.raises(mvc.RevisionNotFound):
        repo["nothing"]
    with pytest.raises(mvc.RevisionNotFound):
        repo.log("nothing")
    with pytest.raises(mvc.UsageError):
        repo[3]


def test_a_missing_file_or_tensor_is_a_key_error_with_a_hint(repo) -> None:
    revision = repo.commit({"model": {"weight": np.ones(3)}}, "one")
    for mapping, key, near in (
        (revision, "modle.safetensors", "model.safetensors"),
        (revision["model.safetensors"].tensors, "weigth", "weight"),
    ):
        with pytest.raises(KeyError) as caught:
            mapping[key]
        assert isinstance(caught.value, mvc.MvcError)
        assert near in caught.value.hint
        assert key in str(caught.value)
        assert mapping.get(key) is None and key not in mapping


def test_a_traceback_shows_the_hint(repo) -> None:
    with pytest.raises(mvc.RevisionNotFound) as caught:
        repo["nothing"]
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert lines[-1] == f"hint: {caught.value.hint}"
    assert not hasattr(mvc.UserError("no hint"), "__notes__")


def test_what_is_not_there_comes_with_what_is(repo) -> None:
    revision = repo.commit({"optimizer": {"a": np.ones(1), "step": 1}, "model": {"w": np.ones(2)}}, "one")
    repo.tag("v1")
    for ask, offered in (
        (lambda: repo.load_state_dict("HEAD", "optim"), "'optimizer'"),
        (lambda: repo.load_state_dict("HEAD", "xyz"), "'model.safetensors'"),
        (lambda: revision["nope"], "'model.safetensors'"),
        (lambda: repo["nope"], "'v1'"),
        (lambda: repo["mian"], "did you mean 'main'?"),
    ):
        with pytest.raises(mvc.RevisionNotFound) as caught:
            ask()
        assert offered in caught.value.hint


# --- tensors -----------------------------------------------------------------------------------------------
@pytest.fixture
def loaded(repo):
    given = {
        "big": random_array((700, 1000)),
        "half": random_array((300, 1000), "bfloat16"),
        "small": random_array((3,), "int16"),
        "none": random_array((0, 4)),
        "zero": random_array(()),
    }
    return given, repo.commit({"m": given}, "one")["m.safetensors"].tensors


def test_tensors_decode_alone_and_together(loaded) -> None:
    given, tensors = loaded
    assert set(tensors) == set(given) and len(tensors) == len(given)
    for name, array in given.items():
        assert_same(array, tensors[name])
        assert tensors.info(name).shape == array.shape
        assert tensors.raw(name).tobytes() == array.tobytes()
    for threads in (1, 2, 5):
        back = tensors.load(threads=threads)
        assert_same(given, {name: back[name] for name in given})
    assert tensors.info("half").dtype == "BF16"


def test_tensors_load_into_the_callers_arrays(loaded) -> None:
    given, tensors = loaded
    out = {name: np.empty_like(array) for name, array in given.items() if name != "small"}
    back = tensors.load(out=out)
    assert all(back[name] is array for name, array in out.items())
    assert_same(given, {name: back[name] for name in given})
    one = np.empty((300, 1000), np.uint16)
    assert tensors.load(["half"], out=one)["half"] is one
    assert one.tobytes() == given["half"].tobytes()
    part = np.zeros((3, 700, 1000), np.float32)
    tensors.load(["big"], out=part[1])
    assert part[1].tobytes() == given["big"].tobytes() and not part[0].any() and not part[2].any()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (np.empty((700, 1000), np.float64), "dtype"),
        (np.empty((700, 1000), ">f4"), "dtype"),
        (np.empty((1000, 700), np.float32), "shape"),
        (np.empty((1000, 700), np.float32).T, "contiguous"),
        (np.broadcast_to(np.float32(0), (700, 1000)), "contiguous"),
        (np.frombuffer(bytes(2_800_000), np.float32).reshape(700, 1000), "writable"),
        ([0.0], "not a numpy array"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(loaded, out, told: str) -> None:
    with pytest.raises(mvc.UsageError, match=told):
        loaded[1].load(["big"], out=out)


def test_one_array_for_many_tensors_is_refused(loaded) -> None:
    with pytest.raises(mvc.UsageError, match="one array for 5"):
        loaded[1].load(out=np.empty(3))


def test_without_ml_dtypes_bits_are_there(loaded, monkeypatch) -> None:
    given, tensors = loaded
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(mvc.UnsupportedFeature, match="bfloat16") as caught:
        tensors["half"]
    assert "pip install ml_dtypes" in caught.value.hint
    bits_of = tensors.get_array("half", as_bits=True)
    assert bits_of.dtype == np.uint16 and bits_of.tobytes() == given["half"].tobytes()
    assert_same(given["big"], tensors["big"])


def test_column_major_and_big_endian_files_give_the_logical_array(repo) -> None:
    given = random_array((30, 40))
    np.save(repo.path / "f.npy", np.asfortranarray(given))
    np.save(repo.path / "be.npy", given.astype(">f4", copy=True))
    doubles = random_array((9,), "complex64")
    np.save(repo.path / "c.npy", doubles.astype(">c8"))
    revision = repo.commit(message="npy")
    assert_same(given, revision["f.npy"].tensors["array"])
    assert_same(np.load(repo.path / "be.npy").astype(np.float32), revision["be.npy"].tensors["array"])
    assert_same(np.load(repo.path / "c.npy").astype(np.complex64), revision["c.npy"].tensors["array"])
    for path in ("f.npy", "be.npy"):
        out = np.empty((30, 40), np.float32)
        revision[path].tensors.load(["array"], out=out)
        assert out.tobytes() == revision[path].tensors["array"].tobytes()


class CountingIO(FileIO):
    def __init__(self) -> None:
        self.read_bytes = 0

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        data = super().read_at(fd, length, offset)
        self.read_bytes += len(data)
        return data


def test_one_tensor_reads_its_own_pieces_only(tmp_path: Path) -> None:
    with mvc.Repo.init(tmp_path) as repo:
        repo.commit({"m": {f"t{n}": random_array((1 << 18,), seed=n) for n in range(12)}}, "one")
    io = CountingIO()
    with mvc.Repo(Repository.open(io, tmp_path, mvc.Monitor()), Context.of_process()) as repo:
        tensors = repo["HEAD"]["m.safetensors"].tensors
        before = io.read_bytes
        tensors["t7"]
        assert 1 << 20 <= io.read_bytes - before < 1.05 * (1 << 20)


def test_room_for_tensors_in_memory_saves_reading_them_again(tmp_path: Path) -> None:
    with mvc.Repo.init(tmp_path) as repo:
        repo.commit({"m": {"t": random_array((1 << 18,))}}, "one")
    with mvc.Repo.open(tmp_path, cache_bytes=64 << 20) as repo:
        tensors = repo["HEAD"]["m.safetensors"].tensors
        first = tensors["t"]
        for pack in (tmp_path / ".mvc" / "packs").rglob("*.pack"):
            pack.unlink()
        assert_same(first, tensors["t"])


def test_damage_is_found_and_told(repo) -> None:
    repo.commit({"m": {"t": random_array((1 << 19,)), "u": np.ones(3)}}, "one")
    (pack,) = (repo.path / ".mvc" / "packs").rglob("*.pack")
    data = bytearray(pack.read_bytes())
    data[1 << 20] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with mvc.Repo.open(repo.path) as fresh:
        with pytest.raises(CorruptObject):
            fresh["HEAD"]["m.safetensors"].tensors["t"]
        with pytest.raises(mvc.DamageError):
            fresh["HEAD"]["m.safetensors"].read()
        assert_same(np.ones(3), fresh["HEAD"]["m.safetensors"].tensors["u"])


# --- state dicts out of versions of files ------------------------------------------------------------------
def test_shards_come_together_by_their_index(repo) -> None:
    given = {f"layer.{n}": random_array((50, 20), seed=n) for n in range(4)}
    for number in (0, 1):
        names = [name for n, name in enumerate(given) if n // 2 == number]
        safetensors.numpy.save_file(
            {name: given[name] for name in names}, repo.path / f"model-{number}.safetensors"
        )
    index = {"weight_map": {name: f"model-{n // 2}.safetensors" for n, name in enumerate(given)}}
    (repo.path / "model.safetensors.index.json").write_text(json.dumps(index))
    (repo.path / "config.json").write_text('{"hidden": 20}')
    revision = repo.commit(message="shards")
    for path in ("model.safetensors.index.json", "model", "", "."):
        assert_same(given, revision.state_dict(path))
    assert_same({"model": given, "config": {"hidden": 20}}, revision.state_dict())
    assert_same(given["layer.1"], revision.state_dict("model-0.safetensors")["layer.1"])


def test_an_index_cannot_lead_out_of_the_version(repo) -> None:
    (repo.path / "m.index.json").write_text('{"weight_map": {"x": "../../etc/passwd"}}')
    revision = repo.commit(message="hostile")
    with pytest.raises(mvc.UserError, match="which the version lacks"):
        revision.state_dict("m.index.json")


def test_files_that_were_not_committed_from_memory_are_told_apart(repo) -> None:
    np.save(repo.path / "x.npy", np.ones(3))
    revision = repo.commit(message="npy only")
    with pytest.raises(mvc.UserError, match="nothing that was committed from memory") as caught:
        revision.state_dict()
    assert "x.npy" in caught.value.hint
    assert_same({"array": np.ones(3)}, revision.state_dict("x.npy"))
    safetensors.numpy.save_file({"a": np.ones(3)}, repo.path / "m.safetensors")
    (repo.path / "m.json").write_text('{"by": "somebody else"}')
    revision = repo.commit(message="both")
    with pytest.raises(mvc.UserError, match="does not belong to") as caught:
        revision.state_dict("m")
    assert "m.safetensors" in caught.value.hint
    assert_same({"a": np.ones(3)}, revision.state_dict("m.safetensors"))
    with pytest.raises(mvc.UserError, match="several files"):
        revision.state_dict("")
    with pytest.raises(KeyError):
        revision.state_dict("nothing")
    with pytest.raises(mvc.UserError, match="knows of no tensors"):
        (repo.path / "t.txt").write_text("x")
        repo.commit(message="text").state_dict("t.txt")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"nonsense",
        b"\xff",
        b"NaN",
        b'{"$float": 3}',
        b'{"$float": "zz"}',
        b'{"$bytes": "%"}',
        b'{"$dict": [[[1], 2]]}',
        b'{"$dict": {"a": 1}}',
        b'{"$numpy": ["F32"]}',
        b'{"$numpy": ["F32", ""]}',
        b'{"$complex": "ab"}',
        b'{"$tuple": 3}',
        b'{"$tensor": "gone"}',
        b'{"$tensor": 4}',
        b'{"a":' * 450 + b"1" + b"}" * 450,
    ],
)
def test_hostile_json_is_refused_in_one_line(repo, data: bytes) -> None:
    (repo.path / "m.json").write_bytes(data)
    revision = repo.commit(message="hostile")
    with pytest.raises(mvc.UserError) as caught:
        revision.state_dict("m")
    assert "\n" not in caught.value.message and len(caught.value.message) < 300
    with pytest.raises(NotOurs):
        rebuild(parse(data), {})


def test_files_of_other_formats_load_by_path_and_tell_their_metadata(repo) -> None:
    repo.path.joinpath("ckpt.pt").write_bytes(torch_checkpoint())
    repo.path.joinpath("plain.txt").write_text("x")
    version = repo.commit(message="from a folder")
    with pytest.raises(mvc.UserError) as caught:
        repo.load_state_dict("HEAD")
    assert "path='ckpt.pt'" in caught.value.hint
    assert_same(
        {"model.w": np.arange(6, dtype=np.float32).reshape(2, 3)},
        repo.load_state_dict("HEAD", path="ckpt.pt"),
    )
    assert dict(version["ckpt.pt"].metadata) == {"epoch": 7, "optim.lr": 0.5, "name": "tiny"}
    assert dict(version["plain.txt"].metadata) == {}


def test_metadata_stop_at_their_budget(repo, monkeypatch) -> None:
    repo.path.joinpath("ckpt.pt").write_bytes(torch_checkpoint())
    version = repo.commit(message="from a folder")
    monkeypatch.setattr("mvc.api.file.MAX_METADATA_READ_BYTES", 100)
    with pytest.raises(mvc.UnsupportedFeature, match="to read"):
        _ = version["ckpt.pt"].metadata


def test_wrong_questions_are_refused(repo) -> None:
    repo.commit({"m": {"x": np.ones(2)}}, "one")
    with pytest.raises(mvc.UsageError, match="framework"):
        repo.load_state_dict(framework="jax")
    with pytest.raises(mvc.UsageError, match="device"):
        repo.load_state_dict(device="cpu")


# --- changing ----------------------------------------------------------------------------------------------
def test_branches_tags_checkout_and_undo(repo) -> None:
    first = repo.commit({"m": {"x": np.ones(300)}}, "one", checkout=True)
    repo.create_branch("other")
    second = repo.commit({"m": {"x": np.zeros(300)}}, "two", checkout=True)
    assert repo.branches == {"main": second.id, "other": first.id}
    assert repo.checkout("other").branch == "other" and repo.branch == "other"
    assert (repo.path / "m.safetensors").read_bytes() == first["m.safetensors"].read()
    repo.checkout("main", "m.safetensors")
    assert (repo.path / "m.safetensors").read_bytes() == second["m.safetensors"].read()
    assert repo.undo() == "checkout main m.safetensors"
    repo.checkout("HEAD", new_branch="third")
    repo.rename_branch("third", "fourth")
    assert repo.branch == "fourth"
    repo.checkout("main")
    repo.delete_branch("fourth")
    repo.tag("v1", "HEAD~1", message="good")
    assert repo.tags == {"v1": first.id}
    repo.delete_tag("v1")
    assert repo.tags == {} and set(repo.branches) == {"main", "other"}
    with pytest.raises(mvc.ConflictError):
        repo.create_branch("main")
    with pytest.raises(mvc.UsageError):
        repo.checkout("main", ["m.safetensors"], detach=True)
    assert_sound(repo.path)


def test_diff_names_files_and_tensors(repo) -> None:
    weights = RNG.standard_normal((40, 50), dtype=np.float32)
    repo.commit({"m": {"a": weights, "b": np.ones(300)}}, "one", checkout=True)
    moved = weights.copy()
    moved[0] += 1
    repo.commit({"m": {"a": moved, "b": np.ones(300), "c": np.ones(2)}}, "two", checkout=True)
    (change,) = repo.diff("HEAD~1", "HEAD")
    assert (change.path, change.kind) == ("m.safetensors", "modified")
    assert {(row.kind, row.name) for row in change.tensors} == {("added", "c"), ("changed", "a")}
    assert "2.5% of elements" in repr(repo.diff("HEAD~1", "HEAD"))
    assert len(repo.diff()) == 0 and repr(repo.diff()) == "<no differences>"
    (repo.path / "new.txt").write_text("x")
    assert [(row.kind, row.path) for row in repo.diff()] == [("added", "new.txt")]
    assert len(repo.diff("HEAD~1", paths=["new.txt"])) == 1


# --- notebooks ---------------------------------------------------------------------------------------------
def test_faces_tell_forms_weights_and_what_is_missing(repo) -> None:
    first = repo.commit({"m": {"w": np.zeros((2, 3), np.float32), "v": np.zeros(4, np.float32)}}, "one")
    repo.commit({"m": {"w": np.zeros((3, 2), np.float16), "v": np.ones(4, np.float32)}}, "two")
    html = repo.diff("HEAD~1", "HEAD")._repr_html_()
    for told in ("F32 → F16", "[2, 3] → [3, 2]", ">[4]<", "100.0% of elements"):
        assert told in html
    html = first._repr_html_()
    assert first.weights_id in html and "<tr></tr>" not in html
    card = first.card()
    assert repr(card).startswith(f"<Card {first.short}: 10 parameters, ") and len(repr(card)) < 100
    html = card._repr_html_()
    assert all(item.name in html for item in card.checklist)


def test_a_version_with_damaged_weights_can_be_looked_at(repo, monkeypatch) -> None:
    revision = repo.commit({"m": {"w": np.ones(3)}}, "one")

    def damaged(*_: object) -> str:
        raise CorruptObject("a blob is wrong")

    monkeypatch.setattr("mvc.api.revision.Weigher.folder", damaged)
    assert "unknown: a blob is wrong" in revision._repr_html_()


def test_hostile_names_stay_text_in_html(repo) -> None:
    evil = '<script>alert("x")</script>'
    repo.commit({"m": {evil: np.ones(300)}, "a<b>&": 1}, evil, metrics={evil: 1.0}, params={evil: evil})
    repo.commit({"m": {evil: np.zeros(300)}}, "two", author=f"{'E'} <e@x>")
    repo.tag("t<b>")
    faces = [
        repo["HEAD~1"]._repr_html_(),
        repo["HEAD"]._repr_html_(),
        repo.log()._repr_html_(),
        repo.diff("HEAD~1", "HEAD")._repr_html_(),
        repo.status()._repr_html_(),
        repo["HEAD"].card()._repr_html_(),
    ]
    for html in faces:
        assert "<script" not in html and "<b>" not in html
        assert html.count("<table>") == html.count("</table>") > 0
    assert "&lt;script&gt;" in faces[0] and "&lt;b&gt;" in faces[4]


def test_plain_faces_hold_no_control_characters(repo) -> None:
    revision = repo.commit({"m": {"x\x1b[31m": np.ones(300)}}, "red \x1b[31m")
    repo.commit({"m": {"x\x1b[31m": np.zeros(300)}}, "two")
    for text in (
        repr(revision),
        repr(repo.log()),
        repr(repo.diff("HEAD~1", "HEAD")),
        repr(revision["m.safetensors"]),
    ):
        assert "\x1b" not in text


# --- the package -------------------------------------------------------------------------------------------
def test_import_mvc_costs_nothing_and_offers_all() -> None:
    code = "import sys, mvc; print(sorted({'numpy', 'blake3', 'typing', 'mvc.api'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    for name in mvc.__all__:
        assert getattr(mvc, name).__name__ == name
        assert name in dir(mvc)
    with pytest.raises(AttributeError):
        _ = mvc.nothing
    assert (Path(mvc.__file__).parent / "py.typed").is_file()


def test_the_code_is_that_of_the_program(tmp_path: Path, monkeypatch) -> None:
    def committed(folder: Path) -> str:
        folder.mkdir()
        (folder / "train.py").write_text("pass\n")
        for words in ("init -q", "add .", "-c user.name=A -c user.email=a@b commit -q -m one"):
            subprocess.run(["git", *words.split()], cwd=folder, check=True)
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True)
        return done.stdout.decode().strip()

    code, around = committed(tmp_path / "code"), committed(tmp_path / "around")
    monkeypatch.chdir(tmp_path / "code")
    with mvc.Repo.init(tmp_path / "apart") as repo:
        assert repo.commit({"m": 1}, "one").code.commit == code  # the current folder's
        assert repo.commit({"m": 2}, "two", code=tmp_path / "around").code.commit == around
        assert repo.commit({"m": 3}, "three", code="../around").code.commit == around
        assert repo.commit({"m": 4}, "four", code=tmp_path).code is None
        assert "no Git commit" in repo.monitor.warnings[-1]
        for wrong in (5, tmp_path / "nothing", "a\0b"):
            with pytest.raises(mvc.UsageError):
                repo.commit({"m": 5}, "five", code=wrong)
    with mvc.Repo.init(tmp_path / "around" / "model") as repo:
        assert repo.commit({"m": 1}, "one").code.commit == around


def test_a_closed_repository_says_so(tmp_path: Path) -> None:
    with mvc.Repo.init(tmp_path) as repo:
        revision = repo.commit({"m": 1}, "one")
        again = repo["HEAD"]
    for use in (
        lambda: again["m.json"],
        lambda: repo["HEAD"],
        repo.status,
        lambda: repo.commit({"m": 2}, "x"),
    ):
        with pytest.raises(mvc.UserError, match="was closed"):
            use()
    assert revision.subject == "one"
    assert list((tmp_path / ".mvc" / "tmp").iterdir()) == []


def test_repositories_are_found_and_made_where_they_are_asked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with mvc.Repo.init("deep") as repo:
        assert repo.path == tmp_path / "deep"
        (repo.path / "folder").mkdir()
    with mvc.Repo.find("deep/folder") as repo:
        assert repo.path == tmp_path / "deep"
    with pytest.raises(mvc.RepositoryNotFound):
        mvc.Repo.open("deep/folder")
    with pytest.raises(mvc.UserError):
        mvc.Repo.init("deep")


def test_the_default_author_is_who_the_environment_says(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MVC_AUTHOR_NAME", "Grace")
    monkeypatch.setenv("MVC_AUTHOR_EMAIL", "g@example.org")
    with mvc.Repo.init(tmp_path) as repo:
        revision = repo.commit({"m": 1}, "one")
    assert str(revision.author) == "Grace <g@example.org>"
    assert abs(revision.time - datetime.now(UTC)) < timedelta(minutes=1)


# --- hostile input -----------------------------------------------------------------------------------------
def test_arrays_that_share_memory_are_refused(repo) -> None:
    tensors = repo.commit({"m": {"a": np.arange(6.0), "b": np.ones(6), "none": np.ones(0)}}, "one")
    tensors = tensors["m.safetensors"].tensors
    memory = np.zeros(12)
    out = {"a": memory[:6], "b": memory[6:], "none": memory[3:3]}
    assert tensors.load(out=out)["b"][0] == 1 and memory[5] == 5
    for shared in (memory[:6], memory[3:9]):
        with pytest.raises(mvc.UsageError, match=r"'[ab]' shares memory with that for '[ab]'"):
            tensors.load(out={"a": memory[:6], "b": shared})


def test_a_view_whose_strides_mean_nothing_is_read(repo) -> None:
    from tests.make_pickles import tensor, torch_zip

    data = np.arange(4, dtype="<f4")
    wild = tensor("0", (2, 2, 1), (1, 2, (1 << 62)))
    (repo.path / "x.pt").write_bytes(torch_zip({"w": wild}, {"0": data.tobytes()}))
    found = repo.commit(message="views")["x.pt"].tensors["w"]
    assert found.tolist() == data.reshape(2, 2, 1).transpose(1, 0, 2).tolist()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" + "[]," * 2_000_001 + "0]", "more than 4,000,000 values"),
        ('{"$dict": [' + ",".join(f"[{n * (2**61 - 1)},0]" for n in range(60_000)) + "]}", "mapping"),
        ('{"$dict": [[{"$tuple": [1]}, 0]]}', "a mapping in it is malformed"),
        ('{"$tuple":[' * 350 + "]}" * 350, "nested too deeply"),
    ],
    ids=["many values", "keys of one hash", "a tuple as key", "deep"],
)
def test_a_hostile_structure_is_refused_at_once(repo, text: str, told: str) -> None:
    (repo.path / "k.json").write_text(text)
    revision = repo.commit(message="one")
    with pytest.raises(mvc.UserError, match=told):
        revision.state_dict("k")


def test_tables_for_notebooks_spell_control_characters_out(repo) -> None:
    evil = "\x1b[31m\u202e<b>"
    first = repo.commit({"m": {evil: np.ones(300)}}, evil, metrics={"loss": 1.0}, params={"p": evil})
    repo.commit({"m": {evil: np.zeros(300)}}, "two")
    for table in (first, repo.log(), repo.diff(first.id, "HEAD")):
        text = table._repr_html_()
        assert not {"\x1b", "\u202e"} & set(text) and "<b>" not in text


def test_where_weights_come_from_can_be_said(repo) -> None:
    one = {"m": {"w": np.ones((4, 4), np.float32)}}
    repo.commit(one, "one")
    assert repo.commit({"m": {"w": np.zeros((4, 4), np.float32)}}, "two", bases="HEAD").message == "two"
    for recipe in ("HEAD", ["HEAD"]):
        with pytest.raises(mvc.UsageError, match="no combination"):
            repo.commit(one, "three", recipe=recipe)
    assert repo.commit(one, "three", recipe=["HEAD", "HEAD~1"], fast=True).message == "three"
