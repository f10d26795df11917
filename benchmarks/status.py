"""``status`` of a gigabyte: clean, after touch, after one file changed; beside git-lfs and DVC.

    python -m benchmarks.status [--megabytes 1000] [--files 8] [--repetitions 5] [--quick] [--peers .peers]
        [--json FILE] [--docs docs]

One version of so many files is committed. *clean*: nothing was touched since the last look. *touched*: every
file has a new time and its old bytes before each look, so all of them are to be read again. *one changed*:
the middle of one file is other bytes before each look. Tools take turns; medians of whole processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.peers import PEERS, Peer, Tools
from benchmarks.related import Model

GOALS = {"clean": 0.1, "touched": 0.6}
"""Seconds that mvc may take for a gigabyte."""


def nothing(_peer: Peer) -> None:
    """Leave the work tree alone."""


def touch(peer: Peer) -> None:
    """New times, old bytes."""
    for path in peer.model.iterdir():
        os.utime(path)
    time.sleep(0.05)  # so that no tool finds the files as young as its own notes


def change(peer: Peer) -> None:
    """Other bytes in the middle of the first file, as many as before."""
    path = min(peer.model.iterdir())
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(4096))
    time.sleep(0.05)


STATES: dict[str, Callable[[Peer], None]] = {"clean": nothing, "touched": touch, "one changed": change}


def measure(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Seconds of every look, by state and tool."""
    tools = Tools(options.peers)
    kinds = [kind for kind in PEERS if kind.has_status]
    missing = {kind.name: why for kind in kinds if (why := kind.missing(tools))}
    peers = [kind(place / kind.name, tools) for kind in kinds if kind.name not in missing]
    version = place / "version"
    files = Model(options.megabytes, files=options.files).write(version)
    raw = sum(path.stat().st_size for path in files)
    for peer in peers:
        peer.init()
        peer.put(version)
        peer.run(peer.commit(0))
    time.sleep(1.1)  # files as young as a tool's notes are read again by careful tools
    seconds: dict[str, dict[str, list[float]]] = {}
    for state, prepare in STATES.items():
        found = seconds.setdefault(state, {peer.name: [] for peer in peers})
        for peer in peers:
            peer.run(peer.status())  # what one look finds out, the next one may know
        for _ in range(options.repetitions):
            for peer in peers:
                prepare(peer)
                found[peer.name].append(peer.run(peer.status()).seconds)
    return {"raw": raw, "missing": missing, "seconds": seconds}


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--megabytes", type=float)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    options = parser.parse_args()
    options.megabytes = options.megabytes or (100 if options.quick else 1000)
    options.repetitions = options.repetitions or (2 if options.quick else 5)
    options.peers = options.peers.absolute()
    page = report.Page("status", options)
    with tempfile.TemporaryDirectory() as name:
        out = measure(options, Path(name))
    gigabytes = out["raw"] / 1e9
    page.say(f"{options.files} files, {gigabytes:.2f} GB, {options.repetitions} repetitions\n")
    medians = {
        state: {name: statistics.median(values) for name, values in found.items()}
        for state, found in out["seconds"].items()
    }
    rows = [
        [name, *(report.figure(medians[state][name], 3) for state in STATES)] for name in medians["clean"]
    ]
    rows += [[f"{name}: {why}", *["–"] * len(STATES)] for name, why in out["missing"].items()]
    page.say(report.table(["seconds of a status", *STATES], rows))
    page.say()
    for state, most in GOALS.items():
        page.say(f"mvc, {state}: {medians[state]['mvc']:.3f} s; goal for one gigabyte: ≤ {most:g} s")
    page.finish(out)


if __name__ == "__main__":
    main()
