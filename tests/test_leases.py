"""Locks between machines: leases, presences, successors of root. "Machines" are processes that say they run
on different hosts, and the kernel's locks are switched off."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from mvc.backends.successors import KEPT, Successors
from mvc.config import Config
from mvc.errors import Busy, LeaseLost, RootMoved
from mvc.fileio import FileIO, TemporaryNames
from mvc.leases import Leases
from mvc.locks import Locks
from mvc.monitor import Monitor
from mvc.mounts import file_system_type, is_shared_type, type_in
from mvc.objectid import BlobId, CommitId, ManifestId, TagId, TreeId
from mvc.objects import Person, Timestamp
from mvc.odb.intents import announce, oldest_epoch, sweep_temporary
from mvc.ops import commit as commit_op
from mvc.ops import fsck as fsck_op
from mvc.ops import gc as gc_op
from mvc.ops import tag as tag_op
from mvc.presence import Machine
from mvc.repo import Repository
from mvc.view import View
from mvc.workspace import files_of
from tests.counts import record
from tests.faults import CHANGING, FaultIO, fork, was_killed

WHO = Person("Ada", "ada@example.org")
SECONDS = 0.6
KINDS = {kind.kind: kind for kind in (BlobId, CommitId, ManifestId, TagId, TreeId)}


class NoKernelLocks(FileIO):
    """A file system whose locks do not exist."""

    def lock(self, fd: int, *, exclusive: bool, wait: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


class BlindLocks(FileIO):
    """A file system whose locks end at the machine: everybody gets them."""

    def lock(self, fd: int, *, exclusive: bool, wait: bool) -> bool:
        return True


def machine(name: str) -> Machine:
    return Machine(name, f"boot of {name}", "pid:1")


def leases(folder: Path, name: str, io: FileIO | None = None) -> Leases:
    return Leases(io or FileIO(), folder, machine(name), SECONDS)


def locks(store: Path, name: str, io: FileIO | None = None) -> Locks:
    return Locks(io or BlindLocks(), store, lambda: "always", machine=machine(name), lease_seconds=SECONDS)


def opened(folder: Path, name: str, io: FileIO | None = None) -> Repository:
    io = io or BlindLocks()
    return Repository(io, folder, Monitor(), locks=locks(folder / ".mvc", name, io))


def request(message: str) -> commit_op.Request:
    return commit_op.Request(message, WHO, Timestamp(int(time.time() * 1e6), 0), allow_empty=True)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    Repository.create(FileIO(), folder, Monitor())
    (folder / "model.bin").write_bytes(b"weights")
    return folder


def until(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def in_child(work: Callable[[], object], ready: Path) -> int:
    """A child that does its work, says so and then lives on until it is killed."""

    def run() -> None:
        kept = work()
        ready.touch()
        time.sleep(60)
        del kept

    child = fork(run)
    until(ready.exists)
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    assert was_killed(child)


# --- locks -----------------------------------------------------------------------------------------------
def test_one_alone_or_several_together(shared: Path) -> None:
    one, two = leases(shared, "one"), leases(shared, "two")
    alone = one.take("tree", exclusive=True, wait=False)
    assert alone is not None
    assert two.take("tree", exclusive=True, wait=False) is None
    assert two.take("tree", exclusive=False, wait=False) is None
    assert two.take("gc", exclusive=True, wait=False) is not None, "another name is another lock"
    alone.release()
    first, second = (side.take("tree", exclusive=False, wait=False) for side in (one, two))
    assert first is not None and second is not None
    assert one.take("tree", exclusive=True, wait=False) is None
    first.release()
    assert one.take("tree", exclusive=True, wait=False) is None
    second.release()
    assert one.take("tree", exclusive=True, wait=False) is not None
    one.close()
    assert two.take("tree", exclusive=True, wait=False) is not None, "who has left holds nothing"
    two.close()


def test_who_comes_too_late_for_a_number_does_not_hold_the_lock(shared: Path) -> None:
    """Between looking and creating the next number, others take the lock and go on."""
    slow, quick = leases(shared, "slow"), leases(shared, "quick")
    turns, _ = slow._list("tree")
    assert turns == []
    for _ in range(3):
        held = quick.take("tree", exclusive=True, wait=False)
        assert held is not None
        held.release()
    held = quick.take("tree", exclusive=True, wait=False)
    assert slow._next_turn("tree", 1) is None, "that number came long ago"
    assert slow.take("tree", exclusive=True, wait=False) is None
    assert held is not None
    held.release()
    assert [path.name for path in shared.glob("tree.*")] == ["tree.4"]


def test_a_killed_holder_on_the_same_machine_is_known_at_once(shared: Path, tmp_path: Path) -> None:
    child = in_child(
        lambda: leases(shared, "here").take("tree", exclusive=True, wait=False), tmp_path / "ready"
    )
    here = leases(shared, "here")
    assert here.take("tree", exclusive=True, wait=False) is None
    end(child)
    assert here.take("tree", exclusive=True, wait=False) is not None


def test_a_killed_holder_on_another_machine_is_known_after_a_lease(shared: Path, tmp_path: Path) -> None:
    child = in_child(
        lambda: leases(shared, "there").take("tree", exclusive=True, wait=False), tmp_path / "ready"
    )
    here = leases(shared, "here")
    end(child)
    assert here.take("tree", exclusive=True, wait=False) is None, "nobody has watched it for long enough"
    began = time.monotonic()
    assert here.take("tree", exclusive=True, wait=True) is not None
    assert time.monotonic() - began >= SECONDS * 0.9


def test_a_living_holder_on_another_machine_keeps_its_lock(shared: Path) -> None:
    there, here = leases(shared, "there"), leases(shared, "here")
    held = there.take("tree", exclusive=True, wait=False)
    end_ = time.monotonic() + 3 * SECONDS
    while time.monotonic() < end_:
        assert here.take("tree", exclusive=True, wait=False) is None
        time.sleep(0.05)
    there.check()
    assert held is not None
    held.release()


def test_a_paused_holder_that_comes_back_stops(shared: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"

    def work() -> None:
        mine = leases(shared, "there")
        assert mine.take("tree", exclusive=True, wait=False)
        (tmp_path / "ready").touch()
        until((tmp_path / "go").exists)
        try:
            mine.check()
        except LeaseLost:
            said.write_text("lost")

    child = fork(work)
    until((tmp_path / "ready").exists)
    os.kill(child, signal.SIGSTOP)
    here = leases(shared, "here")
    assert here.take("tree", exclusive=True, wait=True) is not None
    (tmp_path / "go").touch()
    os.kill(child, signal.SIGCONT)
    assert not was_killed(child)
    assert said.read_text() == "lost"
    here.check()


def test_settling_tells_the_living_from_the_dead(shared: Path, tmp_path: Path) -> None:
    child = in_child(lambda: leases(shared, "dead").presence, tmp_path / "ready")
    living = leases(shared, "living")
    token = living.presence.token
    end(child)
    here = leases(shared, "here")
    assert here.presence.token not in here.settle()
    assert here.settle() == [token]
    assert sorted(path.suffix for path in shared.iterdir()) == [".alive", ".alive"]


def test_a_forked_child_is_somebody_else(shared: Path) -> None:
    mine = leases(shared, "here")
    token = mine.presence.token

    def work() -> None:
        assert mine.presence.token != token
        assert len(list(shared.glob("*.alive"))) == 2
        mine.close()
        assert [path.name for path in shared.glob("*.alive")] == [f"{token}.alive"]

    assert not was_killed(fork(work))
    mine.check()


# --- intents and temporary files ---------------------------------------------------------------------------
def test_intents_of_other_machines_count_as_long_as_they_beat(tmp_path: Path) -> None:
    there, here = locks(tmp_path, "there"), locks(tmp_path, "here")
    folder = tmp_path / "intents"
    intent = announce(BlindLocks(), folder, "writer", there)
    intent.announce_epoch(3)
    assert oldest_epoch(BlindLocks(), folder, here) == 3
    assert there.leases is not None
    there.leases.close()  # as if it had died: its file stays
    assert oldest_epoch(BlindLocks(), folder, here) is None


def test_temporary_files_of_other_machines_are_swept_when_these_are_dead(tmp_path: Path) -> None:
    there, here = locks(tmp_path, "there"), locks(tmp_path, "here")
    names = TemporaryNames(BlindLocks(), tmp_path / "tmp", there)
    names.new().touch()
    assert sweep_temporary(BlindLocks(), tmp_path / "tmp", here) == 0
    there.close()
    assert sweep_temporary(BlindLocks(), tmp_path / "tmp", here) == 1


# --- successors --------------------------------------------------------------------------------------------
def test_a_state_has_one_successor(shared: Path, tmp_path: Path) -> None:
    sides = [
        Successors(FileIO(), shared, TemporaryNames(FileIO(), tmp_path / side).new, leases(shared, side))
        for side in ("one", "two")
    ]
    sides[0].put("root", b"a", b"b")
    with pytest.raises(RootMoved):
        sides[1].put("root", b"a", b"c")
    sides[1].put("root", b"b", b"c")
    for old in (b"a", b"b", b"c"):
        assert sides[0].newest("root", old) == b"c"
    assert sides[0].newest("other", b"a") == b"a"


def test_a_reply_that_was_lost_is_no_refusal(shared: Path, tmp_path: Path) -> None:
    class Repeated(FileIO):
        def link(self, source: Path, target: Path) -> None:
            super().link(source, target)
            super().link(source, target)

    names = TemporaryNames(FileIO(), tmp_path / "tmp")
    successors = Successors(Repeated(), shared, names.new, leases(shared, "one"))
    successors.put("root", b"a", b"b")
    assert successors.newest("root", b"a") == b"b"


def test_without_hard_links_there_is_one_successor_too(shared: Path, tmp_path: Path) -> None:
    class NoLinks(FileIO):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    names = TemporaryNames(FileIO(), tmp_path / "tmp")
    successors = Successors(NoLinks(), shared, names.new, leases(shared, "one"))
    successors.put("root", None, b"a")
    with pytest.raises(RootMoved):
        successors.put("root", None, b"b")
    assert list((tmp_path / "tmp").glob("*-*-*")) == []


def test_old_successors_go_and_the_newest_stay(shared: Path, tmp_path: Path) -> None:
    names = TemporaryNames(FileIO(), tmp_path / "tmp")
    successors = Successors(FileIO(), shared, names.new, leases(shared, "one"))
    states = [b"%d" % number for number in range(KEPT + 300)]
    for before, after in pairwise(states):
        successors.put("root", before, after)
    assert KEPT <= len(list(shared.glob("*.next"))) < len(states) - 1
    assert successors.newest("root", states[-KEPT]) == states[-1]


def test_an_old_state_put_back_by_one_who_was_paused_leads_to_the_newest(repository: Path) -> None:
    one, two = opened(repository, "one"), opened(repository, "two")
    commit_op.commit(one, request("first"))
    old = (repository / ".mvc" / "root").read_bytes()
    done = commit_op.commit(two, request("second"))
    (repository / ".mvc" / "root").write_bytes(old)
    assert one.read().head_commit() == done.id
    third = commit_op.commit(one, request("third"))
    assert third.commit.parents == (done.id,)


# --- whole commands ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("io", [NoKernelLocks, BlindLocks])
def test_commits_of_several_machines_all_stay(repository: Path, io: type[FileIO]) -> None:
    each = 6

    def work(name: str) -> None:
        mine = opened(repository, name, io())
        for number in range(each):
            tag_op.create(mine, f"{name}-{number}", "HEAD", WHO, Timestamp(0, 0))
            commit_op.commit(mine, request(f"{name} {number}"))
        mine.locks.close()

    commit_op.commit(opened(repository, "first", io()), request("first"))
    children = [fork(lambda name=name: work(name)) for name in ("one", "two", "three")]  # type: ignore[misc]
    ends = [was_killed(child) for child in children]
    assert not any(ends)
    view = opened(repository, "last", io()).read()
    assert sum(1 for _ in view.names("refs/tags/")) == 3 * each
    messages = []
    head = view.head_commit()
    while head is not None:
        commit = view.commit(head)
        messages.append(commit.message)
        head = commit.parents[0] if commit.parents else None
    assert sorted(messages) == sorted(
        ["first", *(f"{n} {i}" for n in ("one", "two", "three") for i in range(each))]
    )


def test_where_the_kernel_has_no_locks_leases_take_over(repository: Path) -> None:
    mine = Repository.open(NoKernelLocks(), repository, Monitor())
    done = commit_op.commit(mine, request("first"))
    assert mine.locks.leases is not None
    assert Repository.open(FileIO(), repository, Monitor()).locks.leases is not None, (
        "and for all that follow"
    )
    assert mine.read().head_commit() == done.id


def test_a_process_taken_for_dead_publishes_nothing(repository: Path) -> None:
    one, two = opened(repository, "one"), opened(repository, "two")
    commit_op.commit(two, request("first"))
    assert one.locks.leases is not None
    (repository / ".mvc" / "shared" / f"{one.locks.leases.presence.token}.alive").unlink()
    with pytest.raises(LeaseLost):
        commit_op.commit(one, request("second"))
    with pytest.raises(LeaseLost):
        one.locks.check()
    head = two.read().head_commit()
    assert head is not None
    assert two.read().commit(head).message == "first"
    assert commit_op.commit(one, request("third")).commit.parents == (head,), "begun anew, it is alive again"


def test_what_is_missing_because_it_was_taken_for_dead_is_no_damage(repository: Path) -> None:
    one, two = opened(repository, "one"), opened(repository, "two")
    commit_op.commit(two, request("first"))
    with pytest.raises(LeaseLost), one.reading() as view:
        assert one.locks.leases is not None
        (repository / ".mvc" / "shared" / f"{one.locks.leases.presence.token}.alive").unlink()
        for segment in (repository / ".mvc" / "segments").iterdir():
            segment.rename(segment.with_suffix(".gone"))
        view.commit(view.head_commit() or pytest.fail("no version"))


def test_the_setting(repository: Path) -> None:
    config = repository / ".mvc" / "config"
    config.write_text(Config("", "").with_value("core.shared", "always"))
    assert Repository.open(FileIO(), repository, Monitor()).locks.leases is not None
    config.write_text(Config("", "").with_value("core.shared", "never"))
    assert Repository.open(FileIO(), repository, Monitor()).locks.leases is None


# --- file systems ------------------------------------------------------------------------------------------
MOUNTS = r"""22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:44 / /mnt/share\040one rw - nfs4 server:/x rw
31 22 0:45 / /mnt/local rw - tmpfs tmpfs rw
32 31 0:46 / /mnt/local/deep rw shared:5 - fuse.sshfs me@there rw
33 22 0:47 / /home rw - btrfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "device", "kind"),
    [
        ("/srv/x", "8:1", "ext4"),
        ("/mnt/share one/models", "0:44", "nfs4"),
        ("/mnt/local/x", "0:45", "tmpfs"),
        ("/mnt/local/deep/er", "0:46", "fuse.sshfs"),
        ("/mnt/local/deeper", "0:45", "tmpfs"),
        ("/home/ada", "0:99", "btrfs"),
    ],
)
def test_the_type_of_a_file_system(path: str, device: str, kind: str) -> None:
    assert type_in(MOUNTS, path, device) == kind


