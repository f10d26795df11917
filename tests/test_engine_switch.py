"""What happens meanwhile: files are saved and refs are moved while a checkout or an undo runs."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.errors import ConflictError, InvalidPath, RefMoved, StorageError, UserError, WouldOverwrite
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import BlobId
from mvc.objects import Manifest, Part
from mvc.ops import branch
from mvc.ops.checkout import checkout_paths
from mvc.ops.diff import diff_worktree
from mvc.ops.oplog import operations
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.transaction import Update, begin
from mvc.worktree import recheck
from mvc.worktree.recheck import same_content
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    tree,
    two_versions,
)


class Meanwhile(Monitor):
    """Does something once, when the first new file is about to be written."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__()
        self.action: Callable[[], object] | None = action

    def start(self, task: str, total_bytes: int | None = None) -> None:
        super().start(task, total_bytes)
        if task == "write" and self.action is not None:
            action, self.action = self.action, None
            action()


def meanwhile(folder: Path, action: Callable[[], object]) -> Repository:
    return Repository.open(FileIO(), folder, Meanwhile(action))


# --- files -------------------------------------------------------------------------------------------------


def save_by_rename(path: Path) -> None:
    """Another file of the same size and time: only its inode tells."""
    before = path.stat()
    part = path.with_name("part")
    part.write_bytes(bytes(before.st_size))
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.rename(path)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("path", "save"),
    [
        ("model.safetensors", lambda path: path.write_bytes(b"a trainer's save")),
        ("model.safetensors", save_by_rename),
        ("new.bin", lambda path: path.write_bytes(b"goes in the other version")),
        ("was_file/now.txt", lambda path: path.write_bytes(b"in a folder that goes")),
    ],
)
def test_a_save_during_a_checkout_is_not_lost(tmp_path, path, save, force):
    folder = tmp_path / "repo"
    two_versions(folder)
    before = tree(folder)
    repository = meanwhile(folder, lambda: save(folder / path))
    with pytest.raises(WouldOverwrite, match=path):
        switch_to(repository, "HEAD~1", force=force)
    assert repository.monitor.action is None
    changed = {name for name, content in tree(folder).items() if content != before.get(name)}
    assert changed == {path}
    assert set(tree(folder)) == set(before)
    left = [path.name for path in (folder / ".mvc" / "tmp").iterdir() if path.suffix != ".lock"]
    assert left == [], "the new files are of no use any more"
    assert status(open_repository(folder)).branch == "main"
    assert_sound(folder)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_that_appears_during_a_checkout_is_not_lost(tmp_path, ignored):
    folder = tmp_path / "repo"
    two_versions(folder)
    if ignored:
        (folder / ".mvcignore").write_text("gone/\n")
        snapshot(open_repository(folder))
    before = tree(folder)

    def appear() -> None:
        (folder / "gone").mkdir()
        (folder / "gone" / "old.txt").write_bytes(b"mine")

    with pytest.raises(WouldOverwrite, match=r"gone/old\.txt"):
        switch_to(meanwhile(folder, appear), "HEAD~2" if ignored else "HEAD~1")
    assert tree(folder) == before | {"gone/old.txt": (b"mine", False)}


def test_an_ignored_file_that_is_written_during_a_forced_checkout_is_not_lost(tmp_path):
    folder = tmp_path / "repo"
    two_versions(folder)
    (folder / ".mvcignore").write_text("gone/\n")
    snapshot(open_repository(folder))
    (folder / "gone").mkdir()
    (folder / "gone" / "old.txt").write_bytes(b"mine")
    before = tree(folder)
    repository = meanwhile(folder, lambda: (folder / "gone" / "old.txt").write_bytes(b"mine, and more"))
    with pytest.raises(WouldOverwrite, match=r"gone/old\.txt"):
        switch_to(repository, "HEAD~2", force=True)
    assert tree(folder) == before | {"gone/old.txt": (b"mine, and more", False)}
    switch_to(open_repository(folder), "HEAD~2", force=True)
    assert tree(folder)["gone/old.txt"] == (b"old\n", False)
    undo(open_repository(folder), ME, now())
    assert tree(folder)["gone/old.txt"] == (b"mine, and more", False)


def test_a_save_during_a_checkout_of_paths_is_not_lost(tmp_path):
    folder = tmp_path / "repo"
    two_versions(folder)
    repository = meanwhile(folder, lambda: (folder / "model.safetensors").write_bytes(b"saved"))
    with pytest.raises(WouldOverwrite):
        checkout_paths(repository, "HEAD~1", ["model.safetensors"], ME, now())
    assert (folder / "model.safetensors").read_bytes() == b"saved"


