"""Filling a file from a manifest: from the database, from the file that was there, from a clone of it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc import filling
from mvc.errors import CorruptObject, MvcError, ObjectMissing, StorageError
from mvc.fileio import FileIO
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.objectid import BlobId
from mvc.objects import Manifest, Part
from mvc.ops.checkout import checkout
from mvc.repo import Repository
from mvc.reuse import open_old
from tests.engine import ME, assert_sound, make_repository, now, snapshot, switch_to
from tests.make_files import finetuned, random_weights, safetensors_bytes

SHAPES = {"frozen.a": (1200, 1024), "frozen.b": (700, 1024), "head": (512, 1024), "bias": (7,)}
MODEL = "model.safetensors"


def versions() -> list[bytes]:
    """Two versions of some MB of which only ``head`` and ``bias`` differ, and one with other lengths."""
    rng = np.random.default_rng(3)
    first = random_weights(rng, SHAPES, "BF16")
    moved = finetuned(first, rng, 0.01)
    second = {name: (moved if name in ("head", "bias") else first)[name] for name in first}
    shapes = {name: shape for name, shape in SHAPES.items() if name != "frozen.b"} | {"more": (300, 1000)}
    third = random_weights(rng, shapes, "BF16")
    del third["frozen.a"]
    third["frozen.a"] = first["frozen.a"]  # at another place
    return [safetensors_bytes(item) for item in (first, second, third)]


class Copying(FileIO):
    """A file system that clones, as far as anybody can see: by copying."""

    def __init__(self) -> None:
        self.written = 0
        self.clones = 0

    def clone(self, source: int, target: int) -> None:
        self.clones += 1
        os.pwrite(target, os.pread(source, os.fstat(source).st_size, 0), 0)

    def write_at(self, fd, data, offset):
        self.written += len(data)
        return super().write_at(fd, data, offset)


class Refusing(FileIO):
    """A file system that answers a request for a clone with an error."""

    def __init__(self, error: int) -> None:
        self._error = error

    def clone(self, source: int, target: int) -> None:
        raise OSError(self._error, os.strerror(self._error))


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> tuple[Path, list[str], list[bytes]]:
    """A repository of the versions, checked out at the last one; the revisions; the bytes."""
    folder = tmp_path_factory.mktemp("stored")
    repository, contents, revisions = make_repository(folder), versions(), []
    for content in contents:
        (folder / MODEL).write_bytes(content)
        revisions.append(snapshot(repository, "version").id.hex())
    return folder, revisions, contents


@pytest.fixture
def place(stored, tmp_path) -> tuple[Path, list[str], list[bytes]]:
    folder = tmp_path / "work"
    shutil.copytree(stored[0], folder)
    # as if its files had always been there: the copy's times and inodes are new
    switch_to(Repository.open(FileIO(), folder, Monitor()), stored[1][0], force=True)
    return folder, *stored[1:]


def go(folder: Path, revision: str, io: FileIO | None = None) -> Monitor:
    """Check a revision out; returns what was counted."""
    monitor = Monitor()
    checkout(Repository.open(io or FileIO(), folder, monitor), revision, ME, now())
    return monitor


# --- the right bytes, wherever they come from
# ----------------------------------------------------------------


@pytest.mark.parametrize("io", [FileIO, Copying], ids=["plain", "clones"])
def test_every_version_comes_back_from_every_other(place, io):
    folder, revisions, contents = place
    for target in (1, 2, 0, 2, 1, 0):
        go(folder, revisions[target], io())
        assert (folder / MODEL).read_bytes() == contents[target]
    assert_sound(folder)


def test_what_the_old_file_has_is_not_decoded(place):
    folder, revisions, contents = place
    monitor = go(folder, revisions[1])
    assert (folder / MODEL).read_bytes() == contents[1]
    assert monitor.counters["reused_bytes"] == 1900 * 1024 * 2
    assert monitor.counters["refused_clones"] == 1 or monitor.counters["cloned_bytes"]
    # at another place of the file too
    monitor = go(folder, revisions[2])
    assert (folder / MODEL).read_bytes() == contents[2]
    assert monitor.counters["reused_bytes"] == 1200 * 1024 * 2


def test_a_base_that_lies_in_the_old_file_is_not_decoded(place):
    folder, revisions, contents = place
    monitor = go(folder, revisions[1])
    assert (folder / MODEL).read_bytes() == contents[1]
    assert monitor.counters["reused_base_bytes"] == 512 * 1024 * 2  # of ``head``, which moved


def test_of_a_clone_only_what_differs_is_written(place):
    folder, revisions, contents = place
    io = Copying()
    monitor = go(folder, revisions[1], io)
    assert (folder / MODEL).read_bytes() == contents[1]
    assert io.clones == 1
    assert monitor.counters["cloned_bytes"] >= 1900 * 1024 * 2
    assert io.written + monitor.counters["cloned_bytes"] == len(contents[1])
    assert monitor.counters["reused_bytes"] == 0


def test_a_file_of_which_little_stays_in_place_is_not_cloned(place):
    folder, revisions, contents = place
    io = Copying()
    go(folder, revisions[2], io)
    assert io.clones == 0
    assert (folder / MODEL).read_bytes() == contents[2]


@pytest.mark.parametrize("code", sorted(filling._NO_CLONES), ids=errno.errorcode.get)
def test_a_file_system_without_clones_is_counted_and_does_no_harm(place, code):
    folder, revisions, contents = place
    monitor = go(folder, revisions[1], Refusing(code))
    assert monitor.counters["refused_clones"] == 1
    assert monitor.counters["cloned_bytes"] == 0
    assert (folder / MODEL).read_bytes() == contents[1]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_disk_that_fails_to_clone_fails_the_checkout(place, code):
    folder, revisions, contents = place
    with pytest.raises(StorageError):
        go(folder, revisions[1], Refusing(code))
    assert (folder / MODEL).read_bytes() == contents[0]
    assert not [path for path in (folder / ".mvc" / "tmp").iterdir() if path.suffix != ".lock"]


# --- an old file that is not what it seems
# -------------------------------------------------------------------


class Lying(Copying):
    """The work file changes between the scan and the moment when its bytes are taken; it may become shorter,
    and reading it may fail."""

    def __init__(self, change, clones: bool) -> None:
        super().__init__()
        self._change = change
        self._clones = clones

    def open_read(self, path, *, follow=True):
        if path.name == MODEL and not follow:
            status = os.stat(path)
            self._change(path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return super().open_read(path, follow=follow)

    def clone(self, source, target):
        if not self._clones:
            raise OSError(errno.EOPNOTSUPP, "no clones")
        super().clone(source, target)


def fill_over(folder: Path, io: FileIO, revisions: list[str]) -> bytes:
    """The bytes of the second version, filled over the first one's file by ``io``."""
    monitor = Monitor()
    repository = Repository.open(FileIO(), folder, monitor)
    with repository.reading() as view:
        manifests = [
            Manifest.from_bytes(view.objects.get(flatten(view.objects, commit.tree)[MODEL].id))
            for commit in (view.commit(type(view.head_commit()).from_hex(text)) for text in revisions[:2])
        ]
        target = folder / "filled"
        fd = io.create(target)
        try:
            with open_old(io, folder / MODEL, manifests[0]) as old:
                filling.Filler(io, view.objects, monitor).fill(fd, target, manifests[1], old)
        finally:
            io.close(fd)
    return target.read_bytes()


