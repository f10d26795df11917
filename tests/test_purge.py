"""Purge: what goes is gone from every byte of the store, what stays is as it was, and nothing brings it
back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from time import sleep

import pytest

from mvc.errors import ConflictError, ObjectPurged, RevisionNotFound, UsageError, UserError
from mvc.history.reader import read_manifest
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId
from mvc.ops import branch, notes, tag
from mvc.ops.commit import Request as Commit
from mvc.ops.diff import diff_versions, diff_worktree
from mvc.ops.explain import explain_versions, explain_worktree
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as Collect
from mvc.ops.gc import gc
from mvc.ops.log import log
from mvc.ops.merge import MergeRequest, merge
from mvc.ops.purge import Purged, Request, finish, forgive, preview, purge
from mvc.ops.repair import Request as Repair
from mvc.ops.repair import repair
from mvc.ops.restore import restore
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.registry.notes import Notes
from mvc.repo import Repository
from mvc.restore import file_pieces
from mvc.upkeep.lines import lines
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    weights_versions,
)

SECRET = bytes(range(256)) * 40 + b"the key is under the mat" * 300


def purged(repository: Repository, *targets: str, wait: float = 5, **options) -> Purged:
    done = purge(repository, Request(targets, ME, now(), "leaked", **options), wait=wait)
    assert done.ended.proof.clean, done.ended.proof
    assert not done.ended.waiting_packs
    return done


def contents(folder: Path) -> dict[CommitId, dict[str, bytes | None]]:
    """Every file of every version that refs lead to; None where it was purged."""
    repository = open_repository(folder)
    found: dict[CommitId, dict[str, bytes | None]] = {}
    for identity in history(repository):
        found[identity] = {}
        with repository.reading() as view:
            try:
                files = flatten(view.objects, view.commit(identity).tree)
            except ObjectPurged:
                continue
            for path, entry in files.items():
                try:
                    manifest = read_manifest(view.objects, ManifestId(entry.id))
                    pieces = b"".join(file_pieces(view.objects, manifest, verify=True))
                except ObjectPurged:
                    found[identity][path] = None
                else:
                    found[identity][path] = pieces
    return found


def store_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / ".mvc").rglob("*") if path.is_file())


class Warned(Monitor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def trained(tmp_path) -> Path:
    """Four versions of a model, a secret in the second and third, something of its own in each."""
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    for number, data in enumerate(weights_versions(4, 20_000)):
        (folder / "model.safetensors").write_bytes(data)
        (folder / "log.txt").write_text(f"epoch {number}\n" * 50)
        secret = folder / "conf" / "secret.bin"
        if number == 1:
            secret.parent.mkdir()
            secret.write_bytes(SECRET)
        if number == 3:
            secret.unlink()
        snapshot(repository, f"epoch {number}", metrics={"loss": 1.0 / (number + 1)})
    repository.temporary.close()
    return folder


def without(before: dict, path: str) -> dict:
    return {
        one: {name: (None if name == path else data) for name, data in files.items()}
        for one, files in before.items()
    }


def test_a_file_goes_from_all_versions(trained):
    before = contents(trained)
    done = purged(open_repository(trained), "conf/secret.bin")
    assert done.planned is not None
    assert [item.path for item in done.planned.survey.files] == ["conf/secret.bin"]
    assert contents(trained) == without(before, "conf/secret.bin")
    assert SECRET[:64] not in store_bytes(trained)
    assert_sound(trained)
    assert fsck(open_repository(trained)).purged
    gc(open_repository(trained), Collect(now(), 0))
    assert contents(trained) == without(before, "conf/secret.bin")
    assert_sound(trained)


def test_a_version_goes_whole(trained):
    before = contents(trained)
    third = history(open_repository(trained))[1]
    done = purged(open_repository(trained), "HEAD~1")
    assert done.planned is not None
    assert done.planned.survey.whole == (third,)
    after = contents(trained)
    assert after.pop(third) == {}
    before.pop(third)
    # the secret stays in the version before, which has it too
    assert after == before
    assert done.planned.survey.shared.count
    assert_sound(trained)
    repository = open_repository(trained)
    with pytest.raises(ObjectPurged, match="Ada: leaked"):
        switch_to(repository, "HEAD~1", detach=True)
    with repository.reading() as view:
        assert [entry.commit.message for entry in log(view)] == [f"epoch {n}" for n in (3, 2, 1, 0)]


def test_what_leans_on_it_stays_readable(trained):
    """Newer versions are stored as differences from the one that goes."""
    before = contents(trained)
    first = history(open_repository(trained))[-1]
    done = purged(open_repository(trained), "HEAD~3")
    assert done.planned is not None
    assert done.planned.stored_anew
    assert done.planned.verified
    after = contents(trained)
    assert after.pop(first) == {}
    before.pop(first)
    assert after == before
    assert_sound(trained)


def test_a_tensor_goes_and_the_others_stay(trained):
    repository = open_repository(trained)
    done = purged(repository, "HEAD:model.safetensors#c")
    assert done.planned is not None
    assert done.planned.survey.files[0].tensors == ("c",)
    assert_sound(trained)
    assert contents(trained)[history(repository)[0]]["model.safetensors"] is None
    with repository.reading() as view:
        tree = flatten(view.objects, view.commit(history(repository)[0]).tree)
        manifest = read_manifest(view.objects, ManifestId(tree["model.safetensors"].id))
        kept = [part.blob for part in manifest.parts if part.blob is not None]
        there = [blob for blob in kept if blob in view.objects]
        assert there
        assert len(there) < len(kept)


def test_its_return_is_refused_before_anything_is_stored(trained):
    repository = open_repository(trained)
    purged(repository, "conf/secret.bin")
    (trained / "conf").mkdir(exist_ok=True)
    (trained / "conf" / "other.bin").write_bytes(SECRET)
    head = history(repository)
    with pytest.raises(ObjectPurged, match=r"conf/other\.bin' is not stored.*by Ada: leaked") as error:
        snapshot(repository)
    assert error.value.exit_code == 3
    assert ".mvcignore" in error.value.hint
    assert (trained / "conf" / "other.bin").read_bytes() == SECRET
    assert history(repository) == head
    (trained / ".mvcignore").write_text("other.bin\n")
    snapshot(repository)
    assert_sound(trained)


def test_forgiven_it_comes_back(trained):
    before = contents(trained)
    repository = open_repository(trained)
    done = purged(repository, "conf/secret.bin")
    assert done.planned is not None
    assert done.planned.purge is not None
    forgive(repository, done.planned.purge.name[:8], ME, now())
    assert_sound(trained)
    assert None in contents(trained)[history(repository)[1]].values()
    with pytest.raises(UserError, match="lifted"):
        forgive(repository, done.planned.purge.name[:8], ME, now())
    (trained / "conf").mkdir(exist_ok=True)
    (trained / "conf" / "secret.bin").write_bytes(SECRET)
    snapshot(repository)
    after = contents(trained)
    after.pop(history(repository)[0])
    assert after == before
    assert_sound(trained)
    gc(open_repository(trained), Collect(now(), 0))
    assert_sound(trained)
    # and it can be purged again
    purged(open_repository(trained), "conf/secret.bin")
    with pytest.raises(ObjectPurged):
        snapshot(open_repository(trained), allow_empty=True)


def test_checkout_and_restore_leave_it_out_and_say_so(trained):
    repository = open_repository(trained)
    purged(repository, "conf/secret.bin")
    repository.monitor = Warned()
    switch_to(repository, "HEAD~1", detach=True)
    assert "'conf/secret.bin' is left out: it was purged on" in repository.monitor.texts[0]
    assert (trained / "log.txt").read_text().startswith("epoch 2")
    assert not (trained / "conf" / "secret.bin").exists()
    state = status(repository)
    assert state.state.deleted == ["conf/secret.bin"]
    assert not state.state.modified
    restore(repository, ["log.txt"], ME, now(), source="HEAD~1")
    assert (trained / "log.txt").read_text().startswith("epoch 1")
    with pytest.raises(ObjectPurged):
        restore(repository, ["conf/secret.bin"], ME, now(), source="HEAD~1")
    switch_to(repository, "main", force=True)
    assert status(repository).clean


def test_the_folder_can_be_looked_at_while_what_was_purged_lies_there(trained):
    """Unchanged, written anew, renamed, and beside new files."""
    repository = open_repository(trained)
    switch_to(repository, "HEAD~1", detach=True)
    secret = trained / "conf" / "secret.bin"
    purged(repository, "conf/secret.bin")
    assert secret.read_bytes() == SECRET  # it says so, and leaves the folder alone
    shutil.copy(trained / "model.safetensors", trained / "again.safetensors")
    found = status(repository)
    assert found.state.added == ["again.safetensors"]
    assert not found.state.deleted
    secret.write_bytes(b"changed")
    found = status(repository)
    assert found.state.modified == ["conf/secret.bin"]
    assert not found.same_weights
    changes = {change.path: change.kind for change in diff_worktree(repository, None)}
    assert changes == {"again.safetensors": "added", "conf/secret.bin": "modified"}
    secret.write_bytes(SECRET)
    secret.rename(trained / "other.bin")
    found = status(repository)
    assert found.state.added == ["again.safetensors", "other.bin"]
    assert found.state.deleted == ["conf/secret.bin"]
    assert not found.renamed
    list(explain_worktree(repository, None))


def test_a_file_without_a_purged_tensor_is_compared_by_the_others(trained):
    repository = open_repository(trained)
    data = (trained / "model.safetensors").read_bytes()
    purged(repository, "model.safetensors#c")
    (trained / "model.safetensors").write_bytes(weights_versions(1, 500, seed=9)[0])
    assert status(repository).state.modified == ["model.safetensors"]
    (change,) = diff_worktree(repository, None)
    told = {one.name: one.stats is not None for one in change.tensors}
    assert told["c"] is False
    assert any(told.values())
    (trained / "model.safetensors").write_bytes(data)
    with repository.reading() as view:
        list(diff_versions(repository, view, "HEAD~1", "HEAD"))
        list(explain_versions(view, "HEAD~1", "HEAD"))


def test_the_current_version_can_go(trained):
    repository = open_repository(trained)
    purged(repository, "HEAD")
    assert not status(repository).clean
    (trained / "model.safetensors").write_bytes(weights_versions(1, 500, seed=9)[0])
    (trained / "log.txt").write_text("new")
    snapshot(repository)
    assert status(repository).clean
    switch_to(repository, "HEAD~2")
    assert (trained / "log.txt").read_text().startswith("epoch 2")
    assert_sound(trained)


def test_a_work_tree_like_a_version_that_went_can_be_left(tmp_path):
    """What the version had is elsewhere too, so nothing but its list went, and a work tree is as it was."""
    repository = make_repository(tmp_path)
    (tmp_path / "kept").write_bytes(SECRET[:999])
    (tmp_path / "more").write_bytes(SECRET[:99])
    snapshot(repository)
    (tmp_path / "more").unlink()
    snapshot(repository)
    (tmp_path / "more").write_bytes(SECRET[:9])
    snapshot(repository)
    purged(repository, "HEAD~1")
    (tmp_path / "more").unlink()
    repository.monitor = monitor = Warned()
    switch_to(repository, "HEAD~2", force=True, detach=True)
    assert (tmp_path / "more").read_bytes() == SECRET[:99]
    assert any("'mvc undo' will not bring the work tree back" in text for text in monitor.texts)
    undo(repository, ME, now())
    assert_sound(tmp_path)


def test_the_only_version_can_go(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "file").write_bytes(SECRET)
    snapshot(repository)
    purged(repository, "HEAD")
    with pytest.raises(ObjectPurged):
        snapshot(repository, allow_empty=True)
    (tmp_path / "file").unlink()
    snapshot(repository, allow_empty=True)
    assert_sound(tmp_path)


def test_history_is_written_anew(trained):
    repository = open_repository(trained)
    old = history(repository)
    branch.create(repository, "side", "HEAD~1", ME, now())
    tag.create(repository, "v1", "HEAD~2", ME, now(), message="annotated")
    tag.create(repository, "v0", "HEAD~3", ME, now())
    notes.add(repository, "HEAD~1", notes.Wording({}, {}, "a note"), ME, now())
    before = contents(trained)
    done = purged(repository, "conf/secret.bin", rewrite=True)
    assert done.planned is not None
    commits = done.planned.commits
    assert set(commits) == set(old[:3])
    assert history(repository) == [commits[one] for one in old[:3]] + [old[3]]
    after = contents(trained)
    for one in old:
        files = {path: data for path, data in before[one].items() if path != "conf/secret.bin"}
        assert after[commits.get(one, one)] == files
    with repository.reading() as view:
        assert view.get("refs/heads/side") == commits[old[1]]
        assert view.get("refs/tags/v0") == old[3]
        shelf = Notes(view.objects, view)
        assert list(shelf.versions()) == [commits[old[1]]]
        assert [note.message for note in shelf.of(commits[old[1]])] == ["a note"]
    assert status(repository).clean
    assert_sound(trained)
    raw = store_bytes(trained)
    with repository.reading() as view:
        assert all(view.tombstones.find(one) for one in old[:3])
    assert SECRET[:64] not in raw


def test_a_version_drops_out_of_history(trained):
    repository = open_repository(trained)
    old = history(repository)
    tag.create(repository, "bad", "HEAD~2", ME, now())
    before = contents(trained)
    done = purged(repository, "HEAD~2", rewrite=True)
    assert done.planned is not None
    assert done.planned.commits[old[2]] is None
    assert done.planned.removed == ("refs/tags/bad",)
    assert len(history(repository)) == 3
    after = contents(trained)
    assert [after[one] for one in history(repository)] == [before[old[n]] for n in (0, 1, 3)]
    assert_sound(trained)


def test_the_head_drops_out(trained):
    repository = open_repository(trained)
    old = history(repository)
    purged(repository, "HEAD", rewrite=True)
    assert history(repository) == old[1:]
    assert_sound(trained)
    switch_to(repository, "HEAD", force=True)
    assert status(repository).clean


def test_undone_versions_go_with_the_history_that_they_follow(trained):
    """Else they would be left, findable, behind a version that nobody can read; and a branch that is put
    there would stop the next purge."""
    repository = open_repository(trained)
    orphan = history(repository)[0]
    (trained / "log.txt").write_text("better\n")
    snapshot(repository, None, amend=True)
    purged(repository, "conf/secret.bin", rewrite=True)
    with repository.reading() as view:
        assert view.tombstones.find(orphan)
    with pytest.raises(ObjectPurged):
        branch.create(repository, "lost", str(orphan), ME, now())
    purged(repository, "log.txt", rewrite=True)
    assert_sound(trained)


def test_all_history_drops_out(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "file").write_bytes(SECRET)
    snapshot(repository)
    purged(repository, "HEAD", rewrite=True)
    assert history(repository) == []
    (tmp_path / "file").write_text("something else")
    snapshot(repository)
    assert_sound(tmp_path)


def test_undone_versions_do_not_keep_it(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "kept").write_text("kept")
    snapshot(repository)
    (tmp_path / "secret").write_bytes(SECRET)
    snapshot(repository)
    leak = history(repository)[0]
    (tmp_path / "kept").write_text("more")
    snapshot(repository, None, amend=True)
    undo(repository, ME, now(), force=True)
    undo(repository, ME, now(), force=True)
    assert leak not in history(repository)
    purged(repository, "secret")
    assert SECRET[:64] not in store_bytes(tmp_path)
    assert_sound(tmp_path)


def test_what_something_else_has_stays_unless_it_is_to_go_everywhere(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "one").write_bytes(SECRET)
    (tmp_path / "two").write_bytes(SECRET)
    snapshot(repository)
    with pytest.raises(UserError, match=r"also in [0-9a-f]{12}:two"):
        purge(repository, Request(("one",), ME, now()))
    purged(repository, "one", everywhere=True)
    assert set(contents(tmp_path)[history(repository)[0]].values()) == {None}
    assert_sound(tmp_path)


def test_a_preview_changes_nothing(trained):
    raw = store_bytes(trained)
    seen = preview(open_repository(trained), Request(("conf/secret.bin",), ME, now(), rewrite=True))
    assert len(seen.planned.commits) == 3
    assert store_bytes(trained) == raw


def test_twice_is_once(trained):
    repository = open_repository(trained)
    purged(repository, "conf/secret.bin")
    again = purged(repository, "conf/secret.bin")
    assert again.planned is None
    with repository.reading() as view:
        assert len(view.tombstones.purges) == 1


@pytest.mark.parametrize("target", ["nothing", "HEAD:nothing", "./nothing", "HEAD~9", "log.txt#tensor"])
def test_what_is_not_there(trained, target):
    with pytest.raises(RevisionNotFound):
        purge(open_repository(trained), Request((target,), ME, now()))


def test_readers_are_waited_for(trained):
    repository = open_repository(trained)
    reader = open_repository(trained)
    with reader.reading() as view:
        first = view.commit(history(reader)[1])
        done = purge(repository, Request(("HEAD~1",), ME, now()), wait=0)
        assert done.ended.waiting_packs
        assert done.ended.waiting_for
        # what the reader began with can still be read
        for entry in flatten(view.objects, first.tree).values():
            manifest = read_manifest(view.objects, ManifestId(entry.id))
            assert b"".join(file_pieces(view.objects, manifest, verify=True)) is not None
    ended = finish(repository, wait=0)
    assert not ended.waiting_packs
    assert ended.proof.clean
    assert_sound(trained)


def test_a_writer_that_has_it_already_is_refused(trained):
    from mvc.objectid import BlobId
    from mvc.refs import encode_target
    from mvc.transaction import Update, begin

    repository = open_repository(trained)
    other = open_repository(trained)
    (trained / "other").write_bytes(SECRET[:3000])
    with begin(other, "late", ME, now()) as tx:
        with repository.reading() as view:
            entry = flatten(view.objects, view.commit(history(repository)[1]).tree)["conf/secret.bin"]
            blobs = [part.blob for part in read_manifest(view.objects, ManifestId(entry.id)).parts]
            plain = view.objects.get(blobs[0])
        assert tx.writer.put(BlobId, plain) == blobs[0]
        done = purge(repository, Request(("conf/secret.bin",), ME, now()), wait=0)
        assert done.planned is not None
        head = history(other)[0]
        with pytest.raises((ObjectPurged, ConflictError)):
            tx.publish(lambda _view: Update(refs={"refs/heads/x": encode_target(head)}))
    assert finish(repository).proof.clean


def test_nothing_is_purged_during_a_merge(trained):
    repository = open_repository(trained)
    switch_to(repository, "HEAD~1", new_branch="side")
    (trained / "log.txt").write_text("other\n")
    snapshot(repository)
    assert merge(repository, MergeRequest("main", Commit(None, ME, now()))).conflicts
    with pytest.raises(ConflictError, match="under way"):
        purge(repository, Request(("conf/secret.bin",), ME, now()))


def test_trivial_pieces_are_not_refused_later(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "zeros").write_bytes(bytes(200_000))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "kept").write_text("kept")
    snapshot(repository)
    purged(repository, "zeros")
    (tmp_path / "zeros").unlink()
    (tmp_path / "zeros2").write_bytes(bytes(100_000))
    (tmp_path / "empty2").write_bytes(b"")
    snapshot(repository)
    assert_sound(tmp_path)


def test_the_trash_goes_along(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "kept").write_text("kept")
    snapshot(repository)
    (tmp_path / "secret").write_bytes(SECRET)
    snapshot(repository)
    with repository.reading() as view:
        head = view.head_commit()
        assert head is not None
        entry = flatten(view.objects, view.commit(head).tree)["secret"]
    tag.create(repository, "leak", "HEAD", ME, now())
    undo(repository, ME, now(), operation=None)
    undo(repository, ME, now(), force=True)
    gc(repository, Collect(now(), 0))
    (tmp_path / "secret").write_bytes(SECRET)
    snapshot(repository)
    with repository.reading() as view:
        again = view.head_commit()
        assert again is not None
        assert flatten(view.objects, view.commit(again).tree)["secret"].id == entry.id
    purged(repository, "secret")
    assert not (tmp_path / ".mvc" / "trash").exists()
    assert SECRET[:64] not in store_bytes(tmp_path)


def test_what_another_branch_leans_on(tmp_path):
    """A version is purged on one branch from which another branch's pieces are told."""
    repository = make_repository(tmp_path)
    first, second, third = weights_versions(3, 20_000)
    (tmp_path / "readme").write_text("model")
    snapshot(repository)
    switch_to(repository, "HEAD", new_branch="side")
    (tmp_path / "model.safetensors").write_bytes(first)
    snapshot(repository)
    switch_to(repository, "main")
    for data in (second, third):
        (tmp_path / "model.safetensors").write_bytes(data)
        snapshot(repository)
    done = purged(repository, "side")
    assert done.planned is not None
    assert done.planned.stored_anew
    after = contents(tmp_path)
    assert [after[one].get("model.safetensors") for one in history(repository)] == [third, second, None]
    assert_sound(tmp_path)
    with pytest.raises(ObjectPurged):
        switch_to(repository, "side")


