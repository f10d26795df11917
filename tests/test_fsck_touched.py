"""What damage touches: each damaged object is named with its versions, files and tensors, and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mvc.cli.main import main
from mvc.collection.swapping import swap
from mvc.errors import MvcError
from mvc.history.treediff import flatten
from mvc.objectid import BlobId, CommitId, ObjectId, TagId
from mvc.objects import Manifest, Tree
from mvc.odb.header import read_header
from mvc.odb.pack import PackWriter, pack_key
from mvc.odb.record import PREFIX, Record
from mvc.odb.segment import Entry
from mvc.ops.branch import create as create_branch
from mvc.ops.fsck import fsck
from mvc.ops.tag import create as create_tag
from mvc.repo import Repository
from mvc.transaction import add_entries
from mvc.upkeep.damaged import DamagedObject
from mvc.upkeep.sample import Sample, Wish
from mvc.view import segment_key
from tests.engine import ME, make_repository, now, open_repository, snapshot, switch_to
from tests.make_files import finetuned, random_weights, safetensors_bytes


class Made(NamedTuple):
    """Versions ``one``, ``two``, ``three`` on main, ``side`` from one, and an annotated tag ``v2`` at two."""

    folder: Path
    one: CommitId
    two: CommitId
    side: CommitId
    three: CommitId
    tag: TagId

    @property
    def repository(self) -> Repository:
        return open_repository(self.folder)

    def entries(self, identity: ObjectId) -> list[Entry]:
        with self.repository.reading() as view:
            return view.objects.entries(identity)

    def at(self, commit: CommitId, path: str = "") -> ObjectId:
        """The tree or manifest of a path."""
        with self.repository.reading() as view:
            found: ObjectId = view.commit(commit).tree
            for name in path.split("/") if path else ():
                entries = Tree.from_bytes(view.objects.get(found)).entries
                (found,) = (entry.id for entry in entries if entry.name == name)
        return found

    def blobs(self, commit: CommitId, path: str) -> list[tuple[int, int, BlobId]]:
        identity = self.at(commit, path)
        with self.repository.reading() as view:
            manifest = Manifest.from_bytes(view.objects.get(identity))
        placed = manifest.placed_parts()
        return [(offset, part.length, part.blob) for offset, part in placed if part.blob is not None]

    def unreadable(self) -> set[tuple[str, str]]:
        """Versions with the files that cannot be read there, found the slow way."""
        repository = self.repository
        found = set()
        with repository.reading() as view:
            for commit in (self.one, self.two, self.side, self.three):
                for path, entry in flatten(view.objects, view.commit(commit).tree).items():
                    try:
                        for part in Manifest.from_bytes(view.objects.get(entry.id)).parts:
                            if part.blob is not None:
                                view.objects.get(part.blob)
                    except MvcError:
                        found.add((commit.hex(), path))
        return found


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    tmp_path = tmp_path_factory.mktemp("original")
    repository = make_repository(tmp_path)
    rng = np.random.default_rng(5)
    weights = random_weights(rng, {"a.weight": (400, 100), "b.bias": (7,), "c": (90_000,)}, "BF16")

    def put(message: str, step: float) -> CommitId:
        nonlocal weights
        weights = finetuned(weights, rng, step)
        (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(weights))
        return snapshot(repository, message).id

    (tmp_path / "kept.txt").write_text("kept\n" * 2000)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.txt").write_text("rows\n" * 3000)
    one = put("one", 0)
    create_branch(repository, "side", "HEAD", ME, now())
    two = put("two", 0.001)
    create_tag(repository, "v2", "HEAD", ME, now(), message="the second")
    three = put("three", 0.001)
    switch_to(repository, "side")
    (tmp_path / "side.bin").write_bytes(rng.bytes(50_000))
    side = snapshot(repository, "side").id
    switch_to(repository, "main")
    with repository.reading() as view:
        tag = view.refs.get("refs/tags/v2")
    assert isinstance(tag, TagId)
    return Made(tmp_path, one, two, side, three, tag)


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    """A copy to be damaged."""
    shutil.copytree(original.folder, tmp_path / "copy")
    return original._replace(folder=tmp_path / "copy")


# --- ways of damage ---------------------------------------------------------------------------------------
def change(made: Made, entry: Entry, at: int) -> None:
    """Flip a bit of a pack."""
    path = made.folder / ".mvc" / pack_key(entry.pack)
    data = bytearray(path.read_bytes())
    data[entry.offset + at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def payload(made: Made, entry: Entry) -> None:
    change(made, entry, entry.length - 1)


def header(made: Made, entry: Entry) -> None:
    change(made, entry, PREFIX.size + 5)


def mark(made: Made, entry: Entry) -> None:
    change(made, entry, 0)


WAYS = {"payload": payload, "header": header, "mark": mark}


class Case(NamedTuple):
    """Which object is damaged, and what must be told: versions, refs, paths; ``quick`` tells that a check
    without --full finds it."""

    object: Callable[[Made], ObjectId]
    versions: Callable[[Made], list[CommitId]]
    refs: tuple[str, ...]
    paths: tuple[str, ...]
    quick: bool


ALL = ("main", "side", "v2")

CASES = {
    "a piece of a file in all versions": Case(
        lambda made: made.blobs(made.one, "kept.txt")[0][2],
        lambda made: [made.side, made.three, made.two, made.one],
        ALL,
        ("kept.txt",),
        False,
    ),
    "a piece of a file on one branch": Case(
        lambda made: made.blobs(made.side, "side.bin")[0][2],
        lambda made: [made.side],
        ("side",),
        ("side.bin",),
        False,
    ),
    "a manifest in a folder": Case(
        lambda made: made.at(made.one, "data/rows.txt"),
        lambda made: [made.side, made.three, made.two, made.one],
        ALL,
        ("data/rows.txt",),
        True,
    ),
    "a folder": Case(
        lambda made: made.at(made.one, "data"),
        lambda made: [made.side, made.three, made.two, made.one],
        ALL,
        ("data/",),
        True,
    ),
    "a version's top folder": Case(
        lambda made: made.at(made.side), lambda made: [made.side], ("side",), ("/",), True
    ),
    "a version": Case(lambda made: made.three, lambda made: [made.three], ("main",), (), True),
    "a version that others come from": Case(
        lambda made: made.two, lambda made: [made.two], ("main", "v2"), (), True
    ),
    "a tag": Case(lambda made: made.tag, lambda made: [], ("v2",), (), True),
}


def told(made: Made, report_of: list[DamagedObject], identity: ObjectId) -> DamagedObject:
    return next(item for item in report_of if item.id == identity.hex())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_by_what_it_touches(made: Made, name: str, way: str) -> None:
    case = CASES[name]
    identity = case.object(made)
    expected = [commit.hex() for commit in case.versions(made)]
    (entry,) = made.entries(identity)
    WAYS[way](made, entry)
    for full in [False, True] if case.quick else [True]:
        report = fsck(made.repository, full=full)
        found = told(made, report.damaged, identity)
        assert (found.kind, found.readable) == (identity.word, False)
        touched = found.touched
        assert found.dependants == 0
        assert sorted(touched.versions.ids) == sorted(expected)
        assert touched.refs == case.refs
        assert tuple(file.path for file in touched.files) == case.paths
    if not case.quick:
        assert fsck(made.repository).damage == []


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("cut", [None, 0.0, 0.3])
def test_a_pack_that_is_gone_or_cut_short(made: Made, full: bool, cut: float | None) -> None:
    (first, *_rest) = made.entries(made.blobs(made.one, "model.safetensors")[0][2])
    path = made.folder / ".mvc" / pack_key(first.pack)
    inside = set()
    with made.repository.reading() as view:
        length = 0 if cut is None else int(cut * path.stat().st_size)
        for entry in view.index.entries():
            if entry.pack == first.pack and (cut is None or entry.offset + entry.length > length):
                inside.add(entry.id.hex())
    path.chmod(0o644)
    if cut is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:length])
    report = fsck(made.repository, full=full)
    assert {item.id for item in report.damaged} == inside and len(inside) > 1
    assert any(item.what == f"pack {first.pack.hex()[:12]}" for item in report.damage)


def test_a_damaged_base_tells_all_that_lean_on_it(made: Made) -> None:
    base = next(
        blob
        for _offset, _length, blob in made.blobs(made.one, "model.safetensors")
        if made.entries(blob)[0].depth == 0 and leaning(made, blob)
    )
    offset, length, _blob = next(
        item for item in made.blobs(made.one, "model.safetensors") if item[2] == base
    )
    payload(made, made.entries(base)[0])
    report = fsck(made.repository, full=True)
    (found,) = report.damaged
    assert (found.id, found.kind) == (base.hex(), "blob") and found.dependants >= 2
    files = {(identity, file.path) for file in found.touched.files for identity in file.versions.ids}
    assert files == made.unreadable()
    assert {identity for identity, _path in files} == {
        commit.hex() for commit in (made.one, made.two, made.side, made.three)
    }
    assert found.touched.refs == ALL
    (file,) = found.touched.files
    assert file.path == "model.safetensors"
    # versions have one layout, so the pieces that lean on each other lie at one place
    assert (offset, offset + length) in file.bytes
    for tensor in file.tensors:
        for start, end in tensor.bytes:
            assert 0 <= start < end


def leaning(made: Made, base: BlobId) -> bool:
    with made.repository.reading() as view:
        return any(
            any(item.id == base for item in read_header(view.backend, entry).bases)
            for entry in view.index.entries()
            if entry.depth
        )


def test_tensors_are_told_with_their_bytes(made: Made) -> None:
    identity = made.at(made.three, "model.safetensors")
    with made.repository.reading() as view:
        manifest = Manifest.from_bytes(view.objects.get(identity))
    for offset, length, blob in made.blobs(made.three, "model.safetensors"):
        if leaning(made, blob) or any(item[2] == blob for item in made.blobs(made.one, "model.safetensors")):
            continue
        payload(made, made.entries(blob)[0])
        found = told(made, fsck(made.repository, full=True).damaged, blob)
        (file,) = found.touched.files
        assert (file.path, file.bytes, file.versions.ids) == (
            "model.safetensors",
            ((offset, offset + length),),
            (made.three.hex(),),
        )
        assert {tensor.name: tensor.bytes for tensor in file.tensors} == {
            span.name: (
                (
                    max(offset, span.offset) - span.offset,
                    min(offset + length, span.offset + span.length) - span.offset,
                ),
            )
            for span in manifest.tensors
            if span.offset < offset + length and offset < span.offset + span.length
        }
        return
    pytest.fail("no piece of the last version stands for itself")


def test_a_lost_segment_tells_what_cannot_be_found(made: Made) -> None:
    with made.repository.reading() as view:
        row = view.root.segments[0]
        lost = {entry.id.hex() for entry in view.index.segment(row.name)}
        others = {
            entry.id.hex() for other in view.root.segments[1:] for entry in view.index.segment(other.name)
        }
    path = made.folder / ".mvc" / segment_key(row.name)
    path.unlink()
    report = fsck(made.repository)
    assert any(item.what == "index" for item in report.damage)
    assert report.damaged and {item.id for item in report.damaged} <= lost - others


def test_what_only_an_operation_needs_names_the_operation(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    (tmp_path / "a.bin").write_bytes(np.random.default_rng(1).bytes(9000))
    one = snapshot(repository, "one").id
    (tmp_path / "a.bin").write_bytes(saved := np.random.default_rng(2).bytes(9000))
    switch_to(repository, one.hex(), force=True)
    made = Made(tmp_path, one, one, one, one, TagId(bytes(32)))
    payload(made, made.entries(BlobId.of(saved))[0])
    (found,) = fsck(made.repository, full=True).damaged
    with made.repository.reading() as view:
        operation = next(view.operations()).id.short
    assert (found.touched.versions.count, found.touched.refs) == (0, ())
    assert found.touched.operations == (operation,)
    assert [file.path for file in found.touched.files] == ["a.bin"]


def test_with_another_sound_record_nothing_is_lost(made: Made) -> None:
    base = next(
        blob for _offset, _length, blob in made.blobs(made.one, "model.safetensors") if leaning(made, blob)
    )
    repository = made.repository
    with repository.reading() as view:
        plain = view.objects.get(base)
        packs = PackWriter(view.backend)
        packs.add(Record(base, len(plain), 0, (), None, (), plain))
        packs.flush()
    swap(repository, lambda view: add_entries(repository, view, packs.entries))
    assert len(made.entries(base)) == 2
    payload(made, packs.entries[0])
    (found,) = fsck(made.repository, full=True).damaged
    assert (found.id, found.readable, found.dependants) == (base.hex(), True, 0)
    assert found.touched.versions.count == 0 and made.unreadable() == set()


# --- samples ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wish", [Wish(0.3, None, 7), Wish(1e-6, None, 7), Wish(None, 60_000, 7)])
def test_a_sample_takes_its_share_of_every_pack_and_the_same_again(made: Made, wish: Wish) -> None:
    with made.repository.reading() as view:
        everything = set(view.index.entries())
        sample = Sample(view.index, wish)
        drawn = list(sample.entries())
        assert drawn == list(Sample(view.index, wish).entries())
        assert set(drawn) <= everything
        assert {entry.pack for entry in drawn} == {entry.pack for entry in everything}
        others = [set(Sample(view.index, replace(wish, seed=seed)).entries()) for seed in range(5)]
    assert any(other != set(drawn) for other in others)
    share = sample.share
    assert (share.records, share.bytes) == (len(drawn), sum(entry.length for entry in drawn))
    assert (share.of_records, share.of_bytes) == (len(everything), sum(entry.length for entry in everything))
    if wish.bytes is not None:
        assert share.bytes >= wish.bytes
    else:
        assert share.records >= wish.share * len(everything)


def test_a_sample_of_everything_finds_what_full_finds(made: Made) -> None:
    _offset, _length, blob = made.blobs(made.side, "side.bin")[0]
    payload(made, made.entries(blob)[0])
    by_sample = fsck(made.repository, sample=Wish(1.0, None, 1))
    assert by_sample.damaged == fsck(made.repository, full=True).damaged
    assert by_sample.sample is not None
    assert by_sample.records == by_sample.sample.records == by_sample.sample.of_records


# --- the command ------------------------------------------------------------------------------------------
def test_the_command_tells_a_block_for_each_object(made: Made, monkeypatch, capsys) -> None:
    monkeypatch.chdir(made.folder)
    _offset, _length, blob = made.blobs(made.side, "side.bin")[0]
    payload(made, made.entries(blob)[0])
    assert main(["fsck", "--full"]) == 5
    said = capsys.readouterr()
    text = said.out + said.err
    for words in (
        f"blob {blob.short}: ",
        f"version {made.side.short}",
        "reached from side",
        "  side.bin  bytes 0-",
    ):
        assert words in text, text
    assert "kept.txt" not in text and "file of manifest" not in text
    assert main(["fsck", "--full", "--json"]) == 5
    data = json.loads(capsys.readouterr().out)
    (found,) = data["damaged"]
    assert (found["kind"], found["id"], found["readable"]) == ("blob", blob.hex(), False)
    assert found["touched"]["versions"]["ids"] == [made.side.hex()]
    assert found["touched"]["files"][0]["path"] == "side.bin"


def test_the_command_sums_up_what_is_behind_other_damage(made: Made, monkeypatch, capsys) -> None:
    monkeypatch.chdir(made.folder)
    blob = made.blobs(made.side, "side.bin")[0][2]
    for identity in (blob, made.at(made.side)):
        payload(made, made.entries(identity)[0])
    assert main(["fsck", "--full"]) == 5
    said = capsys.readouterr()
    assert "everything in this folder" in said.out and f"blob {blob.short}" not in said.out
    assert "1 object more, to which nothing that can be read leads" in said.out


def test_the_command_draws_again_by_its_seed(made: Made, monkeypatch, capsys) -> None:
    monkeypatch.chdir(made.folder)
    assert main(["fsck", "--sample", "20%", "--seed", "3", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["sample"]["seed"] == 3 and 0 < first["records"] < first["sample"]["of_records"]
    assert main(["fsck", "--sample", "20%", "--seed", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main(["fsck", "--sample", "100kB"]) == 0
    said = capsys.readouterr()
    assert "--seed " in said.out + said.err and " records (" in said.out + said.err


@pytest.mark.parametrize(
    "words",
    [
        ["--sample", "0%"],
        ["--sample", "101%"],
        ["--sample", "5"],
        ["--sample", "x"],
        ["--seed", "3"],
        ["--full", "--sample", "5%"],
    ],
)
def test_a_sample_that_makes_no_sense_is_refused(made: Made, monkeypatch, capsys, words: list[str]) -> None:
    monkeypatch.chdir(made.folder)
    assert main(["fsck", *words]) == 2
    assert "--sample" in capsys.readouterr().err
