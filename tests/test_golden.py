"""Repositories of every released format version keep reading, byte for byte."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from mvc.codecs import CODECS
from mvc.odb.pack import read_record
from mvc.odb.record import Recipe
from mvc.ops.fsck import fsck
from mvc.ops.undo import undo
from mvc.predictors import PREDICTORS
from tests.engine import ME, assert_sound, now, open_repository, snapshot, switch_to, tree

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.name.removesuffix(".tar.gz") for path in GOLDEN.glob("*.tar.gz"))


@pytest.fixture
def unpacked(request, tmp_path) -> tuple[Path, dict]:
    with tarfile.open(GOLDEN / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path, json.loads((GOLDEN / f"{request.param}.json").read_text())


def test_there_is_one_for_each_format_version_and_for_what_came_into_it():
    assert VERSIONS == ["format-1", "format-1-merges", "format-1-recipes"]


def test_they_hold_every_codec_and_predictor(tmp_path):
    """What is new in a table gets an archive of its own, since whatever was written must be read for ever."""
    codecs, predictors = set(), set()
    for name in VERSIONS:
        with tarfile.open(GOLDEN / f"{name}.tar.gz") as archive:
            archive.extractall(tmp_path / name, filter="data")
        with open_repository(tmp_path / name).reading() as view:
            for entry in view.index.entries():
                record = read_record(view.backend, entry)
                codecs.update((step.name, step.version) for step in record.chain)
                if record.bases:
                    recipe = record.recipe or Recipe("concat", 1, {})
                    predictors.add((recipe.name, recipe.version))
    assert codecs == set(CODECS)
    assert predictors == set(PREDICTORS)


@pytest.mark.parametrize("unpacked", VERSIONS, indirect=True)
def test_every_version_in_it_comes_back(unpacked):
    folder, expected = unpacked
    repository = open_repository(folder)
    for identity, files in expected["versions"].items():
        switch_to(repository, identity, force=True)
        found = {
            path: [hashlib.sha256(data).hexdigest(), mode] for path, (data, mode) in tree(folder).items()
        }
        assert found == files
    with repository.reading() as view:
        assert {name: value.hex() for name, value in view.refs.values()} == expected["refs"]
    assert fsck(repository, full=True).damage == []


@pytest.mark.parametrize("unpacked", VERSIONS, indirect=True)
def test_work_goes_on_in_it(unpacked):
    folder, expected = unpacked
    repository = open_repository(folder)
    with repository.reading() as view:
        head = view.head_commit()
        before = sum(1 for _ in view.operations())
    switch_to(repository, "main", force=True)
    (folder / "new.txt").write_text("new")
    assert snapshot(repository, "by a newer mvc").commit.parents == (head,)
    undo(repository, ME, now())
    with repository.reading() as view:
        assert view.head_commit() == head
        assert sum(1 for _ in view.operations()) >= before + 2
    assert head.hex() in expected["versions"]
    assert_sound(folder)
