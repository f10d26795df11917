"""The stat cache: an unchanged file is known again, and a changed one is never taken for unchanged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mvc.errors import StorageError
from mvc.fileio import FileIO
from mvc.worktree.index import IndexEntry, Moment, StatCache, StatKey, file_system_time


def manifest_of(content: bytes) -> bytes:
    return blake3(content).digest()


def entry_of(io: FileIO, path: Path) -> IndexEntry:
    """As a commit does: the key first, then the content."""
    key = StatKey.of(io.stat(path))
    return IndexEntry(key, False, manifest_of(path.read_bytes()))


def some_entries(count: int) -> dict[str, IndexEntry]:
    return {
        f"run/é-{i:05d}.bin": IndexEntry(StatKey(i, 1_000, 1_000, i, 7), i % 2 == 0, manifest_of(b"%d" % i))
        for i in range(count)
    }


LATER = Moment(2_000, 7)


# --- an entry is believed only if a later write would have shown ---


class TickingIO(FileIO):
    """A file system whose clock stands still until it is told to tick."""

    def __init__(self) -> None:
        self.now = 10
        self._written: dict[int, int] = {}

    def note(self, status: os.stat_result) -> None:
        self._written[status.st_ino] = self.now

    def create(self, path: Path, mode: int = 0o666) -> int:
        fd = super().create(path, mode)
        self.note(os.fstat(fd))
        return fd

    def stat(self, path: Path) -> os.stat_result:
        return self._told(os.lstat(path))

    def stat_handle(self, fd: int) -> os.stat_result:
        return self._told(os.fstat(fd))

    def _told(self, status: os.stat_result) -> os.stat_result:
        told_ns = self._written[status.st_ino]
        return os.stat_result(tuple(status), {"st_mtime_ns": told_ns, "st_ctime_ns": told_ns})


class Story:
    """A work file, and steps of a writer and of a committer in any order; all contents have one size."""

    def __init__(self, folder: Path) -> None:
        self.io = TickingIO()
        self.index, self.temporary, self.file = folder / "index", folder / "tmp", folder / "file"
        for path in folder.iterdir():
            path.unlink()
        self.version = 0
        self.before = self.key = self.content = None
        self.hits = 0
        self.file.write_bytes(b"%8d" % 0)
        self.io.note(os.lstat(self.file))

    def write(self) -> None:
        self.version += 1
        with open(self.file, "r+b") as handle:
            handle.write(b"%8d" % self.version)
        self.io.note(os.lstat(self.file))

    def tick(self) -> None:
        self.io.now += 1

    def ask_time(self) -> None:
        self.before = file_system_time(self.io, self.temporary)
        self.key = self.content = None

    def take_key(self) -> None:
        self.key = StatKey.of(self.io.stat(self.file)) if self.before is not None else None
        self.content = None

    def read(self) -> None:
        self.content = self.file.read_bytes() if self.key is not None else None

    def store(self) -> None:
        if self.before is None:
            return
        entries = dict(StatCache.load(self.io, self.index).entries)  # what a partial commit carries over
        if self.key is not None and self.content is not None:
            entries["file"] = IndexEntry(self.key, False, manifest_of(self.content))
        StatCache().store(self.io, self.temporary, self.index, entries, before=self.before)
        self.before = self.key = self.content = None

    def check(self) -> None:
        known = StatCache.load(self.io, self.index).get("file", self.io.stat(self.file))
        if known is not None:
            self.hits += 1
            assert known == manifest_of(self.file.read_bytes()), "a changed file was taken for unchanged"


STEPS: dict[str, Callable[[Story], None]] = {
    "w": Story.write,
    "t": Story.tick,
    "a": Story.ask_time,
    "k": Story.take_key,
    "r": Story.read,
    "s": Story.store,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


@settings(deadline=None, max_examples=200)
@given(st.text("wtakrs", max_size=16) | st.lists(st.sampled_from(["akrs", "w", "t"])).map("".join))
@example("wakrws")  # Git's racy case: all in one tick
@example("wakrwts")  # what comparing with the index's own time misses
@example("wakrtws")
@example("takwrws")
@example("wtakrs")
@example("wakrsts")
@example("wakrwtas")  # a racy entry must not be carried into a later index
@example("akwtrstw")
def test_no_order_of_writes_ticks_and_commits_deceives(folder: Path, steps: str) -> None:
    story = Story(folder)
    for step in steps:
        STEPS[step](story)
        story.check()


def test_an_unchanged_file_is_known_once_the_clock_has_moved(folder: Path) -> None:
    story = Story(folder)
    for step in "wtakrs":
        STEPS[step](story)
    story.check()
    assert story.hits == 1


def test_hundreds_of_rewrites_at_once_are_never_missed(tmp_path: Path) -> None:
    io = FileIO()
    file, index, temporary = tmp_path / "weights", tmp_path / "index", tmp_path / "tmp"
    file.write_bytes(b"%8d" % 0)
    for turn in range(400):
        before = file_system_time(io, temporary)
        entries = {"weights": entry_of(io, file)}
        if turn % 2:
            StatCache().store(io, temporary, index, entries, before=before)
        with open(file, "r+b") as handle:  # same size, same inode, at once
            handle.write(b"%8d" % (turn + 1))
        if not turn % 2:
            StatCache().store(io, temporary, index, entries, before=before)
        known = StatCache.load(io, index).get("weights", io.stat(file))
        assert known in (None, manifest_of(file.read_bytes())), f"missed at turn {turn}"
        assert known is None


def test_a_file_at_rest_is_known(tmp_path: Path) -> None:
    io = FileIO()
    file, index, temporary = tmp_path / "weights", tmp_path / "index", tmp_path / "tmp"
    file.write_bytes(b"at rest")
    status = io.stat(file)
    limit = time.monotonic() + 10
    while (before := file_system_time(io, temporary)).time_ns <= max(status.st_mtime_ns, status.st_ctime_ns):
        assert time.monotonic() < limit, "the file system's clock stands still"
        time.sleep(0.001)
    entries = {"weights": entry_of(io, file)}
    StatCache().store(io, temporary, index, entries, before=before)
    assert StatCache.load(io, index).get("weights", io.stat(file)) == manifest_of(b"at rest")


def settled(tmp_path: Path, name: str) -> tuple[StatCache, Path]:
    """A cache that knows a file, whatever the clock."""
    file = tmp_path / name
    file.write_bytes(b"0123")
    entry = entry_of(FileIO(), file)
    return StatCache({name: entry}), file


@pytest.mark.parametrize("change", ["content", "replaced", "touched", "mode", "restored times"])
def test_any_change_makes_a_file_unknown(tmp_path: Path, change: str) -> None:
    cache, file = settled(tmp_path, "f")
    assert cache.get("f", os.lstat(file)) == manifest_of(b"0123")
    assert cache.get("g", os.lstat(file)) is None
    old = os.lstat(file)
    time.sleep(0.02)
    if change == "content":
        file.write_bytes(b"9876")
    elif change == "replaced":
        (tmp_path / "new").write_bytes(b"9876")
        os.utime(tmp_path / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
        os.replace(tmp_path / "new", file)
    elif change == "touched":
        os.utime(file)
    elif change == "mode":
        file.chmod(0o700)
    else:
        file.write_bytes(b"9876")
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert os.lstat(file).st_mtime_ns == old.st_mtime_ns
    assert cache.get("f", os.lstat(file)) is None


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "device", "kept"),
    [
        (99, 99, 1, True),
        (100, 99, 1, False),
        (99, 100, 1, False),
        (50, 101, 1, False),
        (-5, -5, 1, True),
        (99, 99, 2, False),
        (99 - 60 * 10**9, 99 - 60 * 10**9, 2, True),
    ],
)
def test_only_entries_older_than_the_moment_are_kept(
    tmp_path: Path, mtime_ns: int, ctime_ns: int, device: int, kept: bool
) -> None:
    entry = IndexEntry(StatKey(1, mtime_ns, ctime_ns, 3, device), False, bytes(32))
    cache = StatCache()
    cache.store(FileIO(), tmp_path / "tmp", tmp_path / "index", {"f": entry}, before=Moment(100, 1))
    assert ("f" in cache.entries) == kept
    assert StatCache.load(FileIO(), tmp_path / "index").entries == cache.entries


def test_the_file_system_is_asked_for_its_own_time(tmp_path: Path) -> None:
    io = FileIO()
    first = file_system_time(io, tmp_path / "tmp")
    (tmp_path / "f").write_bytes(b"")
    status = os.lstat(tmp_path / "f")
    assert first.time_ns <= status.st_mtime_ns
    assert first.device == status.st_dev
    assert os.listdir(tmp_path) == ["f"]


# --- the file ---


def test_what_is_stored_comes_back_sorted(tmp_path: Path) -> None:
    entries = some_entries(300)
    backwards = dict(reversed(entries.items()))
    StatCache().store(FileIO(), tmp_path / "tmp", tmp_path / "index", backwards, before=LATER)
    loaded = StatCache.load(FileIO(), tmp_path / "index").entries
    assert loaded == entries
    assert list(loaded) == sorted(entries)
    assert os.listdir(tmp_path) == ["index"]


def test_extreme_values_come_back(tmp_path: Path) -> None:
    key = StatKey(2**63 - 1, -(2**62), -(2**63), 2**64 - 1, 2**64 - 1)
    entries = {"d/模型 \u200d.bin": IndexEntry(key, True, bytes(range(32)))}
    before = Moment(2**63 - 1, 2**64 - 1)
    StatCache().store(FileIO(), tmp_path / "tmp", tmp_path / "index", entries, before=before)
    assert StatCache.load(FileIO(), tmp_path / "index").entries == entries


def test_an_empty_index_and_a_missing_one_are_empty(tmp_path: Path) -> None:
    assert StatCache.load(FileIO(), tmp_path / "index").entries == {}
    StatCache().store(FileIO(), tmp_path / "tmp", tmp_path / "index", {}, before=LATER)
    assert (tmp_path / "index").stat().st_size > 0
    assert StatCache.load(FileIO(), tmp_path / "index").entries == {}


def test_a_damaged_index_is_empty(tmp_path: Path) -> None:
    index = tmp_path / "index"
    StatCache().store(FileIO(), tmp_path / "tmp", index, some_entries(3), before=LATER)
    good = index.read_bytes()
    assert len(StatCache.load(FileIO(), index).entries) == 3
    for at in range(len(good)):
        index.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert StatCache.load(FileIO(), index).entries == {}, f"byte {at} flipped"
        index.write_bytes(good[:at])
        assert StatCache.load(FileIO(), index).entries == {}, f"cut at {at}"
    index.write_bytes(good + b"\0")
    assert StatCache.load(FileIO(), index).entries == {}


def signed(body: bytes) -> bytes:
    return body + blake3(body).digest()


RECORD = bytes(73)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"mvcINDX1",
        b"mvcINDX2" + (0).to_bytes(8, "little"),
        b"mvcINDX1" + (2**60).to_bytes(8, "little"),
        b"mvcINDX1" + (1).to_bytes(8, "little"),
        b"mvcINDX1" + (1).to_bytes(8, "little") + RECORD,
        b"mvcINDX1" + (1).to_bytes(8, "little") + RECORD + b"a",
        b"mvcINDX1" + (1).to_bytes(8, "little") + RECORD + b"a\0b\0",
        b"mvcINDX1" + (1).to_bytes(8, "little") + RECORD + b"\xff\0",
        b"mvcINDX1" + (0).to_bytes(8, "little") + b"a\0",
    ],
)
def test_an_index_of_another_form_is_empty_though_its_sum_is_right(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "index").write_bytes(signed(body))
    assert StatCache.load(FileIO(), tmp_path / "index").entries == {}


def test_the_form_itself(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(signed(b"mvcINDX1" + (1).to_bytes(8, "little") + RECORD + b"a\0"))
    expected = {"a": IndexEntry(StatKey(0, 0, 0, 0, 0), False, bytes(32))}
    assert StatCache.load(FileIO(), tmp_path / "index").entries == expected


def test_an_index_that_is_no_plain_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index")
    assert StatCache.load(FileIO(), tmp_path / "index").entries == {}


@pytest.mark.parametrize("step", ["create", "write", "replace"])
def test_a_failed_store_leaves_the_old_index_and_no_litter(tmp_path: Path, step: str) -> None:
    class Failing(FileIO):
        pass

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    setattr(Failing, step, refuse)
    index = tmp_path / "index"
    cache = StatCache()
    cache.store(FileIO(), tmp_path / "tmp", index, some_entries(2), before=LATER)
    with pytest.raises(StorageError, match="No space left"):
        cache.store(Failing(), tmp_path / "tmp", index, some_entries(5), before=LATER)
    assert len(cache.entries) == 2
    assert StatCache.load(FileIO(), index).entries == cache.entries
    assert os.listdir(tmp_path) == ["index"]
