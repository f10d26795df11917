"""Who lives, who is dead, and whose files may go."""

from __future__ import annotations

import errno
import os
import time

import pytest
from faults import READING, FaultIO, fork, run_killed, was_killed

from mvc import canonical
from mvc.errors import StorageError
from mvc.fileio import FileIO, TemporaryNames
from mvc.odb.intents import announce, oldest_epoch, sweep_temporary


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "intents"


def dead_intent(folder, epoch):
    """The file of a process that announced and was killed."""

    def work(io):
        intent = announce(io, folder, "reader")
        intent.announce_epoch(epoch)
        io.make_folder(folder / "never")

    step = 1
    while not list(folder.glob("reader-*")):
        assert run_killed(work, step, counted=("make_folder",))
        step += 1


# --- intents -----------------------------------------------------------------------------------------------


def test_nobody_is_nobody(folder):
    assert oldest_epoch(FileIO(), folder) is None
    with announce(FileIO(), folder, "reader"):
        pass
    assert oldest_epoch(FileIO(), folder) is None
    assert list(folder.iterdir()) == []


def test_the_least_epoch_of_the_living_counts(folder):
    io = FileIO()
    with announce(io, folder, "reader") as first:
        assert oldest_epoch(io, folder) == 0, "who has not said it yet is older than everything"
        first.announce_epoch(7)
        assert oldest_epoch(io, folder) == 7
        with announce(io, folder, "writer") as second:
            second.announce_epoch(5)
            with announce(io, folder, "writer") as third:
                third.announce_epoch(3)
                assert oldest_epoch(io, folder) == 3
            assert oldest_epoch(io, folder) == 5
        assert oldest_epoch(io, folder) == 7
    assert oldest_epoch(io, folder) is None


def test_what_was_said_first_holds(folder):
    with announce(FileIO(), folder, "writer") as intent:
        intent.announce_epoch(4)
        intent.announce_epoch(9)
        assert oldest_epoch(FileIO(), folder) == 4


def test_an_intent_tells_whose_it_is(folder):
    with announce(FileIO(), folder, "writer") as intent:
        intent.announce_epoch(2)
        content = canonical.unpack(intent.path.read_bytes(), "intent")
    assert content == {"role": "writer", "pid": os.getpid(), "host": os.uname().nodename, "epoch": 2}


def test_the_dead_count_for_nothing_and_are_cleared(folder):
    dead_intent(folder, 1)
    assert len(list(folder.glob("reader-*"))) == 1
    with announce(FileIO(), folder, "reader") as living:
        living.announce_epoch(8)
        assert oldest_epoch(FileIO(), folder) == 8
        assert list(folder.iterdir()) == [living.path]


def test_who_is_killed_at_any_step_stands_in_nobodys_way(folder):
    def work(io):
        with announce(io, folder, "writer") as intent:
            intent.announce_epoch(1)

    step = 1
    while run_killed(work, step):
        assert oldest_epoch(FileIO(), folder) is None
        assert list(folder.iterdir()) == [] if folder.exists() else True
        step += 1
    assert step > 5


@pytest.mark.parametrize("content", [b"", b"\x81", b"\xa3abc", b"\x81\xa5epoch\xa1x", os.urandom(5000)])
def test_an_unreadable_but_living_intent_is_older_than_everything(folder, content):
    with announce(FileIO(), folder, "reader") as intent:
        intent.path.write_bytes(content)
        assert oldest_epoch(FileIO(), folder) == 0


def test_a_forked_child_does_not_withdraw_its_parents_intent(folder):
    with announce(FileIO(), folder, "reader") as intent:
        intent.announce_epoch(6)
        assert not was_killed(fork(intent.close))
        assert intent.path.exists()
        assert oldest_epoch(FileIO(), folder) == 6


def test_strange_files_are_left_alone(folder):
    folder.mkdir()
    (folder / "README").write_text("not an intent")
    assert oldest_epoch(FileIO(), folder) is None
    assert (folder / "README").exists()


def test_an_intent_that_is_cleared_before_it_is_locked_is_made_anew(folder):
    turns = []

    class Swept(FileIO):
        """Somebody clears the dead between the creation of an intent and its lock."""

        def lock(self, fd, *, exclusive, wait):
            turns.append(len(list(folder.iterdir())))
            if len(turns) == 1:
                assert oldest_epoch(FileIO(), folder) is None
            return super().lock(fd, exclusive=exclusive, wait=wait)

    with announce(Swept(), folder, "writer") as intent:
        assert turns == [1, 1]
        assert list(folder.iterdir()) == [intent.path]
        assert oldest_epoch(FileIO(), folder) == 0


