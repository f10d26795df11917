"""What ``gc``, ``gc --repack`` and ``gc --best`` make of a long line of versions: bytes, seconds, reading.

    python -m benchmarks.upkeep [--versions 50] [--anchors 2,4,8] [--step 0.01] [--elements 500000]

A model of random bf16 weights takes a step of so much relative noise from version to version; a log file
grows beside it. Each row starts from the same commits; *every tag*: each version, all tagged, stands alone.
*newest* and *oldest* are seconds to read that version's files, decoded and hashed.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.related import WHO, now
from mvc.fileio import FileIO
from mvc.history.reader import read_manifest
from mvc.monitor import Monitor
from mvc.ops import tag
from mvc.ops.commit import Request, commit
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as Collection
from mvc.ops.gc import gc
from mvc.ops.init import init
from mvc.repo import Repository
from mvc.restore import file_pieces
from mvc.upkeep import standing
from mvc.workspace import files_of
from tests.make_files import finetuned, random_weights, safetensors_bytes


def make(folder: Path, versions: int, elements: int, step: float) -> int:
    """Commit and tag the versions; returns the bytes of all files."""
    repository = init(FileIO(), folder, Monitor())
    rng = np.random.default_rng(3)
    half = elements // 2
    weights = random_weights(rng, {"a": (half // 100, 100), "b": (77,), "c": (half,)}, "BF16")
    raw = 0
    for number in range(versions):
        model = safetensors_bytes(weights)
        log = "".join(f"step {line} loss {1 / (line + 1):.5f}\n" for line in range(40 * (number + 1)))
        (folder / "model.safetensors").write_bytes(model)
        (folder / "log.txt").write_text(log)
        raw += len(model) + len(log)
        commit(repository, Request(f"version {number}", WHO, now()))
        tag.create(repository, f"v{number}", "HEAD", WHO, now())
        weights = finetuned(weights, rng, step)
    repository.temporary.close()
    return raw


def measure(start: Path, work: Path, versions: int, raw: int, options: dict[str, bool] | None) -> str:
    """One row: stored ÷ raw, seconds of gc, seconds to read the newest and the oldest version."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(start, work)
    repository = Repository.open(FileIO(), work, Monitor())
    began = time.perf_counter()
    if options is not None:
        gc(repository, Collection(now(), None, **options))
    took = time.perf_counter() - began
    size = sum(path.stat().st_size for path in (work / ".mvc").rglob("*") if path.is_file())
    reading = [min(_read(work, f"v{number}") for _ in range(3)) for number in (versions - 1, 0)]
    if fsck(repository, full=True).damage:
        raise SystemExit("damage")
    return f"{size / raw:9.4f} {took:7.1f} {reading[0]:8.3f} {reading[1]:8.3f}"


def _read(folder: Path, name: str) -> float:
    repository = Repository.open(FileIO(), folder, Monitor())
    began = time.perf_counter()
    with repository.reading() as view:
        target = view.refs.get(f"refs/tags/{name}")
        for entry in files_of(view, target).values():
            for _piece in file_pieces(view.objects, read_manifest(view.objects, entry.id)):
                pass
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=50)
    parser.add_argument("--elements", type=int, default=500_000)
    parser.add_argument("--step", type=float, default=0.01)
    parser.add_argument("--anchors", default="4")
    parser.add_argument("--best", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        start, work = Path(name) / "start", Path(name) / "work"
        start.mkdir()
        raw = make(start, arguments.versions, arguments.elements, arguments.step)
        print(f"{'':24s} {'stored':>9s} {'gc s':>7s} {'newest s':>8s} {'oldest s':>8s}")
        rows: list[tuple[str, int, dict[str, bool] | None]] = [("committed", 4, None), ("gc", 4, {})]
        for every in map(int, arguments.anchors.split(",")):
            rows.append((f"--repack, anchors {every}", every, {"repack": True}))
        rows.append(("--repack, every tag", 4, {"repack": True, "all_refs": True}))
        if arguments.best:
            rows.append(("--best", 4, {"best": True}))
        for told, every, options in rows:
            standing.ANCHOR_EVERY = every
            print(f"{told:24s} {measure(start, work, arguments.versions, raw, options)}", flush=True)


if __name__ == "__main__":
    main()