@pytest.mark.parametrize("clones", [False, True], ids=["plain", "clones"])
@settings(max_examples=15, deadline=None)
@given(at=st.integers(0, 4_900_000), length=st.integers(1, 3_000_000), cut=st.booleans())
def test_an_old_file_that_was_changed_gives_no_wrong_byte(stored, tmp_path_factory, at, length, cut, clones):
    _folder, revisions, contents = stored
    folder = tmp_path_factory.mktemp("changed")
    (folder / ".mvc").symlink_to(stored[0] / ".mvc")
    (folder / MODEL).write_bytes(contents[0])

    def change(path: Path) -> None:
        with path.open("r+b") as file:
            if cut:
                file.truncate(at)
            else:
                file.seek(at)
                file.write(b"\xa5" * length)

    try:
        assert fill_over(folder, Lying(change, clones), revisions) == contents[1]
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("clones", [False, True], ids=["plain", "clones"])
def test_an_old_file_that_cannot_be_read_is_done_without(place, clones):
    folder, revisions, contents = place

    class Failing(Lying):
        def read_into(self, fd, buffer, offset):
            raise OSError(errno.EIO, "bad sector")

    assert fill_over(folder, Failing(lambda _path: None, clones), revisions) == contents[1]


@pytest.mark.parametrize("what", ["gone", "link", "pipe", "folder"])
def test_what_is_no_file_is_not_taken_for_the_old_one(place, what):
    folder, revisions, contents = place
    (folder / MODEL).unlink()
    if what == "link":
        (folder / "elsewhere").write_bytes(contents[0])
        (folder / MODEL).symlink_to("elsewhere")
    elif what == "pipe":
        os.mkfifo(folder / MODEL)
    elif what == "folder":
        (folder / MODEL).mkdir()
    assert fill_over(folder, Copying(), revisions) == contents[1]


def test_damage_in_the_version_that_goes_does_not_keep_the_other_from_coming(place, monkeypatch):
    folder, revisions, contents = place
    real, seen = Manifest.from_bytes.__func__, []

    def damaged(cls, data):
        found = real(cls, data)
        if found.sha256 != sha256(contents[0]).digest():
            return found
        seen.append(data)
        raise CorruptObject("damaged")

    monkeypatch.setattr(Manifest, "from_bytes", classmethod(damaged))
    monitor = go(folder, revisions[1])
    assert seen
    assert monitor.counters["reused_bytes"] == 0
    assert (folder / MODEL).read_bytes() == contents[1]


