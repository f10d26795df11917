"""State dicts out of a repository, next to safetensors' own load of the same file.

    python -m benchmarks.load [--megabytes 512] [--repetitions 7] [--no-native]

A model of normally distributed bf16 weights is committed from memory, stored alone (no bases), and checked
out. Everything is in the page cache. ``safetensors`` is ``safetensors.numpy.load_file`` of the file that was
checked out, with its default back end and with ``pread``.

First, as most programs do it: one load in a fresh process, whose memory the kernel has yet to provide
(opening the repository counts, importing does not). Then again and again in one process, which recycles
its memory: ``opened anew`` opens the repository each time, ``kept open`` keeps it, ``out=`` loads into arrays
that are there already, ``cache_bytes=`` holds the decoded tensors in memory too. Medians of runs that take
turns. At last one tensor is loaded alone, and the bytes that this read from the store are counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors.numpy

import mvc
from benchmarks.related import bf16
from benchmarks.timing import interleaved, seconds_told
from mvc.codecs import native
from mvc.context import Context
from mvc.fileio import FileIO
from mvc.repo import Repository

ROWS, COLUMNS = 4096, 1024


class CountingIO(FileIO):
    """Counts the bytes that are read; maps (of the index) are not counted."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        """As the disk, and counted."""
        data = super().read_at(fd, length, offset)
        self.read_bytes += len(data)
        return data

    def read_into(self, fd: int, buffer: memoryview, offset: int) -> int:
        """As the disk, and counted."""
        count = super().read_into(fd, buffer, offset)
        self.read_bytes += count
        return count


def model(megabytes: int) -> dict[str, np.ndarray]:
    """bf16 tensors of 8 MiB, as many as that takes."""
    rng = np.random.default_rng(1)
    return {
        f"layers.{number}.weight": bf16(
            rng.standard_normal((ROWS, COLUMNS), dtype=np.float32) * np.float32(0.02)
        ).view(ml_dtypes.bfloat16)
        for number in range(max(2, megabytes * 1_000_000 // (ROWS * COLUMNS * 2)))
    }


def timed(job: Callable[[], object]) -> Callable[[], float]:
    """A job that tells its seconds; what it makes is let go before the next one."""

    def run() -> float:
        began = time.perf_counter()
        made = job()
        seconds = time.perf_counter() - began
        del made
        return seconds

    return run


FRESH = {
    "safetensors": "safetensors.numpy.load_file(folder + '/model.safetensors')",
    "mvc": "mvc.Repo.open(folder).load_state_dict('HEAD', 'model')",
}
_CHILD = """
import sys, time
import safetensors.numpy, ml_dtypes
import mvc, mvc.api, mvc.codecs.fused
from mvc.codecs import native
folder, kernel = sys.argv[1], sys.argv[2]
if kernel == "no":
    native.KERNEL = None
began = time.perf_counter()
made = {job}
print(time.perf_counter() - began)
"""


def in_fresh_processes(folder: Path, repetitions: int) -> dict[str, float]:
    """Median seconds of one load, each in a process of its own."""
    kernel = "yes" if native.available() else "no"

    def job(code: str) -> Callable[[], float]:
        command = [sys.executable, "-c", _CHILD.format(job=code), str(folder), kernel]
        return partial(seconds_told, command)

    return interleaved({name: job(code) for name, code in FRESH.items()}, repetitions)


def loads(folder: Path, repo: mvc.Repo, repetitions: int) -> dict[str, float]:
    """Median seconds of each way to load everything."""
    file = folder / "model.safetensors"
    kept = repo["HEAD"]
    out = {name: np.array(array) for name, array in kept["model.safetensors"].tensors.load().items()}

    cached = mvc.Repo.open(folder, cache_bytes=5 * sum(array.nbytes for array in out.values()))["HEAD"]
    cached.state_dict("model")

    def anew() -> object:
        with mvc.Repo.open(folder) as fresh:
            return fresh.load_state_dict("HEAD", "model")

    return interleaved(
        {
            "safetensors": timed(lambda: safetensors.numpy.load_file(file)),
            "safetensors, pread": timed(lambda: safetensors.numpy.load_file(file, backend="pread")),
            "mvc, opened anew": timed(anew),
            "mvc, kept open": timed(lambda: kept.state_dict("model")),
            "mvc, cache_bytes=": timed(lambda: cached.state_dict("model")),
            "mvc, out=": timed(lambda: kept["model.safetensors"].tensors.load(out=out)),
        },
        repetitions,
    )


def one_tensor(folder: Path) -> tuple[float, int, int]:
    """Seconds to open the repository and load one tensor; bytes read for it, and bytes of the tensor."""
    io = CountingIO()
    began = time.perf_counter()
    with mvc.Repo(Repository.open(io, folder, mvc.Monitor()), Context.of_process()) as repo:
        array = repo["HEAD"]["model.safetensors"].tensors["layers.1.weight"]
        return time.perf_counter() - began, io.read_bytes, array.nbytes


def report(table: dict[str, float], raw: int) -> None:
    """Print medians, and how many times safetensors' own time they are."""
    for label, seconds in table.items():
        share = seconds / table["safetensors"]
        print(f"  {label:20s} {seconds:7.3f} s {raw / 1e6 / seconds:7.0f} MB/s {share:6.2f} ×")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--no-native", action="store_true")
    options = parser.parse_args()
    if options.no_native:
        native.KERNEL = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tensors = model(options.megabytes)
        raw = sum(array.nbytes for array in tensors.values())
        with mvc.Repo.init(folder) as repo:
            began = time.perf_counter()
            repo.commit({"model": tensors}, "model", checkout=False)
            seconds = time.perf_counter() - began
            repo.checkout("HEAD", force=True)
            stored = sum(path.stat().st_size for path in (folder / ".mvc" / "packs").rglob("*.pack"))
            kernel = "with" if native.available() else "without"
            print(f"{raw / 1e6:.0f} MB of bf16 in {len(tensors)} tensors, {kernel} the native kernel")
            print(f"commit from memory {raw / 1e6 / seconds:.0f} MB/s, stored ÷ raw {stored / raw:.3f}")
            del tensors
            print("one load in a fresh process")
            report(in_fresh_processes(folder, options.repetitions), raw)
            print("again and again in one process")
            report(loads(folder, repo, options.repetitions), raw)
        seconds, read, length = one_tensor(folder)
        print(
            f"one tensor alone: {seconds * 1e3:.1f} ms with opening; read {read:,} bytes for {length:,}"
            f" ({read / length:.3f}), of a file of {raw:,}"
        )


if __name__ == "__main__":
    main()
