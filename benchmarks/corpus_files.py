"""The files of the corpus: what runs left behind, and what people derive from it.

Everything here is arithmetic on arrays, done in one way that is written down, so that a recipe which repeats
that way finds the very bytes; whether one does is for the benchmark to say.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus_runs import LORA_ALPHA, LORA_TARGETS, Runs, State
from benchmarks.tensor_files import Bits, bf16, from_bf16, read, safetensors

Tensors = Mapping[str, NDArray | Bits]
_EMBEDDING = "model.embed_tokens.weight"
APPENDED, INSERTED = 128, 64
_SEED = 9


def write(runs: Runs, torch_files: Path, folder: Path) -> None:
    """All files; ``torch_files`` holds those that torch wrote itself, and is empty without it."""

    def put(path: str, tensors: Tensors, **metadata: str) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(safetensors(tensors, {"format": "pt"} | metadata))

    for step, state in runs.pretrain.items():
        put(f"pretrain-fp32/step-{step:04d}.safetensors", state)
        put(f"pretrain-bf16/step-{step:04d}.safetensors", _bf16(state))
    for step, moments in runs.moments.items():
        flat = {f"{key}.{name}": value for key, state in moments.items() for name, value in state.items()}
        put(f"pretrain-fp32/step-{step:04d}.optim.safetensors", flat)
    for name, state in runs.finetunes.items():
        put(f"finetune-bf16/{name}.safetensors", _bf16(state))
    put("pure-bf16/final.safetensors", _bf16(runs.pure_bf16))
    for name, state in runs.one_step.items():
        put(f"one-step-bf16/{name}.safetensors", _bf16(state))
    put("sparse-bf16/final.safetensors", _bf16(runs.sparse))
    for path, tensors in _derived(runs).items():
        put(path, tensors)
    _adapters(runs, put, folder)
    _shards(_bf16(runs.base), folder / "sharded-bf16")
    if torch_files.is_dir():
        shutil.copytree(torch_files, folder / "torch", dirs_exist_ok=True)


def _bf16(state: State) -> dict[str, NDArray | Bits]:
    return {name: bf16(value) for name, value in state.items()}


def _derived(runs: Runs) -> dict[str, Tensors]:
    """Casts, merges, pruned and quantised models, and grown vocabularies; from bf16 but for the fp16 cast."""
    base = {name: from_bf16(bf16(value)) for name, value in runs.base.items()}
    first, second = (
        {name: from_bf16(bf16(value)) for name, value in state.items()}
        for state in (runs.finetunes[name] for name in merged_names(runs))
    )
    half, share = np.float32(0.5), np.float32(0.4)
    return {
        "fp16/model.safetensors": {name: value.astype("<f2") for name, value in runs.base.items()},
        "int8/model.safetensors": _quantised(base, _int8),
        "fp8/model.safetensors": _quantised(base, _fp8),
        "merged-bf16/average.safetensors": _bf16({n: (first[n] + second[n]) * half for n in base}),
        "merged-bf16/arithmetic.safetensors": _bf16(
            {n: base[n] + share * (first[n] - base[n]) + share * (second[n] - base[n]) for n in base}
        ),
        "pruned-bf16/magnitude50.safetensors": _bf16(_each_matrix(base, _prune_magnitude)),
        "pruned-bf16/random50.safetensors": _bf16(_each_matrix(base, _prune_random)),
        "pruned-bf16/2of4.safetensors": _bf16(_each_matrix(base, _prune_2_of_4)),
        f"vocab-grown-bf16/append{APPENDED}.safetensors": _bf16(_grown(base, APPENDED, None)),
        f"vocab-grown-bf16/insert{INSERTED}.safetensors": _bf16(_grown(base, INSERTED, 0.5)),
    }


def merged_names(runs: Runs) -> tuple[str, str]:
    """The two fine-tunes that are merged: of different runs, from the middle of all."""
    last: dict[str, str] = {}
    for name in runs.finetunes:
        last[name.partition("/")[0]] = name
    names = list(last.values())
    middle = len(names) // 2
    return names[middle - 1], names[middle]


def mean_file(first: Path, second: Path, target: Path) -> Path:
    """The average of two bf16 safetensors files with the same tensors."""
    one, other = (_float32(path) for path in (first, second))
    half = np.float32(0.5)
    target.write_bytes(safetensors(_bf16({name: (one[name] + other[name]) * half for name in one})))
    return target


def grown_file(source: Path, target: Path, rows: int) -> Path:
    """A bf16 safetensors file with rows inserted in the middle of its vocabulary."""
    target.write_bytes(safetensors(_bf16(_grown(_float32(source), rows, 0.5))))
    return target


def _float32(path: Path) -> State:
    """The tensors of a bf16 safetensors file."""
    return {
        name: from_bf16(Bits("BF16", tensor.elements.reshape(tensor.shape)))
        for name, tensor in read(path).items()
    }


def _each_matrix(state: State, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> State:
    return {name: change(value) if value.ndim > 1 else value for name, value in state.items()}


def _prune_magnitude(value: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.abs(value) <= np.median(np.abs(value)), np.float32(0), value)


def _prune_random(value: NDArray[np.float32]) -> NDArray[np.float32]:
    keep = np.random.default_rng([_SEED, value.size]).random(value.shape) < 0.5
    return np.where(keep, value, np.float32(0))


def _prune_2_of_4(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two smaller ones of each four neighbours in a row become zero; ties in favour of the later."""
    fours = np.abs(value).reshape(-1, 4)
    smaller = np.argsort(fours, axis=1, kind="stable")[:, :2]
    out = value.copy().reshape(-1, 4)
    np.put_along_axis(out, smaller, np.float32(0), axis=1)
    return out.reshape(value.shape)


