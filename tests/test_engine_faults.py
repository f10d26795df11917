"""Killed, out of space, or refused by the disk at any step: old state or new, nothing in between, nothing
lost."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.workspace import locked
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    tree,
    two_versions,
    weights_versions,
)
from tests.family import file_of, tuned, weights
from tests.faults import CHANGING, NEEDS_SPACE, READING, WRITING, FaultIO, run_killed


def do_commit(repository: Repository) -> None:
    snapshot(repository, "three")


def do_checkout(repository: Repository) -> None:
    switch_to(repository, "HEAD~1")


def do_undo(repository: Repository) -> None:
    undo(repository, ME, now())


def prepare(action: str, folder: Path) -> None:
    """The state from which an action starts."""
    if action == "commit of relatives":
        repository = make_repository(folder)
        model = weights(1, {"w": (40, 256)})
        (folder / "wide.safetensors").write_bytes(file_of(model, "F32"))
        snapshot(repository, "one")
        (folder / "narrow.safetensors").write_bytes(file_of(model))
        (folder / "wide.safetensors").write_bytes(file_of(tuned(model, 2), "F32"))
        return
    repository, _one, two = two_versions(folder)
    if action == "commit":
        (folder / "model.safetensors").write_bytes(weights_versions(3)[2])
        (folder / "more.txt").write_text("more\n")
    if action == "undo":
        switch_to(repository, "HEAD~1")
        assert history(repository)[0] != two


ACTIONS: dict[str, Callable[[Repository], None]] = {
    "commit": do_commit,
    "commit of relatives": do_commit,
    "checkout": do_checkout,
    "undo": do_undo,
}


class Scene:
    """A prepared repository, and what it looks like before and after the action."""

    def __init__(self, action: str, place: Path) -> None:
        self.act = ACTIONS[action]
        self.start = place / "start"
        self._work = place / "work"
        prepare(action, self.start)
        self.before = self.look(self.start)
        done = self.copy()
        io = FaultIO(counted=READING + WRITING)
        self.act(open_repository(done, io))
        self.after = self.look(done)
        self.names = io.names
        assert self.before != self.after

    def copy(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self.start, self._work, symlinks=True)
        return self._work

    @staticmethod
    def look(folder: Path) -> tuple[object, ...]:
        """What a user sees: HEAD, refs, number of versions, files."""
        repository = open_repository(folder)
        with locked(repository, exclusive=False), repository.reading() as view:
            refs = sorted(view.refs.names())
            head = view.head if isinstance(view.head, str) else "detached"
        return head, refs, len(history(repository)), tree(folder)

    def check(self, folder: Path, *, acknowledged: bool) -> bool:
        """Old or new, sound, and usable; returns whether it is new."""
        seen = self.look(folder)
        assert seen in (self.before, self.after)
        if acknowledged:
            assert seen == self.after
        assert_sound(folder)
        assert not (folder / ".mvc" / "journal").exists()
        return seen == self.after


@pytest.fixture(scope="module", params=sorted(ACTIONS))
def scene(request, tmp_path_factory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp(request.param.split()[-1]))


def test_killed_at_every_step(scene):
    states, step = [], 0
    while True:
        step += 1
        folder = scene.copy()
        if not run_killed(lambda io, folder=folder: scene.act(open_repository(folder, io)), step, CHANGING):
            scene.check(folder, acknowledged=True)
            break
        states.append(scene.check(folder, acknowledged=False))
        # and life goes on
        (folder / "later.txt").write_text(str(step))
        snapshot(open_repository(folder), "later")
        assert_sound(folder)
    assert len(states) >= 10
    assert True in states
    assert False in states


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_refused_at_every_step(scene, error, for_ever):
    failing = NEEDS_SPACE if error == errno.ENOSPC else frozenset(WRITING)
    kinds = tuple(failing) if error == errno.ENOSPC else READING + WRITING
    step, refused = 0, 0
    while True:
        step += 1
        folder = scene.copy()
        io = FaultIO(fail_at=step, error=error, for_ever=for_ever, failing=failing, counted=kinds)
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
    assert refused >= 10


def test_short_writes_change_nothing(scene):
    writes = scene.names.count("write")
    for step in range(1, writes + 1):
        folder = scene.copy()
        scene.act(open_repository(folder, FaultIO(short_at=step, counted=("write",))))
        scene.check(folder, acknowledged=True)


def test_the_source_is_untouched_when_the_disk_is_full(tmp_path):
    two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "model.safetensors").write_bytes(weights_versions(3)[2])
    before = tree(folder)
    with pytest.raises(MvcError) as failure:
        snapshot(
            open_repository(folder, FaultIO(fail_at=1, error=errno.ENOSPC, for_ever=True, counted=("write",)))
        )
    assert failure.value.exit_code == 3
    assert "space" in failure.value.hint
    assert tree(folder) == before
    snapshot(Repository.open(FileIO(), folder, open_repository(folder).monitor), "again")
    assert_sound(folder)