def test_a_link_that_becomes_a_file_during_a_checkout_is_not_lost(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "weights").write_bytes(b"one")
    (folder / "last").symlink_to("weights")
    snapshot(repository, "one")
    (folder / "weights").write_bytes(b"two!")
    snapshot(repository, "two")

    def save() -> None:
        (folder / "last").unlink()
        (folder / "last").write_bytes(b"new")

    with pytest.raises(WouldOverwrite, match="last"):
        switch_to(meanwhile(folder, save), "HEAD~1")
    assert (folder / "last").read_bytes() == b"new"
    (folder / "last").unlink()
    (folder / "last").symlink_to("weights")
    switch_to(repository, "HEAD~1")
    assert (folder / "last").read_bytes() == b"one"


# --- refs --------------------------------------------------------------------------------------------------


def test_a_branch_that_is_made_meanwhile_is_not_overwritten(tmp_path):
    folder = tmp_path / "repo"
    _repository, one, two = two_versions(folder)
    before = tree(folder)
    repository = meanwhile(
        folder, lambda: branch.create(open_repository(folder), "new", two.hex(), ME, now())
    )
    with pytest.raises(ConflictError, match="exists"):
        switch_to(repository, one.hex(), new_branch="new")
    with repository.reading() as view:
        assert view.get("refs/heads/new") == two
        assert view.branch() == "main"
    assert tree(folder) == before


def test_a_branch_that_is_moved_meanwhile_is_not_checked_out_half(tmp_path):
    folder = tmp_path / "repo"
    repository, one, two = two_versions(folder)
    branch.create(repository, "side", one.hex(), ME, now())
    before = tree(folder)

    def move() -> None:
        branch.create(open_repository(folder), "side", two.hex(), ME, now(), force=True)

    with pytest.raises(RefMoved):
        switch_to(meanwhile(folder, move), "side")
    assert tree(folder) == before
    assert status(repository).branch == "main"
    assert switch_to(repository, "side").commit == two
    assert status(repository).clean


@pytest.mark.parametrize("detached", [False, True])
def test_a_head_that_is_moved_meanwhile_keeps_its_files(tmp_path, detached):
    """The files that are there were compared with what HEAD was, not with what it is now."""
    folder = tmp_path / "repo"
    repository, one, two = two_versions(folder)
    branch.create(repository, "side", one.hex(), ME, now())
    if detached:
        switch_to(repository, two.hex())
    before = tree(folder)

    def move() -> None:
        with begin(open_repository(folder), "move", ME, now()) as tx:
            refs = {} if detached else {"refs/heads/main": encode_target(one)}
            tx.publish(lambda _view: Update(refs=refs, head=one if detached else None))

    other = meanwhile(folder, move)
    with pytest.raises(RefMoved):
        switch_to(other, "side")
    assert other.monitor.action is None
    assert tree(folder) == before
    with repository.reading() as view:
        assert view.head_commit() == one
        assert view.branch() == (None if detached else "main")


def test_other_refs_may_move_meanwhile(tmp_path):
    folder = tmp_path / "repo"
    repository, one, two = two_versions(folder)
    branch.create(repository, "side", one.hex(), ME, now())
    other = meanwhile(folder, lambda: branch.create(open_repository(folder), "more", two.hex(), ME, now()))
    assert switch_to(other, "side").branch == "side"
    with repository.reading() as view:
        assert view.get("refs/heads/more") == two


def test_a_ref_that_is_moved_during_an_undo_stays(tmp_path):
    folder = tmp_path / "repo"
    repository, one, two = two_versions(folder)
    switch_to(repository, one.hex(), new_branch="new")
    before = tree(folder)

    def move() -> None:
        with begin(open_repository(folder), "move", ME, now()) as tx:
            tx.publish(lambda _view: Update(refs={"refs/heads/new": encode_target(two)}))

    other = meanwhile(folder, move)
    with pytest.raises(ConflictError):
        undo(other, ME, now())
    assert other.monitor.action is None
    assert tree(folder) == before
    with repository.reading() as view:
        assert view.head == "refs/heads/new"
        assert view.get("refs/heads/new") == two


@pytest.mark.parametrize("force", [False, True])
def test_a_first_branch_does_not_take_the_place_of_one_that_exists(tmp_path, force):
    folder = tmp_path / "repo"
    repository, one, _two = two_versions(folder)
    branch.create(repository, "side", one.hex(), ME, now())
    # back to a HEAD without commits, with the branch still there
    with repository.reading() as view:
        commits = [op for op in operations(view) if op.command.startswith("commit")]
    for operation in commits:
        undo(repository, ME, now(), operation=operation.id.hex())
    assert history(repository) == []
    with pytest.raises(ConflictError, match="exists"):
        switch_to(repository, "HEAD", new_branch="side", force=force)
    assert switch_to(repository, "HEAD", new_branch="other").branch == "other"


# --- undo --------------------------------------------------------------------------------------------------


def test_an_undo_that_was_undone_does_not_count(tmp_path):
    folder = tmp_path / "repo"
    repository, one, two = two_versions(folder)
    undo(repository, ME, now())
    with repository.reading() as view:
        taken_back = next(operations(view))
    undo(repository, ME, now(), operation=taken_back.id.hex())
    assert history(repository) == [two, one]
    undo(repository, ME, now())
    assert history(repository) == [one]
    undo(repository, ME, now())
    assert history(repository) == []
    with pytest.raises(UserError, match="nothing left"):
        undo(repository, ME, now())


