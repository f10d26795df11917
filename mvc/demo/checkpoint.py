"""A training state as files: bf16 weights, the optimizer in fp32, a small JSON; each replaced in one step.

The safetensors files are written by hand (8 bytes header length, JSON, data;
https://huggingface.co/docs/safetensors), because the demonstration must need no library that mvc does not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = dict[str, NDArray[np.float32]]

PARTIAL = ".partial"
"""Folder of files that are being written; named in ``.mvcignore``, so that no version ever holds one."""
MODEL, OPTIMIZER, TRAINER = "model.safetensors", "optimizer.safetensors", "trainer.json"


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What the user chose."""

    seed: int = 2026
    lr: float = 1e-3
    warmup: int = 20
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1


@dataclass(slots=True)
class State:
    """Everything that the next step depends on. ``step`` is also the counter of the random batches."""

    hyperparameters: Hyperparameters
    master: Arrays
    exp_avg: Arrays
    exp_avg_sq: Arrays
    step: int = 0
    loss: float = math.nan


@dataclass(frozen=True, slots=True)
class Written:
    """One file as it was handed to the disk."""

    size: int
    sha256: str


def save(folder: Path, state: State) -> dict[str, Written]:
    """Write a checkpoint; returns each file's size and SHA-256, taken before the disk saw the bytes."""
    (folder / PARTIAL).mkdir(exist_ok=True)
    optimizer = {
        f"{kind}.{name}": values
        for kind, arrays in (
            ("master", state.master),
            ("exp_avg", state.exp_avg),
            ("exp_avg_sq", state.exp_avg_sq),
        )
        for name, values in arrays.items()
    }
    trainer = {
        "step": state.step,
        "loss": state.loss,
        "rng": {"seed": state.hyperparameters.seed, "counter": state.step},
        "hyperparameters": asdict(state.hyperparameters),
    }
    return {
        MODEL: _replace(folder, MODEL, safetensors({k: bf16(v) for k, v in state.master.items()}, "BF16")),
        OPTIMIZER: _replace(folder, OPTIMIZER, safetensors(optimizer, "F32")),
        TRAINER: _replace(folder, TRAINER, (json.dumps(trainer, indent=2) + "\n").encode()),
    }


def load(folder: Path) -> State:
    """Read a checkpoint back.

    Raises:
        FileNotFoundError: there is none.
    """
    trainer = json.loads((folder / TRAINER).read_text())
    arrays: dict[str, Arrays] = {"master": {}, "exp_avg": {}, "exp_avg_sq": {}}
    for name, values in read_f32(folder / OPTIMIZER).items():
        kind, _, parameter = name.partition(".")
        arrays[kind][parameter] = values
    return State(
        Hyperparameters(**trainer["hyperparameters"]), **arrays, step=trainer["step"], loss=trainer["loss"]
    )


def bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Finite fp32 to the bits of the nearest bf16, ties to even, in integers."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def safetensors(tensors: Mapping[str, NDArray[Any]], dtype: str) -> bytes:
    """A safetensors file of tensors that all have one dtype, sorted by name."""
    header: dict[str, Any] = {"__metadata__": {"format": "mvc demo"}}
    pieces = []
    offset = 0
    for name in sorted(tensors):
        values = tensors[name]
        data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        end = offset + len(data)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, end]}
        pieces.append(data)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin aligned, as the specification recommends
    return b"".join((len(text).to_bytes(8, "little"), text, *pieces))


def read_f32(path: Path) -> Arrays:
    """The tensors of a safetensors file of ours that holds fp32, each in memory of its own."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    result: Arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            values = np.frombuffer(data[begin + first : begin + end], dtype="<f4")
            result[name] = values.reshape(entry["shape"]).astype(np.float32)
    return result


def _replace(folder: Path, name: str, data: bytes) -> Written:
    """Write beside, then rename: whoever looks finds the old file or the new one, whole."""
    temporary = folder / PARTIAL / name
    temporary.write_bytes(data)
    os.replace(temporary, folder / name)
    return Written(len(data), hashlib.sha256(data).hexdigest())