def _quantised(
    state: State, quantise: Callable[[NDArray[np.float32]], tuple[NDArray | Bits, NDArray]]
) -> Tensors:
    out: dict[str, NDArray | Bits] = {}
    for name, value in state.items():
        if value.ndim == 1:
            out[name] = bf16(value)
        else:
            out[name], out[f"{name}_scale"] = quantise(value)
    return out


def _int8(value: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
    """Symmetric by row: scale = greatest magnitude ÷ 127, kept as fp16; values to the nearest, ties to
    even."""
    scale = np.abs(value).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(value / scale).astype(np.int8), scale.astype("<f2")


def _fp8(value: NDArray[np.float32]) -> tuple[Bits, NDArray]:
    """E4M3 by tensor: scale = greatest magnitude ÷ 448; values to the nearest, ties to the even code."""
    scale = np.float32(np.abs(value).max() / np.float32(448))
    codes = np.arange(0x7F)  # 0x7F is NaN
    exponent, mantissa = codes >> 3, codes & 7
    numbers = np.where(
        exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent.astype(float) - 7)
    )
    scaled = np.abs(value / scale).astype(np.float64)
    above = np.clip(np.searchsorted(numbers, scaled), 1, len(numbers) - 1)
    low, high = numbers[above - 1], numbers[above]
    up = (scaled - low > high - scaled) | ((scaled - low == high - scaled) & (above % 2 == 0))
    code = np.where(up, above, above - 1).astype(np.uint8)
    return Bits("F8_E4M3", code | (np.signbit(value).astype(np.uint8) << 7)), scale.reshape(1)


def _grown(state: State, rows: int, place: float | None) -> State:
    """New rows near the mean of the old ones, at the end or at a share of the vocabulary."""
    old = state[_EMBEDDING]
    rng = np.random.default_rng([_SEED, rows])
    new = (old.mean(axis=0) + 0.1 * old.std() * rng.standard_normal((rows, old.shape[1]))).astype("<f4")
    at = len(old) if place is None else int(len(old) * place) + 1  # not where a chunk happens to end
    return state | {_EMBEDDING: np.concatenate([old[:at], new, old[at:]])}


def _adapters(runs: Runs, put: Callable[..., None], folder: Path) -> None:
    for step, adapter in runs.adapters.items():
        put(f"lora/step-{step:04d}/adapter_model.safetensors", adapter)
        rank = min(next(iter(adapter.values())).shape)
        about = {"peft_type": "LORA", "r": rank, "lora_alpha": LORA_ALPHA}
        about["target_modules"] = list(LORA_TARGETS)
        (folder / f"lora/step-{step:04d}/adapter_config.json").write_text(json.dumps(about, indent=1) + "\n")
    if not runs.adapters:
        return
    adapter = runs.adapters[max(runs.adapters)]
    merged = {name: from_bf16(bf16(value)) for name, value in runs.base.items()}
    for name in merged:
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in adapter:
            down, up = adapter[f"{stem}.lora_A.weight"], adapter[f"{stem}.lora_B.weight"]
            merged[name] = merged[name] + np.float32(LORA_ALPHA / len(down)) * (up @ down)
    put("lora-merged-bf16/model.safetensors", _bf16(merged))


def _shards(tensors: dict[str, NDArray | Bits], folder: Path) -> None:
    """Two files of about the same size, and the index that Hugging Face puts beside them."""
    folder.mkdir(parents=True)
    names = sorted(tensors)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    where = {}
    for number, half in enumerate(halves, 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        (folder / file).write_bytes(safetensors({name: tensors[name] for name in half}))
        where |= dict.fromkeys(half, file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
