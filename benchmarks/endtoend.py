"""Commit and checkout end to end, beside the installed peers: rate, stored bytes, memory, processor time.

    python -m benchmarks.endtoend [--megabytes 200] [--versions 4] [--repetitions 3] [--quick]
        [--peers .peers] [--only mvc,git-lfs] [--parts processes,one,trained]
        [--data ../shared/data/checkpoints] [--json FILE]
        [--docs docs]

Three parts, each on versions that are related as those of a fine-tune are (:mod:`benchmarks.related`):

- *processes*: a process a version, start-up counted, as with a command line;
- *one process*: what remains without start-up, for the peers that can be run so;
- *trained checkpoints*: a folder of really trained ones (``--data``) as one version; stored bytes above all.

Peers take turns in each repetition, in fresh folders; medians are printed, every repetition is kept with
``--json``. Each version is synced before it is committed, so nobody pays for what another has left unwritten.
Memory is the greatest resident size of a run of its own, summed over processes and sampled every 5 ms.
Checked-out files are compared with what was committed. A peer that is missing is a row that says so.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.peers import PEERS, Peer, Tools
from benchmarks.peers.base import PeerFailed
from benchmarks.peers.mvc import Mvc
from benchmarks.related import Model, written

PARTS = ("processes", "one", "trained")

Measured = dict[str, float]
"""Seconds, processor seconds and bytes by what they are of."""

Results = dict[str, list[Measured]]
"""Every repetition, by peer."""


@contextmanager
def fresh(kind: type[Peer], place: Path, tools: Tools) -> Iterator[Peer]:
    """A peer with an empty store in a folder that goes away."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        peer = kind(Path(name), tools)
        peer.init()
        yield peer


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check(peer: Peer, version: Path) -> None:
    """Refuse to go on with what came back different."""
    if not peer.holds(version):
        raise PeerFailed("gave back other bytes")


def in_processes(peer: Peer, versions: Sequence[Path]) -> Measured:
    """Commit each version, then check out the first and the newest."""
    out: Measured = {"commit": 0.0, "commit cpu": 0.0}
    for number, version in enumerate(versions):
        peer.put(version)
        cost = peer.run(peer.commit(number))
        peer.run(peer.label(number))
        out["commit"] += cost.seconds
        out["commit cpu"] += cost.cpu_seconds
    if not peer.stores:
        return out
    out["stored"] = float(peer.stored_bytes())
    ways = [("first", 0), ("newest", len(versions) - 1)]
    if len(versions) == 1:  # what is in the work tree already is no checkout
        for path in peer.model.rglob("*"):
            if path.is_file():
                path.write_bytes(b"something else")
        peer.run([*peer.commit(1), *peer.label(1)])
        ways = ways[:1]
    for name, number in ways:
        cost = peer.run(peer.checkout(number))
        check(peer, versions[number])
        out[f"checkout {name}"] = cost.seconds
        out[f"checkout {name} cpu"] = cost.cpu_seconds
    return out


def in_one_process(peer: Peer, versions: Sequence[Path]) -> Measured | None:
    """The same, without start-up; None where a peer has no session."""
    if peer.session() is None:
        return None
    out: Measured = {"commit": 0.0, "commit cpu": 0.0}
    session = peer.open_session()
    for number, version in enumerate(versions):
        peer.put(version)
        cost = session.cost(f"commit {number}")
        out["commit"] += cost.seconds
        out["commit cpu"] += cost.cpu_seconds
    for name, number in (("first", 0), ("newest", len(versions) - 1)):
        cost = session.cost(f"checkout {number}")
        check(peer, versions[number])
        out[f"checkout {name}"] = cost.seconds
        out[f"checkout {name} cpu"] = cost.cpu_seconds
    out["peak"] = float(session.close())
    return out


def memory(peer: Peer, versions: Sequence[Path]) -> Measured:
    """Greatest resident bytes of a commit beside an earlier version, and of a checkout."""
    out: Measured = {}
    for number, version in enumerate(versions[:2]):
        peer.put(version)
        out["peak commit"] = float(peer.peak(peer.commit(number)))
        peer.run(peer.label(number))
    if peer.stores:
        out["peak checkout"] = float(peer.peak(peer.checkout(0)))
    return out


