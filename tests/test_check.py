"""Checks and counts: they see everything, and read no more than they must."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from mvc.cli.checkup import findings
from mvc.cli.main import main
from mvc.context import Context
from mvc.errors import CorruptFile, CorruptObject
from mvc.fileio import FileIO
from mvc.objectid import BlobId
from mvc.odb.header import read_header, read_headers
from mvc.odb.index import Index
from mvc.odb.pack import PackWriter, read_record
from mvc.odb.record import Base, Record
from mvc.odb.segment import Segment
from mvc.ops.fsck import fsck
from mvc.ops.ls import files, tensors
from mvc.ops.stats import stats
from mvc.upkeep.check import Damage, Report
from mvc.view import segment_key
from tests.engine import (
    make_repository,
    open_repository,
    snapshot,
    switch_to,
    two_versions,
    weights_versions,
)


# --- what a forced checkout saved -------------------------------------------------------------------------
def forced_checkout(folder: Path):
    """A repository whose operation log alone knows of content that a checkout overwrote."""
    repository = make_repository(folder)
    (folder / "a.bin").write_bytes(os.urandom(9000))
    one = snapshot(repository, "one").id
    (folder / "a.bin").write_bytes(os.urandom(9000))
    snapshot(repository, "two")
    (folder / "a.bin").write_bytes(saved := os.urandom(9000))
    switch_to(repository, one.hex(), force=True)
    return repository, saved


def hide(repository, monkeypatch, *hidden: bytes) -> None:
    """Let the index know nothing of these ids."""
    find, contains = Index.find, Index.__contains__
    monkeypatch.setattr(Index, "find", lambda self, id: [] if id in hidden else find(self, id))
    monkeypatch.setattr(Index, "__contains__", lambda self, id: id not in hidden and contains(self, id))


@pytest.mark.parametrize("full", [False, True])
def test_fsck_looks_at_what_a_forced_checkout_saved(tmp_path, monkeypatch, full):
    repository, saved = forced_checkout(tmp_path)
    assert fsck(repository, full=full).damage == []
    blob = BlobId.of(saved)
    with repository.reading() as view:
        assert blob in view.objects
        operation = next(view.operations())
        assert operation.worktree is not None
    hide(repository, monkeypatch, blob)
    report = fsck(open_repository(tmp_path), full=full)
    needed_by = f"operation {operation.id.short}"
    assert Damage(f"blob {blob.short}", "is missing", needed_by) in report.damage
    assert {item.needed_by for item in report.damage} == {needed_by}


def test_fsck_names_the_version_of_what_is_missing(tmp_path, monkeypatch):
    repository, _one, _two = two_versions(tmp_path)
    with repository.reading() as view:
        head = view.head_commit()
        (row,) = (row for row in files(view) if row.path == "new.bin")
    blob = next(part.blob for part in row.manifest.parts if part.blob is not None)
    hide(repository, monkeypatch, blob)
    report = fsck(open_repository(tmp_path))
    assert report.damage == [Damage(f"blob {blob.short}", "is missing", f"{head.short}:new.bin")]


def test_fsck_goes_on_behind_a_missing_or_damaged_segment(tmp_path):
    repository, _one, _two = two_versions(tmp_path)
    with repository.reading() as view:
        name = view.root.segments[0].name
    path = repository.store / segment_key(name)
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    for broken in (data[:100], bytes(100), None):
        path.unlink() if broken is None else path.write_bytes(broken)
        for full in (False, True):
            report = fsck(open_repository(tmp_path), full=full)
            assert any("segment" in item.how for item in report.damage)


def test_damage_is_noted_once_and_in_time():
    report = Report()
    for _ in range(2):
        for n in range(
            20_000
        ):  # a list of so many could not be searched each time within the test's patience
            report.add("blob", str(n), "someone")
    assert len(report.damage) == 20_000
    counts = {"commits", "files", "objects", "records", "packs", "elsewhere", "elsewhere_bytes", "shallow"}
    assert set(asdict(report)) == counts | {"damage", "damaged", "purged", "sample"}


# --- headers without stored bytes -------------------------------------------------------------------------
def test_a_header_says_what_the_record_says(tmp_path):
    repository, _one, _two = two_versions(tmp_path)
    with repository.reading() as view:
        entries = list(view.index.entries())
        assert len(entries) > 10 and any(entry.depth for entry in entries)
        for entry in entries:
            record, header = read_record(view.backend, entry), read_header(view.backend, entry)
            assert (header.id, header.plain_length, header.depth) == (
                record.id,
                record.plain_length,
                record.depth,
            )
            assert (header.codec, header.based) == (record.codec, bool(record.bases))
            assert header.stored_length == len(memoryview(record.stored))
        entry = entries[0]
        other = next(item for item in entries if item.length != entry.length)
        for wrong, error in (
            (entry._replace(length=entry.length + 1), CorruptObject),
            (entry._replace(offset=entry.offset + 1), CorruptObject),
            (entry._replace(id=bytes(32)), CorruptObject),
            (entry._replace(offset=other.offset, pack=other.pack, length=other.length), CorruptObject),
            (entry._replace(offset=1 << 30), CorruptFile),
            (entry._replace(pack=bytes(32)), CorruptFile),
        ):
            with pytest.raises(error):
                read_header(view.backend, wrong)


def test_a_long_header_is_read_in_two(tmp_path):
    repository = make_repository(tmp_path)
    bases = tuple(Base(BlobId.of(bytes([n])), 0, 1) for n in range(60))
    record = Record(BlobId.of(b"x"), 5, 3, (), None, bases, b"12345")
    writer = PackWriter(repository.backend)
    writer.add(record)
    writer.flush()
    (entry,) = writer.entries
    assert read_header(repository.backend, entry) == (record.id, 5, 5, 3, "raw", bases, None)


def test_headers_that_lie_together_are_read_together(tmp_path, monkeypatch):
    repository = make_repository(tmp_path)
    bases = tuple(Base(BlobId.of(bytes([n])), 0, 1) for n in range(60))
    sizes = [10] * 500 + [40_000] * 5 + [10] * 500  # far apart in the middle
    writer = PackWriter(repository.backend)
    for number, size in enumerate(sizes):
        leans = bases if number % 100 == 7 else ()  # a header longer than what is read at first
        identity = BlobId.of(number.to_bytes(2, "little"))
        writer.add(Record(identity, size, 1 if leans else 0, (), None, leans, bytes(size)))
    writer.flush()
    entries = writer.entries
    asked, get_range = [], repository.backend.get_range

    def counted(key, offset, length):
        asked.append(length)
        return get_range(key, offset, length)

    monkeypatch.setattr(repository.backend, "get_range", counted)
    found = list(read_headers(repository.backend, reversed(entries)))
    assert [entry for entry, _header in found] == entries
    assert [header.id for _entry, header in found] == [entry.id for entry in entries]
    assert [header.stored_length for _entry, header in found] == sizes
    assert len(asked) < 20 and sum(asked) < 300_000
    assert list(read_headers(repository.backend, [])) == []
    for wrong in (entries[3]._replace(length=9), entries[3]._replace(id=bytes(32))):
        with pytest.raises(CorruptObject):
            list(read_headers(repository.backend, [*entries[:3], wrong, *entries[4:]]))


def test_lists_and_sums_do_not_read_stored_bytes(tmp_path, monkeypatch):
    repository = make_repository(tmp_path)
    (weights,) = weights_versions(1, elements=400_000)
    (tmp_path / "model.safetensors").write_bytes(weights)
    snapshot(repository, "one")
    repository = open_repository(tmp_path)
    read, get_range = [0], repository.backend.get_range

    def counted(key, offset, length):
        read[0] += length
        return get_range(key, offset, length)

    with repository.reading() as view:
        monkeypatch.setattr(repository.backend, "get_range", counted)
        rows = list(tensors(view, "HEAD"))
        found = stats(repository, view)
    assert sum(row.stored_bytes for row in rows) > 300_000
    assert found.by_kind["blob"].stored_bytes > 300_000
    assert read[0] < 50_000


def test_stats_count_each_object_once(tmp_path):
    repository, _one, _two = two_versions(tmp_path)
    with repository.reading() as view:
        found = stats(repository, view)
        best = {}
        for entry in view.index.entries():
            known = best.get((entry.kind, entry.id))
            if known is None or entry.depth < known.depth:
                best[entry.kind, entry.id] = entry
    for shares in (found.by_kind, found.by_codec):
        assert sum(share.objects for share in shares.values()) == len(best)
        assert sum(share.stored_bytes for share in shares.values()) == sum(e.length for e in best.values())
    in_packs = sum(version.stored_bytes for version in found.versions)
    assert 0 < in_packs <= sum(entry.length for entry in best.values())


# --- ls and doctor ----------------------------------------------------------------------------------------
def test_ls_says_why_a_file_is_opaque(tmp_path, monkeypatch, capsys):
    repository = make_repository(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 7 + b"\x00" + b"x" * 100)
    (tmp_path / "plain.txt").write_text("text\n")
    snapshot(repository, "one")
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "--json"]) == 0
    broken, plain = json.loads(capsys.readouterr().out)
    assert (broken["format"], plain["format"], plain["reason"]) == ("opaque", "opaque", None)
    assert broken["reason"]
    assert main(["ls"]) == 0
    short = capsys.readouterr().out
    assert "opaque" in short and broken["reason"] not in short
    assert main(["ls", "-v"]) == 0
    assert broken["reason"] in capsys.readouterr().out


def checkup(folder: Path, io: FileIO | None = None):
    return list(findings(Context(folder, {}, False, False), io or FileIO()))


def test_doctor_announces_itself_while_it_looks(tmp_path, monkeypatch):
    repository, _one, _two = two_versions(tmp_path)
    intents, verify = [], Segment.verify

    def watched(self):
        intents.append([path.name.split("-")[0] for path in (repository.store / "intents").iterdir()])
        return verify(self)

    monkeypatch.setattr(Segment, "verify", watched)
    assert {finding.level for finding in checkup(tmp_path)} == {"ok"}
    assert intents and all(seen == ["reader"] for seen in intents)
    assert list((repository.store / "intents").iterdir()) == []


def test_what_a_killed_doctor_leaves_is_cleared_away(tmp_path, monkeypatch):
    repository = make_repository(tmp_path)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # as if killed before it tidied
    checkup(tmp_path)
    monkeypatch.undo()
    folder = repository.store / "tmp"
    assert [path for path in folder.iterdir() if path.suffix != ".lock"]
    open_repository(tmp_path).sweep()
    assert [path for path in folder.iterdir() if path.suffix != ".lock"] == []


def test_doctor_survives_a_store_that_takes_nothing(tmp_path):
    make_repository(tmp_path)

    class Full(FileIO):
        def open_lock(self, path, *, create=True):
            if create:
                raise OSError(28, "No space left on device")
            return super().open_lock(path, create=create)

        def create(self, path, *args, **kwargs):
            raise OSError(28, "No space left on device")

    found = {finding.what: finding for finding in checkup(tmp_path, Full())}
    assert found["file system"].level == "problem" and "No space" in found["file system"].says
