"""Contents that a model's repository is filled with: few, small, and each a pure function of its number."""

from __future__ import annotations

import io
from functools import cache

import numpy as np

from tests.make_files import finetuned, npy_bytes, random_weights, safetensors_bytes

PATHS = (
    "model.safetensors",
    "copy/model.safetensors",
    "arrays.npz",
    "vector.npy",
    "notes.txt",
    "run.sh",
    "d/x.bin",
    "d/deep/y",
    "d",
)
"""Where files may lie; ``d`` is a file or a folder."""

KINDS = ("weights", "weights", "npz", "npy", "text", "opaque", "long", "empty")
STEPS = 6


@cache
def content(kind: str, number: int) -> bytes:
    """A file. Weights of one family move a little with each step; of other kinds each number is another."""
    match kind:
        case "weights":
            return _weights(number // STEPS, number % STEPS)
        case "npz":
            out = io.BytesIO()
            np.savez(out, a=_numbers(number, 90).reshape(9, 10), b=np.arange(number + 1))
            return out.getvalue()
        case "npy":
            return npy_bytes(_numbers(number, 300))
        case "text":
            return f"the text of number {number}\n".encode()
        case "opaque":
            return np.random.default_rng(number).bytes(40 + number)
        case "long":
            # two numbers share most of their bytes, as versions of a file do
            common = np.random.default_rng(1000 + number // 4).bytes(90_000)
            at = 1000 * (number % 4 + 1)
            return common[:at] + bytes([number]) * 70 + common[at:]
    return b""


def average(one: bytes, other: bytes) -> bytes | None:
    """What the strategy of that name makes of two ``npy`` contents; None if they are something else."""
    if not (one.startswith(b"\x93NUMPY") and other.startswith(b"\x93NUMPY")):
        return None
    values = [np.load(io.BytesIO(data)) for data in (one, other)]
    # small whole numbers: the mean is exact whatever the order of the arithmetic
    return npy_bytes(((values[0] + values[1]) / 2).astype(np.float32))


def is_plain(data: bytes) -> bool:
    """Whether a merge takes the file as a whole."""
    return (
        bool(data)
        and (b"\0" in data[:40] or data[:1] > b"\x7f")
        and not data.startswith((b"\x93NUMPY", b"PK"))
    )


def _numbers(number: int, count: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-64, 64, count).astype(np.float32)


@cache
def _weights(family: int, step: int) -> bytes:
    return safetensors_bytes(_tensors(family, step))


@cache
def _tensors(family: int, step: int) -> dict:
    rng = np.random.default_rng(100 * family + step)
    if step == 0:
        return random_weights(rng, {"a.weight": (40, 25), "b.bias": (7,), "c": (600,)}, "BF16")
    return finetuned(_tensors(family, step - 1), rng, 0.01)
