"""Commit and checkout on one core and on two, and what each stage costs.

    python -m benchmarks.scaling [--megabytes 200] [--versions 4] [--repetitions 3] [--quick] [--no-native]
        [--frozen 0.75] [--json FILE] [--docs docs]

A process commits related versions and checks out the first and the newest, held to one core and then free to
use two; in turn, medians. *per core* is megabytes for each second of processor time, which hardly depends on
how busy the machine is. *allowed* is how much faster two cores could be by the processor time of all threads
and of the one that hands out the work, if nothing waited. ``--frozen`` is the share of weights that never
move. The second table is the processor time of each stage for a gigabyte
(:mod:`benchmarks.stages`), from one run on one core: a first version, the versions after it, checkouts.
``--no-native`` leaves the native kernel out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.peers import Tools
from benchmarks.peers.base import Cost, Session
from benchmarks.peers.mvc import Mvc
from benchmarks.related import Model, written

GOAL = 1.8
CORES = (1, 2)
Costs = dict[str, Cost]


def _store(place: Path, name: str) -> Mvc:
    peer = Mvc(place / name, Tools(Path()))
    peer.init()
    return peer


def once(place: Path, versions: Sequence[Path], cores: int, *, native: bool) -> Costs:
    """What the versions after the first cost together, and two checkouts."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        peer = _store(Path(name), "mvc")
        session = _opened(peer, cores, native=native)
        out: Costs = {}
        others: list[Cost] = []
        for number, version in enumerate(versions):
            peer.put(version)
            cost = session.cost(f"commit {number}")
            if number == 0:
                out["commit of the first"] = cost
            else:
                others.append(cost)
        out["commit of the others"] = Cost(
            sum(cost.seconds for cost in others),
            sum(cost.cpu_seconds for cost in others),
            sum(cost.own_seconds for cost in others),
        )
        session.close()
        for what, number in checkouts(versions):  # each with nothing decoded yet in memory
            session = _opened(peer, cores, native=native)
            out[what] = session.cost(f"checkout {number}")
            session.close()
        return out


def checkouts(versions: Sequence[Path]) -> list[tuple[str, int]]:
    """What is checked out, by what it is called."""
    return [("checkout of the first", 0), ("checkout of the newest", len(versions) - 1)]


def profile(
    place: Path, versions: Sequence[Path], *, native: bool
) -> tuple[dict[str, dict[str, float]], float]:
    """Processor seconds of each stage, by what was done; and seconds of the wall clock of flushing packs."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        peer = _store(Path(name), "mvc")
        session = _watched(peer, native=native)
        out: dict[str, dict[str, float]] = {}
        peer.put(versions[0])
        session.ask("commit 0")
        out["commit of the first"] = _stages(session)
        for number, version in enumerate(versions[1:], 1):
            peer.put(version)
            session.ask(f"commit {number}")
        out["commit of the others"] = _stages(session)
        waited = float(session.ask("waited"))
        session.close()
        for what, number in checkouts(versions):
            session = _watched(peer, native=native)
            session.ask(f"checkout {number}")
            out[what] = _stages(session)
            session.close()
        return out, waited


def _opened(peer: Mvc, cores: int, *, native: bool) -> Session:
    session = peer.open_session(cores=cores)
    if not native:
        session.ask("numpy")
    return session


def _watched(peer: Mvc, *, native: bool) -> Session:
    session = _opened(peer, 1, native=native)
    session.ask("stages")
    _stages(session)
    return session


def _stages(session: Session) -> dict[str, float]:
    found: dict[str, float] = json.loads(session.ask("told"))
    return found


def main() -> None:
    """Print the tables."""
    parser = report.parser(__doc__)
    parser.add_argument("--megabytes", type=float)
    parser.add_argument("--versions", type=int)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("--frozen", type=float, default=0.0)
    options = parser.parse_args()
    quick = options.quick
    options.megabytes = options.megabytes or (34 if quick else 200)
    options.versions = options.versions or (2 if quick else 4)
    options.repetitions = options.repetitions or (1 if quick else 3)
    if len(os.sched_getaffinity(0)) < max(CORES):
        raise SystemExit("this machine lends one core: nothing to compare")
    page = report.Page("scaling", options)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = Model(options.megabytes, frozen=options.frozen)
        versions = list(written(model, place / "versions", options.versions))
        each = sum(path.stat().st_size for path in versions[0].iterdir())
        runs: dict[int, list[Costs]] = {cores: [] for cores in CORES}
        for _ in range(options.repetitions):
            for cores in CORES:
                runs[cores].append(once(place, versions, cores, native=not options.no_native))
        stages, waited = profile(place, versions, native=not options.no_native)
    show(page, options, each, runs, stages)
    page.say(f"\nflushing packs, seconds of the wall clock a commit: {waited / options.versions:.3f}")
    kept = {
        str(cores): [
            {what: (cost.seconds, cost.cpu_seconds, cost.own_seconds) for what, cost in one.items()}
            for one in many
        ]
        for cores, many in runs.items()
    }
    page.finish({"bytes": each, "cores": kept, "stages": stages, "flush": waited})


def show(
    page: report.Page,
    options: argparse.Namespace,
    each: int,
    runs: dict[int, list[Costs]],
    stages: dict[str, dict[str, float]],
) -> None:
    """Both tables."""
    page.say(f"{options.versions} versions of {each / 1e6:.0f} MB, {options.repetitions} repetitions\n")
    done = {what: each * (options.versions - 1 if "others" in what else 1) for what in stages}
    rows = []
    for what, amount in done.items():

        def median(cores: int, field: str, what: str = what) -> float:
            return statistics.median(getattr(one[what], field) for one in runs[cores])

        one, two = median(1, "seconds"), median(2, "seconds")
        rates = [amount / 1e6 / value for value in (one, two)]
        core = [amount / 1e6 / median(cores, "cpu_seconds") for cores in CORES]
        least = max(median(2, "cpu_seconds") / 2, median(2, "own_seconds"))
        times = (one / two, median(1, "cpu_seconds") / least)
        rows.append([what, *(report.figure(rate, 0) for rate in (*rates, *core)), *map(report.figure, times)])
    heads = ("MB/s", "one core", "two cores", "per core of one", "per core of two", "two ÷ one", "allowed")
    page.say(report.table(heads, rows))
    page.say(f"\nGoal: two cores ≥ {GOAL} × one.\n")
    names = sorted({stage for one in stages.values() for stage in one} - {"the rest"})
    rows = []
    for what, found in stages.items():
        whole = sum(found.values())
        per = [found.get(stage, 0.0) for stage in (*names, "the rest")] + [whole]
        rows.append([what, *(report.figure(value * 1e9 / done[what]) for value in per)])
    page.say(report.table(("processor seconds a GB", *names, "the rest", "all"), rows))


if __name__ == "__main__":
    main()
