"""What a repository costs as it grows: versions, commits, tensors in one file, packs.

    python -m benchmarks.growth [--only versions,commits,tensors,packs] [--quick] [--json FILE]
        [--docs docs]

- *versions*: version n of a model of a megabyte, every one moved by 1 % of its norm, up to n = 1,000: seconds
  and stored bytes. Then two repositories, with 10 and with 1,000 versions, take turns to commit twenty more;
  the ratio of the medians is what the thousandth costs over the tenth.
- *commits*: 10,000 commits of a file of 256 bytes: what bookkeeping costs, not weights.
- *tensors*: one file of 100 to 100,000 tensors of 2 KiB: first commit, a commit in which all moved, checkout.
- *packs*: 10 to 1,000 packs, which is as many as commits once joining small packs is switched off: a commit
  and the checkout of the oldest version with nothing in memory yet.

All in this process, start-up not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import plots, report
from benchmarks.related import WHO, Model, bf16, now, safetensors
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops.checkout import checkout
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.repo import Repository
from mvc.upkeep import consolidate

MORE = 20
"""Commits of each of two repositories that take turns."""


class Spent(NamedTuple):
    """Seconds of the wall clock, and of processors, which hardly depend on how busy the machine is."""

    seconds: float
    cpu: float


class Growing:
    """A repository, and what writes the next version into it."""

    def __init__(self, folder: Path, write: Callable[[Path], object]) -> None:
        self.folder = folder
        self._write = write
        self.repository = init(FileIO(), folder, Monitor())
        self.ids: list[str] = []

    def commit(self) -> Spent:
        """What the next version's commit takes."""
        self._write(self.folder)
        began, cpu = time.perf_counter(), time.process_time()
        done = commit(self.repository, Request(f"version {len(self.ids)}", WHO, now()))
        spent = Spent(time.perf_counter() - began, time.process_time() - cpu)
        self.ids.append(done.id.hex())
        return spent

    def reopen(self) -> None:
        """Forget what is in memory."""
        self.repository = Repository.open(FileIO(), self.folder, Monitor())

    def checkout(self, number: int) -> float:
        """Seconds of a version's checkout, with nothing in memory."""
        began = time.perf_counter()
        self.reopen()
        checkout(self.repository, self.ids[number], WHO, now(), detach=True)
        return time.perf_counter() - began

    def stored(self) -> int:
        """Bytes of the store."""
        return sum(path.stat().st_size for path in (self.folder / ".mvc").rglob("*") if path.is_file())

    def packs(self) -> int:
        """How many packs it has."""
        return sum(path.is_file() for path in (self.folder / ".mvc" / "packs").rglob("*"))


def moving_model(megabytes: float) -> Callable[[Path], object]:
    """Writes a model that moves before each next version."""
    model = Model(megabytes, rows=min(512, max(1, round(megabytes * 1e6 / 2048))))
    first = True

    def write(folder: Path) -> None:
        nonlocal first
        if not first:
            model.move()
        first = False
        model.write(folder)

    return write


def windows(values: Sequence[float], width: int) -> list[tuple[float, float]]:
    """Medians of consecutive values, each with the number of the window's last."""
    return [
        (float(at + width), statistics.median(values[at : at + width]))
        for at in range(0, len(values) - width + 1, width)
    ]


