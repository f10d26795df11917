"""``mvc estimate``: the family of shuffled files, what is read, and what committing then really stores."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from make_files import safetensors_bytes
from numpy.typing import NDArray

from benchmarks.estimate import TRUTH, shuffled
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.ops.estimate import Estimate, estimate
from mvc.ops.init import init

SHAPES = {
    "embed.weight": (768, 384),
    "layers.0.q.weight": (384, 384),
    "layers.0.up.weight": (1024, 384),
    "layers.0.down.weight": (384, 1024),
    "layers.1.q.weight": (384, 384),
    "layers.1.up.weight": (1024, 384),
    "layers.1.down.weight": (384, 1024),
    "norm.weight": (384,),
}
WHO = Person("A", "a@b.c")

State = dict[str, NDArray[np.float32]]


class CountingIO(FileIO):
    """Counts the bytes read, and refuses every step that could change anything."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read_at(self, fd, length, offset):
        data = super().read_at(fd, length, offset)
        self.read_bytes += len(data)
        return data

    def read_into(self, fd, buffer, offset):
        count = super().read_into(fd, buffer, offset)
        self.read_bytes += count
        return count

    def _refuse(self, *_args, **_named):
        raise AssertionError("estimate must not write")

    create = open_append = write = replace = link = unlink = make_folder = _refuse
    remove_folder = sync_folder = set_mode = open_lock = sync = _refuse


def bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    words = np.ascontiguousarray(values, "<f4").view("<u4")
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")


def rounded(state: State) -> State:
    return {name: (bf16(value).astype("<u4") << 16).view("<f4") for name, value in state.items()}


def as_bf16(state: State) -> bytes:
    return safetensors_bytes({k: ("BF16", v.shape, bf16(v).tobytes()) for k, v in state.items()})


def as_fp32(state: State) -> bytes:
    return safetensors_bytes({k: ("F32", v.shape, v.astype("<f4").tobytes()) for k, v in state.items()})


def moved(state: State, size: float, chance: np.random.Generator, toward: State | None = None) -> State:
    found = {}
    for name, value in state.items():
        step = chance.standard_normal(value.shape).astype(np.float32)
        if toward is not None:
            step = step * 0.8 + 0.6 * toward[name] / (toward[name].std() + 1e-9)
        found[name] = value if name == "norm.weight" else value + np.float32(size) * step
    return rounded(found)


def make_family(folder: Path) -> dict[str, set[str]]:
    """Writes a family; returns each file's parents."""
    chance = np.random.default_rng(3)
    master: State = {
        name: (0.03 * chance.standard_normal(shape)).astype(np.float32) for name, shape in SHAPES.items()
    }
    master["norm.weight"] += 1
    base = rounded(master)
    tuned = moved(base, 2e-4, chance)
    further = moved(tuned, 2e-4, chance, {name: tuned[name] - base[name] for name in base})
    other = moved(base, 3e-4, chance)
    files: dict[str, tuple[bytes, set[str]]] = {
        "master": (as_fp32(master), set()),
        "base": (as_bf16(base), {"master"}),
        "half": (
            safetensors_bytes({k: ("F16", v.shape, v.astype("<f2").tobytes()) for k, v in master.items()}),
            {"master"},
        ),
        "tuned": (as_bf16(tuned), {"base"}),
        "further": (as_bf16(further), {"tuned"}),
        "other": (as_bf16(other), {"base"}),
        "average": (as_bf16({name: (tuned[name] + other[name]) / 2 for name in base}), {"tuned", "other"}),
    }
    sparse = {k: np.where(np.abs(v) < 0.02, np.float32(0), v) if v.ndim > 1 else v for k, v in base.items()}
    files["pruned"] = as_bf16(sparse), {"base"}
    files["int8"] = _quantised(base), {"base"}
    down = (0.05 * chance.standard_normal((8, 384))).astype("<f4")
    up = (0.05 * chance.standard_normal((384, 8))).astype("<f4")
    adapter = {
        "base_model.model.layers.0.q.lora_A.weight": ("F32", down.shape, down.tobytes()),
        "base_model.model.layers.0.q.lora_B.weight": ("F32", up.shape, up.tobytes()),
    }
    files["adapter"] = safetensors_bytes(adapter), set()
    merged = base | {"layers.0.q.weight": base["layers.0.q.weight"] + np.float32(2) * (up @ down)}
    files["merged"] = as_bf16(merged), {"base", "adapter"}
    names = list(SHAPES)
    files["shard-1"] = as_bf16({name: base[name] for name in names[:4]}), {"base"}
    files["shard-2"] = as_bf16({name: base[name] for name in names[4:]}), {"base"}
    rows = (0.03 * chance.standard_normal((64, 384))).astype(np.float32)
    files["grown"] = as_bf16(base | {"embed.weight": np.concatenate([base["embed.weight"], rows])}), {"base"}
    for name, (data, _parents) in files.items():
        (folder / name).write_bytes(data)
    return {name: parents for name, (_data, parents) in files.items()}


