"""Makes the golden repository of a format version. Run once per version, when it is frozen.

    python -m tests.golden.make_golden FOLDER

Writes ``format-N.tar.gz`` (the ``.mvc`` of a repository that uses every part of the format) and
``format-N.json`` (what every version in it holds), which ``tests/test_golden.py`` reads for ever.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from mvc.ops import branch, tag
from mvc.ops.undo import undo
from mvc.repo import Repository
from tests.engine import ME, make_repository, now, snapshot, switch_to
from tests.golden.archive import Held, freeze, keep
from tests.make_files import finetuned, npy_bytes, random_weights, safetensors_bytes

FORMAT = 1


def fill(repository: Repository) -> Held:
    """Commit versions that use every codec, kind and mode; returns what each holds, by commit id."""
    folder = repository.worktree
    rng = np.random.default_rng(2026)
    held: Held = {}

    small = {"embed.weight": (100, 64), "layers.0.norm": (64,), "scale": (1,)}
    large = small | {"layers.0.mlp": (530, 1000)}  # more than one piece
    shapes = {"BF16": large, "F16": small, "F32": small}
    models = {dtype: random_weights(rng, shapes[dtype], dtype) for dtype in shapes}
    (folder / "text.txt").write_text("grüße\n" * 40)
    (folder / "empty").write_bytes(b"")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "ordner ü").mkdir()
    (folder / "ordner ü" / "名前.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "random.bin").write_bytes(rng.bytes(20_000))
    opaque = bytearray(rng.integers(0, 12, 200_000, dtype=np.uint8).tobytes())
    (folder / "fortran.npy").write_bytes(npy_bytes(np.asfortranarray(rng.standard_normal((50, 70)))))
    (folder / "big-endian.npy").write_bytes(npy_bytes(rng.standard_normal(900).astype(">f4")))
    (folder / "ids.npy").write_bytes(npy_bytes(np.arange(20_000, dtype=np.int64)))
    (folder / "mask.npy").write_bytes(npy_bytes(rng.integers(0, 2, 5000).astype(bool)))
    for number in range(4):
        for dtype, weights in models.items():
            name = f"model-{dtype.lower()}.safetensors"
            (folder / name).write_bytes(safetensors_bytes(weights, {"step": str(number)}))
            models[dtype] = finetuned(weights, rng, 0.004)
        opaque[number * 1000 : number * 1000 + 50] = rng.bytes(50)
        (folder / "opaque.bin").write_bytes(opaque)
        metrics = {"loss": 2.0 / (number + 1), "n": number}
        keep(held, repository, f"step {number}", metrics=metrics, params={"lr": 1e-4, "bf16": True})
    tag.create(repository, "v1", "HEAD", ME, now(), message="an annotated tag")
    for number in range(90):
        tag.create(repository, f"many/{number}", "HEAD~1", ME, now())
    branch.create(repository, "side", "HEAD~2", ME, now())
    switch_to(repository, "side")
    (folder / "run.sh").chmod(0o644)
    (folder / "empty").unlink()
    (folder / "truncated.safetensors").write_bytes(b"\x00\x01\x00\x00\x00\x00\x00\x00{")
    keep(held, repository, "on the side")
    keep(held, repository, "amended", amend=True)
    (folder / "text.txt").write_text("undone\n")
    snapshot(repository, "undone")
    undo(repository, ME, now())
    (folder / "text.txt").write_text("grüße\n" * 40)
    switch_to(repository, "main")
    return held


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as name:
        repository = make_repository(Path(name) / "repo")
        freeze(repository, fill(repository), Path(sys.argv[1]), f"format-{FORMAT}")


if __name__ == "__main__":
    main()
