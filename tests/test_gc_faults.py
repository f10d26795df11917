"""A collection that is killed, out of space or refused at any step loses nothing."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.errors import MvcError
from mvc.ops.gc import Request, gc
from mvc.ops.undo import undo
from mvc.repo import Repository
from tests.engine import ME, assert_sound, history, make_repository, now, open_repository, snapshot
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
from tests.test_gc import contents, many_versions, noise, stored


def collect(repository: Repository) -> None:
    gc(repository, Request(now(), 0))


def collect_and_repack(repository: Repository) -> None:
    gc(repository, Request(now(), 0, repack=True))


ACTIONS: dict[str, Callable[[Repository], None]] = {"gc": collect, "repack": collect_and_repack}

strided = pytest.mark.parametrize(
    "stride", [13, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)
"""Every thirteenth step goes wrong, or, in the long tests, each one."""


def prepare(folder: Path) -> None:
    """Versions that stay, and some that were undone and amended: whole packs of garbage, and mixed ones."""
    repository = many_versions(folder, 4)
    (folder / "undone").write_bytes(noise(1))
    snapshot(repository)
    undo(repository, ME, now())
    (folder / "undone").write_bytes(noise(2, 20_000))
    snapshot(repository)
    (folder / "undone").unlink()
    (folder / "small.txt").write_text("kept\n" * 100)
    snapshot(repository, None, amend=True)
    repository.temporary.close()


class Scene:
    """A prepared repository, what its versions are, and which files a whole collection leaves."""

    def __init__(self, action: str, place: Path) -> None:
        self.act = ACTIONS[action]
        self.start, self._work = place / "start", place / "work"
        prepare(self.start)
        self.versions = contents(self.start)
        self.before = stored(self.start)
        done = self.copy()
        io = FaultIO(counted=READING + WRITING)
        self.act(open_repository(done, io))
        self.names = io.names
        self.fewest = len(stored(done))
        assert self.fewest < len(self.before)
        assert contents(done) == self.versions

    def copy(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self.start, self._work, symlinks=True)
        return self._work

    def check(self, folder: Path) -> None:
        """Sound, every version as it was, and the next collection brings it to its end."""
        assert_sound(folder)
        assert contents(folder) == self.versions
        self.act(open_repository(folder))
        assert len(stored(folder)) == self.fewest
        assert_sound(folder)
        assert contents(folder) == self.versions


@pytest.fixture(scope="module", params=sorted(ACTIONS))
def scene(request, tmp_path_factory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp("gc"))


@strided
def test_killed_at_a_step(scene, stride):
    died, step = 0, -2
    while True:
        step += stride
        folder = scene.copy()
        if not run_killed(
            lambda io, folder=folder: scene.act(open_repository(folder, io)), max(step, 1), CHANGING
        ):
            break
        died += 1
        scene.check(folder)
    assert died * stride >= 30
    scene.check(folder)


@strided
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_refused_at_a_step(scene, error, for_ever, stride):
    full = error == errno.ENOSPC
    kinds = tuple(NEEDS_SPACE) if full else WRITING
    step, refused = 1 - stride, 0
    while True:
        step += stride
        folder = scene.copy()
        io = FaultIO(fail_at=step, error=error, for_ever=for_ever, failing=frozenset(kinds), counted=kinds)
        try:
            scene.act(open_repository(folder, io))
        except MvcError as failure:
            refused += 1
            assert failure.exit_code in (3, 4, 5), failure
        if not io.failed:
            break
        scene.check(folder)
    assert refused * stride >= 10


@strided
def test_short_writes_change_nothing(scene, stride):
    for step in range(1, scene.names.count("write") + 1, stride):
        folder = scene.copy()
        scene.act(open_repository(folder, FaultIO(short_at=step, counted=("write",))))
        scene.check(folder)


@strided
def test_power_is_cut(scene, tmp_path, stride):
    """What no sync has covered may have happened or not, in any order, files torn."""
    folder = scene.copy()
    before = picture(folder)
    io = Recorder()
    scene.act(open_repository(folder, io))
    cut = PowerCut(folder, before, io.trace)
    rng = random.Random(5)
    seen = set()
    for step in range(0, len(io.trace) + 1, 2 * stride):
        for number, state in enumerate(cut.states(step, 1, rng)):
            shape = repr(sorted((path, item and item[0]) for path, item in state.items()))
            if shape in seen:
                continue
            seen.add(shape)
            place = tmp_path / f"{step}-{number}"
            lay_out(state, place)
            assert_sound(place)
            assert contents(place) == scene.versions
            shutil.rmtree(place)
    assert len(seen) * stride > 20


def test_commits_and_collections_at_once(tmp_path):
    """One process commits and undoes, another one collects: no acknowledged version is lost."""
    from tests.faults import fork, was_killed

    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "file").write_text("first")
    snapshot(repository)
    repository.temporary.close()

    def collecting() -> None:
        for number in range(12):
            (collect_and_repack if number % 3 == 2 else collect)(open_repository(folder))

    child = fork(collecting)
    mine = open_repository(folder)
    acknowledged = [snapshot(mine, "begin", allow_empty=True).id]
    for number in range(25):
        (folder / "file").write_bytes(noise(number % 4, 3000 + number))
        try:
            acknowledged.append(snapshot(mine, str(number), allow_empty=True).id)
        except MvcError as error:
            assert error.exit_code == 4, error
    assert not was_killed(child)
    assert history(mine)[: len(acknowledged)] == acknowledged[::-1]
    assert_sound(folder)
