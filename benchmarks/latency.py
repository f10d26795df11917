"""How long small commands take: with a small history and with 10,000 commits, as multiples of bare Python.

python -m benchmarks.latency [--commits 10000] [--runs 15] [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.timing import interleaved, mvc_command, run
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.ops.init import init

COMMANDS = {
    "log": ["log", "-n", "20"],
    "log (all, to the end)": ["log"],
    "log --json -n 20": ["log", "--json", "-n", "20"],
    "log -n 20 -- PATH": ["log", "-n", "20", "--", "weights.bin"],
    "log HEAD~9..HEAD": ["log", "HEAD~9..HEAD"],
    "log --graph -n 20": ["log", "--graph", "--oneline", "-n", "20"],
    "log --metric (none fits)": ["log", "-n", "20", "--metric", "loss<0"],
    "status": ["status"],
    "branch": ["branch"],
    "tag (list)": ["tag"],
    "tag NAME": ["tag", "--force", "newest"],
    "branch NAME": ["branch", "--force", "other"],
    "tag -m": ["tag", "--force", "-m", "note", "annotated"],
}


def build(folder: Path, commits: int) -> float:
    """A repository with so many commits of a small file; returns the seconds that it took."""
    repository = init(FileIO(), folder, Monitor())
    who = Person("Bench", "bench@example.org")
    began = time.perf_counter()
    for number in range(commits):
        (folder / "weights.bin").write_bytes(number.to_bytes(4, "little") * 64)
        now = Timestamp(1_700_000_000_000_000 + number * 1_000_000, 0)
        commit(repository, Request(f"step {number}", who, now, {"loss": 1 / (number + 1)}))
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__, page=False)
    parser.add_argument("--commits", type=int)
    parser.add_argument("--runs", type=int)
    options = parser.parse_args()
    options.commits = options.commits or (100 if options.quick else 10_000)
    options.runs = options.runs or (2 if options.quick else 15)
    load = os.getloadavg()[0]
    measured: dict[str, dict[str, float]] = {}
    mvc = mvc_command()
    with tempfile.TemporaryDirectory() as place:
        for commits in (10, options.commits):
            folder = Path(place) / str(commits)
            took = build(folder, commits)
            files = [path for path in (folder / ".mvc").rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            print(f"\n{commits} commits, built at {commits / took:.0f} a second; ", end="")
            print(f"{len(files)} files, {size / 1e6:.2f} MB")
            jobs = {name: partial(run, [*mvc, *words], folder) for name, words in COMMANDS.items()}
            jobs["python -c pass"] = partial(run, [sys.executable, "-c", "pass"], folder)
            medians = interleaved(jobs, options.runs)
            measured[str(commits)] = dict(medians)
            bare = medians.pop("python -c pass")
            print(f"{'command':24s} {'median ms':>10s} {'x bare python':>14s}")
            print(f"{'python -c pass':24s} {bare * 1e3:10.1f} {1:14.1f}")
            for name, seconds in medians.items():
                print(f"{name:24s} {seconds * 1e3:10.1f} {seconds / bare:14.1f}")
    report.keep("latency", options, measured, load)


if __name__ == "__main__":
    main()
