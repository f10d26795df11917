"""Several processes in one repository, and some that stand still meanwhile: nothing that was acknowledged is
lost, nothing is read wrong. ``make crowd`` has eight of them, and stops at every step."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.crowd import PAIRS, Crowd, Stage

FEW = 4  # moments at which a process is stopped


def test_a_crowd_commits_while_others_collect_check_and_read(tmp_path):
    counts = Crowd(tmp_path / "repo", writers=3, commits=6).run()
    assert counts["commits"] == 18
    assert counts["collections"] and counts["checks"] and counts["versions_read"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("name", PAIRS)
def test_one_stands_still_while_another_acts(stage, name):
    pair = PAIRS[name]
    steps = stage.steps(pair)
    went = Counter(stage.meet(pair, 1 + steps * number // FEW) for number in range(FEW))
    assert went["not stopped"] <= 1, went


def test_a_reader_that_stands_still_at_its_first_steps(stage):
    """Where it has announced itself and not read root, or read it and not told its epoch."""
    pair = PAIRS["reader, collection"]
    announced = stage.names(pair).index("create") + 1
    went = Counter(stage.meet(pair, step) for step in range(announced, announced + 9))
    assert went["not stopped"] == 0, went


def test_a_writer_that_stands_still_before_its_swap(stage):
    """Its packs are there, and root does not name them yet."""
    pair = PAIRS["new commit, collection"]
    put = stage.names(pair).index("link") + 1
    went = Counter(stage.meet(pair, step) for step in (put + 1, put + 4, put + 10))
    assert went["not stopped"] == 0, went
