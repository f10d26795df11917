"""Real command lines, killed by strace at some of the system calls that write. The short form of
``make strace``."""

from __future__ import annotations

import pytest

from tests.scenes import SCENES, Stage
from tests.straced import points, run_traced, strike, why_not

SOME = {"init": 12, "commit": 12, "checkout": 12, "merge in conflict": 12, "gc --repack": 60}


@pytest.fixture(scope="module", autouse=True)
def strace():
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("name", SOME)
def test_killed_at_some_calls(name):
    tally = strike(name, SOME[name])
    assert tally.good, tally.failures[0]
    assert tally.counts["kills"] >= 3


def test_refused_calls():
    tally = strike("commit", every=12, error="ENOSPC")
    assert tally.good, tally.failures[0]
    assert tally.counts["failed calls"] >= 3


def test_all_calls_that_write_are_known(tmp_path):
    """Whatever else is called with a path of the repository only reads."""
    stage = Stage("commit", tmp_path)
    names = {point.call for point in points(stage, tmp_path)}
    assert {"fsync", "flock", "write"} <= names
    assert names & {"openat", "open"} and names & {"rename", "renameat"} and names & {"link", "linkat"}


def test_a_call_that_is_not_reached_kills_nothing(tmp_path):
    stage = Stage("commit", tmp_path)
    folder = stage.copy()
    ended = run_traced(("-C", str(folder), *SCENES["commit"].words), tmp_path, "fsync:signal=KILL:when=60000")
    assert not ended.killed and ended.code == 0
