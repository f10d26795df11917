"""``make crowd``: many processes in one repository, and processes that stand still while others collect.

Writers commit, each a file of its own; beside them collections, checks and readers go on all the time. What a
commit is called tells what its file holds, so a reader knows what to expect of any version. Nothing is
synced: this is about who meets whom.

A *pause* stops a process at one of its steps (SIGSTOP), lets another one do all that it wants, and lets the
first go on: a laptop that slept, a job that was suspended. The short forms are ``tests/test_crowd.py``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvc.errors import MvcError
from mvc.laying import lay_out
from mvc.objectid import CommitId
from mvc.objects import Timestamp
from mvc.ops.checkout import checkout
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request, gc
from mvc.ops.log import log
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.workspace import files_of
from tests.counts import record
from tests.engine import ME, history, make_repository, now, open_repository, snapshot
from tests.faults import READING, WRITING, FaultIO, fork
from tests.test_gc import contents, many_versions, noise

LATER = Timestamp(4_000_000_000_000_000, 0)
"""A moment behind all operations: a collection of then expires the whole log."""


def quiet() -> FaultIO:
    return FaultIO(counted=())


# --- a crowd -----------------------------------------------------------------------------------------------


@dataclass
class Crowd:
    """Writers, and others beside them until the writers are through."""

    folder: Path
    writers: int
    commits: int
    collectors: int = 1
    checkers: int = 1
    readers: int = 1

    def run(self) -> Counter[str]:
        """Let all of them loose; returns how often each did its work.

        Raises:
            AssertionError: somebody failed, or something is missing afterwards.
        """
        make_repository(self.folder).temporary.close()
        places = self.folder.parent / "counts"
        places.mkdir()
        stop = places / "stop"
        writers = [self._start(self._write, who, places) for who in range(self.writers)]
        jobs = [self._collect] * self.collectors + [self._check] * self.checkers + [self._read] * self.readers

        def until(who: int, count: Callable[[str], None], job: Callable[..., None]) -> None:
            while not stop.exists():
                job(who, count)

        others = [
            self._start(lambda who, count, job=job: until(who, count, job), 100 + number, places)
            for number, job in enumerate(jobs)
        ]
        failed = [child for child in writers if exit_code(child)]
        stop.touch()
        failed += [child for child in others if exit_code(child)]
        assert not failed, "a process of the crowd failed; see its traceback"
        counts: Counter[str] = Counter()
        for path in places.glob("*.log"):
            counts.update(path.read_text().split())
        self._look(counts)
        return counts

    def _start(self, work: Callable[..., None], who: int, places: Path) -> int:
        def count(what: str) -> None:
            with open(places / f"{who}.log", "a") as file:
                file.write(f"{what}\n")

        return fork(lambda: work(who, count))

    def _write(self, who: int, count: Callable[[str], None]) -> None:
        for number in range(self.commits):
            (self.folder / f"file-{who}").write_bytes(content(who, number))
            while True:
                try:
                    # whole snapshots and single paths in turn; a whole one may hold what others wrote, too
                    paths = [f"file-{who}"] if number % 2 else []
                    repository = open_repository(self.folder, quiet())
                    snapshot(repository, f"{who}.{number}", paths=paths, allow_empty=True)
                    repository.temporary.close()
                    break
                except MvcError as error:
                    assert error.exit_code == 4, error
                    count("busy")
            count("commits")

    def _collect(self, _who: int, count: Callable[[str], None]) -> None:
        rng = random.Random(time.monotonic_ns())
        days, repack = rng.choice([0, None]), rng.random() < 0.3
        try:
            gc(open_repository(self.folder, quiet()), Request(LATER, days, repack=repack))
            count("collections")
        except MvcError as error:
            assert error.exit_code == 4, error
            count("busy")

    def _check(self, _who: int, count: Callable[[str], None]) -> None:
        report = fsck(open_repository(self.folder, quiet()), full=True)
        assert report.damage == [], report.damage
        count("checks")

    def _read(self, who: int, count: Callable[[str], None]) -> None:
        repository = open_repository(self.folder, quiet())
        place = self.folder.parent / f"out-{who}"
        with repository.reading() as view:
            if view.head_commit() is None:
                return
            entries = list(log(view))
            for entry in random.Random(time.monotonic_ns()).sample(entries, min(3, len(entries))):
                shutil.rmtree(place, ignore_errors=True)
                lay_out(repository, view, place, files_of(view, entry.id), {})
                writer, number = map(int, entry.commit.message.split("."))
                assert (place / f"file-{writer}").read_bytes() == content(writer, number)
                count("versions_read")

    def _look(self, counts: Counter[str]) -> None:
        """All that was acknowledged is in the log, once, and holds what it should."""
        repository = open_repository(self.folder)
        with repository.reading() as view:
            said = [entry.commit.message for entry in log(view)]
        wanted = [f"{who}.{number}" for who in range(self.writers) for number in range(self.commits)]
        assert counts["commits"] == len(wanted)
        assert sorted(said) == sorted(wanted)
        for who in range(self.writers):
            own = [message for message in said if message.startswith(f"{who}.")]
            assert own == [f"{who}.{number}" for number in reversed(range(self.commits))]
        report = fsck(repository, full=True)
        assert report.damage == [], report.damage


def content(who: int, number: int) -> bytes:
    """What a writer's file holds at its n-th commit; now and then what another one's held."""
    return noise(number % 5, 3000 + 500 * (who % 3)) + (b"" if number % 3 == 0 else b"%d.%d" % (who, number))


def exit_code(child: int) -> int:
    """Wait for a forked child; how it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- standing still ----------------------------------------------------------------------------------------