def medians(repetitions: Sequence[Measured]) -> Measured:
    """The median of each figure."""
    return {key: statistics.median(one[key] for one in repetitions) for key in repetitions[0]}


class Run:
    """All parts, for those peers that are here."""

    def __init__(self, options: argparse.Namespace, place: Path) -> None:
        self.place = place
        self.tools = Tools(options.peers)
        self.repetitions: int = options.repetitions
        wanted = options.only.split(",") if options.only else [kind.name for kind in PEERS]
        unknown = set(wanted) - {kind.name for kind in PEERS}
        if unknown:
            raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}")
        kinds = [kind for kind in PEERS if kind.name in wanted]
        self.missing = {kind.name: why for kind in kinds if (why := kind.missing(self.tools))}
        self.kinds = [kind for kind in kinds if kind.name not in self.missing]
        self.versions = {kind.name: kind.version(self.tools) for kind in self.kinds}

    def processes(self, versions: Sequence[Path]) -> Results:
        """Every repetition of every peer; memory is measured once."""
        out: Results = {}
        for _ in range(self.repetitions):
            self._each(out, in_processes, versions)
        peaks: Results = {}
        self._each(peaks, memory, versions)
        for name, found in peaks.items():
            for one in out[name]:
                one.update(found[0])
        return {name: found for name, found in out.items() if name not in self.missing}

    def one_process(self, versions: Sequence[Path]) -> Results:
        """Every repetition of every peer that has a session."""
        out: Results = {}
        for _ in range(self.repetitions):
            self._each(out, in_one_process, versions)
        return {name: found for name, found in out.items() if name not in self.missing}

    def _each(
        self, out: Results, way: Callable[[Peer, Sequence[Path]], Measured | None], versions: Sequence[Path]
    ) -> None:
        """Measure every peer once; one that fails is from then on missing, and says why. mvc must not."""
        for kind in self.kinds:
            if kind.name in self.missing:
                continue
            try:
                with fresh(kind, self.place, self.tools) as peer:
                    found = way(peer, versions)
            except PeerFailed as failure:
                if kind is Mvc:
                    raise
                self.missing[kind.name] = str(failure).strip().splitlines()[0][:90]
                continue
            if found is not None:
                out.setdefault(kind.name, []).append(found)

    def rows(self, measured: Results, raw: int, versions: int, *, missing: bool) -> list[list[str]]:
        """Rows of a table; rates are megabytes of files a second, sizes of memory megabytes."""
        out = []
        for name, repetitions in measured.items():
            one = medians(repetitions)
            megabytes = raw / 1e6
            each = megabytes / versions

            def rate(key: str, amount: float, one: Measured = one) -> str:
                return report.figure(amount / one[key] if one.get(key) else None, 0)

            peak = [one[key] / 1e6 for key in ("peak commit", "peak checkout", "peak") if key in one]
            out.append(
                [
                    f"{name} {self.versions[name]}",
                    rate("commit", megabytes),
                    rate("commit cpu", megabytes),
                    report.figure(one["stored"] / raw if "stored" in one else None, 3),
                    rate("checkout first", each),
                    rate("checkout newest", each),
                    rate("checkout newest cpu", each),
                    report.figure(max(peak) if peak else None, 0),
                ]
            )
        if missing:
            out += [[f"{name}: {why}", *["–"] * 7] for name, why in self.missing.items()]
        return out


HEADS = (
    "peer",
    "commit MB/s",
    "per core-second",
    "stored ÷ raw",
    "checkout first MB/s",
    "newest MB/s",
    "per core-second",
    "peak MB",
)


def compared(
    processes: dict[str, Measured], one_process: dict[str, Measured], raw: int
) -> Iterator[tuple[str, float | None, float]]:
    """Figures with a goal: what, value (None: a side is missing), the least that is asked for."""

    def times(measured: dict[str, Measured], peer: str, key: str = "commit") -> float | None:
        if peer not in measured or "mvc" not in measured:
            return None
        return measured[peer][key] / measured["mvc"][key]

    rate = raw / 1e6 / one_process["mvc"]["commit"] if "mvc" in one_process else None
    yield "commit in one process, MB/s", rate, 300
    yield "commit in one process ÷ hf_xet", times(one_process, "hf_xet"), 2
    yield "commit, a process a version ÷ hf_xet", times(processes, "hf_xet"), 1.5
    yield "commit, a process a version ÷ git-lfs", times(processes, "git-lfs"), 2.5
    yield "checkout of the newest ÷ git-lfs", times(processes, "git-lfs", "checkout newest"), 1
    if "mvc" in processes:
        peak = max(processes["mvc"][key] for key in ("peak commit", "peak checkout"))
        yield "300 MB ÷ peak memory", 300e6 / peak, 1


