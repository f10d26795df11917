"""How long merge bases take: two lanes that merge each other at every step, and two that meet at the root.

python -m benchmarks.ancestry [--commits 10000] [--runs 7] [--quick] [--json FILE] [--docs docs]

Times are of the library, in a repository just opened (nothing read before), and as multiples of ``git
merge-base`` on the same graph, a whole process; runs are interleaved.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import report
from mvc.fileio import FileIO
from mvc.history.ancestry import is_ancestor, merge_bases
from mvc.history.merge3 import Content, merge_commits
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Commit, Person, Timestamp, Tree
from mvc.ops.init import init
from mvc.refs import BRANCHES, encode_target
from mvc.repo import Repository
from mvc.transaction import Update, begin

WHO = Person("Bench", "bench@example.org")
BEGAN = 1_700_000_000

Graph = list[tuple[int, ...]]
"""For each commit the numbers of its parents; a commit's number is its time in seconds. The last two are the
ends of the lanes."""


def crosswise(commits: int) -> Graph:
    """At every step each lane merges the other one's previous commit."""
    rows: list[tuple[int, ...]] = [()]
    left = right = 0
    for number in range(1, commits, 2):
        rows += [(left, right), (right, left)]
        left, right = number, number + 1
    return rows


def apart(commits: int) -> Graph:
    """The lanes have nothing in common but the first commit."""
    return [(), (0,), (0,), *((number - 2,) for number in range(3, commits))]


GRAPHS = {"merged crosswise": crosswise, "apart since the root": apart}


def build(folder: Path, graph: Graph) -> list[CommitId]:
    """A repository of such commits."""
    repository = init(FileIO(), folder, Monitor())
    ids: list[CommitId] = []
    with begin(repository, "bench", WHO, Timestamp(BEGAN * 1_000_000, 0)) as tx:
        tree = tx.writer.put(TreeId, Tree.of([]).to_bytes())
        for number, parents in enumerate(graph):
            when = Timestamp((BEGAN + number) * 1_000_000, 0)
            above = tuple(ids[parent] for parent in parents)
            commit = Commit(tree, above, WHO, when, f"step {number}", {"loss": 1 / (number + 1)})
            ids.append(tx.writer.put(CommitId, commit.to_bytes()))
        ends = {BRANCHES + name: encode_target(ids[-n]) for n, name in ((1, "left"), (2, "right"))}
        tx.publish(lambda view: Update(refs=ends))
    return ids


def build_git(folder: Path, graph: Graph) -> None:
    """The same graph for Git, packed as its own import leaves it."""
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", "--bare", "--template=", "."], cwd=folder, check=True)
    stream = "".join(_git_commit(number, parents, len(graph)) for number, parents in enumerate(graph))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=stream.encode(), check=True)


def _git_commit(number: int, parents: Sequence[int], count: int) -> str:
    name = {count - 1: "left", count - 2: "right"}.get(number, f"lane{number % 2}")
    lines = [f"reset refs/heads/{name}", f"commit refs/heads/{name}", f"mark :{number + 1}"]
    lines += [f"committer B <b@e> {BEGAN + number} +0000", "data 0"]
    lines += [f"{'merge' if place else 'from'} :{parent + 1}" for place, parent in enumerate(parents)]
    return "\n".join([*lines, "", ""])


def timings(
    folder: Path, git: Path | None, ids: Sequence[CommitId], runs: int
) -> Iterator[tuple[str, float]]:
    """Names of jobs, each with its seconds, turn by turn."""

    def ours(path: str, base: ManifestId | None, mine: ManifestId, yours: ManifestId, /) -> Content:
        return Content(mine, False)

    for _ in range(runs):
        for name in ("merge_bases", "is_ancestor, no", "merge_commits"):
            with Repository.open(FileIO(), folder, Monitor()).reading() as view:
                reader = view.objects
                began = time.perf_counter()
                if name == "merge_bases":
                    merge_bases(reader, ids[-1], ids[-2])
                elif name == "merge_commits":
                    merge_commits(reader, ids[-1], ids[-2], ours, labels=("a", "b"), put_tree=_known)
                else:
                    is_ancestor(reader, ids[-1], ids[-2])
                yield name, time.perf_counter() - began
        if git is not None:
            began = time.perf_counter()
            subprocess.run(["git", "merge-base", "left", "right"], cwd=git, check=True, capture_output=True)
            yield "git merge-base", time.perf_counter() - began


def _known(tree: Tree) -> TreeId:
    """All trees here are the empty one, which is stored."""
    return TreeId.of(tree.to_bytes())


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--commits", type=int)
    parser.add_argument("--runs", type=int)
    options = parser.parse_args()
    options.commits = options.commits or (200 if options.quick else 10_000)
    options.runs = options.runs or (2 if options.quick else 7)
    page = report.Page("ancestry", options)
    measured: dict[str, dict[str, float]] = {}
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for number, (name, shape) in enumerate(GRAPHS.items()):
            graph = shape(options.commits)
            folder, git = Path(place) / f"mvc{number}", Path(place) / f"git{number}"
            folder.mkdir()
            ids = build(folder, graph)
            there = shutil.which("git") is not None
            if there:
                build_git(git, graph)
            seconds: dict[str, list[float]] = {}
            for job, took in timings(folder, git if there else None, ids, options.runs):
                seconds.setdefault(job, []).append(took)
            medians = measured[name] = {job: median(all_) for job, all_ in seconds.items()}
            unit = medians.get("git merge-base")
            for job, took in medians.items():
                ratio = None if unit is None else took / unit
                rows.append((f"{name}: {job}", report.figure(took * 1e3, 1), report.figure(ratio)))
    page.say(report.table((f"{options.commits:,} commits", "median ms", "× git merge-base"), rows))
    page.finish(measured)


if __name__ == "__main__":
    main()
