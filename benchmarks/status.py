"""``mvc status`` of several large files, clean and after every one was touched, as whole processes.

    python -m benchmarks.status [--files 8] [--megabytes 125] [--repetitions 5]

CPU seconds (of the process and its threads) are printed beside seconds: they stay what they are on a busy
machine. Starting Python is in both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.throughput import bf16, safetensors
from benchmarks.timing import run

MVC = [sys.executable, "-m", "mvc"]


def timed(folder: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of one status."""
    before = os.times()
    seconds = run([*MVC, "status"], folder)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--megabytes", type=int, default=125)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = max(1, options.megabytes * 1_000_000 // 2048)
        files = [folder / f"shard-{number}.safetensors" for number in range(options.files)]
        for file in files:
            file.write_bytes(safetensors({"w": bf16(rng.standard_normal((rows, 1024), dtype=np.float32))}))
        run([*MVC, "init"], folder)
        run([*MVC, "commit", "-q", "-m", "base"], folder)
        clean, touched = [], []
        for _ in range(options.repetitions):
            time.sleep(0.05)  # so that the next status may believe the times that it finds
            run([*MVC, "status"], folder)
            clean.append(timed(folder))
            for file in files:
                file.touch()
            touched.append(timed(folder))
        size = sum(file.stat().st_size for file in files)
        print(f"{len(files)} files, {size / 1e6:.0f} MB; medians of {options.repetitions}")
        for word, found in (("clean", clean), ("after touch", touched)):
            seconds, used = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"status {word:12s} {seconds:6.3f} s  {used:6.3f} s CPU")


if __name__ == "__main__":
    main()
