"""Compares what ``mvc estimate`` says with what committing then stores.

    python -m benchmarks.estimate FOLDER… [--made-up GIGABYTES]

Each folder is copied to random names, all in one folder and with the times of now, and looked at; then its
files are committed in the order that the estimate gives, one version each. Prints estimated and stored bytes,
the difference, the share of bytes read, seconds per gigabyte, and expected and needed seconds of the commits.
For the trained checkpoints it prints also which edges of the family are missing or wrong. ``--made-up`` does
the same for a family that is made on the spot, about so many gigabytes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.related import WHO, now
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops.commit import Request, commit
from mvc.ops.estimate import Estimate, estimate
from mvc.ops.init import init

_BF = "pretrain-bf16/step-0800.safetensors"
_FINE = "finetune-bf16/"
TRUTH: dict[str, set[str]] = {
    "pretrain-bf16/step-0700.safetensors": set(),
    "pretrain-bf16/step-0790.safetensors": {
        "pretrain-bf16/step-0700.safetensors",
        "pretrain-fp32/step-0790.safetensors",
    },
    _BF: {"pretrain-bf16/step-0790.safetensors", "pretrain-fp32/step-0800.safetensors"},
    "pretrain-fp32/step-0790.safetensors": {"pretrain-bf16/step-0700.safetensors"},
    "pretrain-fp32/step-0800.safetensors": {"pretrain-fp32/step-0790.safetensors"},
    "pretrain-fp32/step-0790.optim.safetensors": set(),
    "pretrain-fp32/step-0800.optim.safetensors": {"pretrain-fp32/step-0790.optim.safetensors"},
    "fp16/step-0800.safetensors": {"pretrain-fp32/step-0800.safetensors"},
    "int8/step-0800.safetensors": {_BF},
    "pruned-bf16/mag50.safetensors": {_BF},
    "vocab-grown-bf16/append128.safetensors": {_BF},
    "lora/step-0040/adapter_model.safetensors": set(),
    "lora/step-0080/adapter_model.safetensors": {"lora/step-0040/adapter_model.safetensors"},
    "lora/step-0120/adapter_model.safetensors": {"lora/step-0080/adapter_model.safetensors"},
    "lora-merged-bf16/model.safetensors": {_BF, "lora/step-0120/adapter_model.safetensors"},
    "sharded-bf16/model-00001-of-00002.safetensors": {_BF},
    "sharded-bf16/model-00002-of-00002.safetensors": {_BF},
    "torch-bf16/step-0800.pt": {_BF},
    "torch-training/step-0790.pt": {
        "pretrain-fp32/step-0790.safetensors",
        "pretrain-fp32/step-0790.optim.safetensors",
    },
    "torch-training/step-0800.pt": {
        "pretrain-fp32/step-0800.safetensors",
        "pretrain-fp32/step-0800.optim.safetensors",
    },
    _FINE + "lr1e-5/final.safetensors": {_BF},
    _FINE + "pure-bf16-lr2e-5/final.safetensors": {_BF},
    _FINE + "lr2e-5/step-0060.safetensors": {_BF},
    _FINE + "lr2e-5/step-0120.safetensors": {_FINE + "lr2e-5/step-0060.safetensors"},
    _FINE + "lr2e-5/final.safetensors": {_FINE + "lr2e-5/step-0120.safetensors"},
}
"""Who was made from whom among the trained checkpoints. That step 790 in fp32 goes on from step 700, of which
only the bf16 file is there, is true as well."""


MADE_UP = {
    "a.safetensors": {"g.safetensors"},
    "b.safetensors": {"a.safetensors"},
    "c.safetensors": {"b.safetensors"},
    "d.safetensors": {"a.safetensors"},
    "e.safetensors": {"b.safetensors", "d.safetensors"},
    "f.safetensors": {"a.safetensors"},
    "g.safetensors": set(),
}


def shuffled(source: Path, folder: Path, seed: int) -> dict[str, str]:
    """Copy files to random names; returns what each was called."""
    chance = random.Random(seed)
    left_out = (".md", ".json")
    files = sorted(p for p in source.rglob("*") if p.is_file() and p.suffix not in left_out)
    chance.shuffle(files)
    names: dict[str, str] = {}
    for path in files:
        name = f"{chance.randrange(1 << 40):010x}{path.suffix}"
        shutil.copyfile(path, folder / name)
        names[name] = path.relative_to(source).as_posix()
    return names


def committed(source: Path, folder: Path, found: Estimate) -> tuple[int, float, list[int]]:
    """Commit files in the order of an estimate: bytes stored, seconds needed, bytes of each version."""
    repository = init(FileIO(), folder, Monitor())
    empty = before = _stored(repository.store)
    needed = 0.0
    single: list[int] = []
    for file in found.files:
        shutil.copyfile(source / file.path, folder / file.path)
        began = perf_counter()
        commit(repository, Request("one more", WHO, now()))
        needed += perf_counter() - began
        single.append(_stored(repository.store) - before)
        before += single[-1]
    return before - empty, needed, single


def _stored(store: Path) -> int:
    places = ("packs", "segments", "pieces", "locators", "root")
    return sum(path.stat().st_size for place in places for path in _files(store / place))


def _files(path: Path) -> Iterator[Path]:
    yield from ([path] if path.is_file() else (one for one in path.rglob("*") if one.is_file()))


def compare(title: str, source: Path, names: dict[str, str], *, single: bool) -> None:
    """Print one row, and what is wrong with the family."""
    found = estimate(FileIO(), {"": source}, Monitor())
    with tempfile.TemporaryDirectory() as place:
        stored, needed, each = committed(source, Path(place), found)
    error = (found.stored_bytes / stored - 1) * 100
    print(
        f"{title:28s} {len(found.files):4d} files {found.size / 1e6:8.1f} MB  estimated "
        f"{found.stored_bytes:>11,} stored {stored:>11,}  {error:+6.2f} %  read "
        f"{found.read_bytes / found.size * 100:5.2f} %  {found.took_seconds:6.2f} s, "
        f"{found.took_seconds / found.size * 1e9:6.2f} s/GB  commits {found.seconds:.1f} s said, "
        f"{needed:.1f} s taken",
        flush=True,
    )
    if single:
        for file, real in zip(found.files, each, strict=True):
            print(f"    {names.get(file.path, file.path):48s} {file.stored_bytes:>10,} {real:>10,}")
    for truth in (TRUTH, MADE_UP):
        if set(truth) <= set(names.values()):
            _judge(found, names, truth)


def _judge(found: Estimate, names: dict[str, str], truth: dict[str, set[str]]) -> None:
    right = 0
    for file in found.files:
        name = names[file.path]
        said, true = {names[parent.path] for parent in file.parents}, truth[name]
        right += len(said & true)
        for parent in sorted(true - said):
            print(f"    missing: {name} from {parent}")
        for parent in sorted(said - true):
            print(f"    wrong: {name} from {parent}")
    print(f"    {right} of {sum(map(len, truth.values()))} edges right")


def make_family(folder: Path, gigabytes: float) -> None:
    """Weights in fp32 and cast to bf16, two runs of fine-tunes of that, their average, and pruned weights:
    random numbers of a trained model's spread, in matrices of 4,096 columns."""
    from tests.make_files import safetensors_bytes

    chance = np.random.default_rng(7)
    layers = max(int(gigabytes * 1e9 / 8 / (4 * 2048 * 4096 * 2)), 1)
    shapes = {f"layers.{layer}.{name}": (2048, 4096) for layer in range(layers) for name in "qkvo"}

    def bf16(values: np.ndarray) -> bytes:
        words = values.astype("<f4").view("<u4")
        return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2").tobytes()

    def rounded(values: np.ndarray) -> np.ndarray:
        return (np.frombuffer(bf16(values), "<u2").astype("<u4") << 16).view("<f4").reshape(values.shape)

    def save(name: str, state: dict[str, np.ndarray]) -> None:
        data = {key: ("BF16", shapes[key], bf16(value)) for key, value in state.items()}
        (folder / f"{name}.safetensors").write_bytes(safetensors_bytes(data))

    def step(state: dict[str, np.ndarray], size: float) -> dict[str, np.ndarray]:
        moved = {
            key: value + size * chance.standard_normal(value.shape, np.float32)
            for key, value in state.items()
        }
        return {key: rounded(value) for key, value in moved.items()}

    master = {key: 0.02 * chance.standard_normal(shape, np.float32) for key, shape in shapes.items()}
    base = {key: rounded(value) for key, value in master.items()}
    save("a", base)
    first = step(base, 2e-4)
    save("b", first)
    second = step(first, 1e-4)
    save("c", second)
    other = step(base, 3e-4)
    save("d", other)
    save("e", {key: (first[key] + other[key]) / 2 for key in shapes})
    save("f", {key: np.where(np.abs(value) < 0.0135, 0, value) for key, value in base.items()})
    wide = {key: ("F32", shapes[key], value.astype("<f4").tobytes()) for key, value in master.items()}
    (folder / "g.safetensors").write_bytes(safetensors_bytes(wide))


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--made-up", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--single", action="store_true", help="a line for each file, too")
    given = parser.parse_args()
    for source in given.folders:
        with tempfile.TemporaryDirectory() as name:
            names = shuffled(source.resolve(), Path(name), given.seed)
            compare(source.name, Path(name), names, single=given.single)
    if given.made_up:
        with tempfile.TemporaryDirectory() as name:
            make_family(Path(name), given.made_up)
            compare("made up", Path(name), {one: one for one in MADE_UP}, single=given.single)


if __name__ == "__main__":
    main()
