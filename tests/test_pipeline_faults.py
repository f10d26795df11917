"""The fault tests' promise where files and packs are large: written in ranges, behind the caller, over
clones. What is large is made small here."""

from __future__ import annotations

import errno

import pytest

from mvc.errors import MvcError
from tests.engine import open_repository
from tests.faults import CHANGING, NEEDS_SPACE, WRITING, FaultIO, run_killed
from tests.test_engine_faults import Scene
from tests.test_engine_power import power_cuts

EVERY = 4  # steps that are tried: every fourth, from another one in each test


@pytest.fixture(autouse=True)
def large(monkeypatch):
    monkeypatch.setattr("mvc.odb.pack._STREAM_FROM", 400)
    monkeypatch.setattr("mvc.odb.pack._HAND_OVER", 200)
    monkeypatch.setattr("mvc.odb.pack.TARGET_PACK", 3_000)
    monkeypatch.setattr("mvc.backends.folder.SYNC_BYTES", 500)
    monkeypatch.setattr("mvc.filling.BATCH_BYTES", 500)
    monkeypatch.setattr("mvc.filling.SYNC_BYTES", 1_000)


@pytest.fixture(params=["commit", "checkout"])
def scene(request, tmp_path, large) -> Scene:
    return Scene(request.param, tmp_path)


def test_killed_at_every_step(scene):
    states, step = set(), 1
    while True:
        folder = scene.copy()
        if not run_killed(lambda io, folder=folder: scene.act(open_repository(folder, io)), step, CHANGING):
            scene.check(folder, acknowledged=True)
            break
        states.add(scene.check(folder, acknowledged=False))
        step += EVERY
    assert states == {True, False}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_refused_at_every_step(scene, error):
    failing = NEEDS_SPACE if error == errno.ENOSPC else frozenset(WRITING)
    step, refused = 2, 0
    while True:
        folder = scene.copy()
        io = FaultIO(
            fail_at=step, error=error, for_ever=error == errno.ENOSPC, failing=failing, counted=failing
        )
        acknowledged = True
        try:
            scene.act(open_repository(folder, io))
        except MvcError as failure:
            acknowledged = False
            refused += 1
            assert failure.exit_code in (3, 4, 5), failure
        scene.check(folder, acknowledged=acknowledged)
        if not io.failed:
            assert acknowledged
            break
        step += EVERY
    assert refused >= 3


def test_old_or_new_after_a_power_cut(scene, tmp_path):
    tried, bad = power_cuts(scene, tmp_path, every=EVERY)
    assert tried > 40
    assert bad == 0


@pytest.mark.parametrize("forgotten", ["sync", "sync_folder"])
def test_the_model_would_notice_a_forgotten_sync(tmp_path, forgotten):
    _tried, bad = power_cuts(Scene("checkout", tmp_path), tmp_path, every=12, forget=(forgotten,))
    assert bad > 0


def test_the_new_paths_are_taken(scene):
    names = set(scene.names)
    assert "write_at" in names if scene.act.__name__ == "do_checkout" else names.issuperset({"link", "sync"})
