"""``python -m tests.fuzz.run``: fuzz every target, or one, and say what was found.

Led by coverage, each target has a process of its own, which takes seconds to begin; ``--together`` gives all
of them one. Ends with 1 if anything was; the input is kept in ``--findings``, and repeated by
``--repeat FILE --target NAME``.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import counts
from tests.fuzz import plain
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.together import TOGETHER, dispatch
from tests.fuzz.together import seeds as seeds_together
from tests.fuzz.watch import Watch, limit_address_space

UNITS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    """Run from the command line."""
    options = _options()
    chosen = [TARGETS[options.target]] if options.target else list(TARGETS.values())
    if options.repeat:
        Watch(chosen[0])(options.repeat.read_bytes())
        return 0
    guided = options.engine == "guided"
    files = sorted(path for path in options.corpus.rglob("*") if path.is_file()) if options.corpus else []
    if options.together:
        chosen = [Target(TOGETHER, dispatch(), lambda: seeds_together(files))]
        files = []
    print(f"engine {options.engine}, {len(chosen)} targets, {len(files)} files of corpus", flush=True)
    if not guided:
        limit_address_space()
    options.findings.mkdir(parents=True, exist_ok=True)
    seconds = options.seconds / len(chosen) * options.jobs
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs if guided else 1) as pool:
        run = _guided if guided else _plain
        done = list(pool.map(lambda target: run(target, files, seconds, options), chosen))
    total = sum(count for count, _found in done)
    found = sum(found for _count, found in done)
    print(f"{total:,} inputs in {time.monotonic() - began:.0f} s, {found} findings")
    if options.record:
        _record(options.record, total, found, time.monotonic() - began, len(chosen))
    return 1 if found else 0


def _record(name: str, inputs: int, findings: int, seconds: float, targets: int) -> None:
    """Add to what earlier runs of this name counted: the corpus that they left is where this one began."""
    before = counts.rows_of(counts.place()).get(name, {})

    def summed(key: str, value: int) -> int:
        return value + int(before.get(key, 0))

    counts.record(
        name,
        inputs=summed("inputs", inputs),
        findings=summed("findings", findings),
        targets=targets,
        seconds=summed("seconds", round(seconds)),
    )


def _options() -> argparse.Namespace:
    has_atheris = importlib.util.find_spec("atheris") is not None
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), metavar="NAME", help=", ".join(sorted(TARGETS)))
    parser.add_argument("--together", action="store_true", help="all targets in one process")
    parser.add_argument("--corpus", type=Path, help="a folder of real files to begin with, too")
    parser.add_argument(
        "--engine",
        choices=["guided", "plain"],
        default="guided" if has_atheris else "plain",
        help="guided by coverage needs atheris; plain needs nothing (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at once, for the guided engine")
    parser.add_argument("--runs", type=int, default=1 << 31, help="inputs for each target, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path(".fuzz"), help="where inputs are kept")
    parser.add_argument("--record", metavar="NAME", help="add what was run to this row of tests.counts")
    parser.add_argument("--repeat", type=Path, help="one input for one target")
    options = parser.parse_args()
    if options.repeat and not options.target:
        parser.error("--repeat needs --target")
    if options.together and options.target:
        parser.error("--together is for all targets")
    return options


def _plain(target: Target, files: list[Path], seconds: float, options: argparse.Namespace) -> tuple[int, int]:
    seeds = target.seeds() + target.adapted(files)
    try:
        count = plain.run(target, seeds, options.seed, options.runs, seconds)
    except plain.Died as found:
        path = options.findings / f"{_file_name(target)}-found"
        path.write_bytes(found.data)
        traceback.print_exception(found)
        print(f"{target.name}: FOUND {path}", flush=True)
        return 0, 1
    print(f"{target.name}: {count:,} inputs", flush=True)
    return count, 0


def _guided(
    target: Target, files: list[Path], seconds: float, options: argparse.Namespace
) -> tuple[int, int]:
    name = _file_name(target)
    corpus = options.findings / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds() + target.adapted(files)):
        (corpus / f"seed-{number}").write_bytes(data)
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(corpus)]
    command += [f"-max_total_time={max(1, round(seconds))}", f"-runs={options.runs}", f"-seed={options.seed}"]
    command += ["-timeout=30", "-rss_limit_mb=3000", "-max_len=16384", "-print_final_stats=1"]
    command += [f"-artifact_prefix={options.findings}/{name}-"]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    said = ended.stdout + ended.stderr
    units, covered = UNITS.search(said), COVERED.findall(said)
    count = int(units[1]) if units else 0
    if ended.returncode:
        telling = [line for line in said.splitlines() if not line.startswith("#")]  # those are progress
        print(f"{target.name}: FOUND", *telling[-80:], sep="\n", flush=True)
        return count, 1
    print(f"{target.name}: {count:,} inputs, {covered[-1] if covered else '?'} edges", flush=True)
    return count, 0


def _file_name(target: Target) -> str:
    return re.sub(r"\W", "-", target.name)


if __name__ == "__main__":
    sys.exit(main())
