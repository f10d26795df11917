"""Killed or refused by the disk while history moves: HEAD, refs and files are those before or after."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.errors import MvcError
from mvc.ops import bisect
from mvc.ops import merge as merge_verb
from mvc.ops import pick as pick_verb
from mvc.ops.reset import reset
from mvc.ops.restore import restore
from mvc.ops.status import status
from mvc.ops.switch import switch_orphan
from mvc.ops.undo import undo
from mvc.repo import Repository
from tests.engine import ME, assert_sound, make_repository, now, open_repository
from tests.faults import CHANGING, READING, WRITING, FaultIO, run_killed
from tests.lines import cherry_pick, everything, fork, go_on, merge, model, put, request, revert, version


def prepare(folder: Path) -> Repository:
    """Two branches in conflict in one file; ``side`` has two versions."""
    repository = fork(
        folder,
        {"x": b"\0base", "gone": "gone", "m.safetensors": model()},
        {"x": b"\0ours", "m.safetensors": model(a=1.0)},
        {"gone": None, "m.safetensors": model(b=1.0)},
    )
    with repository.reading() as view:
        side = view.refs.get("refs/heads/side")
    reset(repository, side.hex(), ME, now(), mode="hard")
    version(repository, {"x": b"\0theirs", "new": "new"}, "conflict")
    with repository.reading() as view:
        tip = view.head_commit()
    reset(repository, "HEAD@{2}", ME, now(), mode="hard")
    switch_to_branch(repository, "side", tip)
    return repository


def switch_to_branch(repository: Repository, name: str, target) -> None:
    from mvc.ops.branch import create

    create(repository, name, target.hex(), ME, now(), force=True)


def in_conflict(folder: Path) -> Repository:
    repository = prepare(folder)
    assert merge(repository).conflicts
    return repository


def resolved(folder: Path) -> Repository:
    repository = in_conflict(folder)
    put(folder, {"x": b"\0both"})
    return repository


def picked(folder: Path) -> Repository:
    repository = prepare(folder)
    assert cherry_pick(repository, "main~1..side").conflicts
    put(folder, {"x": b"\0both"})
    return repository


def dirty(folder: Path) -> Repository:
    repository = in_conflict(folder)
    put(folder, {"x": b"\0half", "new": None, "gone": "again"})
    return repository


def chain(folder: Path) -> Repository:
    repository = make_repository(folder)
    for number in range(5):
        version(repository, {"x": f"{number}\n", f"f{number % 2}": f"{number}"}, f"v{number}")
    return repository


def reverting(folder: Path) -> Repository:
    repository = chain(folder)
    assert revert(repository, "HEAD~2").conflicts
    return repository


def bisecting(folder: Path) -> Repository:
    repository = chain(folder)
    bisect.start(repository, "main", ["main~4"], ME, now())
    return repository


ACTIONS: dict[str, tuple[Callable[[Path], Repository], Callable[[Repository], object]]] = {
    "merge": (prepare, lambda repository: merge(repository, strategy="theirs")),
    "merge in conflict": (prepare, merge),
    "merge --continue": (resolved, go_on),
    "merge --continue with a strategy": (in_conflict, lambda repository: go_on(repository, "theirs")),
    "merge --abort": (dirty, lambda repository: merge_verb.abort(repository, ME, now())),
    "cherry-pick of several": (prepare, lambda repository: cherry_pick(repository, "main~1..side")),
    "cherry-pick --continue": (
        picked,
        lambda repository: pick_verb.go_on(repository, "cherry-pick", request()),
    ),
    "reset --hard": (dirty, lambda repository: reset(repository, "HEAD~1", ME, now(), mode="hard")),
    "restore --theirs": (in_conflict, lambda repository: restore(repository, [], ME, now(), side="theirs")),
    "revert --skip": (reverting, lambda repository: pick_verb.skip(repository, "revert", request())),
    "bisect start": (chain, lambda repository: bisect.start(repository, "main", ["main~4"], ME, now())),
    "bisect reset": (bisecting, lambda repository: bisect.reset(repository, None, ME, now())),
    "undo of a merge in conflict": (in_conflict, lambda repository: undo(repository, ME, now(), force=True)),
    "switch --orphan": (prepare, lambda repository: switch_orphan(repository, "o", ME, now())),
}


class Scene:
    """A prepared repository, and what it looks like before and after."""

    def __init__(self, action: str, place: Path) -> None:
        begin, self.act = ACTIONS[action]
        self.start, self.work = place / "start", place / "work"
        begin(self.start)
        self.before = self.look(self.start)
        self.act(open_repository(self.copy()))
        self.after = self.look(self.work)
        assert self.before != self.after

    def copy(self) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.start, self.work, symlinks=True)
        return self.work

    @staticmethod
    def look(folder: Path) -> tuple[object, ...]:
        repository = open_repository(folder)
        found = status(repository)  # settles what was interrupted
        head, refs, files = everything(repository)
        kind = None if found.pending is None else found.pending.kind
        return type(head), sorted(refs), kind, [item.path for item in found.unresolved], files

    def check(self, folder: Path, *, acknowledged: bool) -> bool:
        seen = self.look(folder)
        assert seen == self.after or (not acknowledged and seen == self.before)
        assert_sound(folder)
        return seen == self.after


@pytest.fixture(scope="module", params=list(ACTIONS))
def scene(request, tmp_path_factory) -> Scene:
    return Scene(request.param, tmp_path_factory.mktemp("scene"))


def test_killed_now_and_then(scene):
    """Every seventh step; the steps between are of the same code as a checkout's, which is killed at each."""
    states = []
    for step in range(1, 1000, 7):
        folder = scene.copy()
        killed = run_killed(lambda io, folder=folder: scene.act(open_repository(folder, io)), step, CHANGING)
        states.append(scene.check(folder, acknowledged=not killed))
        if not killed:
            break
    assert len(states) > 3 and states[-1] and not states[0]


@pytest.mark.slow
def test_killed_at_every_step(scene):
    for step in range(1, 1000):
        folder = scene.copy()
        killed = run_killed(lambda io, folder=folder: scene.act(open_repository(folder, io)), step, CHANGING)
        scene.check(folder, acknowledged=not killed)
        if not killed:
            break


@pytest.mark.slow
def test_refused_at_every_step(scene):
    for step in range(1, 3000):
        folder = scene.copy()
        io = FaultIO(fail_at=step, error=errno.EIO, failing=frozenset(WRITING), counted=READING + WRITING)
        acknowledged = True
        try:
            scene.act(open_repository(folder, io))
        except MvcError as failure:
            acknowledged = False
            assert failure.exit_code in (3, 4, 5), failure
        scene.check(folder, acknowledged=acknowledged)
        if not io.failed:
            break