class Refusing(FaultIO):
    """A store that takes no new files."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def create(self, path, mode=0o666):
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_readers_go_on_where_no_file_can_be_made_and_writers_do_not(folder, error):
    with announce(Refusing(error), folder, "reader") as intent:
        intent.announce_epoch(3)
        assert intent.path is None
    with pytest.raises(StorageError, match="cannot announce a writer"):
        announce(Refusing(error), folder, "writer")


def test_a_file_system_without_locks_lets_readers_read_and_keeps_no_litter(folder):
    class NoLocks(FileIO):
        def lock(self, fd, *, exclusive, wait):
            raise OSError(errno.ENOSYS, "Function not implemented")

    with announce(NoLocks(), folder, "reader") as intent:
        assert intent.path is None
    with pytest.raises(StorageError):
        announce(NoLocks(), folder, "writer")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_an_epoch_that_cannot_be_written_counts_as_the_oldest(folder, role):
    class Full(FileIO):
        def write(self, fd, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    with announce(Full(), folder, role) as intent:
        if role == "writer":
            with pytest.raises(StorageError):
                intent.announce_epoch(5)
        else:
            intent.announce_epoch(5)
        assert oldest_epoch(FileIO(), folder) == 0


def test_a_readers_intent_costs_little_and_syncs_nothing(folder):
    io = FaultIO()
    with announce(io, folder, "reader"):
        pass  # makes the folder
    made = len(io.names)
    with announce(io, folder, "reader") as intent:
        intent.announce_epoch(1)
    names = io.names[made:]
    assert not {"sync", "sync_folder"} & set(names)
    assert len(names) <= 8
    best = min(_timed(folder) for _ in range(50))
    assert best < 0.001, f"{best * 1e3:.3f} ms; 0.05 on a quiet disk"


def _timed(folder):
    begin = time.perf_counter()
    with announce(FileIO(), folder, "reader") as intent:
        intent.announce_epoch(1)
    return time.perf_counter() - begin


# --- the sweep ---------------------------------------------------------------------------------------------


def leave_files(io, tmp):
    """Make two temporary files and get killed before the folder ``never`` is made."""
    names = TemporaryNames(io, tmp)
    for _ in range(2):
        names.new().write_bytes(b"half a pack")
    io.make_folder(tmp / "never")


@pytest.fixture
def tmp(tmp_path):
    folder = tmp_path / "store" / "tmp"
    folder.mkdir(parents=True)
    return folder


def test_the_sweep_takes_the_files_of_the_dead_and_no_others(tmp):
    assert run_killed(lambda io: leave_files(io, tmp), 1, counted=("make_folder",))
    with TemporaryNames(FileIO(), tmp) as names:
        living = names.new()
        living.write_bytes(b"being written")
        (tmp / "create.lock").touch()
        assert len(list(tmp.iterdir())) == 6
        assert sweep_temporary(FileIO(), tmp) == 2
        left = {item.name for item in tmp.iterdir()}
        owner = TemporaryNames.owner_of(living.name)
        assert left == {living.name, f"{owner}.lock", "create.lock"}
    assert sweep_temporary(FileIO(), tmp) == 1, "its owner has given it up"
    assert sweep_temporary(FileIO(), tmp.parent / "nowhere") == 0


def test_a_forked_childs_files_live_while_it_does(tmp):
    names = TemporaryNames(FileIO(), tmp)
    shared = names.new()
    shared.write_bytes(b"x")
    ready, done = os.pipe(), os.pipe()

    def child():
        os.write(ready[1], b"x")
        os.read(done[0], 1)

    number = fork(child)
    os.read(ready[0], 1)
    del names  # as if the parent had died: its own handle on the lock is closed
    assert sweep_temporary(FileIO(), tmp) == 0
    os.write(done[1], b"x")
    assert not was_killed(number)
    for handle in (*ready, *done):
        os.close(handle)
    assert sweep_temporary(FileIO(), tmp) == 1


def test_while_a_checkout_is_interrupted_nothing_is_swept(tmp):
    assert run_killed(lambda io: leave_files(io, tmp), 1, counted=("make_folder",))
    (tmp.parent / "journal").touch()
    before = sorted(tmp.iterdir())
    assert sweep_temporary(FileIO(), tmp) == 0
    assert sorted(tmp.iterdir()) == before
    (tmp.parent / "journal").unlink()
    assert sweep_temporary(FileIO(), tmp) == 2
    assert list(tmp.iterdir()) == []


def test_a_sweep_that_is_killed_is_finished_by_the_next(tmp):
    step = 0
    while True:
        step += 1
        assert run_killed(lambda io: leave_files(io, tmp), 1, counted=("make_folder",))
        if not run_killed(lambda io: sweep_temporary(io, tmp), step):
            break
        sweep_temporary(FileIO(), tmp)
        assert list(tmp.iterdir()) == []
    assert step > 4


def test_the_lock_goes_last(tmp):
    """Else a file whose owner is known to be dead would turn into one without an owner, half way."""
    assert run_killed(lambda io: leave_files(io, tmp), 1, counted=("make_folder",))
    removed = []

    class Watching(FileIO):
        def unlink(self, path, *, folder=None):
            removed.append(path.suffix)
            super().unlink(path, folder=folder)

    sweep_temporary(Watching(), tmp)
    assert removed == ["", "", ".lock"]


def test_an_error_while_sweeping_is_told(tmp):
    assert run_killed(lambda io: leave_files(io, tmp), 1, counted=("make_folder",))
    with pytest.raises(StorageError, match="cannot clear temporary files"):
        sweep_temporary(FaultIO(fail_at=1, counted=("unlink",)), tmp)
    assert sweep_temporary(FaultIO(counted=READING), tmp) == 2
