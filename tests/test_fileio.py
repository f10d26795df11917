"""The IO layer, and the twin that stands in for it when things go wrong."""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
from pathlib import Path

import pytest
from faults import SYNCS, FaultIO, PowerCut, Recorder, lay_out, run_killed, snapshot

from mvc.errors import StorageError
from mvc.fileio import (
    FileIO,
    TemporaryNames,
    make_folders,
    place_new,
    storage_errors,
    write_all,
    write_durable,
)

OLD, NEW = b"old " * 300, b"new bytes " * 300


class WithoutLinks(FaultIO):
    """A file system that knows no hard links."""

    def link(self, source, target):
        raise OSError(errno.EPERM, "Operation not permitted")


def read(path):
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tmp").mkdir()
    return tmp_path


# --- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FileIO, WithoutLinks])
def test_create_only_never_replaces(place, kind):
    io, target = kind(), place / "target"
    assert write_durable(io, place / "tmp" / "a", target, [b"one", b" two"], replace=False)
    assert not write_durable(io, place / "tmp" / "b", target, [NEW], replace=False)
    assert target.read_bytes() == b"one two"
    assert {path.name for path in (place / "tmp").iterdir()} <= {"create.lock"}


def test_create_only_does_not_replace_a_dangling_link(place):
    (place / "target").symlink_to(place / "nowhere")
    for kind in (FileIO, WithoutLinks):
        assert not write_durable(kind(), place / "tmp" / "a", place / "target", [NEW], replace=False)
    assert (place / "target").is_symlink()


def test_replace_takes_the_targets_place(place):
    (place / "target").write_bytes(OLD)
    assert write_durable(FileIO(), place / "tmp" / "a", place / "target", [NEW], replace=True)
    assert (place / "target").read_bytes() == NEW


