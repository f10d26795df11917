"""Checkout of old and new versions of a long history, before and after gc, beside git-lfs and cp.

    python -m benchmarks.depth [--megabytes 200] [--versions 50] [--repetitions 3] [--quick] [--peers .peers]
        [--json FILE] [--docs docs]

Fifty versions, each moved from the one before by 1 % of its norm, are committed and removed; the first, the
tenth and the last are then checked out in turn, in mvc, in git-lfs and, as a copy that is synced, with
``cp``; medians. Then the same after ``mvc gc --repack``. What came back is compared by its SHA-256. The disk
needs about 1.7 times the bytes of all versions, the most of it for git-lfs (``--without-peers`` leaves that
out).
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, report
from benchmarks.peers import Peer, Tools
from benchmarks.peers.git_lfs import GitLfs
from benchmarks.peers.mvc import Mvc
from benchmarks.related import Model


def digest(folder: Path) -> str:
    """SHA-256 over the files of a folder."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                hasher.update(piece)
    return hasher.hexdigest()


def checkouts(
    peer: Peer, numbers: Sequence[int], digests: dict[int, str], repetitions: int
) -> dict[int, list[float]]:
    """Seconds of each checkout of each version, in turn."""
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in range(repetitions):
        for number in numbers:
            seconds[number].append(peer.run(peer.checkout(number)).seconds)
            if digest(peer.model) != digests[number]:
                raise SystemExit(f"{peer.name} gave back other bytes")
    return seconds


class History:
    """The same versions in every store."""

    def __init__(self, place: Path, options: argparse.Namespace) -> None:
        tools = Tools(options.peers)
        self.mvc = Mvc(place / "mvc", tools)
        self.peers: list[Peer] = [self.mvc]
        self.missing: dict[str, str] = {}
        why = "left out" if options.without_peers else GitLfs.missing(tools)
        if why:
            self.missing["git-lfs"] = why
        else:
            self.peers.append(GitLfs(place / "git-lfs", tools))
        self.digests: dict[int, str] = {}
        self.commits: dict[str, list[float]] = {peer.name: [] for peer in self.peers}
        self.raw = 0
        self._commit(place, options)

    def _commit(self, place: Path, options: argparse.Namespace) -> None:
        model = Model(options.megabytes)
        for peer in self.peers:
            peer.init()
        for number in range(options.versions):
            if number:
                model.move()
            version = place / "version"
            model.write(version)
            self.digests[number] = digest(version)
            self.raw += sum(path.stat().st_size for path in version.iterdir())
            for peer in self.peers:
                peer.put(version)
                self.commits[peer.name].append(peer.run(peer.commit(number)).seconds)
                peer.run(peer.label(number))
            shutil.rmtree(version)

    def stored(self) -> dict[str, float]:
        """Stored ÷ raw of every store."""
        return {peer.name: peer.stored_bytes() / self.raw for peer in self.peers}


def copy_seconds(history: History, place: Path, repetitions: int) -> list[float]:
    """Seconds of ``cp`` of a version and a sync."""
    from benchmarks.peers.cp import Copy

    peer = Copy(place / "cp", Tools(Path()))
    peer.init()
    peer.put(history.mvc.model)
    peer.run(peer.commit(0))
    return [peer.run(peer.checkout(0)).seconds for _ in range(repetitions)]


def measure(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """All seconds and sizes."""
    history = History(place, options)
    numbers = sorted({0, min(9, options.versions - 1), options.versions - 1})
    repetitions = options.repetitions
    out: dict[str, Any] = {"raw": history.raw, "commits": history.commits, "missing": history.missing}
    out["stored"] = history.stored()
    out["before"] = {
        peer.name: checkouts(peer, numbers, history.digests, repetitions) for peer in history.peers
    }
    out["cp + fsync"] = copy_seconds(history, place, repetitions)
    out["no gc"] = history.mvc.can_collect()
    if out["no gc"] is None:
        out["gc seconds"] = history.mvc.run(history.mvc.collect()).seconds
        out["stored after"] = history.stored()["mvc"]
        out["after"] = {"mvc": checkouts(history.mvc, numbers, history.digests, repetitions)}
    return out


def show(page: report.Page, out: dict[str, Any], versions: int) -> None:
    """The table, and the goals."""
    before = out["before"]
    after = out.get("after", {}).get("mvc")
    numbers = list(before["mvc"])

    def median(values: list[float] | None) -> float | None:
        return None if values is None else statistics.median(values)

    def row(name: str, seconds: dict[int, list[float]] | None, stored: float | None) -> list[str]:
        cells = [report.figure(median(seconds[number]) if seconds else None, 3) for number in numbers]
        return [name, *cells, report.figure(stored, 3)]

    heads = ["seconds of a checkout", *(f"version {number + 1}" for number in numbers), "stored ÷ raw"]
    rows = [row("mvc", before["mvc"], out["stored"]["mvc"])]
    rows.append(
        row("mvc after gc" if after else f"mvc after gc: {out['no gc']}", after, out.get("stored after"))
    )
    if "git-lfs" in before:
        rows.append(row("git-lfs", before["git-lfs"], out["stored"]["git-lfs"]))
    rows += [[f"{name}: {why}", *["–"] * (len(numbers) + 1)] for name, why in out["missing"].items()]
    copied = report.figure(median(out["cp + fsync"]), 3)
    rows.append(["cp + fsync", *[copied] * len(numbers), "1.000"])
    page.say(report.table(heads, rows))
    last, first = numbers[-1], numbers[0]
    page.say(
        f"\nnewest ÷ first before gc: {median(before['mvc'][last]) / median(before['mvc'][first]):.2f} (≤ 4)"
    )
    if after:
        page.say(f"newest ÷ first after gc: {median(after[last]) / median(after[first]):.2f} (≤ 1.5)")
        if "git-lfs" in before:
            ratio = median(after[last]) / median(before["git-lfs"][last])
            page.say(f"newest after gc ÷ git-lfs: {ratio:.2f} (≤ 1)")
        page.say(f"gc took {out['gc seconds']:.1f} s")
    early, late = out["commits"]["mvc"][1:4], out["commits"]["mvc"][-3:]
    if versions > 8:
        page.say(f"commit of the last three ÷ second to fourth: {median(late) / median(early):.2f}")


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--megabytes", type=float)
    parser.add_argument("--versions", type=int)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    quick = options.quick
    options.megabytes = options.megabytes or (17 if quick else 200)
    options.versions = options.versions or (12 if quick else 50)
    options.repetitions = options.repetitions or (1 if quick else 3)
    options.peers = options.peers.absolute()
    page = report.Page("depth", options)
    with tempfile.TemporaryDirectory() as name:
        out = measure(options, Path(name))
    each = out["raw"] / 1e6 / options.versions
    page.say(f"{options.versions} versions of {each:.0f} MB, {options.repetitions} repetitions\n")
    show(page, out, options.versions)
    series = {
        name: [(float(number + 1), value) for number, value in enumerate(values)]
        for name, values in out["commits"].items()
    }
    title = f"Commit of each of {options.versions} versions of {each:.0f} MB"
    page.chart("depth-commit", plots.line_chart(title, "version", "seconds", series))
    page.finish(out)


if __name__ == "__main__":
    main()
