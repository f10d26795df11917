"""``reset``: where the branch points, and whether the files follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mvc.errors import DamageError, RevisionNotFound
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit
from mvc.ops.reset import reset
from mvc.ops.status import status
from mvc.refs import encode_target
from mvc.transaction import Update, begin
from mvc.underway.pending import PENDING
from tests.engine import ME, assert_sound, make_repository, now, snapshot, switch_to, tree
from tests.lines import assert_undone, everything, head, put, version


@pytest.fixture
def repository(tmp_path):
    made = make_repository(tmp_path)
    version(made, {"a": "one", "kept": "kept"}, "one")
    version(made, {"a": "two", "new": "new"}, "two")
    return made


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("mode", ["soft", "mixed"])
def test_the_branch_moves_and_the_files_stay(repository, tmp_path, mode, detached):
    if detached:
        switch_to(repository, "main", detach=True)
    before = everything(repository)
    done = reset(repository, "HEAD~1", ME, now(), mode=mode)
    assert head(repository)[0] == done.commit != before[0]
    assert done.branch == (None if detached else "main")
    assert tree(tmp_path) == before[2]
    found = status(repository).state
    assert (found.added, found.modified) == (["new"], ["a"])
    if detached:
        assert everything(repository)[1] == before[1]
    assert_undone(repository, before)


def test_hard_makes_tracked_files_what_they_were(repository, tmp_path):
    put(tmp_path, {"kept": "mine", "untracked": "mine", "a": None})
    before = everything(repository)
    done = reset(repository, "HEAD~1", ME, now(), mode="hard")
    assert (done.written, done.removed) == (2, 1)
    assert tree(tmp_path) == {
        "a": (b"one", False),
        "kept": (b"kept", False),
        "untracked": (b"mine", False),
    }
    assert_sound(tmp_path)
    assert_undone(repository, before)


def test_hard_without_a_revision_takes_back_uncommitted_work(repository, tmp_path):
    files = tree(tmp_path)
    put(tmp_path, {"a": "mine", "new": None})
    (tmp_path / "kept").chmod(0o755)
    before = everything(repository)
    reset(repository, "HEAD", ME, now(), mode="hard")
    assert tree(tmp_path) == files and status(repository).clean
    assert_undone(repository, before)


def test_forwards_too(repository, tmp_path):
    newest = head(repository)[0].hex()
    reset(repository, "HEAD~1", ME, now(), mode="hard")
    reset(repository, newest, ME, now(), mode="hard")
    assert (tmp_path / "a").read_text() == "two" and status(repository).clean


def test_there_must_be_such_a_version(repository, tmp_path):
    before = everything(repository)
    with pytest.raises(RevisionNotFound):
        reset(repository, "HEAD~7", ME, now(), mode="hard")
    assert everything(repository) == before


def test_hard_gets_out_of_a_record_that_cannot_be_read(repository, tmp_path):
    plain = head(repository)[0]  # a commit that tells nothing of anything under way
    with begin(repository, "damage", ME, now()) as tx:
        tx.publish(lambda _view: Update(refs={PENDING: encode_target(plain)}))
    put(tmp_path, {"a": "mine"})
    reset(repository, "HEAD", ME, now(), mode="hard")
    assert PENDING not in everything(repository)[1]
    snapshot(repository, "and on", allow_empty=True)


@pytest.mark.parametrize("lost", ["the commit", "its tree"])
def test_hard_leads_out_of_a_merge_whose_record_is_lost(repository, tmp_path, lost):
    missing = CommitId(bytes(32))
    with begin(repository, "a merge", ME, now()) as tx:
        if lost == "its tree":
            tree_of_none = Commit(TreeId(bytes(32)), (head(repository)[0],), ME, now(), "m")
            value = {"conflicts": [], "current": False, "kind": "merge", "options": {}, "rest": []}
            bad = replace(tree_of_none, extra={"pending": value})
            missing = tx.writer.put(CommitId, bad.to_bytes())
        tx.publish(lambda _view: Update(refs={PENDING: encode_target(missing)}))
    put(tmp_path, {"a": "mine"})
    if lost == "the commit":
        with pytest.raises(DamageError) as damage:
            status(repository)
        assert "reset --hard" in damage.value.hint
    reset(repository, "HEAD", ME, now(), mode="hard")
    assert (tmp_path / "a").read_text() == "two" and status(repository).clean
