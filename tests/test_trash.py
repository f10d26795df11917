"""What gc takes lies in the trash and comes back from there whole, wherever gc or --undo was stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.cli.main import main
from mvc.collection.trash import FILE, Trash
from mvc.errors import AnswerIsNo, Busy, CorruptFile, MvcError, StorageError
from mvc.fileio import FileIO
from mvc.objectid import CommitId
from mvc.odb.intents import announce
from mvc.ops import tag
from mvc.ops.gc import Request, empty_trash, gc, trash_bytes, undo_gc
from mvc.ops.oplog import operations
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.workspace import files_of
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    two_versions,
    weights_versions,
)
from tests.faults import CHANGING, NEEDS_SPACE, WRITING, FaultIO, fork, run_killed
from tests.test_gc import contents, everything, manifest_of, many_versions, noise, stored

DAY = 86_400_000_000


def commands(repository: Repository) -> list[str]:
    """The operation log, newest first."""
    with repository.reading() as view:
        return [operation.command for operation in operations(view)]


def forget_folder(folder: Path) -> None:
    """What the stat cache names stays; any look at the changed folder would write it anew."""
    (folder / ".mvc" / "index").unlink(missing_ok=True)


def undone_work(folder: Path, count: int = 3) -> tuple[Repository, CommitId]:
    """Versions that stay, and one that was undone: of new weights, of text and of noise."""
    repository = many_versions(folder, count)
    (folder / "model.safetensors").write_bytes(weights_versions(count + 2)[-1])
    (folder / "secret").write_bytes(noise(1))
    (folder / "notes").mkdir()
    (folder / "notes" / "text").write_text("words\n" * 500)
    lost = snapshot(repository, "undone").id
    undo(repository, ME, now())
    forget_folder(folder)
    return repository, lost


def contents_of(folder: Path, commit: CommitId) -> dict[str, bytes]:
    """A version's files, whether or not anything leads to it."""
    with open_repository(folder).reading() as view:
        return {
            path: b"".join(
                part.inline if part.blob is None else view.objects.get(part.blob)
                for part in manifest_of(view, entry).parts
            )
            for path, entry in files_of(view, commit).items()
        }


def in_trash(folder: Path) -> Trash:
    return Trash(FileIO(), folder / ".mvc")


# --- out and back ------------------------------------------------------------------------------------------
def test_what_gc_took_comes_back_with_its_operations(tmp_path):
    folder = tmp_path / "repo"
    repository, lost = undone_work(folder)
    log, kept = commands(repository), contents(folder)
    gc(repository, everything())
    with repository.reading() as view:
        assert lost not in view.objects
    assert commands(repository) == []
    assert trash_bytes(repository) > 60_000
    done = undo_gc(repository)
    assert (done.lost, done.lost_operations, done.operations) == (0, 0, len(log))
    assert commands(repository) == log
    assert contents(folder) == kept
    assert_sound(folder)
    assert trash_bytes(repository) == 0
    assert contents_of(folder, lost)["secret"] == noise(1)
    with pytest.raises(AnswerIsNo, match="nothing in the trash"):
        undo_gc(repository)


def test_operations_that_came_back_can_be_undone(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "file").write_text("first")
    one = snapshot(repository).id
    (folder / "file").write_text("second")
    snapshot(repository)
    gc(repository, everything())
    (folder / "file").write_text("third")
    snapshot(repository, "third")
    undo_gc(repository)
    assert len(commands(repository)) == 3
    undo(repository, ME, now())
    undo(repository, ME, now())
    assert history(repository) == [one]
    assert_sound(folder)


def meanwhile_nothing(repository: Repository) -> None:
    pass


def meanwhile_commits(repository: Repository) -> None:
    for number in range(3):
        (repository.worktree / "later").write_bytes(noise(40 + number))
        snapshot(repository, f"later {number}")


def meanwhile_repack(repository: Repository) -> None:
    gc(repository, Request(now(), None, repack=True))


def meanwhile_deletes_tags(repository: Repository) -> None:
    for number in range(3):
        tag.delete(repository, f"v{number}", ME, now())


def meanwhile_throws_away_for_good(repository: Repository) -> None:
    meanwhile_deletes_tags(repository)
    gc(repository, Request(now(), 0, trash=False))


MEANWHILE = [
    meanwhile_nothing,
    meanwhile_commits,
    meanwhile_repack,
    meanwhile_deletes_tags,
    meanwhile_throws_away_for_good,
]


