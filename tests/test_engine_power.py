"""The plug is pulled at any moment: what was not synced may be lost, torn or out of order; versions never
are."""

from __future__ import annotations

import random
import shutil

import pytest

from mvc.errors import MvcError
from tests.engine import assert_sound, open_repository
from tests.faults import SYNCS, PowerCut, Recorder, lay_out, snapshot
from tests.test_engine_faults import ACTIONS, Scene

EVERY = 3  # cuts that are tried: every third; the long test tries all of them


def power_cuts(scene: Scene, place, *, every: int, forget=(), states: int = 1) -> tuple[int, int]:
    """States tried, and how many of them are neither old nor new, unsound, or lack what was acknowledged."""
    folder = scene.copy()
    before, io = snapshot(folder), Recorder()
    scene.act(open_repository(folder, io))
    model = PowerCut(folder, before, io.trace, forget)
    rng, tried, bad = random.Random(11), 0, 0
    last = len(io.trace)
    for cut in [*range(0, last, every), last]:
        for state in model.states(cut, states, rng):
            tried += 1
            after = place / f"state{tried}"
            lay_out(state, after)
            try:
                scene.check(after, acknowledged=cut == last)
            except (AssertionError, MvcError, OSError):
                bad += 1
            shutil.rmtree(after)
    return tried, bad


@pytest.fixture(scope="module", params=sorted(ACTIONS))
def scene(request, tmp_path_factory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp(request.param))


def test_old_or_new_after_a_power_cut(scene, tmp_path):
    tried, bad = power_cuts(scene, tmp_path, every=EVERY)
    assert tried > 60
    assert bad == 0


@pytest.mark.slow
def test_old_or_new_after_a_power_cut_at_every_step(scene, tmp_path):
    tried, bad = power_cuts(scene, tmp_path, every=1, states=10)
    assert tried > 1000
    assert bad == 0


@pytest.mark.parametrize("forgotten", [*sorted(SYNCS), "both"])
def test_the_model_would_notice_a_forgotten_sync(tmp_path, forgotten):
    scene = Scene("checkout", tmp_path)
    forget = SYNCS if forgotten == "both" else (forgotten,)
    _tried, bad = power_cuts(scene, tmp_path, every=12, forget=forget)
    assert bad > 0


def test_the_scene_itself_is_sound(scene):
    assert_sound(scene.copy())