def test_types_that_machines_share() -> None:
    assert all(map(is_shared_type, ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "ceph")))
    assert not any(map(is_shared_type, ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk", "")))


def test_the_type_of_a_real_folder(tmp_path: Path) -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("no /proc here")
    assert file_system_type(FileIO(), tmp_path)
    assert file_system_type(FileIO(), Path("/proc")) == "proc"


# --- faults of whole commands ------------------------------------------------------------------------------
def fsck(folder: Path, name: str) -> None:
    report = fsck_op.fsck(opened(folder, name), full=True)
    assert not report.damage, report.damage


@pytest.mark.parametrize("command", ["commit", "gc"])
def test_a_kill_on_this_machine_is_over_at_once(repository: Path, tmp_path: Path, command: str) -> None:
    """Killed at sampled steps of a command in a shared store: the next one neither waits nor loses."""
    commit_op.commit(opened(repository, "here"), request("first"))

    class Dying(FaultIO):
        def lock(self, fd: int, *, exclusive: bool, wait: bool) -> bool:
            return True

    step, killed = 5, True
    while killed:
        folder = tmp_path / f"work-{step}"
        shutil.copytree(repository, folder)

        def work(folder: Path = folder, step: int = step) -> None:
            mine = opened(folder, "here", Dying(kill_at=step, counted=CHANGING))
            commit_op.commit(mine, request("second"))
            if command == "gc":
                gc_op.gc(mine, gc_op.Request(Timestamp(int(time.time() * 1e6), 0)))

        killed = was_killed(fork(work))
        began = time.monotonic()
        mine = opened(folder, "here")
        commit_op.commit(mine, request("third"))
        mine.locks.close()
        assert time.monotonic() - began < 20, "it waited"
        fsck(folder, "here")
        assert not list((folder / ".mvc" / "shared").glob("worktree.with.*"))
        shutil.rmtree(folder)
        step += 17
    assert step > 22, "nothing was killed"


def test_a_collection_beside_a_reader_of_another_machine(repository: Path) -> None:
    """What a reader elsewhere may still need stays, though no lock of this machine's kernel tells of it."""
    here, there = opened(repository, "here"), opened(repository, "there")
    first = commit_op.commit(here, request("first"))
    with there.reading() as view:
        for number in range(3):
            (repository / "model.bin").write_bytes(b"%d" % number * 5000)
            commit_op.commit(here, request(f"{number}"))
        gc_op.gc(here, gc_op.Request(Timestamp(int(time.time() * 1e6), 0)))
        assert view.commit(first.id).message == "first"
        assert all(view.objects.get(KINDS[entry.kind](entry.id)) for entry in view.index.entries())
    fsck(repository, "here")


def test_readers_wait_for_nobody(repository: Path) -> None:
    """With every lock held by somebody else, what reads goes on; by leases as by the kernel's locks."""
    for io in (FileIO(), BlindLocks()):
        name = type(io).__name__
        holder = (
            Repository.open(io, repository, Monitor()) if name == "FileIO" else opened(repository, "there")
        )
        commit_op.commit(holder, request(name))
        reader = (
            Repository.open(io, repository, Monitor()) if name == "FileIO" else opened(repository, "here")
        )
        held = [holder.locks.take(lock, exclusive=True, wait=False) for lock in ("root", "worktree", "gc")]
        assert None not in held
        assert reader.locks.take("worktree", exclusive=False, wait=False) is None
        with reader.reading() as view:
            head = view.head_commit()
            assert head is not None
            assert view.commit(head).message == name
            assert files_of(view, head)
        assert not fsck_op.fsck(reader, full=True).damage
        for lock in held:
            assert lock is not None
            lock.release()


@pytest.mark.slow
@pytest.mark.parametrize("io", [NoKernelLocks, BlindLocks])
def test_a_crowd_of_machines(repository: Path, tmp_path: Path, io: type[FileIO]) -> None:
    """4 machines × 25 commits, with a collector, somebody who is killed again and again, and somebody who
    is paused for longer than a lease: what was acknowledged is there."""
    began = time.monotonic()
    commit_op.commit(opened(repository, "first", io()), request("first"))
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()

    def work(name: str, each: int) -> None:
        number = 0
        while number < each:
            mine = opened(repository, name, io())
            try:
                done = commit_op.commit(mine, request(f"{name} {number}"))
            except Busy:
                continue  # taken for dead, or others were too quick: a user would try again too
            finally:
                mine.locks.close()
            with open(acknowledged, "a") as file:
                file.write(f"{done.id.hex()}\n")
            number += 1

    def collect() -> None:
        for _ in range(5):
            mine = opened(repository, "collector", io())
            with suppress(Busy):
                gc_op.gc(mine, gc_op.Request(Timestamp(int(time.time() * 1e6), 0)))
            mine.locks.close()

    children = [fork(lambda name=name: work(name, 25)) for name in ("one", "two", "three", "four")]  # type: ignore[misc]
    children.append(fork(collect))
    kills = pauses = 0
    for _ in range(6):
        victim = fork(lambda: work("victim", 1000))
        time.sleep(0.7)
        end(victim)
        kills += 1
        os.kill(children[0], signal.SIGSTOP)
        time.sleep(2 * SECONDS)
        os.kill(children[0], signal.SIGCONT)
        pauses += 1
    ends = [was_killed(child) for child in children]
    assert not any(ends)
    view = opened(repository, "last", io()).read()
    reached = {commit.hex() for commit in ancestors(view)}
    told = acknowledged.read_text().split()
    assert len(told) >= 100
    assert set(told) <= reached, "a commit that was acknowledged is gone"
    fsck(repository, "last")
    record(
        f"machines, {io.__name__}",
        commits=len(told),
        lost=len(set(told) - reached),
        kills=kills,
        pauses=pauses,
        seconds=round(time.monotonic() - began),
    )


def ancestors(view: View) -> Iterator[CommitId]:
    """HEAD and all first parents."""
    head = view.head_commit()
    while head is not None:
        yield head
        parents = view.commit(head).parents
        head = parents[0] if parents else None
