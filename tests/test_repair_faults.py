"""A repair that is killed, refused by the disk, or cut off from power loses nothing, and the next one ends
what it began."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.errors import MvcError
from tests.engine import assert_sound
from tests.faults import (
    CHANGING,
    NEEDS_SPACE,
    READING,
    WRITING,
    FaultIO,
    PowerCut,
    Recorder,
    lay_out,
    run_killed,
)
from tests.faults import snapshot as picture
from tests.test_repair import build, contents, flip, mend, packs, segments

strided = pytest.mark.parametrize(
    "stride", [17, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)
"""Every seventeenth step goes wrong, or, in the long tests, each one."""


def rotten(folder: Path) -> None:
    """A byte of every second pack, and the index."""
    for path in packs(folder)[::2]:
        flip(path, path.stat().st_size * 2 // 3)
    for path in segments(folder):
        path.unlink()


def rootless(folder: Path) -> None:
    rotten(folder)
    (folder / ".mvc/root").write_bytes(b"\0" * 300)


class Scene:
    """A broken repository with a copy beside it; what a repair must bring it to."""

    def __init__(self, damage: Callable[[Path], None], place: Path) -> None:
        self.start, self.copy = build(place / "start", 3), place / "copy"
        shutil.copytree(self.start, self.copy)
        self.versions = contents(self.start)
        damage(self.start)
        self.work = place / "work"
        done = self.again()
        io = FaultIO(counted=READING + WRITING)
        assert mend(done, self.copy, io=io).sound
        self.names = io.names
        # the newest commit of a root that is lost is on a branch of its own then
        self.after = contents(done)
        assert self.after in (self.versions, self.versions[1:])

    def again(self) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.start, self.work, symlinks=True)
        return self.work

    def check(self, folder: Path) -> None:
        assert mend(folder, self.copy).sound
        assert_sound(folder)
        assert contents(folder) == self.after


@pytest.fixture(scope="module", params=[rotten, rootless], ids=lambda damage: damage.__name__)
def scene(request, tmp_path_factory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp("repair"))


@strided
def test_killed_at_a_step(scene, stride):
    died, step = 0, 1 - stride
    while True:
        step += stride
        folder = scene.again()
        if not run_killed(lambda io, folder=folder: mend(folder, scene.copy, io=io), step, CHANGING):
            break
        died += 1
        scene.check(folder)
    assert died * stride >= 20


@strided
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_refused_at_a_step(scene, stride, error):
    full = error == errno.ENOSPC
    kinds = tuple(NEEDS_SPACE) if full else WRITING
    step, refused = 1 - stride, 0
    while True:
        step += stride
        folder = scene.again()
        io = FaultIO(fail_at=step, error=error, for_ever=full, failing=frozenset(kinds), counted=kinds)
        try:
            mend(folder, scene.copy, io=io)
        except MvcError as failure:
            refused += 1
            assert failure.exit_code in (3, 4, 5), failure
        if not io.failed:
            break
        scene.check(folder)
    assert refused * stride >= 10


@pytest.mark.parametrize("rounds", [4, pytest.param(150, marks=pytest.mark.slow)], ids=["some", "many"])
def test_power_is_cut(scene, rounds):
    """What no sync has covered may have happened or not, in any order, files torn."""
    folder = scene.again()
    before = picture(folder)
    recorder = Recorder()
    assert mend(folder, scene.copy, io=recorder).sound
    rng = random.Random(11)
    for cut in sorted(rng.sample(range(len(recorder.trace) + 1), rounds)):
        for state in PowerCut(folder, before, recorder.trace).states(cut, 1, rng):
            shutil.rmtree(folder)
            lay_out(state, folder)
            scene.check(folder)