def said(goals: Sequence[tuple[str, float | None, float]]) -> str:
    """The goals as a table."""

    def verdict(value: float | None, least: float) -> str:
        return "not measured" if value is None else "yes" if value >= least else "no"

    rows = [
        [what, report.figure(value), f"≥ {least:g}", verdict(value, least)] for what, value, least in goals
    ]
    return report.table(("mvc's goals", "measured", "goal", "reached"), rows)


def related(page: report.Page, run: Run, options: argparse.Namespace, parts: Sequence[str]) -> dict[str, Any]:
    """Related versions, a process a version and in one process."""
    versions = list(written(Model(options.megabytes), run.place / "versions", options.versions))
    raw = sum(size(version) for version in versions)
    each = raw / 1e6 / len(versions)
    what = f"{len(versions)} versions of {each:.0f} MB, {options.repetitions} repetitions"
    processes: Results = {}
    one_process: Results = {}
    if "processes" in parts:
        page.say(f"### A process a version: {what}\n")
        processes = run.processes(versions)
        page.say(report.table(HEADS, run.rows(processes, raw, len(versions), missing=True)))
    if "one" in parts:
        page.say(f"\n### In one process, without start-up: {what}\n")
        one_process = run.one_process(versions)
        page.say(report.table(HEADS, run.rows(one_process, raw, len(versions), missing=False)))
    both = [{key: medians(value) for key, value in part.items()} for part in (processes, one_process)]
    goals = list(compared(both[0], both[1], raw))
    page.say(f"\n{said(goals)}")
    return {"raw": raw, "processes": processes, "one process": one_process, "goals": goals}


def trained(page: report.Page, run: Run, data: Path) -> dict[str, Any]:
    """A folder of checkpoints as one version."""
    raw = size(data)
    page.say(f"\n### A folder of trained checkpoints as one version, {raw / 1e6:.0f} MB\n")
    measured = run.processes([data])
    page.say(report.table(HEADS, run.rows(measured, raw, 1, missing=True)))
    stored = {name: medians(one)["stored"] for name, one in measured.items() if "stored" in one[0]}
    others = {name: value for name, value in stored.items() if name != "mvc"}
    if "mvc" in stored and others:
        best = min(others, key=lambda name: others[name])
        saved = 1 - stored["mvc"] / others[best]
        page.say(f"\nmvc stores {saved:.0%} less than the best peer, {best}; goal: at least 25 %.")
    return {"raw": raw, "processes": measured}


def main() -> None:
    """Print the tables."""
    parser = report.parser(__doc__)
    parser.add_argument("--megabytes", type=float)
    parser.add_argument("--versions", type=int)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--only", help="peers, with commas between them")
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/checkpoints"))
    parser.add_argument("--parts", default=",".join(PARTS), help="parts, with commas between them")
    options = parser.parse_args()
    quick = options.quick
    options.megabytes = options.megabytes or (25 if quick else 200)
    options.versions = options.versions or (2 if quick else 4)
    options.repetitions = options.repetitions or (1 if quick else 3)
    options.peers, options.data = options.peers.absolute(), options.data.absolute()
    parts = options.parts.split(",")
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
    result: dict[str, Any] = {}
    page = report.Page("endtoend", options)
    with tempfile.TemporaryDirectory() as name:
        run = Run(options, Path(name))
        if {"processes", "one"} & set(parts):
            result |= related(page, run, options, parts)
        if "trained" in parts and options.data.is_dir():
            result["trained"] = trained(page, run, options.data)
        elif "trained" in parts:
            page.say("\nNo folder of trained checkpoints (--data): that part is left out.")
        result |= {"peers": run.versions, "missing": run.missing}
    page.finish(result)


if __name__ == "__main__":
    main()
