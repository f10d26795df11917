"""Peak memory of committing, checking and restoring one large file, summed over all processes.

python -m benchmarks.memory [--gigabytes 4] [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.timing import mvc_command, peak_memory, run


def make_file(path: Path, gigabytes: float) -> None:
    """A safetensors file of bf16 tensors of 64 MiB each, without holding it in memory."""
    rng = np.random.default_rng(3)
    count = max(1, round(gigabytes * 1e9 / (64 << 20)))
    header = {
        f"layer.{n}": {"dtype": "BF16", "shape": [8192, 4096], "data_offsets": [n << 26, (n + 1) << 26]}
        for n in range(count)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(count):
            values = rng.standard_normal(32 << 20, dtype=np.float32) * np.float32(0.02)
            file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__, page=False)
    parser.add_argument("--gigabytes", type=float)
    options = parser.parse_args()
    options.gigabytes = options.gigabytes or (0.2 if options.quick else 4.0)
    load = os.getloadavg()[0]
    measured: dict[str, dict[str, float]] = {}
    mvc = mvc_command()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run([*mvc, "init"], folder)
        make_file(folder / "model.safetensors", options.gigabytes)
        size = (folder / "model.safetensors").stat().st_size
        print(f"one bf16 safetensors file of {size / 1e9:.2f} GB")

        def told(words: list[str]) -> None:
            peak, seconds = peak_memory([*mvc, *words], folder)
            rate = size / 1e6 / seconds
            measured[" ".join(words)] = {"peak": peak, "seconds": seconds}
            print(f"mvc {words[0]:10s} peak {peak / 1e6:6.0f} MB  {seconds:6.1f} s  {rate:6.0f} MB/s")

        told(["commit", "-q", "-m", "base"])
        with (folder / "model.safetensors").open("r+b") as file:
            file.seek(size // 2)
            file.write(bytes(1000))
        told(["status"])
        told(["commit", "-q", "-m", "moved"])
        told(["checkout", "HEAD~1"])
        told(["fsck", "--full"])
    report.keep("memory", options, measured, load)


if __name__ == "__main__":
    main()