@pytest.mark.parametrize("meanwhile", MEANWHILE, ids=lambda item: item.__name__)
def test_it_comes_back_whatever_was_done_meanwhile(tmp_path, meanwhile: Callable[[Repository], None]):
    folder = tmp_path / "repo"
    repository, lost = undone_work(folder)
    expected = noise(1)
    gc(repository, everything())
    meanwhile(repository)
    kept = contents(folder)
    done = undo_gc(repository)
    assert done.lost == 0
    assert_sound(folder)
    assert contents(folder).items() >= kept.items()
    found = contents_of(folder, lost)
    assert found["secret"] == expected
    assert found["notes/text"] == b"words\n" * 500
    assert found["model.safetensors"] == weights_versions(5)[-1]
    assert_sound(folder)


def test_two_collections_come_back_one_after_the_other(tmp_path):
    folder = tmp_path / "repo"
    repository, first = undone_work(folder)
    log = commands(repository)
    gc(repository, everything())
    (folder / "more").write_bytes(noise(9))
    second = snapshot(repository, "more").id
    undo(repository, ME, now())
    forget_folder(folder)
    log = commands(repository) + log
    gc(repository, everything())
    undo_gc(repository)
    with repository.reading() as view:
        assert second in view.objects
        assert first not in view.objects
    undo_gc(repository)
    with repository.reading() as view:
        assert first in view.objects
    assert commands(repository) == log
    assert_sound(folder)


def test_gc_and_undo_again_and_again(tmp_path):
    """A log that becomes what it was once must not take up names of files that are about to be deleted."""
    folder = tmp_path / "repo"
    repository, lost = undone_work(folder)
    for number in range(40):
        tag.create(repository, f"t{number}", "HEAD", ME, now())
    log = commands(repository)
    for _ in range(3):
        with open_repository(folder).reading():  # so that what is condemned waits
            gc(repository, everything())
            undo_gc(repository)
        assert commands(repository) == log
        assert_sound(folder)
    assert contents_of(folder, lost)["secret"] == noise(1)


