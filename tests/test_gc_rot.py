"""What a collection keeps where records were left twice and one of them rotted: all that can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mvc.codecs import Step
from mvc.collection import repacking
from mvc.collection.swapping import swap
from mvc.errors import StorageError
from mvc.objectid import BlobId, CommitId
from mvc.odb.pack import PackWriter, pack_key
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.ops.gc import Request, gc
from mvc.repo import Repository
from mvc.transaction import add_entries
from tests.engine import make_repository, now, open_repository, snapshot, weights_versions
from tests.make_files import finetuned, random_weights, safetensors_bytes
from tests.test_gc_repack import pieces_of


def interrupted(folder: Path, monkeypatch) -> list[CommitId]:
    """Three versions, of which the second leans on the first, and a collection that told it from the third,
    too, before it was stopped."""
    repository = make_repository(folder)
    rng = np.random.default_rng(5)
    weights = random_weights(rng, {"a.weight": (3000, 10), "c": (30_000,)}, "BF16")
    commits = []
    for fast, step in ((True, 0.03), (False, 0.0005), (True, 0)):
        (folder / "model.safetensors").write_bytes(safetensors_bytes(weights))
        commits.append(snapshot(repository, fast=fast).id)
        weights = finetuned(weights, rng, step)

    def stop(*_args: object) -> None:
        raise StorageError("stopped", hint="")

    with monkeypatch.context() as patch:
        patch.setattr(repacking, "drop_replaced", stop)
        with pytest.raises(StorageError, match="stopped"):
            gc(open_repository(folder), Request(now(), None, repack=True))
    return commits


def rot(folder: Path, entry: Entry) -> None:
    """Flip a bit of a record's last byte."""
    path = folder / ".mvc" / pack_key(entry.pack)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(entry.offset + entry.length - 1)
        last = file.read(1)[0]
        file.seek(entry.offset + entry.length - 1)
        file.write(bytes([last ^ 1]))


def entries_of(repository: Repository, commit: CommitId) -> dict[BlobId, list[Entry]]:
    with repository.reading() as view:
        return {piece: view.objects.entries(piece) for piece in pieces_of(view, commit)}


@pytest.mark.parametrize("repack", [False, True])
def test_a_record_that_leans_on_damage_does_not_replace_one_that_can_be_read(tmp_path, monkeypatch, repack):
    _first, second, third = interrupted(tmp_path, monkeypatch)
    repository = open_repository(tmp_path)
    twice = {piece: found for piece, found in entries_of(repository, second).items() if len(found) > 1}
    assert twice and all({entry.depth for entry in found} == {1} for found in twice.values())
    with repository.reading() as view:
        plain = {piece: view.objects.get(piece) for piece in twice}
    for found in entries_of(repository, third).values():
        for entry in found:
            rot(tmp_path, entry)
    gc(open_repository(tmp_path), Request(now(), None, repack=repack))
    with open_repository(tmp_path).reading() as view:
        assert {piece: view.objects.get(piece) for piece in twice} == plain


@pytest.mark.parametrize("repack", [False, True])
def test_a_record_that_only_looks_right_does_not_replace_one_that_can_be_read(tmp_path, repack):
    """A right checksum, less deep and smaller than the sound record, and no such object in it."""
    repository = make_repository(tmp_path)
    for content in weights_versions(3, 30_000):
        (tmp_path / "model.safetensors").write_bytes(content)
        newest = snapshot(repository).id
    with repository.reading() as view:
        plain = {piece: view.objects.get(piece) for piece in pieces_of(view, newest)}
        packs = PackWriter(view.backend)
        for piece, data in plain.items():
            packs.add(Record(piece, len(data), 0, (Step("zstd", 1, {}, 4),), None, (), b"junk"))
        packs.flush()
    swap(repository, lambda view: add_entries(repository, view, packs.entries))
    gc(open_repository(tmp_path), Request(now(), None, repack=repack))
    with open_repository(tmp_path).reading() as view:
        assert {piece: view.objects.get(piece) for piece in plain} == plain