@pytest.mark.parametrize("kind", [FileIO, WithoutLinks])
def test_of_many_threads_one_creates(place, kind):
    for turn in range(20):
        io, won = kind(), []
        barrier = threading.Barrier(6)

        def race(me, turn=turn, io=io, won=won, barrier=barrier):
            temporary = place / "tmp" / f"{turn}-{me}"
            temporary.write_bytes(b"%d" % me)
            barrier.wait()
            if place_new(io, temporary, place / f"target{turn}"):
                won.append(me)

        threads = [threading.Thread(target=race, args=(me,)) for me in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert (place / f"target{turn}").read_bytes() == b"%d" % won[0]


@pytest.mark.parametrize("replace", [False, True])
def test_short_writes_are_completed(place, replace):
    short = 0
    for step in range(1, 12):
        io = FaultIO(short_at=step)
        target = place / f"target{step}"
        write_durable(io, place / "tmp" / "a", target, [OLD, NEW], replace=replace)
        assert target.read_bytes() == OLD + NEW
        short += io.names[step - 1 : step] == ["write"]
    assert short == 2


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_an_error_at_any_step_leaves_old_or_new(tmp_path, replace, error, late):
    step = 0
    while True:
        step += 1
        place = tmp_path / str(step)
        (place / "tmp").mkdir(parents=True)
        target, before = place / "target", None
        if replace:
            target.write_bytes(OLD)
            before = OLD
        io = FaultIO(fail_at=step, error=error, late=late)
        try:
            write_durable(io, place / "tmp" / "a", target, [NEW[:1000], NEW[1000:]], replace=replace)
        except OSError as failure:
            assert failure.errno == error
            assert read(target) in (before, NEW)
            # only a create that worked and said it did not, or a temporary that will not go, leaves something
            left = [item.name for item in (place / "tmp").iterdir()]
            assert left == [] or io.names[step - 1] in ("create", "unlink")
        else:
            break
    assert not io.failed
    assert step > 6


def test_a_full_disk_stays_full(place):
    io = FaultIO(fail_at=2, error=errno.ENOSPC, for_ever=True)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            write_durable(io, place / "tmp" / "a", place / "target", [NEW], replace=True)
    assert not (place / "target").exists()
    assert list((place / "tmp").iterdir()) == []


@pytest.mark.parametrize("kind", ["replace", "create"])
def test_a_kill_at_any_step_leaves_old_or_new(tmp_path, kind):
    step, seen = 0, set()
    while True:
        step += 1
        place = tmp_path / str(step)
        (place / "tmp").mkdir(parents=True)
        target = place / "target"
        if kind == "replace":
            target.write_bytes(OLD)

        def work(io, place=place, target=target):
            write_durable(io, place / "tmp" / "a", target, [NEW], replace=kind == "replace")

        if not run_killed(work, step):
            break
        assert read(target) in (OLD if kind == "replace" else None, NEW)
        seen.add(read(target))
    assert len(seen) == 2, "kills fell both before and after the file became visible"
    assert read(target) == NEW


def test_storage_errors_say_what_and_what_to_do():
    with (
        pytest.raises(StorageError, match="cannot write root: No space left") as caught,
        storage_errors("cannot write root"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in caught.value.hint


def test_make_folders_makes_parents_and_accepts_existing_ones(tmp_path):
    for _ in range(2):
        make_folders(FileIO(), tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_handles_of_folders_do_not_follow_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    io = FileIO()
    root = io.open_folder(tmp_path)
    try:
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            io.open_folder("link", folder=root)
        inside = io.open_folder("real", folder=root)
        io.make_folder("made", folder=inside)
        assert [entry.name for entry in io.scan_folder(inside)] == ["made"]
        assert stat.S_ISLNK(io.stat("link", folder=root).st_mode)
        io.sync_folder(inside)
        io.close(inside)
    finally:
        io.close(root)
    assert (tmp_path / "real" / "made").is_dir()


# --- temporary names ---------------------------------------------------------------------------------------


def test_temporary_names_are_fresh_and_show_their_owner(tmp_path):
    with TemporaryNames(FileIO(), tmp_path / "tmp") as names:
        paths = {names.new() for _ in range(100)}
        owners = {TemporaryNames.owner_of(path.name) for path in paths}
        assert len(paths) == 100
        assert (
            owners == {TemporaryNames.owner_of(item.name) for item in (tmp_path / "tmp").iterdir()} != {None}
        )
    assert list((tmp_path / "tmp").iterdir()) == []
    assert TemporaryNames.owner_of("create.lock") is None


def test_a_sweeper_that_takes_the_lock_first_costs_only_a_name(tmp_path):
    class Swept(FileIO):
        """Another process removes the first lock file between its creation and its lock."""

        swept = 0

        def lock(self, fd, *, exclusive, wait):
            if not self.swept:
                self.swept += 1
                [path] = tmp_path.glob("*.lock")
                path.unlink()
            return super().lock(fd, exclusive=exclusive, wait=wait)

    io = Swept()
    with TemporaryNames(io, tmp_path) as names:
        path = names.new()
        [lock] = tmp_path.glob("*.lock")
        assert io.swept == 1
        assert TemporaryNames.owner_of(path.name) == TemporaryNames.owner_of(lock.name)


# --- the twin itself ---------------------------------------------------------------------------------------


def naive_write(io, place):
    """A writer as one would write it first: nothing synced."""
    fd = io.create(place / "tmp" / "a")
    write_all(io, fd, NEW)
    io.close(fd)
    io.replace(place / "tmp" / "a", place / "target")


def durable_write(io, place):
    write_durable(io, place / "tmp" / "a", place / "target", [NEW], replace=True)


def cut_states(place, writer, forget=()):
    """The target's bytes in every state that a power cut may leave, while the writer runs and after it."""
    (place / "target").write_bytes(OLD)
    before, io = snapshot(place), Recorder()
    writer(io, place)
    rng = random.Random(7)
    model = PowerCut(place, before, io.trace, forget)
    during, after = set(), set()
    for cut in range(len(io.trace) + 1):
        for state in model.states(cut, 20, rng):
            item = state.get("target")
            (after if cut == len(io.trace) else during).add(None if item is None else item[0])
    return during, after


def test_power_cuts_spare_the_durable_writer(place):
    during, after = cut_states(place, durable_write)
    assert during == {OLD, NEW}
    assert after == {NEW}


@pytest.mark.parametrize(
    ("writer", "forget", "torn"),
    [
        (naive_write, (), True),
        (durable_write, SYNCS, True),
        (durable_write, ("sync",), True),
        (durable_write, ("sync_folder",), False),
    ],
)
def test_power_cuts_catch_who_forgets_to_sync(place, writer, forget, torn):
    during, after = cut_states(place, writer, forget)
    assert OLD in after or torn, "an acknowledged write that is lost"
    assert bool((during | after) - {OLD, NEW}) == torn


def test_power_cuts_lose_what_lies_in_a_folder_that_was_not_synced(place):
    before, io = snapshot(place), Recorder()
    io.make_folder(place / "new")
    write_durable(io, place / "tmp" / "a", place / "new" / "file", [NEW], replace=True)
    states = list(PowerCut(place, before, io.trace).states(len(io.trace), 20, random.Random(1)))
    assert {"new/file" in state for state in states} == {True, False}
    io.sync_folder(place)
    states = list(PowerCut(place, before, io.trace).states(len(io.trace), 20, random.Random(1)))
    assert {"new/file" in state for state in states} == {True}


def test_modes_need_a_sync_too(place):
    (place / "target").write_bytes(OLD)
    (place / "target").chmod(0o644)
    before, io = snapshot(place), Recorder()
    fd = io.open_read(place / "target")
    io.set_mode(fd, 0o755)
    model = PowerCut(place, before, io.trace)
    modes = {state["target"][1] for state in model.states(len(io.trace), 20, random.Random(1))}
    assert modes == {0o644, 0o755}
    io.sync(fd)
    io.close(fd)
    modes = {state["target"][1] for state in model.states(len(io.trace), 20, random.Random(1))}
    assert modes == {0o755}


def test_a_snapshot_can_be_laid_out_again(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "file").write_bytes(NEW)
    (tmp_path / "a" / "sub" / "file").chmod(0o755)
    lay_out(snapshot(tmp_path / "a"), tmp_path / "b")
    assert snapshot(tmp_path / "b") == snapshot(tmp_path / "a")


def test_run_killed_tells_a_kill_from_an_end_and_from_a_failure(tmp_path):
    def work(io):
        io.make_folder(tmp_path / "made")

    assert run_killed(work, 1)
    assert not (tmp_path / "made").exists()
    assert not run_killed(work, 2)
    assert (tmp_path / "made").exists()
    with pytest.raises(AssertionError, match="the child failed"):
        run_killed(work, 2)


def test_the_twin_kills_in_the_middle_of_a_write(tmp_path):
    path = Path(tmp_path / "file")

    def work(io):
        write_all(io, io.create(path), NEW)

    assert run_killed(work, 2)
    assert path.read_bytes() == NEW[: len(NEW) // 2]
