"""The engine as one: what is committed comes back, whatever is done in between."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from mvc.consolidation import consolidate
from mvc.errors import (
    AnswerIsNo,
    ConflictError,
    CorruptFile,
    FileChanged,
    InvalidPath,
    RefMoved,
    RepositoryNotFound,
    UserError,
    WouldOverwrite,
)
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops import branch, tag
from mvc.ops.cat import cat
from mvc.ops.checkout import checkout_paths
from mvc.ops.diff import diff_versions, diff_worktree
from mvc.ops.log import log
from mvc.ops.ls import files, tensors
from mvc.ops.stats import stats
from mvc.ops.status import status
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.upkeep.consolidate import MAX_PACKS
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
    weights_versions,
)


def test_every_version_comes_back(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    contents = weights_versions(6)
    for number, content in enumerate(contents):
        (folder / "model.safetensors").write_bytes(content)
        snapshot(repository, f"v{number}")
        tag.create(repository, f"v{number}", "HEAD", ME, now())
    for number, content in enumerate(contents):
        switch_to(repository, f"v{number}")
        assert (folder / "model.safetensors").read_bytes() == content
        assert status(repository).clean
    assert_sound(folder)


def test_a_version_costs_what_is_new_in_it(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    contents = weights_versions(3, elements=200_000)
    sizes = []
    for content in contents:
        (folder / "model.safetensors").write_bytes(content)
        sizes.append(snapshot(repository).stored_bytes / len(content))
    assert sizes[0] < 0.75
    assert max(sizes[1:]) < 0.5
    (folder / "copy.safetensors").write_bytes(contents[-1])
    assert snapshot(repository).stored_bytes < 2000


def test_checkout_restores_every_kind_of_change(tmp_path):
    repository, one, two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    second = tree(folder)
    switch_to(repository, one.hex())
    first = tree(folder)
    assert first != second
    assert set(first) == {"model.safetensors", "run.sh", "kept.txt", "gone/old.txt", "was_file"}
    switch_to(repository, two.hex())
    assert tree(folder) == second
    assert not (folder / "gone").exists()


def test_uncommitted_work_is_not_overwritten(tmp_path):
    repository, one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "model.safetensors").write_bytes(b"mine")
    (folder / "gone").mkdir()
    (folder / "gone" / "old.txt").write_text("mine too")
    before = tree(folder)
    with pytest.raises(WouldOverwrite, match=r"model\.safetensors"):
        switch_to(repository, one.hex())
    assert tree(folder) == before
    switch_to(repository, one.hex(), force=True)
    assert (folder / "gone" / "old.txt").read_text() == "old\n"
    undo(repository, ME, now())
    assert tree(folder) == before  # even what --force overwrote


def test_work_that_is_in_nobodys_way_stays(tmp_path):
    repository, one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "kept.txt").write_text("edited")
    (folder / "untracked.txt").write_text("mine")
    switch_to(repository, one.hex())
    assert (folder / "kept.txt").read_text() == "edited"
    assert (folder / "untracked.txt").read_text() == "mine"


def test_an_ignored_file_is_not_overwritten_unseen(tmp_path):
    repository, one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / ".mvcignore").write_text("gone/\n")
    (folder / "gone").mkdir()
    (folder / "gone" / "old.txt").write_text("precious")
    with pytest.raises(WouldOverwrite, match=r"gone/old\.txt"):
        switch_to(repository, one.hex())
    assert (folder / "gone" / "old.txt").read_text() == "precious"


def test_single_paths_come_back(tmp_path):
    repository, one, two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    new_model = (folder / "model.safetensors").read_bytes()
    checkout_paths(repository, one.hex(), ["model.safetensors", "gone"], ME, now())
    assert (folder / "gone" / "old.txt").read_text() == "old\n"
    assert (folder / "model.safetensors").read_bytes() != new_model
    assert (folder / "new.bin").exists()
    assert history(repository)[0] == two
    undo(repository, ME, now())
    assert (folder / "model.safetensors").read_bytes() == new_model
    assert not (folder / "gone").exists()
    (folder / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(WouldOverwrite):
        checkout_paths(repository, one.hex(), ["."], ME, now())
    with pytest.raises(UserError, match="no file"):
        checkout_paths(repository, one.hex(), ["nothing"], ME, now())


def test_nothing_to_commit_and_amend(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    with pytest.raises(AnswerIsNo):
        snapshot(repository)
    assert snapshot(repository, "empty", allow_empty=True).changed == 0
    (folder / "kept.txt").write_text("more")
    before = history(repository)
    done = snapshot(repository, None, amend=True, metrics={"loss": 2.0})
    assert done.commit.message == "empty"
    assert done.commit.metrics == {"loss": 2.0}
    assert history(repository)[1:] == before[1:]


def test_commit_of_paths_leaves_the_rest_as_it_was(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "kept.txt").write_text("changed")
    (folder / "new.bin").write_bytes(b"changed too")
    (folder / "run.sh").unlink()
    snapshot(repository, "only", paths=["kept.txt"])
    state = status(repository).state
    assert state.modified == ["new.bin"]
    assert state.deleted == ["run.sh"]
    snapshot(repository, "deletion", paths=["run.sh"])
    with repository.reading() as view:
        assert "run.sh" not in [row.path for row in files(view)]
        assert b"".join(cat(view, "HEAD:new.bin")) != b"changed too"


@pytest.mark.parametrize("name", ["a\\b", "x\ny", "con", "a:b", "trailing.", ".MVC"])
def test_names_that_no_version_may_hold_are_named_and_nothing_is_stored(tmp_path, name):
    repository, _one, two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / name).write_text("x")
    (folder / "good.txt").write_text("good")
    packs = sorted((folder / ".mvc" / "packs").rglob("*.pack"))
    with pytest.raises(InvalidPath) as failure:
        snapshot(repository)
    assert failure.value.exit_code == 3
    assert "\n" not in failure.value.message
    assert sorted((folder / ".mvc" / "packs").rglob("*.pack")) == packs
    assert history(repository)[0] == two


def test_links_and_odd_files(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "real.bin").write_bytes(b"content")
    (folder / "link.bin").symlink_to("real.bin")
    os.mkfifo(folder / "pipe")
    snapshot(repository)
    assert any("pipe" in text for text in repository.monitor.warnings)
    with repository.reading() as view:
        assert [row.path for row in files(view)] == ["link.bin", "real.bin"]
        assert b"".join(cat(view, "HEAD:link.bin")) == b"content"
    (tmp_path / "outside").write_text("secret")
    (folder / "escape").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidPath, match="escape"):
        snapshot(repository)


def test_what_cannot_be_read_is_not_taken_for_deleted(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "kept.txt").unlink()
    os.mkfifo(folder / "kept.txt")
    (folder / "more.txt").write_text("more")
    snapshot(repository)
    with repository.reading() as view:
        assert "kept.txt" in [row.path for row in files(view)]


class Meddling(FileIO):
    """A disk on which somebody writes to a file while it is read, the first ``times`` times."""

    def __init__(self, victim: Path, times: int) -> None:
        self.victim, self.times = victim, times

    def read_into(self, fd, buffer, offset):
        count = super().read_into(fd, buffer, offset)
        if self.times:
            self.times -= 1
            self.victim.write_bytes(os.urandom(300_000))
        return count


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path):
    folder = tmp_path / "repo"
    make_repository(folder)
    victim = folder / "model.bin"
    victim.write_bytes(os.urandom(300_000))
    snapshot(open_repository(folder, Meddling(victim, times=1)))
    with open_repository(folder).reading() as view:
        assert b"".join(cat(view, "HEAD:model.bin")) == victim.read_bytes()
    assert_sound(folder)


def test_a_file_that_keeps_changing_is_named(tmp_path):
    folder = tmp_path / "repo"
    make_repository(folder)
    victim = folder / "model.bin"
    victim.write_bytes(os.urandom(300_000))
    with pytest.raises(FileChanged, match=r"model\.bin"):
        snapshot(open_repository(folder, Meddling(victim, times=1000)))
    assert history(open_repository(folder)) == []


def test_diff_names_tensors_and_how_far_they_moved(tmp_path):
    repository, one, two = two_versions(tmp_path / "repo")
    with repository.reading() as view:
        changes = {change.path: change for change in diff_versions(repository, view, one.hex(), two.hex())}
    assert changes["new.bin"].kind == "added"
    assert changes["run.sh"].kind == "mode"
    assert changes["gone/old.txt"].kind == "removed"
    moved = {row.name: row.moved for row in changes["model.safetensors"].tensors}
    assert moved["a.weight"] > 0.5
    folder = tmp_path / "repo"
    model = bytearray((folder / "model.safetensors").read_bytes())
    model[-1] ^= 1
    (folder / "model.safetensors").write_bytes(model)
    (work,) = diff_worktree(repository, None)
    (row,) = work.tensors
    assert (row.kind, row.name) == ("changed", "c")
    assert row.moved == pytest.approx(1 / 3000)


def test_ls_tensors_and_stats(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    with repository.reading() as view:
        rows = {row.span.name: row for row in tensors(view, "HEAD:model.safetensors")}
        found = stats(repository, view)
    assert set(rows) == {"a.weight", "b.bias", "c"}
    assert rows["c"].span.shape == (3000,)
    assert 0 < rows["c"].stored_bytes < 6000
    assert [version.subject for version in found.versions] == ["one", "two"]
    on_disk = sum(
        path.stat().st_size
        for place in ("packs", "segments", "pieces", "locators")
        for path in (tmp_path / "repo" / ".mvc" / place).rglob("*")
        if path.is_file()
    )
    assert found.stored_bytes == on_disk + (tmp_path / "repo" / ".mvc" / "root").stat().st_size


def test_undo_goes_back_step_by_step(tmp_path):
    repository, one, two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    second = tree(folder)
    tag.create(repository, "t", "HEAD", ME, now(), message="note")
    branch.create(repository, "side", "HEAD~1", ME, now())
    switch_to(repository, "side")
    undo(repository, ME, now())
    assert tree(folder) == second
    assert status(repository).branch == "main"
    undo(repository, ME, now())
    undo(repository, ME, now())
    with repository.reading() as view:
        assert list(view.refs.names()) == ["refs/heads/main"]
    undo(repository, ME, now())
    assert history(repository) == [one]
    assert tree(folder) == second  # a commit does not touch the work tree, nor does taking it back
    undo(repository, ME, now())
    assert history(repository) == []
    with pytest.raises(UserError, match="nothing left"):
        undo(repository, ME, now())
    assert_sound(folder)
    assert two not in history(repository)


def test_refs_that_exist_are_not_overwritten(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    tag.create(repository, "t", "HEAD", ME, now())
    with pytest.raises(ConflictError):
        tag.create(repository, "t", "HEAD~1", ME, now())
    branch.create(repository, "b", "HEAD", ME, now())
    with pytest.raises(ConflictError):
        branch.create(repository, "b", "HEAD~1", ME, now())
    with pytest.raises(ConflictError):
        branch.delete(repository, "main", ME, now())
    switch_to(repository, "b")
    (tmp_path / "repo" / "x").write_text("x")
    snapshot(repository)
    switch_to(repository, "main")
    with pytest.raises(ConflictError, match="does not reach"):
        branch.delete(repository, "b", ME, now())


def _commit_many(folder: Path, who: int, count: int) -> None:
    repository = open_repository(folder)
    for number in range(count):
        (folder / f"file-{who}").write_text(f"{who} {number}")
        # whole snapshots and single paths in turn; a whole one may already hold what the other wrote
        snapshot(repository, f"{who}.{number}", paths=[f"file-{who}"] if number % 2 else [], allow_empty=True)
    os._exit(0)


def test_two_processes_committing_at_once_are_both_in_the_log(tmp_path):
    folder = tmp_path / "repo"
    make_repository(folder)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_commit_many, args=(folder, who, 10)) for who in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    repository = open_repository(folder)
    with repository.reading() as view:
        entries = list(log(view))
    assert sorted(entry.commit.message for entry in entries) == sorted(
        f"{w}.{n}" for w in range(2) for n in range(10)
    )
    assert_sound(folder)


class Late(FileIO):
    """A disk on which, the first time a file is read, somebody else commits another file."""

    def __init__(self, meanwhile) -> None:
        self.meanwhile = meanwhile

    def read_into(self, fd, buffer, offset):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().read_into(fd, buffer, offset)


def test_what_others_commit_while_a_snapshot_is_taken_is_not_taken_back(tmp_path):
    folder = tmp_path / "repo"
    two_versions(folder)

    def meanwhile() -> None:
        (folder / "theirs").write_text("theirs")
        (folder / "kept.txt").write_text("theirs too")
        snapshot(open_repository(folder), "theirs", paths=["theirs", "kept.txt"])

    (folder / "ours").write_text("ours")
    (folder / "run.sh").unlink()
    snapshot(open_repository(folder, Late(meanwhile)), "ours")
    with open_repository(folder).reading() as view:
        entries = list(log(view))
        assert [entry.commit.message for entry in entries] == ["ours", "theirs", "two", "one"]
        names = {row.path for row in files(view)}
        assert {"ours", "theirs"} <= names
        assert "run.sh" not in names
        assert b"".join(cat(view, "HEAD:theirs")) == b"theirs"
        assert b"".join(cat(view, "HEAD:kept.txt")) == b"theirs too"


def test_amend_does_not_replace_what_others_committed_meanwhile(tmp_path):
    folder = tmp_path / "repo"
    two_versions(folder)
    theirs = []

    def meanwhile() -> None:
        theirs.append(snapshot(open_repository(folder), "theirs", allow_empty=True).id)

    (folder / "ours").write_bytes(bytes(300_000))
    with pytest.raises(RefMoved):
        snapshot(open_repository(folder, Late(meanwhile)), "amended", amend=True)
    assert history(open_repository(folder))[0] == theirs[0]


def test_what_is_swapped_in_while_a_snapshot_is_taken_is_not_followed(tmp_path):
    folder = tmp_path / "repo"
    make_repository(folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "z.txt").write_text("secret")
    (folder / "a.bin").write_bytes(bytes(300_000))
    (folder / "sub").mkdir()
    (folder / "sub" / "z.txt").write_text("inside")

    def meanwhile() -> None:
        shutil.rmtree(folder / "sub")
        (folder / "sub").symlink_to(outside)

    with pytest.raises(InvalidPath, match="sub"):
        snapshot(open_repository(folder, Late(meanwhile)))
    assert history(open_repository(folder)) == []


def test_a_file_that_goes_or_is_replaced_while_a_snapshot_is_taken(tmp_path):
    folder = tmp_path / "repo"
    make_repository(folder)
    for name in ("a.bin", "gone", "replaced"):
        (folder / name).write_bytes(name.encode() * 50_000)

    def meanwhile() -> None:
        (folder / "gone").unlink()
        (folder / "fresh").write_text("new content")
        (folder / "fresh").rename(folder / "replaced")

    snapshot(open_repository(folder, Late(meanwhile)))
    with open_repository(folder).reading() as view:
        assert [row.path for row in files(view)] == ["a.bin", "replaced"]
        assert b"".join(cat(view, "HEAD:replaced")) == b"new content"


def test_a_path_that_cannot_be_looked_at_is_not_deleted_by_name_either(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "kept.txt").unlink()
    os.mkfifo(folder / "kept.txt")
    (folder / "run.sh").write_text("changed")
    snapshot(repository, "by path", paths=["kept.txt", "run.sh"])
    with repository.reading() as view:
        assert "kept.txt" in [row.path for row in files(view)]


def test_a_file_becomes_a_folder_by_path(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "a").write_text("file")
    snapshot(repository)
    (folder / "a").unlink()
    (folder / "a").mkdir()
    (folder / "a" / "b").write_text("in a folder")
    snapshot(repository, "by path", paths=["a/b"])
    with repository.reading() as view:
        assert [row.path for row in files(view)] == ["a/b"]


def test_a_damaged_index_does_not_make_packs_superfluous(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    for number in range(MAX_PACKS - 1):
        (folder / "file").write_text(f"content {number}")
        snapshot(repository, str(number))
    largest = max((folder / ".mvc" / "segments").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(data)
    packs = set((folder / ".mvc" / "packs").rglob("*.pack"))
    for number in range(10):
        (folder / "file").write_text(f"more {number}")
        snapshot(open_repository(folder), f"more {number}")
    assert packs <= set((folder / ".mvc" / "packs").rglob("*.pack"))


def test_small_packs_are_joined_and_nothing_is_lost(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    commits = []
    for number in range(MAX_PACKS + 12):
        (folder / "file").write_text(f"content {number}")
        commits.append(snapshot(repository, str(number)).id)
    packs = list((folder / ".mvc" / "packs").rglob("*.pack"))
    assert len(packs) < 40
    assert history(repository) == commits[::-1]
    for number in (0, 100, len(commits) - 1):
        switch_to(repository, commits[number].hex())
        assert (folder / "file").read_text() == f"content {number}"
    assert_sound(folder)


def test_a_reader_keeps_what_it_reads_while_packs_are_joined(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "file").write_text("first")
    first = snapshot(repository).id
    with open_repository(folder).reading() as old:
        for number in range(MAX_PACKS + 12):
            (folder / "file").write_text(f"content {number}")
            snapshot(repository, str(number))
        assert old.commit(first).message == "version"
        assert len(list((folder / ".mvc" / "packs").rglob("*.pack"))) > MAX_PACKS
    snapshot(repository, "last", allow_empty=True)
    assert len(list((folder / ".mvc" / "packs").rglob("*.pack"))) < 40
    assert_sound(folder)


def test_joining_packs_that_loses_the_race_leaves_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    for number in range(MAX_PACKS):
        (folder / "file").write_text(f"content {number}")
        snapshot(repository, str(number))
    extra = open_repository(folder)
    monkeypatch.setattr(
        extra.roots, "swap", lambda expected, root: extra.backend.replace("root", b"other", b"")
    )
    (folder / "file").write_text("one more")
    monkeypatch.setattr("mvc.committing.consolidate", lambda repository: 0)
    snapshot(repository, "one more")
    before = {path for path in (folder / ".mvc").rglob("*") if path.suffix in (".pack", ".seg")}
    assert consolidate(extra) == 0
    assert {path for path in (folder / ".mvc").rglob("*") if path.suffix in (".pack", ".seg")} == before
    assert consolidate(repository) > MAX_PACKS
    assert_sound(folder)


def test_a_store_with_links_is_refused(tmp_path):
    two_versions(tmp_path / "repo")
    packs = tmp_path / "repo" / ".mvc" / "packs"
    packs.rename(tmp_path / "elsewhere")
    packs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptFile, match="not a folder"):
        open_repository(tmp_path / "repo")


def test_a_commit_that_took_place_does_not_fail_for_its_index(tmp_path):
    repository, _one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / ".mvc" / "index").unlink()
    (folder / ".mvc" / "index").mkdir()
    (folder / "kept.txt").write_text("changed")
    assert snapshot(repository, "three").id == history(repository)[0]
    assert any("stat cache" in text for text in repository.monitor.warnings)


@pytest.mark.parametrize("thing", ["link to a file", "link outside", "dangling", "loop"])
def test_force_replaces_whatever_is_there(tmp_path, thing):
    repository, one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (tmp_path / "secret").write_text("secret")
    victim = folder / "model.safetensors"
    victim.unlink()
    targets = {
        "link to a file": "kept.txt",
        "link outside": tmp_path / "secret",
        "dangling": "no",
        "loop": victim,
    }
    victim.symlink_to(targets[thing])
    switch_to(repository, one.hex(), force=True)
    assert victim.is_file() and not victim.is_symlink()
    assert (tmp_path / "secret").read_text() == "secret"
    assert_sound(folder)


def test_no_repository(tmp_path):
    with pytest.raises(RepositoryNotFound):
        Repository.find(FileIO(), tmp_path, Monitor())
    make_repository(tmp_path)
    with pytest.raises(UserError, match="already"):
        make_repository(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert Repository.find(FileIO(), tmp_path / "a" / "b", Monitor()).worktree == tmp_path


CONTENTS = [b"", b"x", b"text\n" * 50, *weights_versions(3, elements=600), bytes(range(256)) * 100]
NAMES = ["a", "b/c", "b/d", "model.safetensors"]


class EngineMachine(RuleBasedStateMachine):
    """Commit, branch, tag, checkout and undo against dictionaries."""

    commits = Bundle("commits")

    @initialize()
    def start(self) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        self.repository = make_repository(self.folder)
        self.work: dict[str, bytes] = {}
        self.head: str | bytes = "main"
        self.branches: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        self.versions: dict[bytes, dict[str, bytes]] = {}
        self.past: list[tuple] = []

    def remember(self) -> None:
        self.past.append((self.head, dict(self.branches), dict(self.tags), None))

    def current(self) -> bytes | None:
        return self.branches.get(self.head) if isinstance(self.head, str) else self.head

    @rule(name=st.sampled_from(NAMES), content=st.sampled_from(CONTENTS))
    def write(self, name, content) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(content)
        self.work[name] = content

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name) -> None:
        if name in self.work:
            (self.folder / name).unlink()
            del self.work[name]

    @rule(target=commits)
    def commit(self):
        if self.work == self.versions.get(self.current(), {}):
            with pytest.raises(AnswerIsNo):
                snapshot(self.repository)
            return self.current()
        self.remember()
        identity = snapshot(self.repository).id
        self.versions[identity] = dict(self.work)
        if isinstance(self.head, str):
            self.branches[self.head] = identity
        else:
            self.head = identity
        return identity

    @rule(commit=commits, name=st.sampled_from("pqr"))
    def branch(self, commit, name) -> None:
        if commit is None or name in self.branches or name == self.head:
            return
        self.remember()
        branch.create(self.repository, name, commit.hex(), ME, now())
        self.branches[name] = commit

    @rule(commit=commits, name=st.sampled_from("uvw"))
    def tag(self, commit, name) -> None:
        if commit is None or name in self.tags:
            return
        self.remember()
        tag.create(self.repository, name, commit.hex(), ME, now())
        self.tags[name] = commit

    @precondition(lambda self: self.versions)
    @rule(data=st.data(), force=st.booleans())
    def checkout(self, data, force) -> None:
        to = data.draw(st.sampled_from(sorted(self.branches) + sorted(self.tags) + sorted(self.versions)))
        wanted = self.branches.get(to) or self.tags.get(to) or to
        before, after = self.versions.get(self.current(), {}), self.versions[wanted]
        lost = {
            name
            for name in {*before, *after}
            if before.get(name) != after.get(name)
            and self.work.get(name) not in (before.get(name), after.get(name))
            and name in self.work
        }
        spelled = to if isinstance(to, str) else to.hex()
        if lost and not force:
            with pytest.raises(WouldOverwrite):
                switch_to(self.repository, spelled)
            return
        old_work = dict(self.work)
        self.remember()
        switch_to(self.repository, spelled, force=force)
        for name in {*before, *after}:
            if force or before.get(name) != after.get(name):
                if name in after:
                    self.work[name] = after[name]
                else:
                    self.work.pop(name, None)
        head = to if to in self.branches else wanted
        changed_nothing = self.head == head
        self.head = head
        if changed_nothing and old_work == self.work:
            pass
        self.past[-1] = (*self.past[-1][:3], old_work if old_work != self.work else None)

    @precondition(lambda self: self.past)
    @rule()
    def undo(self) -> None:
        head, branches, tags, work = self.past[-1]
        if work is None or work == self.work:
            undo(self.repository, ME, now(), force=True)
            self.past.pop()
            self.head, self.branches, self.tags = head, branches, tags
            return
        # what the checkout had overwritten comes back; what was edited since in other files stays
        undo(self.repository, ME, now(), force=True)
        self.past.pop()
        self.head, self.branches, self.tags = head, branches, tags
        self.work = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and ".mvc" not in path.parts
        }

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "repository"):
            return
        assert {name: data for name, (data, _x) in tree(self.folder).items()} == self.work
        with self.repository.reading() as view:
            assert view.head_commit() == self.current()
            assert {row.name: row.target for row in branch.branches(view)} == self.branches
            assert {row.name: row.target for row in tag.tags(view)} == self.tags
        committed = self.versions.get(self.current(), {})
        assert status(self.repository).clean == (self.work == committed)

    def teardown(self) -> None:
        if not hasattr(self, "repository"):
            return
        assert_sound(self.folder)
        for identity, files_then in self.versions.items():
            with self.repository.reading() as view:
                for name, content in files_then.items():
                    assert b"".join(cat(view, f"{identity.hex()}:{name}")) == content
        shutil.rmtree(self.folder)


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="real model files (../shared/data) are not on this machine")
@pytest.mark.parametrize(
    "family", ["checkpoints/pretrain-bf16", "checkpoints/finetune-bf16", "weights/hist_facenet_pytorch_mtcnn"]
)
def test_real_histories_come_back(tmp_path, family):
    sources = sorted(path for path in (SHARED / family).rglob("*") if path.is_file())
    assert sources
    repository = make_repository(tmp_path / "repo")
    for number, source in enumerate(sources):
        shutil.copyfile(source, tmp_path / "repo" / "model")
        snapshot(repository, source.name, allow_empty=True)
        tag.create(repository, f"t{number}", "HEAD", ME, now())
    for number, source in enumerate(sources):
        switch_to(repository, f"t{number}")
        assert (tmp_path / "repo" / "model").read_bytes() == source.read_bytes()
    assert_sound(tmp_path / "repo")


def test_the_library_loads_no_command_line():
    code = (
        "import sys, mvc.ops.commit, mvc.ops.checkout; "
        "sys.exit(any(name.startswith(('typer', 'mvc.cli')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
