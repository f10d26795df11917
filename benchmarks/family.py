"""A family of models: what each member takes in a repository that has the others, and what sketches say of it.

    python -m benchmarks.family [--megabytes 4]

Made-up weights: a matrix with rows of different loudness, and what is made out of it: fine-tunes of several
strengths, casts, merges, pruned and quantised ones. ``bits`` is the distance of the sketches
(:func:`mvc.sketch.distances`), the mean of several places of the matrix and the greatest of them; ``stored %``
what a version with that file alone takes after the base (and the fine-tunes, for merges), all bytes counted;
``recipe`` how most of its pieces are predicted. The last lines are about strangers, and about how often the
sketch of one tensor, and that of all tensors of a file, choose the right one of two fine-tunes as the base.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import mvc
from mvc.sketch import RUN, coarse, distances, places

Matrix = np.ndarray


def matrix(seed: int, rows: int, columns: int = 1024) -> Matrix:
    """Normally distributed rows, each with a loudness of its own."""
    rng = np.random.default_rng(seed)
    loudness = np.exp(0.3 * rng.standard_normal((rows, 1), np.float32))
    return np.float32(0.03) * rng.standard_normal((rows, columns), np.float32) * loudness


def moved(weights: Matrix, share: float, seed: int) -> Matrix:
    """The matrix moved by a share of its norm."""
    noise = np.random.default_rng(seed).standard_normal(weights.shape, np.float32)
    return weights + noise * np.float32(share * np.sqrt(np.mean(weights**2)))


def bf16(weights: Matrix) -> Matrix:
    """The matrix as bfloat16 holds it, in float32."""
    bits = weights.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def sketches(weights: Matrix, parts: int) -> np.ndarray:
    """Sketches of so many stretches of the matrix, as if they were tensors."""
    found = []
    for part in np.array_split(weights.reshape(-1).astype("<f4"), parts):
        raw = b"".join(part[place : place + RUN].tobytes() for place in places(part.size))
        found.append(coarse(raw, "F32"))
    return np.stack(found)


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances of sketches, pair by pair."""
    return np.array([float(distances(a, b[None])[0]) for a, b in zip(one, other, strict=True)])


def stored(bases: list[Matrix], made: Matrix, dtype: str) -> tuple[float, str]:
    """Per cent of its bytes that a file of the matrix takes after others, and its commonest recipe."""
    import ml_dtypes

    types = {"BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F32": np.float32}
    with tempfile.TemporaryDirectory() as name:
        repository = mvc.Repo.init(Path(name))
        repository.commit(
            {f"model{number}": {"w": base.astype(types["BF16"])} for number, base in enumerate(bases)},
            message="bases",
        )
        before = repository.stats().stored_bytes
        array = made if dtype == "I8" else made.astype(types[dtype])
        repository.commit({"made": {"weight": array}}, message="made")
        after = repository.stats()
    return 100 * (after.stored_bytes - before) / array.nbytes, ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=4)
    options = parser.parse_args()
    del Counter
