"""The fault tests' promise where files and packs are large: written in ranges, behind the caller, over
clones. What is large is made small here."""

from __future__ import annotations

import pytest

from tests.faults import READING, WRITING, FaultIO
from tests.kills import kill
from tests.power import cut_power
from tests.refusals import refuse
from tests.scenes import Stage


@pytest.fixture(autouse=True)
def large(monkeypatch):
    monkeypatch.setattr("mvc.odb.pack._STREAM_FROM", 400)
    monkeypatch.setattr("mvc.odb.pack._HAND_OVER", 200)
    monkeypatch.setattr("mvc.odb.pack.TARGET_PACK", 3_000)
    monkeypatch.setattr("mvc.backends.folder.SYNC_BYTES", 500)
    monkeypatch.setattr("mvc.filling.BATCH_BYTES", 500)
    monkeypatch.setattr("mvc.filling.SYNC_BYTES", 1_000)


both = pytest.mark.parametrize("name", ["commit", "checkout"])


@both
def test_killed_at_some_steps(name):
    tally = kill(name, every=4)
    assert tally.good, tally.failures[0]
    assert 0 < tally.counts["found done"] < tally.counts["kills"]


@both
def test_refused_at_some_steps(name):
    tally = refuse(name, every=17, threads=True)
    assert tally.good, tally.failures[0]
    assert tally.counts["refused commands"] >= 10


@both
def test_old_or_new_after_a_power_cut(name):
    tally = cut_power(name, 60)
    assert tally.good, tally.failures[0]
    assert tally.counts["states"] == 60


@pytest.mark.parametrize("forgotten", ["sync", "sync_folder"])
def test_a_forgotten_sync_would_be_noticed(forgotten):
    assert not cut_power("checkout", 300, forget=(forgotten,)).good


@both
def test_the_new_paths_are_taken(name, tmp_path):
    stage, io = Stage(name, tmp_path), FaultIO(counted=READING + WRITING)
    stage.act(stage.copy(), io)
    names = set(io.names)
    assert "write_at" in names if name == "checkout" else names.issuperset({"link", "sync"})
