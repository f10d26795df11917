"""Bit rot, repaired: from a second copy everything comes back; without one nothing that could be read is
lost, and what stays lost is told. Some cases of each way; ``make bitrot`` tries them all."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.rot import WAYS, Scene

pytest.importorskip("mvc.ops.repair", reason="this mvc has no repair")
from tests.rot_repair import try_repair, try_repair_alone

SOME = 12  # cases of each way


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    return Scene(tmp_path_factory.mktemp("rot") / "repo")


@pytest.fixture(scope="module")
def copy(scene, tmp_path_factory) -> Path:
    """The store alone: a copy needs no work tree."""
    place = tmp_path_factory.mktemp("copy") / "repo"
    shutil.copytree(scene.folder / ".mvc", place / ".mvc")
    # nor does the damaged repository have one: what lies there would be taken for a copy, too
    for path in scene.folder.iterdir():
        if path.name != ".mvc":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return place


def some(scene: Scene, way: str) -> list:
    rng = random.Random(17)
    cases = [item for item in WAYS[way](scene.kept, rng) if "format" not in item[1]]
    return rng.sample(cases, min(SOME, len(cases)))


@pytest.mark.parametrize("way", WAYS)
def test_a_second_copy_restores_everything(scene, copy, way):
    for name, case in some(scene, way):
        try_repair(scene, name, case, copy)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_copy_nothing_is_lost_by_the_repair(scene, copy, way):
    whole = [try_repair_alone(scene, name, case) for name, case in some(scene, way)]
    assert len(whole) == min(SOME, len(whole))