def test_a_path_is_a_path_and_a_revision_a_revision(trained):
    repository = open_repository(trained)
    branch.create(repository, "log.txt", "HEAD", ME, now())
    with pytest.raises(UsageError, match="version and a path"):
        purge(repository, Request(("log.txt",), ME, now()))
    purged(repository, "./log.txt")
    assert contents(trained)[history(repository)[0]]["log.txt"] is None


def test_a_folder_goes(trained):
    before = contents(trained)
    purged(open_repository(trained), "conf")
    assert contents(trained) == without(before, "conf/secret.bin")
    assert_sound(trained)


def test_the_log_loses_what_names_lists_that_went(trained):
    repository = open_repository(trained)
    switch_to(repository, "HEAD~1", detach=True)
    switch_to(repository, "main")
    done = purged(repository, "HEAD~1")
    assert done.planned is not None
    assert done.planned.forgotten
    with repository.reading() as view:
        assert [operation.command for operation in view.operations()] == ["purge HEAD~1"]
    with pytest.raises(UserError, match="cannot be undone: purge"):
        undo(repository, ME, now())
    assert_sound(trained)


def test_no_copy_of_root_forgets_a_purge_that_was_not_ended(trained, monkeypatch):
    """The swap itself keeps the state before it in root.previous; the ending replaces that before anything
    else, as deleting takes its time."""

    def killed(repository, names):
        raise KeyboardInterrupt

    monkeypatch.setattr("mvc.purging.ending.move_packs", killed)
    with pytest.raises(KeyboardInterrupt):
        purge(open_repository(trained), Request(("conf/secret.bin",), ME, now(), "leaked"))
    monkeypatch.undo()
    (trained / ".mvc" / "root").write_bytes(b"junk")
    repository = open_repository(trained)
    repair(repository, Repair(ME, now()))
    with repository.reading() as view:
        assert [purge.why for purge in view.tombstones.purges] == ["leaked"]
    assert finish(repository).proof.ids
    assert SECRET[:64] not in store_bytes(trained)


