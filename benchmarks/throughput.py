"""Commit and checkout of related bf16 versions, next to git-lfs and to cp.

    python -m benchmarks.throughput [--versions 6] [--megabytes 100] [--repetitions 3] [--no-native]
                                    [--frozen 0.75] [--cores 1,2]

The versions are made here: a base of normally distributed bf16 weights, each following one moved by about 1
% of its norm, as a fine-tune moves. Commits run in one process; git-lfs runs ``add`` and ``commit`` of the
same files. ``--no-native`` leaves the native kernel out. ``--frozen`` is the share of tensors that never
move. With ``--cores`` every round of mvc's runs on so many cores in turn, and the rates are compared.

CPU seconds are printed beside seconds, and what of them is the committing thread's own, because they stay
what they are on a busy machine: the cores would allow the CPU seconds by their number, and never fewer than
the one thread's. ``last flush`` is what a commit waits for its packs when all is encoded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.timing import run
from mvc.codecs import native
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.odb.pack import PackWriter
from mvc.ops.checkout import checkout
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.repo import Repository

WHO = Person("Bench", "bench@example.org")


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """A bf16 safetensors file of uint16 arrays."""
    import json

    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": "BF16",
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values())


def bf16(values: np.ndarray) -> np.ndarray:
    """Round float32 to bf16 bits, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def make_versions(folder: Path, versions: int, megabytes: int, frozen: float = 0.0) -> list[Path]:
    """Files of related versions, of whose tensors a share never moves."""
    rng = np.random.default_rng(1)
    rows = 4096
    tensors = max(1, megabytes * 1_000_000 // (rows * 1024 * 2))
    values = {
        f"model.layers.{n}.weight": (rng.standard_normal((rows, 1024), dtype=np.float32) * 0.02)
        for n in range(tensors)
    }
    paths = []
    for version in range(versions):
        path = folder / f"v{version}.safetensors"
        path.write_bytes(safetensors({name: bf16(array) for name, array in values.items()}))
        paths.append(path)
        for array in list(values.values())[round(frozen * tensors) :]:
            array += rng.standard_normal(array.shape, dtype=np.float32) * np.float32(0.02 * 0.01)
    return paths


def now() -> Timestamp:
    """The time."""
    return Timestamp(int(time.time() * 1e6), 0)


def copy_durable(source: Path, target: Path) -> float:
    """Seconds of a copy that is synced."""
    began = time.perf_counter()
    shutil.copyfile(source, target)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return time.perf_counter() - began


class Stopwatch:
    """Sums the seconds, CPU seconds and CPU seconds of this thread that its blocks take."""

    def __init__(self) -> None:
        self.sums = [0.0, 0.0, 0.0]

    def __enter__(self) -> None:
        self._began = (time.perf_counter(), time.process_time(), time.thread_time())

    def __exit__(self, *_error: object) -> None:
        ended = (time.perf_counter(), time.process_time(), time.thread_time())
        self.sums = [
            total + end - start for total, end, start in zip(self.sums, ended, self._began, strict=True)
        ]

    def named(self, name: str) -> dict[str, float]:
        """The sums, as rows of the table."""
        return dict(zip((name, f"{name} CPU", f"{name} CPU of one thread"), self.sums, strict=True))


@contextmanager
def flushes() -> Iterator[Stopwatch]:
    """Times the flushes of packs inside the block."""
    watch, flush = Stopwatch(), PackWriter.flush

    def timed(self: PackWriter) -> None:
        with watch:
            flush(self)

    with patch.object(PackWriter, "flush", timed):
        yield watch


def mvc_round(place: Path, paths: list[Path]) -> dict[str, float]:
    """Commit every version, then check each out; each in a repository opened for it, as a command does."""
    folder, io = place / "mvc", FileIO()
    init(io, folder, Monitor())
    commits, watch = [], Stopwatch()
    with flushes() as flushed:
        for path in paths:
            shutil.copyfile(path, folder / "model.safetensors")
            with watch:
                repository = Repository.open(io, folder, Monitor())
                commits.append(commit(repository, Request(path.name, WHO, now())).id)
    stored = sum(path.stat().st_size for path in (folder / ".mvc").rglob("*") if path.is_file())
    out = watch.named("mvc commit") | {"mvc last flush": flushed.sums[0], "mvc stored": float(stored)}
    for name, index in (("first", 0), ("newest", -1)):
        watch, monitor = Stopwatch(), Monitor()
        with watch:
            checkout(Repository.open(io, folder, monitor), commits[index].hex(), WHO, now())
        out |= watch.named(f"mvc checkout {name}")
        out[f"mvc checkout {name} reused"] = float(monitor.counters["reused_bytes"])
        if (folder / "model.safetensors").read_bytes() != paths[index].read_bytes():
            raise SystemExit("a checkout gave other bytes")
    out["cp + fsync"] = copy_durable(paths[-1], place / "copy")
    shutil.rmtree(folder)
    return out


def lfs_round(place: Path, paths: list[Path]) -> dict[str, float]:
    """git lfs add and commit of every version; checkout of the first."""
    folder = place / "lfs"
    folder.mkdir()
    env = {
        "HOME": str(place),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "b",
        "GIT_AUTHOR_EMAIL": "b@example.org",
    }
    env |= {"GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@example.org"}
    for words in (["init", "-q"], ["lfs", "install", "--local"], ["lfs", "track", "*.safetensors"]):
        run(["git", *words], folder, env)
    seconds = 0.0
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / "model.safetensors")
        seconds += run(["git", "add", "-A"], folder, env) + run(
            ["git", "commit", "-qm", f"v{number}"], folder, env
        )
        run(["git", "tag", f"v{number}"], folder, env)
    stored = sum(path.stat().st_size for path in (folder / ".git").rglob("*") if path.is_file())
    back = run(["git", "checkout", "-q", "v0"], folder, env)
    shutil.rmtree(folder)
    return {"git-lfs commit": seconds, "git-lfs stored": float(stored), "git-lfs checkout first": back}


