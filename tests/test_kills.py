"""Killed at any step: old state or new, nothing in between, nothing lost, and life goes on. The short form of
``make kills``."""

from __future__ import annotations

import pytest

from tests.kills import kill
from tests.scenes import SCENES
from tests.tally import Tally

EVERY = 17


@pytest.mark.parametrize("name", SCENES)
def test_killed_at_some_steps(name):
    tally = kill(name, EVERY)
    assert tally.good, tally.failures[0]
    assert tally.counts["kills"] > 0


@pytest.mark.parametrize("name", ["commit", "checkout"])
def test_killed_at_every_step(name):
    tally = kill(name)
    assert tally.good, tally.failures[0]
    assert tally.counts["kills"] > 30
    assert 0 < tally.counts["found done"] < tally.counts["kills"]


def test_what_is_wrong_is_counted():
    """A harness that cannot fail would pass everything."""
    tally = Tally()
    with tally.judged("again"):
        raise AssertionError("something")
    assert not tally.good
    assert tally.counts == {"broken": 1}
