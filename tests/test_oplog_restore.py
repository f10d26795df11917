"""``mvc oplog restore``: refs, HEAD and work tree become what they were right after an operation."""

from __future__ import annotations

import json

import pytest

from mvc.errors import AmbiguousRevision, AnswerIsNo, RevisionNotFound, WouldOverwrite
from mvc.objectid import CommitId
from mvc.ops import branch, tag
from mvc.ops.checkout import checkout_paths
from mvc.ops.gc import Request as GcRequest
from mvc.ops.gc import gc
from mvc.ops.oplog import operations, restore
from mvc.ops.undo import undo
from mvc.refs import encode_target
from mvc.transaction import Update, begin
from tests.engine import ME, assert_sound, make_repository, now, open_repository, snapshot, switch_to, tree
from tests.git_pair import Mvc


def state(repository):
    """Refs, HEAD and every file."""
    with repository.reading() as view:
        return dict(view.refs.values()), view.root.head, tree(repository.worktree)


def newest(repository) -> str:
    with repository.reading() as view:
        return next(operations(view)).id.hex()


def back_to(repository, operation: str, **options):
    return restore(repository, operation, ME, now(), **options)


@pytest.fixture
def past(tmp_path):
    """A repository, and each operation with the state that it left."""
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    seen = {}

    def note():
        seen[newest(repository)] = state(repository)

    (folder / "a").write_text("one\n")
    (folder / "d").mkdir()
    (folder / "d" / "x").write_text("x\n")
    (folder / "d" / "x").chmod(0o755)
    snapshot(repository, "one")
    note()
    branch.create(repository, "p", "HEAD", ME, now())
    note()
    (folder / "a").write_text("two\n")
    (folder / "b").write_text("new\n")
    (folder / "d" / "x").unlink()
    (folder / "d").rmdir()
    snapshot(repository, "two")
    note()
    checkout_paths(repository, "HEAD~1", ["d"], ME, now())
    note()
    tag.create(repository, "t", "HEAD~1", ME, now(), message="annotated")
    note()
    (folder / "d" / "x").chmod(0o644)
    snapshot(repository, "three")
    note()
    switch_to(repository, "p")
    note()
    switch_to(repository, "main~1", detach=True)
    note()
    undo(repository, ME, now())
    note()
    branch.rename(repository, "main", "trunk", ME, now())
    note()
    (folder / "a").write_text("on p\n")
    snapshot(repository, None, amend=True)
    note()
    undo(repository, ME, now())
    note()
    branch.delete(repository, "trunk", ME, now(), force=True)
    note()
    return repository, seen


def test_every_operation_can_be_gone_back_to_and_returned_from(past):
    repository, seen = past
    last = state(repository)
    for operation, then in seen.items():
        if then == last:
            continue
        back_to(repository, operation)
        assert state(repository) == then
        undo(repository, ME, now())
        assert state(repository) == last
    assert_sound(repository.worktree)


def test_going_back_and_forth_without_undo(past):
    repository, seen = past
    for operation in [*seen, *reversed(list(seen)), *list(seen)[::3]]:
        if state(repository) != seen[operation]:
            back_to(repository, operation)
        assert state(repository) == seen[operation]


def test_it_still_works_after_a_collection(past):
    repository, seen = past
    gc(repository, GcRequest(now(), None, repack=True))
    for operation, then in reversed(seen.items()):
        if state(repository) != then:
            back_to(repository, operation)
        assert state(repository) == then


def test_what_was_reset_softly_keeps_its_files(tmp_path):
    repository = make_repository(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "a").write_text("one\n")
    one = snapshot(repository).id
    (folder / "a").write_text("two\n")
    snapshot(repository)
    with begin(repository, "reset --soft HEAD~1", ME, now()) as tx:
        tx.publish(lambda view: Update(refs={view.head: encode_target(one)}))
    soft, operation = state(repository), newest(repository)
    switch_to(repository, "HEAD", force=True)
    (folder / "a").write_text("three\n")
    snapshot(repository)
    back_to(repository, operation)
    assert state(repository) == soft
    assert (folder / "a").read_text() == "two\n"