def _both(seconds: Sequence[float], cpu: Sequence[float], width: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of both clocks, medians of windows."""
    found = {"wall clock, median of a window": seconds, "processor time": cpu}
    return {name: [(x, y * 1e3) for x, y in windows(values, width)] for name, values in found.items()}


def grow_versions(place: Path, quick: bool) -> dict[str, Any]:
    """Seconds and stored bytes of each version of a small model."""
    count, megabytes = (100, 0.25) if quick else (1000, 1.0)
    old, young = (
        Growing(place / "old", moving_model(megabytes)),
        Growing(place / "young", moving_model(megabytes)),
    )
    spent, stored = [], []
    for number in range(count):
        spent.append(old.commit())
        if number % 5 == 4:
            stored.append((number + 1, old.stored()))
    for _ in range(10):
        young.commit()
    pairs = [(young.commit(), old.commit()) for _ in range(MORE)]
    ratio = []
    for kind in (0, 1):
        early, late = (statistics.median(pair[side][kind] for pair in pairs) for side in (0, 1))
        ratio.append(late / early)
    back = [(number + 1, old.checkout(number)) for number in (0, count // 2, count - 1)]
    return {"spent": spent, "stored": stored, "pairs": pairs, "ratio": ratio, "checkout": back}


def show_versions(page: report.Page, out: dict[str, Any]) -> None:
    """Says and draws it."""
    seconds, cpu = zip(*out["spent"], strict=True)
    stored, count = out["stored"], len(seconds)
    width = max(1, count // 40)
    per = [(b[0], (b[1] - a[1]) / (b[0] - a[0]) / 1e3) for a, b in pairwise(stored)]
    page.say(f"### {count} versions of a small model\n")
    tenth = count // 10
    rows = [
        [
            f"{low + 1}–{low + tenth}",
            report.figure(statistics.median(seconds[low : low + tenth]) * 1e3, 1),
            report.figure(statistics.mean(seconds[low : low + tenth]) * 1e3, 1),
            report.figure(statistics.median(cpu[low : low + tenth]) * 1e3, 1),
            report.figure(statistics.mean(kb for n, kb in per if low < n <= low + tenth), 1),
        ]
        for low in (0, count // 2 - tenth, count - tenth)
    ]
    page.say(report.table(("versions", "median ms", "mean ms", "processor ms", "stored kB a version"), rows))
    page.say(
        f"\ntaking turns, a commit after {count} versions ÷ after 10: {out['ratio'][0]:.2f}, "
        f"in processor time {out['ratio'][1]:.2f} (goal: ≤ 1.2)"
    )
    told = ", ".join(f"version {number} {value:.3f} s" for number, value in out["checkout"])
    page.say(f"checkout with nothing in memory: {told}\n")
    series = _both(seconds, cpu, width)
    page.chart("growth-versions", plots.line_chart("Commit of version n", "version", "ms", series))
    stored_kb = {"mean of five": per}
    page.chart("growth-stored", plots.line_chart("Stored for version n", "version", "kB", stored_kb))


def grow_commits(place: Path, quick: bool) -> dict[str, Any]:
    """Seconds of each of many commits of a tiny file."""
    growing = Growing(place / "commits", _counter())
    spent = [growing.commit() for _ in range(300 if quick else 10_000)]
    return {"spent": spent, "stored": growing.stored(), "packs": growing.packs()}


def _counter() -> Callable[[Path], object]:
    number = 0

    def write(folder: Path) -> None:
        nonlocal number
        number += 1
        (folder / "weights.bin").write_bytes(number.to_bytes(4, "little") * 64)

    return write


def show_commits(page: report.Page, out: dict[str, Any]) -> None:
    """Says and draws it."""
    seconds, cpu = zip(*out["spent"], strict=True)
    count = len(seconds)
    part = count // 10
    page.say(f"### {count:,} commits of a tiny file\n")
    rows = [
        [
            name,
            report.figure(statistics.median(seconds[which]) * 1e3, 2),
            report.figure(statistics.mean(seconds[which]) * 1e3, 2),
            report.figure(max(seconds[which]) * 1e3, 1),
            report.figure(statistics.median(cpu[which]) * 1e3, 2),
        ]
        for name, which in (
            (f"the first {part:,}", slice(part)),
            (f"the last {part:,}", slice(count - part, count)),
        )
    ]
    page.say(report.table(("commits", "median ms", "mean ms", "slowest ms", "processor ms"), rows))
    page.say(f"\n{out['stored'] / count:.0f} stored bytes a commit, {out['packs']} packs\n")
    series = _both(seconds, cpu, max(1, count // 40))
    page.chart("growth-commits", plots.line_chart("Commit n of a tiny file", "commit", "ms", series))


def grow_tensors(place: Path, quick: bool) -> dict[str, Any]:
    """Files of more and more tensors."""
    out: dict[str, Any] = {}
    for count in (100, 1000) if quick else (100, 1000, 10_000, 100_000):
        growing = Growing(place / f"tensors{count}", _many_tensors(count))
        first, moved = growing.commit().seconds, growing.commit().seconds
        size = (growing.folder / "model.safetensors").stat().st_size
        stored = growing.stored() / (2 * size)
        back = growing.checkout(0)
        out[str(count)] = {"first": first, "moved": moved, "checkout": back, "stored": stored, "bytes": size}
    return out


def _many_tensors(count: int) -> Callable[[Path], object]:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((count, 16, 64), dtype=np.float32) * np.float32(0.02)
    names = [f"model.layers.{index // 10}.block.{index % 10}.weight" for index in range(count)]

    def write(folder: Path) -> None:
        data = safetensors(dict(zip(names, bf16(values), strict=True)))
        (folder / "model.safetensors").write_bytes(data)
        values[...] += rng.standard_normal(values.shape, dtype=np.float32) * np.float32(0.0002)

    return write


def show_tensors(page: report.Page, out: dict[str, Any]) -> None:
    """Says and draws it."""
    page.say("### Tensors in one file\n")
    rows, series = [], {"first commit": [], "commit, all moved": [], "checkout": []}
    for count, one in out.items():
        each = [one[key] / int(count) * 1e3 for key in ("first", "moved", "checkout")]
        for points, value in zip(series.values(), each, strict=True):
            points.append((float(count), value))
        seconds = [report.figure(one[key], 2) for key in ("first", "moved", "checkout")]
        rows.append([f"{int(count):,}", *seconds, report.figure(each[1], 2), report.figure(one["stored"], 3)])
    heads = ("tensors", "first commit s", "all moved s", "checkout s", "moved, ms a tensor", "stored ÷ raw")
    page.say(report.table(heads, rows))
    page.say()
    chart = plots.line_chart("One file of n tensors of 2 KiB", "tensors", "ms a tensor", series, log_x=True)
    page.chart("growth-tensors", chart)


def grow_packs(place: Path, quick: bool) -> dict[str, Any]:
    """A repository whose packs are never joined."""
    kept = consolidate.MAX_PACKS
    consolidate.MAX_PACKS = 1 << 30
    try:
        growing = Growing(place / "packs", moving_model(0.0625))
        out: dict[str, Any] = {}
        for count in (10, 30, 100) if quick else (10, 30, 100, 300, 1000):
            while growing.packs() < count - 5:
                growing.commit()
            found = growing.packs()
            commits, backs = [], []
            for _ in range(5):
                growing.reopen()
                commits.append(growing.commit())
            for _ in range(5):
                backs.append(growing.checkout(0))
                growing.checkout(-1)
            checkout(growing.repository, "main", WHO, now())
            out[str(found)] = {
                "commit": statistics.median(one.seconds for one in commits),
                "commit, processor": statistics.median(one.cpu for one in commits),
                "checkout": statistics.median(backs),
            }
        return out
    finally:
        consolidate.MAX_PACKS = kept


def show_packs(page: report.Page, out: dict[str, Any]) -> None:
    """Says and draws it."""
    page.say("### Packs that are never joined\n")
    rows = [
        [count, *(report.figure(one[key] * 1e3, 1) for key in ("commit", "commit, processor", "checkout"))]
        for count, one in out.items()
    ]
    page.say(report.table(("packs", "commit ms", "processor ms", "checkout of the oldest ms"), rows))
    page.say()
    series = {
        what: [(float(count), one[what] * 1e3) for count, one in out.items()]
        for what in ("commit", "checkout")
    }
    chart = plots.line_chart("Packs that are never joined", "packs", "ms", series, log_x=True)
    page.chart("growth-packs", chart)


PARTS: dict[
    str,
    tuple[Callable[[Path, bool], dict[str, Any]], Callable[[report.Page, dict[str, Any]], None]],
] = {
    "versions": (grow_versions, show_versions),
    "commits": (grow_commits, show_commits),
    "tensors": (grow_tensors, show_tensors),
    "packs": (grow_packs, show_packs),
}


def main() -> None:
    """Print the tables, draw the charts."""
    parser = report.parser(__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    options: argparse.Namespace = parser.parse_args()
    wanted = options.only.split(",")
    unknown = set(wanted) - set(PARTS)
    if unknown:
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
    measured: dict[str, Any] = {}
    page = report.Page("growth", options)
    for name in wanted:
        grow, show = PARTS[name]
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            measured[name] = grow(Path(place), options.quick)
        took = time.perf_counter() - began
        show(page, measured[name])
        measured[name] = {"took": took, "values": measured[name]}
    page.finish(measured)


if __name__ == "__main__":
    main()
