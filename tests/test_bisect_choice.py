"""Which commit a bisection looks at next: against Git, on random graphs."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from history_memory import MemoryReader

from mvc.errors import UserError
from mvc.history.bisection import Graph, Step, next_step
from mvc.objectid import CommitId

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


class GivenGraph(Graph):
    """A graph whose ids are Git's, so that what Git decides by id is decided alike."""

    def __init__(self, parents: dict[CommitId, tuple[CommitId, ...]], times: dict[CommitId, int]) -> None:
        self._parents, self._times = parents, times

    def parents(self, identity):
        return self._parents[identity]

    def time(self, identity):
        return self._times[identity]


class GitRepository:
    """A Git repository of empty commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{key}": "a" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
        }
        folder.mkdir()
        self.git("init", "-q")
        self.tree = self.git("write-tree").stdout.strip()
        self.parents: dict[CommitId, tuple[CommitId, ...]] = {}
        self.times: dict[CommitId, int] = {}

    def git(self, *words: str, date: int | None = None) -> subprocess.CompletedProcess[str]:
        environment = dict(self.environment)
        if date is not None:
            environment |= {"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"}
        return subprocess.run(
            ["git", *words], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def commit(self, number: int, parents: list[CommitId], date: int) -> CommitId:
        options = [word for parent in parents for word in ("-p", name(parent))]
        done = self.git("commit-tree", self.tree, "-m", str(number), *options, date=date)
        identity = CommitId(bytes.fromhex(done.stdout.strip()) + bytes(12))
        self.parents[identity], self.times[identity] = tuple(parents), date
        return identity

    def head(self) -> CommitId:
        return CommitId(bytes.fromhex(self.git("rev-parse", "BISECT_HEAD").stdout.strip()) + bytes(12))


def name(identity: CommitId) -> str:
    return identity.hex()[:40]


def random_graph(git: GitRepository, rng: random.Random, count: int) -> list[CommitId]:
    made: list[CommitId] = []
    clock = 1_600_000_000
    for number in range(count):
        clock += rng.choice((0, 1, 1, 5))
        near = made[-6:]
        parents = rng.sample(near, min(len(near), rng.choice((1, 1, 1, 2, 2, 3)))) if near else []
        made.append(git.commit(number, parents, clock))
    git.git("update-ref", "refs/heads/master", name(made[-1]))
    return made


@needs_git
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("skipping", [False, True])
def test_every_step_is_the_one_that_git_takes(tmp_path: Path, seed: int, skipping: bool):
    rng = random.Random(seed)
    git = GitRepository(tmp_path / "git")
    made = random_graph(git, rng, rng.choice((6, 15, 40)))
    graph = GivenGraph(git.parents, git.times)
    broken = rng.choice(made[1:])
    bad = made[-1]
    is_bad = {identity: broken in graph.reachable([identity]) for identity in made}
    if not is_bad[bad]:
        is_bad = {identity: identity == bad for identity in made}
    goods = [rng.choice([identity for identity in made if not is_bad[identity]])]
    skips: list[CommitId] = []
    settled = False
    said = git.git("bisect", "start", "--no-checkout", name(bad), name(goods[0]))
    for _ in range(100):
        step = next_step(graph, bad, goods, skips, bases_settled=settled)
        settled = settled or step.kind != "merge base"
        if step.kind == "found":
            assert f"{name(step.commit)} is the first bad commit" in said.stdout, said
            assert step.commit == bad
            return
        if step.kind == "skipped":
            assert "There are only 'skip'ped commits left to test." in said.stdout, said
            listed = {line for line in said.stdout.splitlines() if line in map(name, made)}
            assert {name(identity) for identity in step.candidates} == listed
            return
        assert step.commit == git.head(), said
        if step.kind == "test":
            assert f"Bisecting: {step.left} revision" in said.stdout
            assert f"(roughly {step.steps} step" in said.stdout
        else:
            assert "a merge base must be tested" in said.stdout
        if skipping and rng.random() < 0.4:
            skips.append(step.commit)
            said = git.git("bisect", "skip")
        elif is_bad[step.commit]:
            if step.kind == "merge base":
                said = git.git("bisect", "bad")
                with pytest.raises(UserError, match="mended"):
                    next_step(graph, step.commit, goods, skips)
                assert "has been fixed between" in said.stdout + said.stderr
                return
            bad = step.commit
            said = git.git("bisect", "bad")
        else:
            goods.append(step.commit)
            said = git.git("bisect", "good")
    pytest.fail("no end")


def line(count: int) -> tuple[Graph, list[CommitId]]:
    reader = MemoryReader()
    made = [reader.commit(time=0, message="0")]
    for number in range(1, count):
        made.append(reader.commit(made[-1], time=number, message=str(number)))
    return Graph(reader), made


@pytest.mark.parametrize(("count", "tests"), [(2, 0), (3, 1), (10, 4), (1000, 10), (4000, 12)])
def test_a_line_takes_as_many_tests_as_its_length_has_bits(count: int, tests: int):
    graph, made = line(count)
    for first_bad in (made[1], made[-1], made[count // 2 or 1]):
        bad, goods, done = made[-1], [made[0]], 0
        while (step := next_step(graph, bad, goods)).kind == "test":
            done += 1
            if made.index(step.commit) >= made.index(first_bad):
                bad = step.commit
            else:
                goods.append(step.commit)
        assert step == Step("found", first_bad)
        assert done <= tests


def test_a_merge_base_that_is_not_known_is_tested_first():
    reader = MemoryReader()
    root = reader.commit(time=1)
    good = reader.commit(root, time=2, message="good")
    bad = reader.commit(root, time=3, message="bad")
    graph = Graph(reader)
    assert next_step(graph, bad, [good]) == Step("merge base", root)
    assert next_step(graph, bad, [good, root]) == Step("found", bad)
    assert next_step(graph, bad, [good], [root]).kind == "found"  # skipped: believed, as Git does


def test_contradictions_are_told():
    graph, made = line(4)
    with pytest.raises(UserError, match="both good and bad"):
        next_step(graph, made[2], [made[2]])
    with pytest.raises(UserError, match="mended"):
        next_step(graph, made[1], [made[3]])


def test_a_clock_that_ran_ahead_does_not_hide_what_is_good():
    reader = MemoryReader()
    old = reader.commit(time=9000, message="its clock ran ahead")
    good = reader.commit(old, time=1, message="good")
    bad = reader.commit(good, time=2, message="bad")
    assert next_step(Graph(reader), bad, [good]) == Step("found", bad)