def _quantised(state: State) -> bytes:
    found: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    for name, value in state.items():
        if value.ndim < 2:
            found[name] = "BF16", value.shape, bf16(value).tobytes()
            continue
        scale = (np.abs(value).max(axis=1, keepdims=True) / np.float32(127)).astype(np.float32)
        found[name] = "I8", value.shape, np.rint(value / scale).clip(-127, 127).astype(np.int8).tobytes()
        found[f"{name}_scale"] = "F32", scale.shape, scale.tobytes()
    return safetensors_bytes(found)


def shuffle(source: Path, target: Path, seed: int) -> dict[str, str]:
    """Copies files to random names in a random order; returns what each was called."""
    chance = random.Random(seed)
    names = sorted(path.name for path in source.iterdir())
    chance.shuffle(names)
    found = {}
    target.mkdir()
    for name in names:
        new = f"{chance.randrange(1 << 32):08x}.safetensors"
        shutil.copyfile(source / name, target / new)
        os.utime(target / new, (1, 1))
        found[new] = name
    return found


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> tuple[Path, dict[str, set[str]]]:
    folder = tmp_path_factory.mktemp("family")
    return folder, make_family(folder)


def edges(found: Estimate, names: dict[str, str]) -> dict[str, set[str]]:
    return {names[file.path]: {names[parent.path] for parent in file.parents} for file in found.files}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_family_is_found_whatever_files_are_called(tmp_path, family, seed):
    source, truth = family
    names = shuffle(source, tmp_path / "x", seed)
    found = estimate(FileIO(), {"": tmp_path / "x"}, Monitor())
    assert edges(found, names) == truth


def test_how_files_were_made(family):
    found = estimate(FileIO(), {"": family[0]}, Monitor())
    how = {file.path: {parent.how for parent in file.parents} for file in found.files}
    assert how == {
        "master": set(), "adapter": set(), "base": {"cast"}, "half": {"cast"}, "tuned": {"trained"},
        "further": {"trained"}, "other": {"trained"}, "average": {"merge"}, "pruned": {"prune"},
        "int8": {"quantise"}, "merged": {"LoRA merge"}, "shard-1": {"part"}, "shard-2": {"part"},
        "grown": {"rows"},
    }  # fmt: skip


def test_parents_come_first(family):
    found = estimate(FileIO(), {"": family[0]}, Monitor())
    seen: set[str] = set()
    for file in found.files:
        assert {parent.path for parent in file.parents} <= seen
        seen.add(file.path)
    assert len(seen) == len(found.files) == len(family[1])


def test_it_is_near_what_committing_stores(tmp_path, family):
    source, _truth = family
    found = estimate(FileIO(), {"": source}, Monitor())
    repository = init(FileIO(), tmp_path, Monitor())

    def stored() -> int:
        places = ("packs", "segments", "pieces", "locators")
        folders = [repository.store / place for place in places]
        return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())

    before = stored()
    for number, file in enumerate(found.files):
        shutil.copyfile(source / file.path, tmp_path / file.path)
        commit(repository, Request(file.path, WHO, Timestamp(number, 0)))
    assert abs(found.stored_bytes / (stored() - before) - 1) < 0.04
    assert found.stored_bytes == sum(file.stored_bytes for file in found.files)


def test_it_reads_little_and_writes_nothing(family):
    io = CountingIO()
    found = estimate(io, {"": family[0]}, Monitor())
    small = sum(min(file.size, 40 << 10) for file in found.files if file.size < 4 << 20)
    assert 0 < io.read_bytes <= 0.02 * found.size + small
    assert found.read_bytes <= io.read_bytes


