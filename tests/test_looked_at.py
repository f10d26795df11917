"""Shared stores that are read where they lie: how much of them, in how many requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mvc
from mvc.backends import MemoryBackend
from mvc.errors import CorruptFile, CorruptObject, UserError
from mvc.history.gather import Wanted, gather
from mvc.history.reader import PartTable
from mvc.history.revisions import lookup_path, resolve_commit
from mvc.monitor import Monitor
from mvc.objectid import ManifestId, ObjectId
from mvc.objects import Manifest
from mvc.odb.ranged import RangedSegment
from mvc.odb.segment import Entry, Segment, SegmentRow, build_segments, segment_name
from mvc.ops.ls import files
from mvc.remotes import reaching
from mvc.repo import Repository
from mvc.sharing import stores
from mvc.sharing.bucket import BucketStore
from mvc.store import SharedFolder, Store
from tests.engine import history, make_repository, snapshot
from tests.make_files import random_weights, safetensors_bytes
from tests.partial_clones import bucket_of, copy_into
from tests.requests import CountingBackend

LARGE, SMALL = "model.large", "model.small"


def model(seed: int, elements: int = 2_000_000) -> bytes:
    rng = np.random.default_rng(seed)
    return safetensors_bytes(random_weights(rng, {LARGE: (elements // 1000, 1000), SMALL: (7,)}, "BF16"))


def versions(folder: Path, count: int) -> Repository:
    """A repository of some versions that change a note, and one tensor now and then."""
    folder.mkdir()
    repository = make_repository(folder)
    (folder / "model.safetensors").write_bytes(model(1))
    for number in range(count):
        (folder / "notes.txt").write_bytes(b"%d\n" % number)
        snapshot(repository, f"version {number}")
    return repository


def looked_at(backend: CountingBackend) -> BucketStore:
    store = BucketStore(backend, Monitor())
    store.looked_at = True
    backend.reset()
    return store


def tensor(store: Store, revision: str, name: str) -> bytes:
    """A tensor's bytes, read as Python programs read them."""
    with store.reading() as view:
        tree = view.commit(resolve_commit(revision, view.objects, view)).tree
        entry = lookup_path(view.objects, tree, "model.safetensors")
        assert entry is not None
        manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
        span = next(span for span in manifest.tensors if span.name == name)
        out = bytearray(span.length)
        gather(view.objects, [Wanted(PartTable(manifest), span.offset, memoryview(out))])
        return bytes(out)


def stored_bytes(store: Store, revision: str, name: str) -> int:
    """What the records of a tensor take, and those that they lean on."""
    with store.reading() as view:
        tree = view.commit(resolve_commit(revision, view.objects, view)).tree
        entry = lookup_path(view.objects, tree, "model.safetensors")
        assert entry is not None
        manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
        span = next(span for span in manifest.tensors if span.name == name)
        blobs = [piece.part.blob for piece in PartTable(manifest).pieces(span.offset, span.length)]
        wanted = [blob for blob in blobs if blob is not None]
        found = 0
        seen: set[ObjectId] = set()
        while wanted:
            one = wanted.pop()
            if one not in seen:
                seen.add(one)
                found += view.objects.entries(one)[0].length
                wanted += [base.id for base in view.objects.record(one).bases]
        return found


def test_a_tensor_is_read_by_its_own_ranges(tmp_path: Path) -> None:
    source = versions(tmp_path / "source", 3)
    backend = CountingBackend(bucket_of(source, history(source)[0]).backend)
    wanted = tensor(source, "main", LARGE)
    read = looked_at(backend)
    assert tensor(read, "main~1", LARGE) == wanted
    own = stored_bytes(source, "main~1", LARGE)
    others = own + 10_000  # commit, folder and manifest
    assert backend.read["packs"] <= 1.1 * others
    assert backend.requests["list"] == 0
    assert backend.rounds <= 9


def test_requests_do_not_grow_with_history(tmp_path: Path) -> None:
    counts = []
    for number, count in enumerate((5, 85)):
        source = versions(tmp_path / str(number), count)
        backend = CountingBackend(bucket_of(source, history(source)[0]).backend)
        tensor(looked_at(backend), "main~2", LARGE)
        counts.append((dict(backend.requests), backend.rounds))
    assert counts[0] == counts[1]


