"""Makes the golden repository of records that came into format 1 after it was frozen. Run once.

    python -m tests.golden.make_recipes FOLDER

Writes ``format-1-recipes.tar.gz`` and ``.json``: a family of small models of which every codec and predictor
is needed to read it, some of them from before a ``gc --best``, whose result it holds too. What is added to
those tables later gets an archive of its own beside this one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from mvc.ops import branch, tag
from mvc.ops.gc import Request, gc
from mvc.ops.undo import undo
from mvc.repo import Repository
from tests.engine import ME, make_repository, now, switch_to
from tests.family import Arrays, as_dtype, file_of, rounded, through, tuned, weights
from tests.golden.archive import Held, freeze, keep
from tests.make_files import gguf_bytes, npy_bytes, safetensors_bytes

NAME = "layers.0.mlp.weight"
ROWS, COLUMNS = 128, 128
"""So many that the matrix gets a sketch as int8 too."""

SHAPES = {NAME: (ROWS, COLUMNS), "norm.weight": (COLUMNS,)}
SMALL = {NAME: (64, 128)}


def pruned(values: np.ndarray) -> np.ndarray:
    """The smaller half set to zero."""
    return np.where(np.abs(values) >= np.median(np.abs(values)), values, np.float32(0))


def two_of_four(values: np.ndarray) -> np.ndarray:
    """The two smallest of each four set to zero."""
    groups = values.reshape(-1, 4).copy()
    np.put_along_axis(groups, np.argsort(np.abs(groups), axis=1, kind="stable")[:, :2], 0, axis=1)
    return groups.reshape(values.shape)


def int8(values: np.ndarray) -> bytes:
    """A scale for each row."""
    scale = np.abs(values).max(-1, keepdims=True) / np.float32(127)
    codes = np.rint(values / scale).clip(-128, 127).astype(np.int8)
    return safetensors_bytes(
        {
            NAME: ("I8", values.shape, codes.tobytes()),
            f"{NAME}_scale": ("F32", scale.shape, scale.astype("<f4").tobytes()),
        }
    )


def fp8(values: np.ndarray) -> bytes:
    """F8_E4M3 with a scale for each row."""
    scale = np.abs(values).max(-1, keepdims=True) / np.float32(448)
    return safetensors_bytes({NAME: ("F8_E4M3", values.shape, as_dtype(values / scale, "F8_E4M3"))})


def q8_0(values: np.ndarray) -> bytes:
    """ggml's blocks of 32."""
    blocks = values.reshape(-1, 32)
    scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
    scaled = blocks * np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    codes = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    raw = np.concatenate([scale.astype("<f2").view(np.uint8), codes.view(np.uint8)], axis=1)
    return gguf_bytes({"blk.0.weight": ("Q8_0", values.shape, raw.tobytes())})


def adapter() -> Arrays:
    """A low-rank adapter of the matrix."""
    rng = np.random.default_rng(4)
    module = f"base_model.model.{NAME.removesuffix('.weight')}"
    return {
        f"{module}.lora_A.weight": rng.standard_normal((8, COLUMNS), np.float32) * np.float32(0.02),
        f"{module}.lora_B.weight": rng.standard_normal((ROWS, 8), np.float32) * np.float32(0.02),
    }


def fill(repository: Repository) -> Held:
    """Commit versions that use every codec and predictor, half of them before a collection."""
    folder = repository.worktree
    rng = np.random.default_rng(2027)
    held: Held = {}

    def put(message: str, **files: bytes) -> None:
        for name, data in files.items():
            (folder / name.replace("__", ".")).write_bytes(data)
        keep(held, repository, message)

    base = rounded(weights(1, SHAPES), "BF16")
    first, second = (rounded(tuned(base, seed, 0.02), "BF16") for seed in (2, 3))
    matrix = base[NAME]
    master = weights(4, SMALL)

    put("a model", base__safetensors=file_of(base))
    put(
        "a master and its cast", master__safetensors=file_of(master, "F32"), half__safetensors=file_of(master)
    )
    put("two fine-tunes", first__safetensors=file_of(first), second__safetensors=file_of(second))
    put("their mean", mean__safetensors=file_of({n: (first[n] + second[n]) / np.float32(2) for n in first}))
    put("pruned", pruned__safetensors=file_of({NAME: pruned(matrix)}))
    put("quantised", int8__safetensors=int8(matrix), q8_0__gguf=q8_0(matrix))
    tag.create(repository, "quantised", "HEAD", ME, now())
    trained = first
    for number in range(3):
        trained = rounded(tuned(trained, 10 + number, 0.005), "BF16")
        put(f"training, {number}", first__safetensors=file_of(trained))
    undo(repository, ME, now())
    branch.create(repository, "side", "HEAD~1", ME, now())
    gc(repository, Request(now(), 0, repack=True, best=True))

    held = {identity: files for identity, files in held.items() if _is_there(repository, identity)}
    switch_to(repository, "side", force=True)
    put("the first fine-tune again", again__safetensors=file_of(first))
    put("two of four", n_of_m__safetensors=file_of({NAME: two_of_four(matrix)}))
    put("fp8 by rows", fp8__safetensors=fp8(matrix))
    put("an adapter", adapter__safetensors=file_of(adapter(), "F32"))
    down, up = adapter().values()
    merged = through(matrix + np.float32(2) * (up @ down), "BF16")
    put("merged", merged__safetensors=file_of({NAME: merged}))
    half, less = np.float32(0.5), np.float32(0.3)
    moved = base[NAME] + half * (first[NAME] - base[NAME]) + less * (second[NAME] - base[NAME])
    put("task arithmetic", task__safetensors=file_of({NAME: moved}))
    rows = second[NAME]
    more = np.concatenate([rows[:30], through(weights(9, {"new": (4, COLUMNS)})["new"], "BF16"), rows[30:]])
    put("more rows", second__safetensors=file_of({**second, NAME: more}))
    put("int8 of the fine-tune", late__safetensors=int8(second[NAME]))
    put("pruned, of an unknown model", lone__safetensors=file_of({NAME: pruned(weights(30, SMALL)[NAME])}))
    counts = np.cumsum(rng.integers(0, 3, 4000)).astype("<i8")
    put("whole numbers", counts__npy=npy_bytes(counts), log__txt=b"step loss\n" * 60)
    sparse = master[NAME].copy()
    sparse.reshape(-1)[rng.choice(sparse.size, 40, replace=False)] += np.float32(1e-5)
    put("a sparse step", master__safetensors=file_of({**master, NAME: sparse}, "F32"))
    later = counts + rng.integers(-40, 40, counts.size)
    put("other numbers", counts__npy=npy_bytes(later.astype("<i8")))
    switch_to(repository, "main")
    return held


def _is_there(repository: Repository, identity: str) -> bool:
    with repository.reading() as view:
        return any(one.hex() == identity for one in view.objects.find_prefix(identity))


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as name:
        repository = make_repository(Path(name) / "repo")
        freeze(repository, fill(repository), Path(sys.argv[1]), "format-1-recipes")


if __name__ == "__main__":
    main()
