"""A purge that is killed, out of space or refused at any step has happened or not, and the same command ends
it."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.errors import MvcError
from mvc.ops import tag
from mvc.ops.purge import Purged, Request, purge
from mvc.repo import Repository
from tests.engine import (
    ME,
    assert_sound,
    make_repository,
    now,
    open_repository,
    snapshot,
    weights_versions,
)
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
from tests.test_purge import SECRET, contents, store_bytes

TARGET = "secret.bin"


def act(repository: Repository, *, rewrite: bool) -> Purged:
    return purge(repository, Request((TARGET, "v1"), ME, now(), "leaked", rewrite=rewrite), wait=0)


strided = pytest.mark.parametrize(
    "stride", [17, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)
"""Every seventeenth step goes wrong, or, in the long tests, each one."""


class Scene:
    """A prepared repository, what its versions hold before and after a purge."""

    def __init__(self, rewrite: bool, place: Path) -> None:
        self.act: Callable[[Repository], Purged] = lambda repository: act(repository, rewrite=rewrite)
        self.start, self._work = place / "start", place / "work"
        repository = make_repository(self.start)
        for number, data in enumerate(weights_versions(3, 3000)):
            (self.start / "model.safetensors").write_bytes(data)
            if number == 0:
                (self.start / TARGET).write_bytes(SECRET)
            snapshot(repository, str(number))
        tag.create(repository, "v1", "HEAD~1", ME, now())
        repository.temporary.close()
        self.before = self.files(self.start)
        io = FaultIO(counted=READING + WRITING)
        done = self.copy()
        assert self.act(open_repository(done, io)).ended.proof.clean
        self.names = io.names
        self.after = self.files(done)
        assert self.after != self.before

    @staticmethod
    def files(folder: Path) -> list[dict[str, bytes | None]]:
        """Newest first, without ids, which a rewritten history has from the clock of nobody but itself."""
        return list(contents(folder).values())

    def copy(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self.start, self._work, symlinks=True)
        return self._work

    def check(self, folder: Path) -> None:
        """Sound, and as it was or as it is to be; then the command again ends it."""
        assert_sound(folder)
        files = self.files(folder)
        assert files in (self.before, self.after)
        done = self.act(open_repository(folder))
        assert done.ended.proof.clean
        assert not done.ended.waiting_packs
        assert_sound(folder)
        if files == self.before:
            assert self.files(folder) == self.after
        assert SECRET[:64] not in store_bytes(folder)


@pytest.fixture(scope="module", params=[False, True], ids=["tombstones", "rewrite"])
def scene(request, tmp_path_factory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp("purge"))


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
        repository = None
        try:
            repository = open_repository(folder, io)
            scene.act(repository)
        except MvcError as failure:
            refused += 1
            assert failure.exit_code in (3, 4, 5), failure
        if repository is not None:
            repository.temporary.close()  # its process ends: what it could not remove the next command does
        if not io.failed:
            break
        scene.check(folder)
    assert refused * stride >= 10


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
            scene.check(place)
            shutil.rmtree(place)
    assert len(seen) * stride > 20