def test_large_files_cost_less_than_a_fiftieth(tmp_path):
    chance = np.random.default_rng(5)
    state = {f"w{n}": (0.02 * chance.standard_normal((1024, 2048))).astype(np.float32) for n in range(4)}
    (tmp_path / "a.safetensors").write_bytes(as_bf16(state))
    (tmp_path / "b.safetensors").write_bytes(as_bf16(moved(state, 2e-4, chance)))
    io = CountingIO()
    found = estimate(io, {"": tmp_path}, Monitor())
    assert io.read_bytes < 0.02 * found.size
    assert [file.stored_bytes < 0.9 * file.size for file in found.files] == [True, True]


def test_a_file_of_its_own_has_no_parents(tmp_path):
    for seed in (1, 2):
        chance = np.random.default_rng(seed)
        state = {"w": (0.02 * chance.standard_normal((512, 512))).astype(np.float32)}
        (tmp_path / f"{seed}.safetensors").write_bytes(as_bf16(state))
    found = estimate(FileIO(), {"": tmp_path}, Monitor())
    assert [file.parents for file in found.files] == [(), ()]


def test_steps_say_which_came_first(tmp_path):
    chance = np.random.default_rng(1)
    first = {"w": (0.02 * chance.standard_normal((512, 512))).astype(np.float32)}
    second = moved(first, 1e-4, chance)
    for name, state, step in (("z", first, "10"), ("a", second, "20")):
        data = {"w": ("BF16", (512, 512), bf16(state["w"]).tobytes())}
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors_bytes(data, {"step": step}))
    found = estimate(FileIO(), {"": tmp_path}, Monitor())
    assert [file.path for file in found.files] == ["z.safetensors", "a.safetensors"]
    assert found.files[1].parents[0].how == "trained"


def test_links_are_told_of_and_not_followed(tmp_path):
    (tmp_path / "real.bin").write_bytes(b"x" * 5000)
    (tmp_path / "link.bin").symlink_to("real.bin")
    (tmp_path / "out.bin").symlink_to("/etc/hostname")
    found = estimate(CountingIO(), {"": tmp_path}, Monitor())
    assert [file.path for file in found.files] == ["real.bin"]
    assert {path for path, _why in found.problems} == {"link.bin", "out.bin"}


def test_a_name_that_a_commit_refuses_is_estimated_and_told_of(tmp_path):
    (tmp_path / "a\nb.bin").write_bytes(b"x" * 5000)
    found = estimate(FileIO(), {"": tmp_path}, Monitor())
    assert [file.path for file in found.files] == ["a\nb.bin"]
    assert "refuse" in found.problems[0][1]


def test_one_unreadable_file_stops_nothing(tmp_path):
    class Refusing(FileIO):
        def open_read(self, path, *, follow=True):
            if path.name == "bad.bin":
                raise PermissionError(13, "Permission denied", str(path))
            return super().open_read(path, follow=follow)

    (tmp_path / "bad.bin").write_bytes(b"x" * 5000)
    (tmp_path / "good.bin").write_bytes(b"y" * 5000)
    found = estimate(Refusing(), {"": tmp_path}, Monitor())
    assert [file.path for file in found.files] == ["good.bin"]
    assert found.problems == [("bad.bin", "cannot be read (Permission denied)")]


def test_several_folders_and_an_empty_one(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "same.bin").write_bytes(os.urandom(20_000) if name == "a" else b"z" * 20_000)
    found = estimate(FileIO(), {name: tmp_path / name for name in ("a", "b", "c")}, Monitor())
    assert [file.path for file in found.files] == ["a/same.bin", "b/same.bin"]
    assert found.files[0].stored_bytes >= 20_000 > found.files[1].stored_bytes
    empty = estimate(FileIO(), {"": tmp_path / "c"}, Monitor())
    assert (empty.files, empty.ratio, empty.seconds) == ([], None, 0.0)


CHECKPOINTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "checkpoints"


@pytest.mark.skipif(
    not CHECKPOINTS.is_dir(), reason="real checkpoints (../shared/data) are not on this machine"
)
def test_every_edge_among_trained_checkpoints_is_right(tmp_path):
    names = shuffled(CHECKPOINTS, tmp_path, seed=3)
    found = estimate(FileIO(), {"": tmp_path}, Monitor())
    assert edges(found, names) == TRUTH
    assert found.read_bytes < 0.02 * found.size
    assert 0.25 < (found.ratio or 0) < 0.29


def test_json_values_are_plain(family):
    found = estimate(FileIO(), {"": family[0]}, Monitor())
    json.dumps([[file.path, file.stored_bytes, file.seconds, file.size] for file in found.files])
    assert all(file.seconds > 0 for file in found.files)