# --- names -------------------------------------------------------------------------------------------------


class Caseless(FileIO):
    """A file system that takes ``x.bin`` and ``X.bin`` for one name, as far as a probe can see."""

    def stat(self, path, *, folder=None):
        try:
            return super().stat(path, folder=folder)
        except FileNotFoundError:
            text = str(path)
            return super().stat(f"{text[:-1]}k" if text.endswith("K") else text, folder=folder)


def test_names_collide_with_files_that_stay(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "A").write_bytes(b"A")
    (folder / "B").write_bytes(b"one")
    snapshot(repository, "one")
    (folder / "a").write_bytes(b"a")
    snapshot(repository, "two")
    (folder / "a").unlink()
    (folder / "b").write_bytes(b"b")
    three = snapshot(repository, "three").id
    before = tree(folder)
    caseless = open_repository(folder, Caseless())
    with pytest.raises(InvalidPath, match="cannot hold both"):
        switch_to(caseless, "HEAD~1")
    assert tree(folder) == before
    with pytest.raises(InvalidPath, match="cannot hold both"):
        checkout_paths(caseless, "HEAD~1", ["a"], ME, now())
    assert tree(folder) == before
    # what nothing is written to does not stop anybody
    (folder / "C").write_bytes(b"C")
    (folder / "B").write_bytes(b"two")
    snapshot(repository, "four")
    (folder / "C").unlink()
    checkout_paths(caseless, "HEAD", ["C"], ME, now())
    assert switch_to(repository, three.hex()).commit == three


# --- comparing by several threads --------------------------------------------------------------------------


def test_no_thread_reads_after_the_file_was_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(recheck, "BATCH_BYTES", 1)
    path = tmp_path / "file"
    path.write_bytes(b"abcdefgh")
    manifest = Manifest("opaque", 8, bytes(32), tuple(Part(1, BlobId.of(b"?")) for _ in range(8)))
    closed = threading.Event()
    late: list[int] = []

    class Slow(FileIO):
        def read_into(self, fd, buffer, offset):
            if offset:
                closed.wait(0.2)
            if closed.is_set():
                late.append(offset)
                return 0
            return super().read_into(fd, buffer, offset)

        def close(self, fd):
            closed.set()
            super().close(fd)

    assert not same_content(Slow(), path, manifest)
    assert late == []


# --- a store that takes no files ---------------------------------------------------------------------------


class ReadOnly(FileIO):
    """A disk that is mounted read-only, or belongs to somebody else."""

    def __init__(self, error: int) -> None:
        self.error = error

    def _refuse(self, *_args, **_keywords):
        raise OSError(self.error, os.strerror(self.error))

    create = open_lock = replace = link = unlink = make_folder = remove_folder = set_mode = _refuse


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_reading_commands_in_a_store_that_takes_no_files(tmp_path, error):
    folder = tmp_path / "repo"
    repository, _one, two = two_versions(folder)
    (folder / "kept.txt").write_bytes(b"edited")
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    other = open_repository(folder, ReadOnly(error))
    found = status(other)
    assert (found.head, found.state.modified) == (two, ["kept.txt"])
    assert [change.path for change in diff_worktree(other, None)] == ["kept.txt"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    for change in (lambda: snapshot(other), lambda: switch_to(other, "HEAD~1", force=True)):
        with pytest.raises(StorageError):
            change()
    (folder / ".mvc" / "journal").write_bytes(b"")
    with pytest.raises(StorageError, match="interrupted"):
        status(other)
    assert repository.store == folder / ".mvc"


def test_undo_of_a_checkout_brings_back_what_was_uncommitted_and_equal_to_the_target(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "f").write_text("1")
    one = snapshot(repository).id
    (folder / "f").write_text("2")
    (folder / "a").write_text("a")
    snapshot(repository)
    (folder / "f").write_text("1")
    before = tree(folder)
    switch_to(repository, one.hex())
    undo(repository, ME, now())
    assert tree(folder) == before
    assert status(repository).state.modified == ["f"]


def test_undo_of_a_checkout_brings_no_deleted_file_back(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "f").write_text("1")
    one = snapshot(repository).id
    (folder / "a").write_text("a")
    snapshot(repository)
    (folder / "a").unlink()
    before = tree(folder)
    switch_to(repository, one.hex())
    undo(repository, ME, now())
    assert tree(folder) == before
    assert status(repository).state.deleted == ["a"]


def test_undo_leaves_edits_alone_that_the_checkout_left_alone(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "f").write_text("1")
    (folder / "kept").write_text("kept")
    one = snapshot(repository).id
    (folder / "f").write_text("2")
    snapshot(repository)
    (folder / "kept").write_text("edited")
    switch_to(repository, one.hex())
    undo(repository, ME, now())
    assert (folder / "kept").read_text() == "edited"
    assert (folder / "f").read_text() == "2"
