"""Times ``mvc diff`` between two versions of a large file, against reading both with numpy.

    python -m benchmarks.diff [--megabytes 1000] [--runs 5] [--folder DIR] [--quick] [--json FILE]
        [--docs docs]

A made-up file of bf16 matrices (of 4 MiB, two thirds of which are stored well, as of a trained model); in the
second version one of them has moved by 1 %, in the third all. ``numpy`` reads both files and counts the bits
that differ, tensor by tensor, which is what a script would do; runs take turns. Whole processes, medians of
wall and CPU seconds, each also as a part of numpy's. Peak memory is that of one more run each.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.tensor_files import Bits, safetensors
from benchmarks.timing import mvc_command, run

SHAPE = (1024, 2048)

_NUMPY = """
import json, sys, numpy as np
def rows(path):
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view("<u8")[0])
    head = json.loads(bytes(data[8 : 8 + size]))
    return {n: data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]].view("<u2")
            for n, t in head.items() if n != "__metadata__"}
old, new = rows(sys.argv[1]), rows(sys.argv[2])
for name, bits in new.items():
    print(name, float((bits != old[name]).mean()))
"""


def weights(seed: int) -> np.ndarray:
    """One matrix as bits of bf16."""
    values = np.float32(0.02) * np.random.default_rng(seed).standard_normal(SHAPE, np.float32)
    return _bits(values)


def moved(bits: np.ndarray, seed: int) -> np.ndarray:
    """The matrix, moved by 1 % of its norm."""
    values = (bits.astype("<u4") << 16).view("<f4")
    noise = np.random.default_rng(seed).standard_normal(SHAPE, np.float32)
    return _bits(values + noise * np.float32(0.01 * 0.02))


def _bits(values: np.ndarray) -> np.ndarray:
    words = np.ascontiguousarray(values, "<f4").view("<u4")
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")


def main() -> None:
    """Make the versions, and print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    given.megabytes = given.megabytes or (20 if given.quick else 1000)
    given.runs = given.runs or (1 if given.quick else 5)
    place, given.folder = given.folder, None
    page = report.Page("diff", given)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        top = Path(folder)
        repository = top / "repo"
        repository.mkdir()
        mvc = mvc_command()
        run([*mvc, "init", "-q"], repository)
        count = max(given.megabytes * 1_000_000 // (2 * SHAPE[0] * SHAPE[1]), 1)
        model = {f"layers.{n}.weight": weights(n) for n in range(max(count, 2))}
        versions = [model, model | {"layers.1.weight": moved(model["layers.1.weight"], 1)}]
        versions.append({name: moved(bits, n) for n, (name, bits) in enumerate(model.items())})
        for number, version in enumerate(versions):
            path = repository / "model.safetensors"
            path.write_bytes(safetensors({name: Bits("BF16", bits) for name, bits in version.items()}))
            run([*mvc, "commit", "-q", "--fast", "-m", f"v{number}"], repository)
            run([*mvc, "tag", f"v{number}"], repository)
            (top / f"v{number}.safetensors").write_bytes(path.read_bytes())
        del model, versions
        measured = _measure(mvc, repository, top, given.runs)
    page.say(f"Two versions of {given.megabytes:,} MB\n")
    rows = []
    for what, commands in measured.items():
        base = commands["numpy"]
        for name, one in commands.items():
            parts = (one["wall"], one["wall"] / base["wall"], one["cpu"], one["cpu"] / base["cpu"])
            rows.append([f"{what}: {name}", *map(report.figure, parts), f"{one['peak']:.0f}"])
    page.say(report.table(["", "wall s", "÷ numpy", "CPU s", "÷ numpy", "peak MB"], rows))
    page.finish(measured)


Measured = dict[str, dict[str, dict[str, float]]]
"""For each pair of versions and each command: wall and CPU seconds (medians), and megabytes at most."""


def _measure(mvc: list[str], repository: Path, top: Path, runs: int) -> Measured:
    rows: dict[str, dict[str, list[str]]] = {}
    for new, what in (("v1", "one tensor moved"), ("v2", "all moved")):
        files = [str(top / f"{name}.safetensors") for name in ("v0", new)]
        rows[what] = {
            "numpy": [sys.executable, "-c", _NUMPY, *files],
            "mvc diff": [*mvc, "diff", "v0", new],
            "mvc diff --stat": [*mvc, "diff", "--stat", "v0", new],
            "mvc diff --json": [*mvc, "diff", "--json", "v0", new],
            "mvc diff --explain": [*mvc, "diff", "--explain", "v0", new],
        }
    measured: Measured = {}
    for what, commands in rows.items():
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                before = _cpu()
                wall = run(command, repository)
                taken[name].append((wall, _cpu() - before))
        measured[what] = {}
        for name, command in commands.items():
            wall, cpu = _medians(taken[name])
            measured[what][name] = {"wall": wall, "cpu": cpu, "peak": _peak(command, repository)}
    return measured


def _cpu() -> float:
    """Seconds that processes which have ended took of all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _medians(rows: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _cpu in rows), statistics.median(cpu for _wall, cpu in rows)


def _peak(command: list[str], cwd: Path) -> float:
    """Megabytes that a command takes at most."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=cwd, capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 1024 / 1e6


if __name__ == "__main__":
    main()