def test_uncommitted_work_is_refused_or_comes_back_with_undo(past):
    repository, seen = past
    folder = repository.worktree
    operation = list(seen)[2]  # "two", where a is another one
    (folder / "a").write_text("mine\n")
    (folder / "untracked").write_text("mine too\n")
    before = state(repository)
    with pytest.raises(WouldOverwrite, match="a"):
        back_to(repository, operation)
    assert state(repository) == before
    back_to(repository, operation, force=True)
    refs, head, files = seen[operation]
    assert state(repository) == (refs, head, {**files, "untracked": (b"mine too\n", False)})
    undo(repository, ME, now())
    assert state(repository) == before


def test_work_in_files_that_do_not_change_stays(past):
    repository, seen = past
    folder = repository.worktree
    (folder / "mine").write_text("mine\n")
    for operation, (_refs, _head, files) in seen.items():
        if tree(folder) != {**files, "mine": (b"mine\n", False)}:
            back_to(repository, operation)
        assert tree(folder) == {**files, "mine": (b"mine\n", False)}


def test_before_the_first_version_the_files_are_left_alone(tmp_path):
    repository = make_repository(tmp_path / "repo")
    switch_to(repository, "HEAD", new_branch="other")
    operation = newest(repository)
    (tmp_path / "repo" / "a").write_text("a\n")
    snapshot(repository)
    back_to(repository, operation)
    with repository.reading() as view:
        assert view.head_commit() is None
        assert view.branch() == "other"
    assert tree(tmp_path / "repo") == {"a": (b"a\n", False)}


def test_refusals(past):
    repository, _seen = past
    with pytest.raises(RevisionNotFound):
        back_to(repository, "ffffffffffff")
    with pytest.raises(RevisionNotFound):
        back_to(repository, "")
    with pytest.raises(AnswerIsNo):
        back_to(repository, newest(repository))
    with repository.reading() as view:
        names = [operation.id.hex() for operation in operations(view)]
    shared = next((n[:1] for n in names if sum(other.startswith(n[:1]) for other in names) > 1), None)
    assert shared is not None
    with pytest.raises(AmbiguousRevision):
        back_to(repository, shared)


def test_the_command_line(tmp_path):
    mvc = Mvc(tmp_path / "repo")
    (mvc.folder / "a").write_text("one\n")
    assert mvc.run("commit", "-m", "one") == 0
    assert mvc.run("oplog", "--json") == 0
    first = json.loads(mvc.said)[0]["id"]
    mvc.seconds += 1
    (mvc.folder / "a").write_text("two\n")
    assert mvc.run("commit", "-m", "two") == 0
    assert mvc.run("oplog", "restore", first[:12], "--json") == 0
    done = json.loads(mvc.said)
    assert (done["operation"]["id"], done["written"], done["removed"]) == (first, 1, 0)
    assert (mvc.folder / "a").read_text() == "one\n"
    assert mvc.run("oplog", "restore", first) == 1
    assert mvc.run("undo") == 0
    assert (mvc.folder / "a").read_text() == "two\n"
    for words in (["restore"], ["restor", first], ["--force"], ["restore", first, "-n", "3"]):
        assert mvc.run("oplog", *words) == 2
    (mvc.folder / "a").write_text("mine\n")
    assert mvc.run("oplog", "restore", first) == 4
    assert "--force" in mvc.said


def test_a_state_made_elsewhere_in_between_is_not_lost(past, monkeypatch):
    """Somebody else's branch, made while the work tree is written, makes it start again."""
    from mvc.errors import RefMoved
    from mvc.ops import oplog

    repository, seen = past
    real = oplog.switch

    def meddling(workspace, tx, *rest, **options):
        other = open_repository(repository.worktree)
        with other.reading() as view:
            target = view.head_commit()
        assert isinstance(target, CommitId)
        branch.create(other, "elsewhere", "HEAD", ME, now())
        return real(workspace, tx, *rest, **options)

    monkeypatch.setattr(oplog, "switch", meddling)
    with pytest.raises(RefMoved):
        back_to(repository, next(iter(seen)))
    with repository.reading() as view:
        assert view.get("refs/heads/elsewhere") is not None
