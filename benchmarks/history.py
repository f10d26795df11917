"""What history costs: log, merge-base, diff and blame, each with its goal.

    python -m benchmarks.history [--commits 10000] [--megabytes 1000] [--versions 1000] [--tensors 300]
        [--repetitions 7] [--quick] [--json FILE] [--docs docs]

*log* is ``mvc log -n 20`` in a repository of so many commits, beside a Python that does nothing. *merge-base*
is the library on a criss-cross of as many: two branches, each of which merges the other's last version again
and again, so that the two sides share all but their last versions. *diff* is ``mvc diff`` between two of them
of a file of so many megabytes of which one tensor changed, *blame* ``mvc blame`` of so many tensors over so
many versions (``benchmarks.blame``). Commands are whole new processes, and what they read is in the page
cache; all take turns; medians.

The histories of commits are made in one transaction, and their trees are all the same one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import blame, report
from benchmarks.related import WHO, now
from benchmarks.tensor_files import Bits, safetensors
from benchmarks.timing import interleaved, mvc_command, run
from mvc.fileio import FileIO
from mvc.history.ancestry import merge_bases
from mvc.monitor import Monitor
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit, Timestamp, Tree
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.refs import BRANCHES, encode_target
from mvc.repo import Repository
from mvc.transaction import Update, begin

SHAPE = (1024, 2048)

GOALS = {"log": 0.1, "merge-base": 0.05, "diff": 0.5, "blame": 2.0}
"""Seconds that each may take, at the sizes of a full run."""

Parents = Callable[[int, list[CommitId]], tuple[CommitId, ...]]
_BEGAN = 1_700_000_000_000_000


def line(number: int, made: list[CommitId]) -> tuple[CommitId, ...]:
    """Each version after the one before it."""
    return tuple(made[-1:]) if number else ()


def criss_cross(number: int, made: list[CommitId]) -> tuple[CommitId, ...]:
    """Two branches that take turns; each version has its own branch's last one and the other branch's."""
    if number < 3:
        return (made[0],) if number else ()
    # the two of one round have the same parents in turned order, so neither side's last is the other's base
    first = number - 2 if number % 2 else number - 3
    pair = (made[first], made[first + 1])
    return pair if number % 2 else pair[::-1]


def fork(number: int, made: list[CommitId]) -> tuple[CommitId, ...]:
    """Two branches that take turns and never met again after the first version."""
    return (made[max(number - 2, 0)],) if number else ()


def history(folder: Path, commits: int, parents: Parents) -> Repository:
    """A repository of so many commits; the last two are ``main`` and ``other``."""
    folder.mkdir()
    repository = init(FileIO(), folder, Monitor())
    made: list[CommitId] = []
    with begin(repository, "many commits", WHO, now()) as tx:
        tree = tx.writer.put(TreeId, Tree(()).to_bytes())
        for number in range(commits):
            when = Timestamp(_BEGAN + number * 1_000_000, 0)
            text = f"version {number}\n\nlearning rate {number % 7}e-5, and a few words as one writes them\n"
            version = Commit(
                tree, parents(number, made), WHO, when, text, {"loss": 1 / (number + 1)}, {"step": number}
            )
            made.append(tx.writer.put(CommitId, version.to_bytes()))
        refs = {BRANCHES + "main": encode_target(made[-1]), BRANCHES + "other": encode_target(made[-2])}
        tx.publish(lambda _view: Update(refs=refs, locate=(made[-1], tuple(made[-2:-1]))))
    return repository


def versions_of_a_file(folder: Path, megabytes: int) -> None:
    """Two versions of a large file; one tensor of the second is another."""
    folder.mkdir()
    repository = init(FileIO(), folder, Monitor())
    rng = np.random.default_rng(7)
    values = np.float32(0.02) * rng.standard_normal(SHAPE, np.float32)
    count = max(megabytes * 1_000_000 // (2 * values.size), 2)
    model = {f"layers.{number}.weight": np.roll(values, number) for number in range(count)}
    other = model["layers.1.weight"] + np.float32(2e-4) * rng.standard_normal(SHAPE, np.float32)
    for version in (model, model | {"layers.1.weight": other}):
        tensors = {
            name: Bits("BF16", (array.view("<u4") >> 16).astype("<u2")) for name, array in version.items()
        }
        (folder / "model.safetensors").write_bytes(safetensors(tensors))
        commit(repository, Request("version", WHO, now(), fast=True))


def seconds_of_merge_base(repository: Repository, bases: int) -> float:
    """One look in a repository that was just opened, for as many bases."""
    fresh = Repository.open(FileIO(), repository.worktree, Monitor())
    began = time.perf_counter()
    with fresh.reading() as view:
        ours, theirs = (view.refs.get(BRANCHES + name) for name in ("main", "other"))
        assert isinstance(ours, CommitId) and isinstance(theirs, CommitId)
        found = merge_bases(view.objects, ours, theirs)
    seconds = time.perf_counter() - began
    if len(found) != bases:
        raise SystemExit(f"there are {bases} merge bases, and {len(found)} were found")
    return seconds


def measure(options: argparse.Namespace, place: Path) -> dict[str, float]:
    """Median seconds by name."""
    history(place / "line", options.commits, line)
    crossed = history(place / "crossed", options.commits | 1, criss_cross)  # both sides of each round
    forked = history(place / "forked", options.commits | 1, fork)
    versions_of_a_file(place / "file", options.megabytes)
    last = blame.make(place / "tensors", options.versions, options.tensors, 1)
    blame.check(place / "tensors", last)
    mvc = mvc_command()

    def command(*words: str, folder: str) -> Callable[[], float]:
        return lambda: run([*mvc, *words], place / folder)

    return interleaved(
        {
            "python": lambda: run([sys.executable, "-c", "pass"], place),
            "log": command("log", "-n", "20", folder="line"),
            "merge-base": lambda: seconds_of_merge_base(crossed, 2),
            "merge-base far back": lambda: seconds_of_merge_base(forked, 1),
            "diff": command("diff", "HEAD~1", "HEAD", folder="file"),
            "blame": command("blame", blame.FILE, "--json", folder="tensors"),
        },
        options.repetitions,
    )


def rows(options: argparse.Namespace, seconds: dict[str, float]) -> Iterator[list[str]]:
    """The table's rows."""
    told = {
        "log": f"mvc log -n 20 of {options.commits:,} commits",
        "merge-base": f"merge base of a criss-cross of {options.commits:,} commits, in the library",
        "merge-base far back": f"merge base of two lines, {options.commits:,} commits back to it",
        "diff": f"mvc diff of two versions of {options.megabytes} MB, one tensor changed",
        "blame": f"mvc blame of {options.tensors} tensors over {options.versions:,} versions",
    }
    for name, what in told.items():
        goal = GOALS.get(name)
        if goal is None:
            yield [what, f"{seconds[name]:.3f}", f"{seconds[name] / seconds['python']:.1f}", "", ""]
            continue
        reached = "–" if options.quick else "reached" if seconds[name] <= goal else "MISSED"
        ratio = seconds[name] / seconds["python"]
        yield [what, f"{seconds[name]:.3f}", f"{ratio:.1f}", f"≤ {goal:g}", reached]
    yield ["a Python that does nothing", f"{seconds['python']:.3f}", "1.0", "", ""]


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--commits", type=int)
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--versions", type=int)
    parser.add_argument("--tensors", type=int, default=300)
    parser.add_argument("--repetitions", type=int)
    options = parser.parse_args()
    options.commits = options.commits or (500 if options.quick else 10_000)
    options.megabytes = options.megabytes or (20 if options.quick else 1000)
    options.versions = options.versions or (20 if options.quick else 1000)
    options.repetitions = options.repetitions or (2 if options.quick else 7)
    page = report.Page("history", options)
    with tempfile.TemporaryDirectory() as name:
        seconds = measure(options, Path(name))
    page.say(report.table(["what", "seconds", "× bare Python", "goal", ""], list(rows(options, seconds))))
    page.finish({"seconds": seconds, "goals": GOALS})


if __name__ == "__main__":
    main()
