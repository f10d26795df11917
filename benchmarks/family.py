"""A family of models: what each takes in a repository that has the others, and what sketches say of it.

    python -m benchmarks.family [--megabytes 4]

Made-up weights: a matrix with rows of different loudness, and what is made out of it: fine-tunes of several
strengths, casts, merges, pruned ones. ``bits`` is the distance of the sketches
(:func:`mvc.sketch.distances`) from the base's: the mean over 16 tensors that the matrix is cut into, the
least and the most of them; ``stored %`` what a version with that file alone takes after the base (and after
the fine-tunes, for merges), all bytes counted. The second table says how often the sketch of one tensor, and
those of all tensors of a file together, tell the right one of two fine-tunes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.tensor_files import Bits, safetensors
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.predictors.floats import store, width_of
from mvc.sketch import RUN, coarse, distances, places

Matrix = np.ndarray

PARTS = 16
TRIES = 16


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


def as_type(weights: Matrix, dtype: str) -> Bits:
    """The matrix in a float type."""
    bits = np.empty(weights.size, f"<u{width_of(dtype)}")
    store(np.array(weights, np.float32).reshape(-1), dtype, bits)
    return Bits(dtype, bits.reshape(weights.shape))


def sketches(weights: Matrix) -> np.ndarray:
    """Sketches of stretches of the matrix, as if they were tensors."""
    found = []
    for part in np.array_split(weights.reshape(-1).astype("<f4"), PARTS):
        raw = b"".join(part[place : place + RUN].tobytes() for place in places(part.size))
        found.append(coarse(raw, "F32"))
    return np.stack(found)


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances of sketches, pair by pair."""
    return np.array([float(distances(a, b[None])[0]) for a, b in zip(one, other, strict=True)])


def stored(bases: list[Matrix], made: Bits) -> float:
    """Per cent of its bytes that a file of one tensor takes after others of bf16."""
    who = Person("benchmark", "benchmark@example.org")
    versions = [{f"base{number}": as_type(base, "BF16") for number, base in enumerate(bases)}, {"made": made}]
    size = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository = init(FileIO(), folder, Monitor())
        for time, files in enumerate(versions):
            for title, bits in files.items():
                (folder / f"{title}.safetensors").write_bytes(safetensors({"weight": bits}))
            size = commit(repository, Request("version", who, Timestamp(time, 0))).stored_bytes
    return 100 * size / made.bits.nbytes


def relations(base: Matrix) -> Iterator[tuple[str, list[Matrix], Matrix, str]]:
    """What is made of a base in bf16: a name, what is stored before, the values, and their type."""
    for share in (0.001, 0.007, 0.014, 0.03, 0.1, 0.3):
        yield f"moved by {share:.1%} of its norm", [base], bf16(moved(base, share, 1)), "BF16"
    one, other = bf16(moved(base, 0.02, 1)), bf16(moved(base, 0.02, 2))
    yield "average of two fine-tunes", [base, one, other], (one + other) / 2, "BF16"
    tasks = base + np.float32(0.6) * (one - base) + np.float32(0.4) * (other - base)
    yield "task arithmetic", [base, one, other], tasks, "BF16"
    pruned = np.where(np.abs(base) < np.median(np.abs(base)), 0, base)
    yield "pruned by magnitude, half", [base], pruned, "BF16"
    yield "cast to fp16", [base], base, "F16"
    yield "cast to fp8", [base], base, "F8_E4M3"
    yield "a stranger", [base], bf16(matrix(9, *base.shape)), "BF16"


def chosen_rightly(base: Matrix, step: float) -> tuple[float, float]:
    """How often sketches say which of two fine-tunes a third one continues: each tensor for itself, and all
    tensors of the file together."""
    alone = together = 0.0
    for seed in range(TRIES):
        one, other = (bf16(moved(base, 0.02, 2 * seed + n)) for n in (100, 101))
        target = sketches(bf16(moved(one, step, 1000 + seed)))
        near, far = apart(target, sketches(one)), apart(target, sketches(other))
        alone += float(np.mean(near < far)) / TRIES
        together += float(near.mean() < far.mean()) / TRIES
    return alone, together


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=4)
    options = parser.parse_args()
    base = bf16(matrix(0, options.megabytes * 512))
    print(f"{'made of a bf16 base':32s} {'bits':>6s} {'least':>6s} {'most':>6s} {'stored %':>9s}")
    for title, before, values, dtype in relations(base):
        distance = apart(sketches(base), sketches(values))
        share = stored(before, as_type(values, dtype))
        print(f"{title:32s} {distance.mean():6.2f} {distance.min():6.2f} {distance.max():6.2f} {share:9.2f}")
    print(f"\nwhich of two fine-tunes (2 %) a third one continues, said rightly by {PARTS} tensors")
    print(f"{'it moved by':32s} {'alone %':>8s} {'together %':>11s}")
    for step in (0.002, 0.01, 0.02, 0.04):
        alone, together = chosen_rightly(base, step)
        print(f"{step:<32.1%} {100 * alone:8.1f} {100 * together:11.1f}")


if __name__ == "__main__":
    main()
