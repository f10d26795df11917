"""Makes the golden repository of a format version. Run once per version, when it is frozen.

    python -m tests.golden.make_golden FOLDER

Writes ``format-N.tar.gz`` (the ``.mvc`` of a repository that uses every part of the format) and
``format-N.json`` (what every version in it holds), which ``tests/test_golden.py`` reads for ever.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from mvc.ops import branch, tag
from mvc.ops.undo import undo
from mvc.repo import Repository
from tests.engine import ME, make_repository, now, snapshot, switch_to, tree
from tests.make_files import finetuned, npy_bytes, random_weights, safetensors_bytes

FORMAT = 1


def fill(repository: Repository) -> dict[str, dict[str, list]]:
    """Commit versions that use every codec, kind and mode; returns what each holds, by commit id."""
    folder = repository.worktree
    rng = np.random.default_rng(2026)
    held: dict[str, dict[str, list]] = {}

    def keep(message: str, **options) -> str:
        identity = snapshot(repository, message, **options).id.hex()
        held[identity] = {
            path: [hashlib.sha256(data).hexdigest(), executable]
            for path, (data, executable) in tree(folder).items()
        }
        return identity

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
        keep(f"step {number}", metrics=metrics, params={"lr": 1e-4, "bf16": True})
    tag.create(repository, "v1", "HEAD", ME, now(), message="an annotated tag")
    for number in range(90):
        tag.create(repository, f"many/{number}", "HEAD~1", ME, now())
    branch.create(repository, "side", "HEAD~2", ME, now())
    switch_to(repository, "side")
    (folder / "run.sh").chmod(0o644)
    (folder / "empty").unlink()
    (folder / "truncated.safetensors").write_bytes(b"\x00\x01\x00\x00\x00\x00\x00\x00{")
    keep("on the side")
    keep("amended", amend=True)
    (folder / "text.txt").write_text("undone\n")
    snapshot(repository, "undone")
    undo(repository, ME, now())
    (folder / "text.txt").write_text("grüße\n" * 40)
    switch_to(repository, "main")
    return held


def main() -> None:
    """Write both files."""
    place = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        repository = make_repository(Path(name) / "repo")
        held = fill(repository)
        with repository.reading() as view:
            refs = {ref: value.hex() for ref, value in view.refs.values()}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(repository.store.rglob("*")):
                inside = path.relative_to(repository.worktree)
                if inside.parts[1] in ("tmp", "intents", "index"):
                    continue
                info = archive.gettarinfo(path, str(inside))
                info.uid = info.gid = info.mtime = 0
                info.uname = info.gname = ""
                if path.is_file():
                    with path.open("rb") as file:
                        archive.addfile(info, file)
                else:
                    archive.addfile(info)
    (place / f"format-{FORMAT}.tar.gz").write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    text = json.dumps({"versions": held, "refs": refs}, indent=1, sort_keys=True, ensure_ascii=False)
    (place / f"format-{FORMAT}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