def test_segments_are_read_by_ranges_where_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = versions(tmp_path / "source", 60)
    backend = CountingBackend(bucket_of(source, history(source)[0]).backend)
    wanted = tensor(source, "main", LARGE)
    assert tensor(looked_at(backend), "main", LARGE) == wanted
    whole = backend.read["segments"]
    monkeypatch.setattr(reaching, "WHOLE_BYTES", 0)
    monkeypatch.setattr(reaching, "LOOKED_AT_BYTES", 0)
    monkeypatch.setattr(CountingBackend, "request_bytes", 1)
    monkeypatch.setattr("mvc.odb.ranged.FIRST_BYTES", 512)
    assert tensor(looked_at(backend), "main", LARGE) == wanted
    assert backend.read["segments"] < whole


def test_a_shared_store_opens_by_its_address(tmp_path: Path) -> None:
    source = versions(tmp_path / "source", 2)
    store = stores.create_store(
        source.io, "memory://looked-at", Monitor(), base=tmp_path, environment={}, branch="main"
    )
    copy_into(source, store, history(source)[0])
    shared = SharedFolder.create(source.io, tmp_path / "shared", Monitor(), branch="main")
    copy_into(source, shared, history(source)[0])
    for address in ("memory://looked-at", (tmp_path / "shared").as_uri()):
        with mvc.Repo.open(address) as repo:
            assert repo.branch == "main"
            assert repo.head is not None and repo.head.message == "version 1"
            assert [item.message for item in repo.log()] == ["version 1", "version 0"]
            found = repo["main~1"]["model.safetensors"].tensors[SMALL]
            assert found.tobytes() == tensor(source, "main", SMALL)
            with pytest.raises(UserError, match="has no work tree") as caught:
                repo.commit(message="nothing can be")
            assert "mvc clone" in caught.value.hint


def test_a_bucket_that_lies_is_refused(tmp_path: Path) -> None:
    source = versions(tmp_path / "source", 2)
    memory = MemoryBackend()
    bucket_of(source, history(source)[0], memory)
    for key, _size in list(memory.list("packs/")):
        data = bytearray(memory.get(key))
        memory.delete(key)
        data[len(data) // 2] ^= 1
        memory.put(key, [bytes(data)])
    with pytest.raises((CorruptObject, CorruptFile)):
        tensor(looked_at(CountingBackend(memory)), "main", LARGE)


def segment_of(count: int) -> tuple[SegmentRow, bytes, list[Entry]]:
    rng = np.random.default_rng(3)
    entries = [
        Entry(rng.bytes(32), 1, rng.bytes(1) * 32, 24 + 100 * number, 100, 0) for number in range(count)
    ]
    (data,) = build_segments(entries)
    opened = Segment.open(segment_name(data), data)
    return SegmentRow(opened.name, 0, opened.count, opened.first, opened.last), data, entries


def test_a_segment_by_ranges_says_what_the_whole_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvc.odb.ranged.FIRST_BYTES", 256)
    row, data, entries = segment_of(5000)
    fetched = 0

    def fetch(offset: int, length: int) -> bytes:
        nonlocal fetched
        fetched += length
        assert offset + length <= len(data)
        return data[offset : offset + length]

    some = RangedSegment(row, fetch)
    whole = Segment.open(row.name, data)
    for entry in entries[:20]:
        assert some.find(entry.id) == whole.find(entry.id) == [entry]
    absent = bytes(range(32))
    assert some.find(absent) == whole.find(absent)
    assert fetched < len(data) / 4
    low, high = entries[0].id[:1] + bytes(31), entries[0].id[:1] + b"\xff" * 31
    assert list(some.find_prefix(low, high)) == list(whole.find_prefix(low, high))
    assert list(some) == list(whole)
    some.verify()


@pytest.mark.parametrize("at", [0, 40, 44, 48, 52, 57, 80])
def test_a_damaged_head_is_told_and_takes_no_memory(at: int) -> None:
    row, data, _entries = segment_of(300)
    damaged = bytearray(data)
    damaged[at] ^= 0x80

    def fetch(offset: int, length: int) -> bytes:
        if offset + length > len(damaged):
            raise CorruptFile("ends before")
        return bytes(damaged[offset : offset + length])

    with pytest.raises(CorruptFile):
        RangedSegment(row, fetch)


def test_a_list_of_files_takes_as_many_rounds_for_many_as_for_few(tmp_path: Path) -> None:
    rounds = []
    for number, count in enumerate((2, 30)):
        folder = tmp_path / str(number)
        folder.mkdir()
        source = make_repository(folder)
        for one in range(count):
            (folder / f"{one}.txt").write_bytes(b"%d" % one)
        snapshot(source)
        backend = CountingBackend(bucket_of(source, history(source)[0]).backend)
        with looked_at(backend).reading() as view:
            assert len(list(files(view, "main"))) == count
        rounds.append(backend.rounds)
    assert rounds[0] == rounds[1]
