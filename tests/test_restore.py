"""``restore``: files as they are in a version, without a question."""

from __future__ import annotations

import pytest

from mvc.errors import RevisionNotFound, UsageError, UserError
from mvc.ops.restore import restore
from mvc.ops.status import status
from tests.engine import ME, assert_sound, make_repository, now, tree
from tests.lines import assert_undone, everything, fork, merge, put, version


@pytest.fixture
def repository(tmp_path):
    made = make_repository(tmp_path)
    version(made, {"a": "one", "d/x": "x", "d/y": "y"}, "one")
    version(made, {"a": "two", "d/y": None, "d/z": "z"}, "two")
    return made


def bring_back(repository, *paths, **options):
    return restore(repository, paths, ME, now(), **options)


def test_what_was_changed_or_deleted_comes_back(repository, tmp_path):
    files = tree(tmp_path)
    put(tmp_path, {"a": "mine", "d/x": None, "d/z": "mine", "d/new": "mine", "new": "mine"})
    before = everything(repository)
    assert bring_back(repository, "d").written == 2
    assert (tmp_path / "a").read_text() == "mine" and (tmp_path / "d/new").read_text() == "mine"
    assert (tmp_path / "d/x").read_text() == "x" and (tmp_path / "d/z").read_text() == "z"
    assert_undone(repository, before)
    bring_back(repository)
    assert tree(tmp_path) == {**files, "d/new": (b"mine", False), "new": (b"mine", False)}
    assert_sound(tmp_path)
    assert_undone(repository, before)


def test_an_older_version_brings_its_files_and_removes_those_that_it_lacks(repository, tmp_path):
    put(tmp_path, {"d/new": "untracked"})
    before = everything(repository)
    done = bring_back(repository, "d", source="HEAD~1")
    assert (done.written, done.removed) == (1, 1)
    assert set(tree(tmp_path)) == {"a", "d/x", "d/y", "d/new"}
    assert (tmp_path / "a").read_text() == "two"
    assert everything(repository)[:2] == before[:2]
    assert status(repository).state.deleted == ["d/z"]
    assert_undone(repository, before)
    bring_back(repository, "d/y", source="HEAD~1")  # which HEAD does not have
    assert (tmp_path / "d/y").read_text() == "y"
    bring_back(repository, "d/z", source="HEAD~1")  # which only HEAD has
    assert not (tmp_path / "d/z").exists()


def test_an_untracked_file_in_the_place_of_one_is_stored_first(repository, tmp_path):
    put(tmp_path, {"d/y": "mine, and untracked"})
    before = everything(repository)
    bring_back(repository, "d/y", source="HEAD~1")
    assert (tmp_path / "d/y").read_text() == "y"
    assert_undone(repository, before)


def test_paths_must_be_known(repository, tmp_path):
    put(tmp_path, {"untracked": "mine"})
    before = everything(repository)
    for path in ("nowhere", "untracked"):
        with pytest.raises(RevisionNotFound, match="nothing is called"):
            bring_back(repository, path)
    with pytest.raises(RevisionNotFound):
        bring_back(repository, "a", source="nothing")
    with pytest.raises(UsageError):
        bring_back(repository, "a", source="HEAD", side="ours")
    with pytest.raises(UserError, match="nothing is in conflict"):
        bring_back(repository, "a", side="ours")
    assert everything(repository) == before


def test_during_a_merge_files_become_what_it_left(tmp_path):
    repository = fork(
        tmp_path, {"a": "base\n", "b": "b"}, {"a": "ours\n"}, {"a": "theirs\n", "b": "merged", "n": "n"}
    )
    merge(repository)
    left = tree(tmp_path)
    put(tmp_path, {"a": "half done", "b": "half done", "n": None})
    before = everything(repository)
    bring_back(repository)
    assert tree(tmp_path) == left
    assert [conflict.path for conflict in status(repository).unresolved] == ["a"]
    assert_undone(repository, before)
