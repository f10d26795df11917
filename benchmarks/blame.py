"""``mvc blame`` of 300 tensors over 1,000 versions, cold, beside reading every version's description.

    python -m benchmarks.blame [--versions 1000] [--tensors 300] [--changed 1] [--repetitions 5] [--quick]
        [--keep FOLDER] [--json FILE] [--docs docs]

One safetensors file; each version changes so many of its tensors, a different choice each time, so that every
version has another manifest and the last tensor is found far back. *blame* is a whole process
(``mvc blame model.safetensors --json``), with caches of the system warm. *every manifest* reads in a process
of its own each version's commit, tree and manifest and parses them, which is what a history of tensors costs
that is not made for the question; *log -- PATH* asks Git's question, file by file. Each of these takes turns
with the others; medians. What blame says is compared with what was done.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.related import WHO, now
from benchmarks.timing import interleaved, mvc_command, run
from mvc.fileio import FileIO
from mvc.formats.safetensors import Described, emit_header
from mvc.monitor import Monitor
from mvc.ops.commit import Request, commit
from mvc.ops.init import init

GOAL_SECONDS = 2.0
TENSOR_BYTES = 2048
FILE = "model.safetensors"

EVERY_MANIFEST = """
from pathlib import Path
from mvc.fileio import FileIO
from mvc.history.graph import walk
from mvc.history.reader import read_manifest
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.repo import Repository
with Repository.open(FileIO(), Path("."), Monitor()).reading() as view:
    for _, commit in walk(view.objects, [view.head_commit()]):
        for entry in flatten(view.objects, commit.tree).values():
            read_manifest(view.objects, entry.id)
"""

LOG_OF_PATH = """
from pathlib import Path
from mvc.fileio import FileIO
from mvc.history.listing import Listing, Place, list_commits
from mvc.history.selection import Selection
from mvc.monitor import Monitor
from mvc.repo import Repository
with Repository.open(FileIO(), Path("."), Monitor()).reading() as view:
    listing = Listing(Selection((view.head_commit(),)), places=(Place("model.safetensors"),))
    list(list_commits(view.objects, listing, lambda _id, _commit: True))
"""


def make(folder: Path, versions: int, tensors: int, changed: int) -> dict[str, str]:
    """A repository with that history; for each tensor the message of the version that last changed it."""
    repository = init(FileIO(), folder, Monitor())
    choose = random.Random(5)
    names = [f"layers.{number // 10}.part{number % 10}.weight" for number in range(tensors)]
    values = {name: os.urandom(TENSOR_BYTES) for name in names}
    header, order = emit_header([Described(name, "BF16", (TENSOR_BYTES // 64, 32)) for name in names])
    last = dict.fromkeys(names, "version 0")
    for number in range(versions):
        for name in choose.sample(names, changed if number else 0):
            values[name] = os.urandom(TENSOR_BYTES)
            last[name] = f"version {number}"
        (folder / FILE).write_bytes(header + b"".join(values[row.name] for row in order))
        commit(repository, Request(f"version {number}", WHO, now(), fast=True))
    return last


def check(folder: Path, last: dict[str, str]) -> None:
    """Stop when blame says anything else than what was done."""
    done = subprocess.run(
        [*mvc_command(), "blame", FILE, "--json"], cwd=folder, capture_output=True, check=True
    )
    rows = json.loads(done.stdout)["rows"]
    found = {row["tensor"]: row["message"] for row in rows if row["tensor"] is not None}
    if found != last:
        raise SystemExit("blame is wrong")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Median seconds of each way."""
    told = folder / ".mvc" / "benchmark.json"
    if not told.exists():
        folder.mkdir(parents=True, exist_ok=True)
        last = make(folder, options.versions, options.tensors, options.changed)
        told.write_text(json.dumps(last))
    check(folder, json.loads(told.read_text()))
    blame = [*mvc_command(), "blame", FILE, "--json"]
    alone = [sys.executable, "-c"]
    path = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return interleaved(
        {
            "blame": lambda: run(blame, folder, path),
            "every manifest": lambda: run([*alone, EVERY_MANIFEST], folder, path),
            "log -- PATH": lambda: run([*alone, LOG_OF_PATH], folder, path),
        },
        options.repetitions,
    )


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--versions", type=int)
    parser.add_argument("--tensors", type=int, default=300)
    parser.add_argument("--changed", type=int, default=1)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--keep", help="make the repository here, or use the one that is there")
    options = parser.parse_args()
    options.versions = options.versions or (50 if options.quick else 1000)
    options.repetitions = options.repetitions or (2 if options.quick else 5)
    page = report.Page("blame", options)
    with tempfile.TemporaryDirectory() as temporary:
        seconds = measure(options, Path(options.keep or temporary))
    page.say(
        f"{options.tensors} tensors of {TENSOR_BYTES} bytes, {options.versions} versions, {options.changed} "
        f"changed in each, {options.repetitions} repetitions\n"
    )
    rows = [
        [name, report.figure(value), report.figure(value / seconds["blame"])]
        for name, value in seconds.items()
    ]
    page.say(report.table(["", "seconds", "× blame"], rows))
    page.say(f"\nmvc blame: {seconds['blame']:.2f} s; goal for 1,000 versions: ≤ {GOAL_SECONDS:g} s")
    page.finish({"seconds": seconds})


if __name__ == "__main__":
    main()