def test_a_dry_run_tells_what_would_come_back(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    gc(repository, everything())
    before = stored(folder), trash_bytes(repository)
    told = undo_gc(repository, dry_run=True)
    assert (stored(folder), trash_bytes(repository)) == before
    done = undo_gc(repository)
    assert (told.objects, told.operations) == (done.objects, done.operations)
    assert told.objects > 3


def test_what_no_record_needs_any_more_does_not_fill_the_trash(tmp_path):
    """Records that are replaced by better ones are no loss."""
    folder = tmp_path / "repo"
    repository = many_versions(folder, 4)
    gc(repository, Request(now(), None, repack=True))
    assert not in_trash(folder).entries()
    assert trash_bytes(repository) == 0


def test_packs_of_nothing_but_garbage_take_no_room_while_they_wait(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "kept").write_bytes(noise(1))
    snapshot(repository)
    (folder / "secret").write_bytes(noise(2, 900_000))
    snapshot(repository)
    packs = {path.name for path in (folder / ".mvc" / "packs").rglob("*.pack")}
    undo(repository, ME, now())
    forget_folder(folder)
    gc(repository, everything())
    trashed = in_trash(folder).packs()
    assert {path.name for path in trashed} <= packs, "the pack itself, under a second name"
    assert sum(path.stat().st_size for path in trashed) > 900_000


# --- leaving the trash -------------------------------------------------------------------------------------
def test_trash_goes_when_it_is_old_and_not_before(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    moment = now()
    gc(repository, Request(moment, 0))
    assert len(in_trash(folder).entries()) == 1
    later = moment._replace(microseconds=moment.microseconds + 6 * DAY)
    gc(repository, Request(later, None))
    assert len(in_trash(folder).entries()) == 1
    later = moment._replace(microseconds=moment.microseconds + 8 * DAY)
    done = gc(repository, Request(later, None))
    assert in_trash(folder).packs() == []
    assert done.before.trash_bytes > 60_000 > done.after.trash_bytes
    with pytest.raises(AnswerIsNo):
        undo_gc(repository)


@pytest.mark.parametrize("options", [{"trash": False}, {"trash_days": 0}], ids=["no-trash", "0 days"])
def test_without_trash_it_is_gone_at_once(tmp_path, options):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    gc(repository, Request(now(), 0, **options))
    assert in_trash(folder).packs() == []
    with pytest.raises(AnswerIsNo):
        undo_gc(repository)
    assert_sound(folder)


def test_emptying_gives_the_disk_its_room_back(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    gc(repository, everything())
    held = trash_bytes(repository)
    assert empty_trash(repository) >= held - 8192
    assert in_trash(folder).packs() == []
    assert_sound(folder)


def test_a_foreign_file_in_the_trash_stops_nothing(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    gc(repository, everything())
    foreign = in_trash(folder).packs()[0].parent / "mine.txt"
    foreign.write_text("mine")
    empty_trash(repository)
    assert in_trash(folder).packs() == []
    gc(repository, everything())
    assert foreign.read_text() == "mine"


def test_neither_undo_nor_emptying_runs_beside_a_collection(tmp_path):
    from mvc.collection.collect import alone

    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    gc(repository, everything())
    with alone(open_repository(folder)):
        for act in (undo_gc, empty_trash):
            with pytest.raises(Busy, match="another gc"):
                act(repository)
    assert undo_gc(repository).lost == 0


# --- damage ------------------------------------------------------------------------------------------------
def test_a_damaged_pack_in_the_trash_gives_back_what_is_sound(tmp_path):
    folder = tmp_path / "repo"
    repository, lost = undone_work(folder)
    (folder / "secret").unlink()
    (folder / "other").write_bytes(noise(5))
    other = snapshot(repository, "other").id
    undo(repository, ME, now())
    forget_folder(folder)
    gc(repository, everything())
    hit = 0
    for path in in_trash(folder).packs():
        data = bytearray(path.read_bytes())
        at = data.find(noise(1)[1000:1020])
        if at > 0:
            data[at] ^= 1
            path.write_bytes(data)
            hit += 1
    assert hit == 1
    kept = contents(folder)
    done = undo_gc(open_repository(folder))
    assert done.lost > 0
    assert_sound(folder)
    assert contents(folder) == kept
    with open_repository(folder).reading() as view:
        assert lost not in view.objects, "a version comes back whole or not at all"
        assert other in view.objects
    assert in_trash(folder).packs(), "what could not come back stays"
    again = undo_gc(open_repository(folder))
    assert (again.objects, again.lost) == (0, done.lost)


@pytest.mark.parametrize("damage", ["a bit", "a terabyte"])
def test_a_damaged_entry_still_gives_back_its_objects(tmp_path, damage):
    folder = tmp_path / "repo"
    repository, lost = undone_work(folder)
    gc(repository, everything())
    path = in_trash(folder).folder / in_trash(folder).entries()[0].name / FILE
    if damage == "a bit":
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)
    else:
        os.truncate(path, 1 << 40)
    assert isinstance(in_trash(folder).entries()[0].damage, CorruptFile)
    done = undo_gc(repository)
    assert (done.operations, done.lost) == (0, 0)
    assert contents_of(folder, lost)["secret"] == noise(1)
    assert_sound(folder)


def test_a_trash_that_leads_elsewhere_is_refused(tmp_path):
    folder = tmp_path / "repo"
    make_repository(folder).temporary.close()
    (tmp_path / "elsewhere").mkdir()
    (folder / ".mvc" / "trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptFile, match="is not a folder"):
        open_repository(folder)


# --- killed and refused ------------------------------------------------------------------------------------
class Scene:
    """A repository with undone work, and all that it holds."""

    def __init__(self, place: Path, *, collected: bool) -> None:
        self.start, self._work = place / "start", place / "work"
        repository, self.lost = undone_work(self.start)
        self.log = commands(repository)
        self.versions = contents(self.start)
        if collected:
            gc(repository, everything())
        repository.temporary.close()

    def copy(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self.start, self._work, symlinks=True)
        return self._work

    def check(self, folder: Path) -> None:
        """Sound; and after one more collection, and all undone that lies in the trash, everything is back."""
        assert_sound(folder)
        assert contents(folder) == self.versions
        gc(open_repository(folder), everything())
        assert contents(folder) == self.versions
        for _ in in_trash(folder).entries():
            assert undo_gc(open_repository(folder)).lost == 0
        repository = open_repository(folder)
        assert commands(repository) == self.log
        assert contents_of(folder, self.lost)["secret"] == noise(1)
        assert_sound(folder)


@pytest.fixture(scope="module", params=["gc", "undo"])
def scene(request, tmp_path_factory) -> tuple[Scene, Callable[[Repository], object]]:
    collected = request.param == "undo"
    act: Callable[[Repository], object] = undo_gc if collected else (lambda repo: gc(repo, everything()))
    return Scene(tmp_path_factory.mktemp("trash"), collected=collected), act


strided = pytest.mark.parametrize(
    "stride", [17, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "every"]
)


@strided
def test_killed_at_a_step_nothing_is_lost(scene, stride):
    place, act = scene
    died, step = 0, -6
    while True:
        step += stride
        folder = place.copy()
        if not run_killed(lambda io, folder=folder: act(open_repository(folder, io)), max(step, 1), CHANGING):
            break
        died += 1
        place.check(folder)
    assert died * stride >= 17


@strided
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_refused_at_a_step_nothing_is_lost(scene, error, stride):
    place, act = scene
    full = error == errno.ENOSPC
    kinds = tuple(NEEDS_SPACE) if full else WRITING
    step, refused = 2 - stride, 0
    while True:
        step += stride
        folder = place.copy()
        io = FaultIO(fail_at=step, error=error, for_ever=full, failing=frozenset(kinds), counted=kinds)
        try:
            act(open_repository(folder, io))
        except MvcError as failure:
            refused += 1
            assert failure.exit_code in (3, 4, 5), failure
        if not io.failed:
            break
        place.check(folder)
    assert refused >= 1


class NoRoomInTrash(FileIO):
    """A disk that takes nothing more into the trash."""

    def link(self, source: Path, target: Path) -> None:
        if "trash" in target.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().link(source, target)


def test_a_full_disk_is_told_what_to_do_and_loses_nothing(tmp_path):
    folder = tmp_path / "repo"
    _repository, lost = undone_work(folder)
    with pytest.raises(StorageError) as caught:
        gc(open_repository(folder, NoRoomInTrash()), everything())
    assert "--no-trash" in caught.value.hint and "--empty-trash" in caught.value.hint
    with open_repository(folder).reading() as view:
        assert lost in view.objects
    assert in_trash(folder).packs() == []
    gc(open_repository(folder, NoRoomInTrash()), Request(now(), 0, trash=False))
    assert_sound(folder)


def test_where_files_have_one_name_only_packs_are_copied(tmp_path):
    class OneName(FileIO):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    folder = tmp_path / "repo"
    _repository, lost = undone_work(folder)
    gc(open_repository(folder, OneName()), everything())
    assert undo_gc(open_repository(folder, OneName())).lost == 0
    assert contents_of(folder, lost)["secret"] == noise(1)
    assert_sound(folder)


# --- others at work ----------------------------------------------------------------------------------------
class Pausing(FileIO):
    """Stops its process before one of the steps of a kind."""

    def __init__(self, name: str, at: int) -> None:
        self._left = at
        real = getattr(super(), name)

        def step(*arguments: object, **options: object) -> object:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
            return real(*arguments, **options)

        setattr(self, name, step)


def paused(work: Callable[[], object]) -> int:
    """Start ``work`` in a child, which answers with the exit code of what fails; returns when it stopped."""

    def run() -> None:
        try:
            work()
        except MvcError as error:
            print(repr(error), error.hint, file=sys.stderr, flush=True)
            os._exit(error.exit_code)

    child = fork(run)
    _pid, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "the test needs a process that stops in the middle"
    return child


def resumed(child: int) -> int:
    os.kill(child, signal.SIGCONT)
    _pid, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(("step", "at"), [("create", 2), ("sync", 1), ("link", 1)])
def test_a_commit_that_sleeps_through_a_collection_succeeds_or_says_run_it_again(tmp_path, step, at):
    """It relies on objects that the collection takes away."""
    folder = tmp_path / "repo"
    repository = many_versions(folder, 2)
    (folder / "again").write_bytes(noise(8))
    snapshot(repository)
    undo(repository, ME, now())
    forget_folder(folder)
    repository.temporary.close()
    child = paused(lambda: snapshot(open_repository(folder, Pausing(step, at)), "sleeps"))
    mine = open_repository(folder)
    before = history(mine)
    gc(mine, everything())
    gc(mine, everything())
    code = resumed(child)
    assert code in (0, 4)
    assert len(history(mine)) == len(before) + (code == 0)
    assert_sound(folder)
    if code == 4:
        snapshot(mine, "again")
    assert contents(folder)[history(mine)[0]]["again"] == noise(8)
    undo_gc(mine)
    assert_sound(folder)


@pytest.mark.parametrize("step", ["read_at", "create", "sync"])
def test_a_checkout_that_sleeps_through_a_collection_gets_the_right_bytes(tmp_path, step):
    folder = tmp_path / "repo"
    repository, one, _two = two_versions(folder)
    expected = contents(folder)[one]
    tag.create(repository, "one", one.hex(), ME, now())
    repository.temporary.close()
    child = paused(lambda: switch_to(open_repository(folder, Pausing(step, 3)), "one"))
    mine = open_repository(folder)
    gc(mine, Request(now(), None, repack=True))
    gc(mine, Request(now(), None))
    assert resumed(child) == 0
    assert {path: (folder / path).read_bytes() for path in expected} == expected
    assert_sound(folder)


def test_what_a_reader_still_reads_waits_and_the_next_collection_deletes_it(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    with announce(FileIO(), folder / ".mvc" / "intents", "reader"):
        done = gc(repository, everything())
        assert done.waiting_bytes > 60_000
    done = gc(repository, everything())
    assert done.waiting_bytes == 0
    assert done.after.disk_bytes < done.before.disk_bytes


# --- what the disk sees ------------------------------------------------------------------------------------
def du(folder: Path) -> int:
    command = ["du", "--summarize", "--block-size=1", "--exclude=trash", str(folder / ".mvc")]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("du") is None, reason="needs GNU du")
def test_bytes_on_disk_are_those_that_du_counts(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    seen = du(folder)
    done = gc(repository, everything())
    assert done.before.disk_bytes == seen
    assert done.after.disk_bytes == du(folder)
    assert done.after.disk_bytes < done.before.disk_bytes - 60_000


def test_no_folder_is_left_empty_and_a_process_that_knew_it_goes_on(tmp_path):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    gc(repository, everything())
    empty = [path for path in (folder / ".mvc" / "packs").iterdir() if not any(path.iterdir())]
    assert empty == []
    key = f"packs/ab/ab{'0' * 62}.pack"
    repository.backend.put(key, [b"data"])
    repository.backend.delete(key)
    (folder / ".mvc" / "packs" / "ab").rmdir()
    assert repository.backend.put(key, [b"data"])
    assert repository.backend.get(key) == b"data"


@pytest.mark.parametrize("days", [0, None])
def test_a_dry_run_foresees_the_run(tmp_path, days):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder, 5)
    (folder / "secret").unlink(missing_ok=True)
    (folder / "mixed").write_bytes(noise(4, 5000))
    snapshot(repository, "amended away")
    (folder / "mixed").write_bytes(noise(5, 5000))
    snapshot(repository, None, amend=True)
    moment = now()
    told = gc(repository, Request(moment, days, dry_run=True))
    done = gc(repository, Request(moment, days))
    assert told.before == done.before
    for what in ("records", "packs", "segments"):
        assert getattr(told.after, what) == getattr(done.after, what), what
    assert told.garbage == done.garbage
    assert told.expired_operations == done.expired_operations
    assert abs(told.after.bytes - done.after.bytes) < 300
    assert abs(told.after.disk_bytes - done.after.disk_bytes) <= 4 * 4096
    again = gc(repository, Request(moment, days, dry_run=True))
    assert (again.after.records, again.after.packs) == (done.after.records, done.after.packs)
    assert again.after.bytes == again.before.bytes


# --- the command -------------------------------------------------------------------------------------------
def test_the_command_brings_back_and_empties(tmp_path, capsys):
    folder = tmp_path / "repo"
    repository, _lost = undone_work(folder)
    repository.temporary.close()
    # what it says of files is needed too, and on a slow machine it may still be of the work that was undone
    (folder / ".mvc" / "index").unlink(missing_ok=True)
    at = ["-C", str(folder), "gc"]
    assert main([*at, "--undo"]) == 1
    capsys.readouterr()
    assert main([*at, "--expire", "now"]) == 0
    assert "in the trash" in capsys.readouterr().out
    assert main([*at, "--undo", "-n"]) == 0
    assert "would bring back" in capsys.readouterr().out
    assert main([*at, "--undo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["objects"] > 3 and told["lost"] == 0
    assert main([*at, "--expire", "now", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["after"]["trash_bytes"] > 60_000
    assert main([*at, "--empty-trash", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed_disk_bytes"] > 60_000
    for wrong in (["--undo", "--repack"], ["--undo", "--empty-trash"], ["--empty-trash", "-n"]):
        assert main([*at, *wrong]) == 2
