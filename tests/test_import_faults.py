"""An import that is killed or refused at any step of the disk leaves whole versions, and the next one ends as
if nothing had been."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from engine import ME, assert_sound, tree, weights_versions
from git_oracle import needs_git
from import_sources import GitSource, contents, files_of, line, take, tip

from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.importing import storing
from mvc.monitor import Monitor
from mvc.objects import Timestamp
from mvc.ops.import_ import Wish, import_versions
from tests.faults import CHANGING, READING, WRITING, FaultIO, run_killed

NOW = Timestamp(1_800_000_000_000_000, 0)


def git_lfs(folder: Path) -> None:
    source = GitSource(folder)
    for number, data in enumerate(weights_versions(3)):
        source.lfs("model.safetensors", data)
        source.write("notes/a.md", b"%d" % number)
        source.commit(f"{number}")
    source.git("tag", "-m", "good", "v1")


def checkpoints(folder: Path) -> None:
    for number, data in enumerate(weights_versions(3)):
        place = folder / f"checkpoint-{number}"
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(data)


SOURCES = {"git-lfs": git_lfs, "folder": checkpoints}


def run(io: FileIO, source: Path, target: Path) -> None:
    wish = Wish(source, environment={"PATH": os.environ["PATH"]})
    import_versions(io, target, wish, ME, NOW, Monitor())


class Scene:
    """A source, and what importing it makes."""

    def __init__(self, kind: str, place: Path) -> None:
        self.source, self.target = place / "source", place / "target"
        SOURCES[kind](self.source)
        self.as_it_was = contents(self.source)
        io = FaultIO(counted=READING + WRITING)
        run(io, self.source, self.target)
        self.steps = io.steps
        self.tip, self.work = tip(self.target), tree(self.target)
        self.files = [files_of(self.target, one) for one in line(self.target)]

    def fresh(self) -> Path:
        shutil.rmtree(self.target, ignore_errors=True)
        return self.target

    def check(self) -> bool:
        """Nothing is half, and another try ends as it should; returns whether there was a repository."""
        assert contents(self.source) == self.as_it_was
        there = (self.target / ".mvc" / "format").exists()
        if there:
            assert_sound(self.target)
            assert tip(self.target) in (None, self.tip)
        take(self.source, self.target)
        assert tip(self.target) == self.tip
        assert tree(self.target) == self.work
        assert [files_of(self.target, one) for one in line(self.target)] == self.files
        assert tip(self.target, "refs/worktree/import/main") is None
        assert_sound(self.target)
        return there


@pytest.fixture(params=[pytest.param("git-lfs", marks=needs_git), "folder"])
def scene(request, tmp_path, monkeypatch) -> Scene:
    monkeypatch.setattr(storing, "BATCH_VERSIONS", 1)
    return Scene(request.param, tmp_path)


strided = pytest.mark.parametrize(
    "stride", [17, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)


@strided
def test_killed_at_a_step(scene, stride) -> None:
    died, found, step = 0, 0, 1
    while True:
        target = scene.fresh()
        if not run_killed(lambda io, target=target: run(io, scene.source, target), step, CHANGING):
            break
        died += 1
        found += scene.check()
        step += stride
    assert died >= 5 and found >= 3


@strided
def test_refused_at_a_step(scene, stride) -> None:
    failed = 0
    for step in range(2, scene.steps, stride * 4):
        io = FaultIO(fail_at=step)
        try:
            run(io, scene.source, scene.fresh())
        except (MvcError, OSError) as error:
            assert isinstance(error, MvcError), (step, io.names[step - 1])
            failed += 1
        scene.check()
    assert failed >= 3