def test_a_proof_looks_everywhere(trained):
    """What somebody copied into the store by hand is found, and named."""
    repository = open_repository(trained)
    packs = {path: path.read_bytes() for path in (trained / ".mvc" / "packs").rglob("*.pack")}
    done = purged(repository, "conf/secret.bin")
    assert done.planned is not None
    gone = sorted(done.planned.survey.gone)
    copies = trained / ".mvc" / "copies"
    copies.mkdir()
    for path, data in packs.items():
        (copies / path.name).write_bytes(data)
    (trained / ".mvc" / "hints").write_bytes(b"x" * 7 + gone[0])
    (trained / ".mvc" / gone[1].hex()).write_bytes(b"")
    proof = finish(repository).proof
    assert not proof.clean
    assert proof.records
    assert {"hints", gone[1].hex()} < set(proof.traces)
    assert any(name.startswith("copies/") for name in proof.traces)


def test_a_file_of_the_folder_that_stays_is_not_called_refused(tmp_path):
    """It stands where what goes stood, and is a later version's."""
    repository = make_repository(tmp_path)
    (tmp_path / "model.bin").write_bytes(os.urandom(3000))
    first = snapshot(repository, "first").id
    (tmp_path / "model.bin").write_bytes(os.urandom(3000))
    snapshot(repository, "second")
    sleep(0.05)
    assert status(repository).clean  # and so the files are known to be those of the version
    planned = preview(repository, Request((first.hex(),), ME, now()))
    assert planned.planned.survey.files and planned.lying == ()
    (tmp_path / "model.bin").write_bytes(os.urandom(3000))
    assert preview(repository, Request((first.hex(),), ME, now())).lying == ("model.bin",)


def test_lines_of_history_end_before_a_version_that_was_made_anew(tmp_path):
    """As the operation log may still name it when ``gc --repack`` looks for what leans on what."""
    repository = make_repository(tmp_path)
    (tmp_path / "secret.bin").write_bytes(SECRET)
    old = snapshot(repository, "first").id
    (tmp_path / "more.bin").write_bytes(os.urandom(3000))
    older = snapshot(repository, "second").id
    (tmp_path / "secret.bin").unlink()
    snapshot(repository, "third")
    purged(repository, "secret.bin", rewrite=True)
    with repository.reading() as view:
        head = view.head_commit()
        assert head is not None
        plain = list(lines(view.objects, [head], []))
        assert len(plain) == 2
        assert list(lines(view.objects, [head], [old, older])) == plain
    gc(repository, Collect(now(), None, repack=True))
    assert_sound(tmp_path)