class Sleeper(FaultIO):
    """A disk that stops its process before one of its steps."""

    def __init__(self, sleep_at: int) -> None:
        super().__init__(counted=READING + WRITING)
        self._sleep_at = sleep_at
        self.slept = False

    def _run(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        with self._lock:
            # once, whichever of several threads comes first
            asleep = self.steps + 1 >= self._sleep_at and not self.slept
            self.slept = self.slept or asleep
        if asleep:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super()._run(name, args, keywords)


class Waker(FaultIO):
    """A disk that wakes a sleeper up when there is a lock to wait for: nobody else would."""

    def __init__(self, sleeper: int) -> None:
        super().__init__(counted=())
        self._sleeper = sleeper
        self.waited = False

    def lock(self, fd: int, *, exclusive: bool, wait: bool) -> bool:
        if super().lock(fd, exclusive=exclusive, wait=False):
            return True
        if not wait:
            return False
        self.waited = True
        os.kill(self._sleeper, signal.SIGCONT)
        return super().lock(fd, exclusive=exclusive, wait=True)


@dataclass(frozen=True, slots=True)
class Pair:
    """What the one that is stopped does, and what the other one does meanwhile; both may hear that somebody
    is in the way (exit code 4)."""

    sleeps: Callable[[Repository], object]
    acts: Callable[[Repository], object]


def dig_up(repository: Repository) -> CommitId:
    """Commit what was undone: its pieces are in the store, and garbage."""
    (repository.worktree / "undone").write_bytes(noise(1))
    return snapshot(repository, "dug up", allow_empty=True).id


def make_new(repository: Repository) -> CommitId:
    """Commit what nobody has seen."""
    (repository.worktree / "new").write_bytes(noise(77))
    return snapshot(repository, "new").id


def read_everything(repository: Repository) -> None:
    """Every version laid out in a folder, from one view of the store."""
    place = repository.worktree.parent / "out"
    with repository.reading() as view:
        for entry in list(log(view)):
            shutil.rmtree(place, ignore_errors=True)
            lay_out(repository, view, place, files_of(view, entry.id), {})
            assert (place / "log.txt").read_text().startswith("step 0\n")


def collect_all(repository: Repository) -> None:
    gc(repository, Request(LATER, 0, repack=True))


def collect_some(repository: Repository) -> None:
    gc(repository, Request(LATER, 0))


def go_back(repository: Repository) -> None:
    checkout(repository, "v1", ME, now())


PAIRS = {
    "commit, collection": Pair(dig_up, collect_all),
    "new commit, collection": Pair(make_new, collect_some),
    "reader, collection": Pair(read_everything, collect_all),
    "checkout, collection": Pair(go_back, collect_all),
    "collection, commit": Pair(collect_all, dig_up),
    "collection, reader": Pair(collect_all, read_everything),
    "collection, collection": Pair(collect_all, collect_all),
    "commit, commit": Pair(dig_up, lambda repository: snapshot(repository, "other", allow_empty=True)),
}


class Stage:
    """A repository with versions and garbage, on which pairs meet."""

    def __init__(self, place: Path) -> None:
        self._start, self._work = place / "start", place / "work"
        repository = many_versions(self._start, 3)
        (self._start / "undone").write_bytes(noise(1))
        snapshot(repository, "undone")
        undo(repository, ME, now())
        repository.temporary.close()
        self.versions = contents(self._start)

    def copy(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._start, self._work, symlinks=True)
        return self._work

    def names(self, pair: Pair) -> list[str]:
        """The steps that the one that is to be stopped takes when it is alone."""
        io = FaultIO()
        pair.sleeps(open_repository(self.copy(), io))
        return io.names

    def steps(self, pair: Pair) -> int:
        """How many they are."""
        return len(self.names(pair))

    def meet(self, pair: Pair, step: int) -> str:
        """Stop one before a step, let the other one act, let the first go on; returns how that went.

        Raises:
            AssertionError: something that was acknowledged is lost, or was read wrong.
        """
        folder = self.copy()

        def sleep() -> None:
            try:
                pair.sleeps(open_repository(folder, Sleeper(step)))
            except MvcError as error:
                assert error.exit_code == 4, error
                os._exit(4)

        child = fork(sleep)
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return "not stopped"
        io, heard = Waker(child), False
        try:
            pair.acts(open_repository(folder, io))
        except MvcError as error:
            assert error.exit_code == 4, error
            heard = True
        finally:
            os.kill(child, signal.SIGCONT)
        ended = exit_code(child)
        assert ended in (0, 4), "the one that slept failed; see its traceback"
        done = [action for action, well in ((pair.sleeps, ended == 0), (pair.acts, not heard)) if well]
        self._look(folder, made=sum(action not in _MAKE_NOTHING for action in done), dug=dig_up in done)
        return "waited for" if io.waited else "busy" if heard or ended else "together"

    def _look(self, folder: Path, *, made: int, dug: bool) -> None:
        """Sound; every version as it was; and those that were acknowledged meanwhile."""
        repository = open_repository(folder, quiet())
        report = fsck(repository, full=True)
        assert report.damage == [], report.damage
        now_there = contents(folder)
        was_switched = len(history(repository)) < len(self.versions)
        if not was_switched:
            assert {key: now_there.get(key) for key in self.versions} == self.versions
            assert len(now_there) - len(self.versions) == made
            if dug:
                assert any(files.get("undone") == noise(1) for files in now_there.values())
        # and life goes on
        (folder / "after").write_text("after")
        snapshot(repository, "after")
        collect_all(open_repository(folder, quiet()))
        report = fsck(open_repository(folder, quiet()), full=True)
        assert report.damage == [], report.damage


_MAKE_NOTHING = (collect_all, collect_some, read_everything, go_back)


def main() -> int:
    """The long forms."""
    parser = argparse.ArgumentParser(prog="python -m tests.crowd", description=__doc__)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--commits", type=int, default=25)
    parser.add_argument("--every", type=int, default=1, help="stop at every n-th step only")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        counts = Crowd(Path(place) / "repo", given.writers, given.commits).run()
    seconds = round(time.monotonic() - started, 1)
    print(f"crowd: {dict(counts)} in {seconds} s", flush=True)
    record("crowd", lost=0, writers=given.writers, seconds=seconds, **counts)
    started = time.monotonic()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        for name, pair in PAIRS.items():
            went = Counter(stage.meet(pair, step) for step in range(1, stage.steps(pair) + 1, given.every))
            print(f"{name}: {dict(went)}", flush=True)
            total += went
    stopped = sum(total.values()) - total["not stopped"]
    seconds = round(time.monotonic() - started, 1)
    record("paused processes", lost=0, stopped=stopped, pairs=len(PAIRS), seconds=seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
