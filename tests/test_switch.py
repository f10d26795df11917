"""``switch`` and ``checkout -``: which branch is current, and what becomes of the work tree."""

from __future__ import annotations

import pytest

from mvc.errors import ConflictError, RevisionNotFound, UsageError, UserError, WouldOverwrite
from mvc.ops.status import status
from mvc.ops.switch import switch, switch_orphan
from mvc.ops.undo import undo
from tests.engine import ME, make_repository, now, snapshot, switch_to, tree
from tests.lines import assert_undone, everything, head, put, version


@pytest.fixture
def repository(tmp_path):
    made = make_repository(tmp_path)
    version(made, {"a": "one", "b": "b"}, "one")
    switch_to(made, "HEAD", new_branch="side")
    version(made, {"a": "two"}, "two")
    return made


def go(repository, revision="HEAD", **options):
    return switch(repository, revision, ME, now(), **options)


def test_to_a_branch_and_back(repository, tmp_path):
    before = everything(repository)
    done = go(repository, "main")
    assert done.branch == "main" and (tmp_path / "a").read_text() == "one"
    assert_undone(repository, before)


def test_only_branches_without_a_word(repository):
    before = everything(repository)
    for revision in ("main~0", head(repository)[0].hex()):
        with pytest.raises(UserError, match="is no branch") as refused:
            go(repository, revision)
        assert "--detach" in refused.value.hint
    with pytest.raises(RevisionNotFound):
        go(repository, "nowhere")
    assert everything(repository) == before
    assert go(repository, "main", detach=True).branch is None
    assert_undone(repository, before)
    with pytest.raises(UsageError):
        go(repository, "main", detach=True, create="x")


def test_new_branches(repository):
    before = everything(repository)
    assert go(repository, create="new").branch == "new"
    with pytest.raises(ConflictError, match="exists"):
        go(repository, "main", create="new")
    go(repository, "main", create="new", reset=True)
    assert everything(repository)[1]["refs/heads/new"] == before[1]["refs/heads/main"]
    undo(repository, ME, now())
    assert_undone(repository, before)


def test_the_branch_before(repository):
    with pytest.raises(RevisionNotFound, match="no earlier branch"):
        go(make_repository(repository.worktree.parent / "other"), "-")
    go(repository, "main")
    assert go(repository, "-").branch == "side"
    assert go(repository, "-").branch == "main"
    go(repository, "side", detach=True)
    snapshot(repository, "detached", allow_empty=True)
    snapshot(repository, "detached again", allow_empty=True)
    here = head(repository)[0]
    assert go(repository, "-").branch == "main"  # commits on a detached HEAD are no switches
    back = go(repository, "-")
    assert back.branch is None and back.commit == here
    assert switch_to(repository, "-").branch == "main"
    undo(repository, ME, now())  # as if it had not been
    assert switch_to(repository, "-").branch == "main"


def test_uncommitted_work(repository, tmp_path):
    put(tmp_path, {"b": "mine", "c": "mine"})
    go(repository, "main")  # which has the same b, and no c
    assert (tmp_path / "b").read_text() == "mine" and (tmp_path / "c").read_text() == "mine"
    put(tmp_path, {"a": "mine"})
    before = everything(repository)
    with pytest.raises(WouldOverwrite, match="a"):
        go(repository, "side")
    assert everything(repository) == before
    go(repository, "side", force=True)
    assert tree(tmp_path) == {"a": (b"two", False), "b": (b"b", False), "c": (b"mine", False)}
    assert_undone(repository, before, force=True)


def test_an_orphan_begins_with_nothing(repository, tmp_path):
    put(tmp_path, {"untracked": "mine"})
    before = everything(repository)
    done = switch_orphan(repository, "fresh", ME, now())
    assert done.commit is None and done.branch == "fresh"
    assert set(tree(tmp_path)) == {"untracked"} and status(repository).head is None
    assert_undone(repository, before)
    with pytest.raises(ConflictError, match="exists"):
        switch_orphan(repository, "main", ME, now())
    switch_orphan(repository, "fresh", ME, now())
    version(repository, {"new": "new"}, "first of its line")
    assert head(repository)[1].parents == ()


def test_files_that_nobody_tracks_give_way_to_folders_and_folders_to_files_by_force_only(tmp_path):
    made = make_repository(tmp_path)
    version(made, {"a": "one"}, "one")
    switch_to(made, "HEAD", new_branch="side")
    version(made, {"d/x": "x", "f": "f"}, "two")
    go(made, "main")
    put(tmp_path, {"d": "own", "f/u": "u", "f/deep/v": "v", "other": "stays"})
    before = everything(made)
    with pytest.raises(WouldOverwrite):
        go(made, "side")
    assert everything(made) == before
    go(made, "side", force=True)
    found = {path: data for path, (data, _executable) in tree(tmp_path).items()}
    assert found == {"a": b"one", "d/x": b"x", "f": b"f", "other": b"stays"}
    undo(made, ME, now(), force=True)
    assert everything(made) == before, "it was stored first"
