"""Packs that are written behind whoever fills them: the same packs, no error lost, nothing left over."""

from __future__ import annotations

import errno
import random
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from mvc.backends.folder import FolderBackend
from mvc.backends.memory import MemoryBackend
from mvc.errors import StorageError
from mvc.fileio import FileIO, TemporaryNames
from mvc.objectid import BlobId
from mvc.odb import pack
from mvc.odb.pack import PackWriter, read_record
from mvc.odb.record import Record
from tests.faults import WRITING, FaultIO


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Packs of some 20 KB, of which all but the first 2 KB are written behind the caller."""
    monkeypatch.setattr(pack, "TARGET_PACK", 20_000)
    monkeypatch.setattr(pack, "_STREAM_FROM", 2_000)
    monkeypatch.setattr(pack, "_HAND_OVER", 1_000)
    monkeypatch.setattr("mvc.backends.folder.SYNC_BYTES", 3_000)


def records(count: int = 150, seed: int = 1) -> list[Record]:
    rng = random.Random(seed)
    plains = [rng.randbytes(rng.choice((10, 300, 900, 5000))) for _ in range(count)]
    return [Record(BlobId.of(plain), len(plain), 0, (), None, (), plain) for plain in plains]


def folder_backend(root: Path, io: FileIO | None = None) -> FolderBackend:
    io = io or FileIO()
    root.mkdir(exist_ok=True)
    return FolderBackend(io, root, TemporaryNames(io, root / "tmp"))


def leftovers(root: Path) -> list[str]:
    folder = root / "tmp"
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"] if folder.exists() else []


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_every_record_is_where_its_entry_says(tmp_path, kind):
    backend = folder_backend(tmp_path) if kind == "folder" else MemoryBackend()
    writer = PackWriter(backend)
    for record in records():
        writer.add(record)
    writer.flush()
    packs = {entry.pack for entry in writer.entries}
    assert len(packs) > 5
    assert [read_record(backend, entry).id for entry in writer.entries] == [r.id for r in records()]
    for name in packs:
        assert blake3(backend.get(pack.pack_key(name))).digest() == name
    assert writer.written_bytes == sum(size for _key, size in backend.list("packs/"))
    assert leftovers(tmp_path) == []


def test_the_packs_are_those_that_are_written_in_one_go(monkeypatch):
    monkeypatch.setattr(pack.os, "urandom", bytes)
    written = []
    for stream_from in (2_000, 1 << 40):
        monkeypatch.setattr(pack, "_STREAM_FROM", stream_from)
        backend = MemoryBackend()
        writer = PackWriter(backend)
        for record in records():
            writer.add(record)
        writer.flush()
        written.append((sorted(backend.list("packs/")), writer.entries))
    assert written[0] == written[1]


def test_a_writer_goes_on_after_a_flush():
    backend = MemoryBackend()
    writer = PackWriter(backend)
    for seed in range(4):
        for record in records(30, seed):
            writer.add(record)
        writer.flush()
        writer.flush()
    expected = [record.id for seed in range(4) for record in records(30, seed)]
    assert [read_record(backend, entry).id for entry in writer.entries] == expected


def test_an_error_at_any_step_is_told_and_leaves_nothing(tmp_path):
    step = 0
    while True:
        step += 1
        root = tmp_path / str(step)
        io = FaultIO(fail_at=step, error=errno.ENOSPC, counted=WRITING, for_ever=True)
        writer = None
        try:
            writer = PackWriter(folder_backend(root, io))
            for record in records(30):
                writer.add(record)
            writer.flush()
        except StorageError:
            assert io.failed
        else:
            if not io.failed:
                break
            backend = folder_backend(root)
            assert [read_record(backend, entry).id for entry in writer.entries] == [r.id for r in records(30)]
        finally:
            if writer is not None:
                writer.close()
        assert leftovers(root) == []
    assert step > 40


def test_after_an_error_no_flush_says_that_all_is_well(tmp_path):
    class Full(FileIO):
        def sync(self, fd):
            raise OSError(errno.ENOSPC, "full")

    writer = PackWriter(folder_backend(tmp_path, Full()))
    with pytest.raises(StorageError):
        for record in records():
            writer.add(record)
    for _ in range(2):
        with pytest.raises(StorageError):
            writer.flush()
    writer.close()
    assert leftovers(tmp_path) == []


def test_who_does_not_flush_leaves_nothing(tmp_path):
    before = threading.active_count()
    writer = PackWriter(folder_backend(tmp_path))
    for record in records():
        writer.add(record)
    writer.close()
    assert leftovers(tmp_path) == []
    assert threading.active_count() == before
    writer.close()


def test_a_slow_disk_holds_the_caller_up_instead_of_filling_memory():
    gate, taken = threading.Event(), []

    class Slow(MemoryBackend):
        def begin(self):
            gate.wait(10)
            return super().begin()

    writer = PackWriter(Slow())
    given = records(300)

    def fill() -> None:
        for record in given:
            writer.add(record)
            taken.append(record.plain_length)
        writer.flush()

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join(0.3)
    assert sum(taken) < 2_000 + (pack._WINDOW + 2) * 6_500 + 20_000
    assert len(taken) < len(given)
    gate.set()
    thread.join(30)
    assert len(writer.entries) == len(given)
