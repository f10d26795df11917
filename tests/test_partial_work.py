"""Work in clones in which something was left out: check out, commit, merge, fetch, push, deepen."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvc.errors import UserError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.ops.blame import attribute
from mvc.ops.cat import cat
from mvc.ops.checkout import checkout, checkout_paths
from mvc.ops.clone import Cloned, CloneRequest, clone
from mvc.ops.commit import Request
from mvc.ops.fetch import fetch
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as GcRequest
from mvc.ops.gc import gc
from mvc.ops.log import log
from mvc.ops.merge import MergeRequest, merge
from mvc.ops.merge_base import merge_base
from mvc.ops.push import push
from mvc.ops.restore import restore
from mvc.ops.show import show
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.remotes.filters import parse_filter
from mvc.repo import Repository
from mvc.sharing.fetching import FetchRequest
from mvc.sharing.partial import read_shallow
from mvc.sharing.pushing import PushRequest
from mvc.store import SharedFolder
from mvc.workspace import files_of
from tests.engine import (
    ME,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    tree,
    weights_versions,
)


@pytest.fixture
def source(tmp_path: Path) -> Repository:
    folder = tmp_path / "source"
    (folder / "docs").mkdir(parents=True)
    repository = make_repository(folder)
    for number, data in enumerate(weights_versions(4, elements=20_000)):
        (folder / "model.safetensors").write_bytes(data)
        (folder / "docs" / "notes.txt").write_bytes(b"run %d\n" % number * 2000)
        snapshot(repository, f"version {number}")
    return repository


def cloned(source: Repository, folder: Path, *texts: str, depth: int | None = None) -> Repository:
    return copy(str(source.worktree), folder, *texts, depth=depth).repository


def copy(address: str, folder: Path, *texts: str, depth: int | None = None) -> Cloned:
    request = CloneRequest(filter=parse_filter(texts, depth))
    return clone(FileIO(), address, folder, Monitor(), request, ME, now(), base=folder.parent, environment={})


def fetched(repository: Repository) -> int:
    return repository.monitor.counters["fetched_objects"]


def test_a_clone_by_path_lays_down_what_matches(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    assert set(tree(made.worktree)) == {"docs/notes.txt"}
    assert fetched(made) == 0
    assert status(made).clean


def test_a_commit_keeps_what_does_not_lie_in_the_work_tree(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    (made.worktree / "docs" / "notes.txt").write_bytes(b"mine\n")
    (made.worktree / "docs" / "more.txt").write_bytes(b"more\n")
    snapshot(made)
    with made.reading() as view, source.reading() as theirs:
        files, before = files_of(view, view.head_commit()), files_of(theirs, theirs.head_commit())
        assert files["model.safetensors"] == before["model.safetensors"]
        assert set(files) == {"docs/notes.txt", "docs/more.txt", "model.safetensors"}
    assert fetched(made) == 0
    assert status(made).clean


def test_a_file_that_is_deleted_goes_where_it_should_lie(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    (made.worktree / "docs" / "notes.txt").unlink()
    assert status(made).state.deleted == ["docs/notes.txt"]


def test_a_file_comes_when_it_is_asked_for_and_is_tracked_from_then_on(
    source: Repository, tmp_path: Path
) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    checkout_paths(made, "HEAD", ["model.safetensors"], ME, now())
    path = made.worktree / "model.safetensors"
    assert path.read_bytes() == (source.worktree / "model.safetensors").read_bytes()
    assert fetched(made) > 0 and status(made).clean
    path.unlink()
    assert status(made).state.deleted == ["model.safetensors"]
    restore(made, ["model.safetensors"], ME, now())
    switch_to(made, "HEAD~1")
    assert path.read_bytes() == weights_versions(3, elements=20_000)[2]


def test_restore_brings_a_file_that_was_left_out(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    restore(made, [], ME, now())
    assert set(tree(made.worktree)) == {"docs/notes.txt"}
    restore(made, ["model.safetensors"], ME, now())
    assert set(tree(made.worktree)) == {"docs/notes.txt", "model.safetensors"}


def test_switching_and_undoing_leave_alone_what_is_not_there(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    switch_to(made, "HEAD~2")
    assert (made.worktree / "docs" / "notes.txt").read_bytes().startswith(b"run 1")
    undo(made, ME, now())
    assert set(tree(made.worktree)) == {"docs/notes.txt"}
    assert (made.worktree / "docs" / "notes.txt").read_bytes().startswith(b"run 3")
    assert status(made).clean and fetched(made) == 0


def test_a_strange_file_where_one_was_left_out_is_not_overwritten(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    (made.worktree / "model.safetensors").write_bytes(b"my own")
    assert status(made).state.modified == ["model.safetensors"]


def test_by_tensor_no_file_is_laid_down_unless_asked(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "tensor:b.*")
    assert tree(made.worktree) == {} and status(made).clean
    source.worktree.rename(tmp_path / "away")
    with made.reading() as view:
        assert len(b"".join(cat(view, "HEAD:model.safetensors#b.bias"))) == 14


def test_merging_keeps_both_sides_of_what_was_left_out(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    checkout(made, "HEAD~1", ME, now(), new_branch="mine")
    (made.worktree / "docs" / "own.txt").write_bytes(b"mine\n")
    snapshot(made)
    merged = merge(made, MergeRequest("origin/main", Request(None, ME, now())))
    assert merged.kind == "merged"
    with made.reading() as view, source.reading() as theirs:
        files, before = files_of(view, view.head_commit()), files_of(theirs, theirs.head_commit())
        assert files["model.safetensors"] == before["model.safetensors"]
    assert set(tree(made.worktree)) == {"docs/notes.txt", "docs/own.txt"}
    assert fetched(made) == 0 and status(made).clean


def test_a_conflict_in_what_was_left_out_is_settled_by_a_side(source: Repository, tmp_path: Path) -> None:
    (source.worktree / "docs" / "notes.txt").write_bytes(b"theirs\n")
    (source.worktree / "docs" / "other.txt").write_bytes(b"theirs too\n")
    snapshot(source)
    made = cloned(source, tmp_path / "clone", "path:*.safetensors")
    checkout(made, "HEAD~1", ME, now(), new_branch="mine")
    checkout_paths(made, "HEAD", ["docs/notes.txt"], ME, now())
    (made.worktree / "docs" / "notes.txt").write_bytes(b"ours\n")
    snapshot(made)
    merged = merge(made, MergeRequest("origin/main", Request(None, ME, now())))
    assert merged.kind == "conflicts"
    restore(made, ["docs/notes.txt"], ME, now(), side="theirs")
    snapshot(made)
    with made.reading() as view, source.reading() as theirs:
        files, before = files_of(view, view.head_commit()), files_of(theirs, theirs.head_commit())
        assert files == before
    assert set(tree(made.worktree)) == {"docs/notes.txt", "model.safetensors"}


def test_nothing_is_hashed_or_fetched_to_show_a_version(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    with made.reading() as view:
        shown = show(made, view)
        assert shown.weights is None and shown.same_weights() == {}
        assert [change.path for change in shown.changes] == ["docs/notes.txt", "model.safetensors"]
    assert fetched(made) == 0 and made.monitor.damage == []


def test_collecting_garbage_passes_over_what_lies_elsewhere(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/", depth=2)
    checkout_paths(made, "HEAD", ["model.safetensors"], ME, now())
    before = fetched(made)
    gc(made, GcRequest(now()))
    gc(made, GcRequest(now(), repack=True))
    again = open_repository(made.worktree)
    assert fsck(again, full=True).damage == [] and fetched(again) == 0 and fetched(made) == before
    source.worktree.rename(tmp_path / "away")
    with again.reading() as view:
        assert (
            b"".join(cat(view, "HEAD:model.safetensors"))
            == (made.worktree / "model.safetensors").read_bytes()
        )


def test_questions_to_history_end_where_it_was_cut(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", depth=2)
    ends = history(made)
    assert ends == history(source)[:2]
    with made.reading() as view:
        assert merge_base(view, ["HEAD", "HEAD~1"]) == [ends[1]]
        found = attribute(view, "HEAD", "docs/notes.txt")
        assert {line.origin.id for line in found.lines or ()} <= set(ends)
    switch_to(made, ends[1].hex())
    assert status(made).clean


def test_history_is_deepened_and_made_whole(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", depth=1)
    assert history(made) == history(source)[:1]
    fetch(made, "origin", FetchRequest(filter=parse_filter((), 3)), ME, now())
    made = open_repository(made.worktree)
    assert history(made) == history(source)[:3] and read_shallow(made) == {history(source)[2]}
    fetch(made, "origin", FetchRequest(unshallow=True), ME, now())
    made = open_repository(made.worktree)
    assert history(made) == history(source)
    assert not (made.store / "shallow").exists()
    assert fsck(made, full=True).damage == []


def test_a_fetch_brings_as_much_as_the_clone_did(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/", depth=1)
    for number in (5, 6):
        (source.worktree / "docs" / "notes.txt").write_bytes(b"run %d\n" % number)
        (source.worktree / "model.safetensors").write_bytes(
            weights_versions(1, elements=20_000, seed=number)[0]
        )
        snapshot(source)
    fetch(made, "origin", FetchRequest(), ME, now())
    made = open_repository(made.worktree)
    with made.reading() as view:
        tip = view.refs.get("refs/remotes/origin/main")
        manifest = view.manifests.manifest(ManifestId(files_of(view, tip)["model.safetensors"].id))
        assert any(part.blob and part.blob not in view.objects for part in manifest.parts)
    assert history_of(made, "origin/main") == history(source)[:3]
    assert fsck(made).damage == []


def history_of(repository: Repository, revision: str) -> list:
    with repository.reading() as view:
        return [entry.id for entry in log(view, [revision])]


def test_work_in_a_part_is_pushed_to_where_it_came_from(source: Repository, tmp_path: Path) -> None:
    shared = SharedFolder.create(FileIO(), tmp_path / "shared", Monitor(), branch="main")
    source.write_config(source.config().with_value("remote.origin.url", str(shared.store)))
    push(source, "origin", PushRequest(("main",)), ME, now())
    made = copy(str(shared.store), tmp_path / "clone", "path:docs/", depth=1).repository
    (made.worktree / "docs" / "notes.txt").write_bytes(b"mine\n")
    done = snapshot(made)
    push(made, "origin", PushRequest(("main",)), ME, now())
    assert fetched(made) == 0
    with shared.reading() as view:
        assert view.refs.get("refs/heads/main") == done.id


def test_another_remote_gets_what_is_not_here_either(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", "path:docs/")
    shared = SharedFolder.create(FileIO(), tmp_path / "other", Monitor(), branch="main")
    made.write_config(made.config().with_value("remote.other.url", str(shared.store)))
    push(made, "other", PushRequest(("main",)), ME, now())
    full = copy(str(shared.store), tmp_path / "full").repository
    assert tree(full.worktree) == tree(source.worktree)
    assert fsck(full, full=True).damage == []


def test_history_that_was_cut_is_not_pushed_to_who_lacks_it(source: Repository, tmp_path: Path) -> None:
    made = cloned(source, tmp_path / "clone", depth=1)
    shared = SharedFolder.create(FileIO(), tmp_path / "other", Monitor(), branch="main")
    made.write_config(made.config().with_value("remote.other.url", str(shared.store)))
    with pytest.raises(UserError, match="not here either") as caught:
        push(made, "other", PushRequest(("main",)), ME, now())
    assert "--unshallow" in caught.value.hint