# --- what a manifest says is not believed
# --------------------------------------------------------------------


class _Objects:
    """A database with one blob, of which a manifest may say what it likes."""

    def __init__(self, plain: bytes) -> None:
        self._plain = plain

    def ahead(self, items, _piece_of):
        return items

    def get_small(self, wanted, *, keep=False):
        return {BlobId.of(self._plain): self._plain for _ in wanted}

    def get(self, _identity):
        return self._plain

    def get_into(self, identity, out, *, keep=False):
        raise ObjectMissing("nothing here")


@pytest.mark.parametrize("claimed", [3, 5, 300_000_000_000])
def test_a_blob_of_another_length_than_its_manifest_says_is_damage(tmp_path, claimed):
    manifest = Manifest("opaque", claimed, bytes(32), (Part(claimed, BlobId.of(b"blob")),))
    io = FileIO()
    fd = io.create(tmp_path / "file")
    try:
        with pytest.raises(CorruptObject):
            filling.Filler(io, _Objects(b"blob"), Monitor()).fill(fd, tmp_path / "file", manifest, None)
    finally:
        io.close(fd)
    assert (tmp_path / "file").read_bytes() == b""


# --- threads
# -------------------------------------------------------------------------------------------------


def test_no_thread_writes_after_the_file_was_closed(place):
    folder, revisions, contents = place
    written, closed, late, failed = set(), set(), [], threading.Event()

    class Failing(FileIO):
        def write_at(self, fd, data, offset):
            if offset > 1_000_000:
                failed.set()
                raise OSError(errno.ENOSPC, "full")
            written.add(fd)
            if failed.is_set():
                time.sleep(0.05)
            if fd in closed:
                late.append(fd)
            return super().write_at(fd, data, offset)

        def close(self, fd):
            closed.update({fd} & written)
            super().close(fd)

    with pytest.raises(StorageError):
        go(folder, revisions[2], Failing())
    assert failed.is_set()
    assert closed
    assert late == []
    assert (folder / MODEL).read_bytes() == contents[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MvcError("stop")])
def test_an_interrupted_checkout_leaves_the_old_file(place, error):
    folder, revisions, contents = place

    class Stopping(Monitor):
        def advance(self, count_bytes):
            if count_bytes > 100_000:
                raise error

    repository = Repository.open(FileIO(), folder, Stopping())
    with pytest.raises(type(error) if isinstance(error, MvcError) else error):
        checkout(repository, revisions[2], ME, now())
    assert (folder / MODEL).read_bytes() == contents[0]
    assert_sound(folder)


# --- a file system that really clones
# ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["btrfs", "xfs"])
def cloning(request, tmp_path_factory) -> Iterator[Path]:
    """A folder on a file system of that kind, in an image of its own."""
    make = shutil.which(f"mkfs.{request.param}")
    if make is None or os.geteuid() != 0:
        pytest.skip(f"needs mkfs.{request.param} and the right to mount")
    place = tmp_path_factory.mktemp(request.param)
    image, mounted = place / "image", place / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(512 << 20)
    for command in ([make, "-q", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True, capture_output=True)


def shared_bytes(path: Path) -> int:
    """Bytes of a file whose blocks another file has too, as FIEMAP tells."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        head = 32
        room = bytearray(head + 56 * 512)
        room[0:16] = (0).to_bytes(8, "little") + (2**64 - 1).to_bytes(8, "little")
        room[24:28] = (512).to_bytes(4, "little")
        fcntl.ioctl(file.fileno(), 0xC020660B, room, True)
    shared = 0
    for number in range(int.from_bytes(room[20:24], "little")):
        row = room[head + 56 * number : head + 56 * (number + 1)]
        if int.from_bytes(row[40:44], "little") & 0x2000:
            shared += int.from_bytes(row[16:24], "little")
    return shared


def test_unchanged_ranges_share_their_blocks(cloning):
    folder = cloning / "work"
    repository, contents = make_repository(folder), versions()
    revisions = []
    for content in contents[:2]:
        (folder / MODEL).write_bytes(content)
        revisions.append(snapshot(repository, "version").id.hex())
    os.link(folder / MODEL, folder / ".mvc" / "kept")  # outlives the checkout, so that sharing can be seen
    monitor = go(folder, revisions[0])
    assert (folder / MODEL).read_bytes() == contents[0]
    assert monitor.counters["refused_clones"] == 0
    assert monitor.counters["cloned_bytes"] >= 1900 * 1024 * 2
    assert shared_bytes(folder / MODEL) >= 1800 * 1024 * 2
    assert (folder / ".mvc" / "kept").read_bytes() == contents[1]
    (folder / ".mvc" / "kept").unlink()
    assert_sound(folder)