def compare_cores(place: Path, paths: list[Path], counts: list[int], repetitions: int) -> None:
    """Print what each number of cores makes of the same work, in interleaved rounds."""
    mine = sorted(os.sched_getaffinity(0))
    rounds: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for _ in range(repetitions):
        for count in counts:
            os.sched_setaffinity(0, mine[:count])
            rounds[count].append(mvc_round(place, paths))
            os.sched_setaffinity(0, mine)
    print("median seconds on", *(f"{count:7d} cores" for count in counts))
    for key in rounds[counts[0]][0]:
        if not key.endswith(("stored", "reused")):
            found = [float(np.median([one[key] for one in rounds[count]])) for count in counts]
            times = " ".join(f"{found[0] / value:5.2f}" for value in found[1:])
            print(f"{key:40s}", *(f"{value:8.2f}" for value in found), f"  first / others: {times}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=6)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("--frozen", type=float, default=0.0)
    parser.add_argument("--cores", type=lambda text: [int(word) for word in text.split(",")], default=[])
    options = parser.parse_args()
    if options.no_native:
        native.KERNEL = None
    print(f"native kernel: {'yes' if native.available() else 'no'}")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        paths = make_versions(place, options.versions, options.megabytes, options.frozen)
        raw = sum(path.stat().st_size for path in paths)
        if options.cores:
            compare_cores(place, paths, options.cores, options.repetitions)
            return
        rounds: list[dict[str, float]] = []
        lfs = shutil.which("git-lfs") is not None
        for _ in range(options.repetitions):
            rounds.append(mvc_round(place, paths) | (lfs_round(place, paths) if lfs else {}))
        medians = {key: float(np.median([one[key] for one in rounds])) for key in rounds[0]}
        one = paths[0].stat().st_size
        print(f"{len(paths)} versions of {one / 1e6:.0f} MB, {raw / 1e6:.0f} MB in all; ", end="")
        print(f"medians of {options.repetitions} interleaved rounds")
        for key, value in medians.items():
            if key.endswith(("stored", "reused")):
                print(f"{key:40s} {value / (raw if key.endswith('stored') else one):8.3f} of raw")
            else:
                size = raw if "commit" in key or "flush" in key else one
                print(f"{key:40s} {value:8.2f} s  {size / 1e6 / value:8.0f} MB/s")
        if lfs:
            print(
                f"mvc commit rate / git-lfs:        {medians['git-lfs commit'] / medians['mvc commit']:.2f}"
            )
        else:
            print("git-lfs is not installed: no comparison")
        for which in ("first", "newest"):
            times = medians[f"mvc checkout {which}"] / medians["cp + fsync"]
            print(f"mvc checkout {which} / cp + fsync: {times:.2f}")


if __name__ == "__main__":
    main()
