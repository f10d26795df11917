"""Whatever happens to a file of the store: the check sees it or it does no harm, and no read gives other
bytes. Some cases of each kind; ``make bitrot`` tries them all."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mvc.cli.main import main
from mvc.objectid import CommitId
from mvc.odb.pack import HEAD_BYTES, scan_pack
from mvc.odb.record import Record
from mvc.odb.segment import Segment
from mvc.ops.status import status
from tests.rot import (
    DERIVED,
    LOCAL,
    WAYS,
    Scene,
    changed,
    derived,
    judge,
    lay,
    lay_out_all,
    opened,
    put_back,
    try_case,
)

SOME = 30  # cases of each way


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    return Scene(tmp_path_factory.mktemp("rot") / "repo")


def test_the_repository_has_all_that_may_rot(scene):
    """Or the tests below would prove little."""
    kinds = Counter(path.split("/")[0] for path in scene.store)
    assert kinds["packs"] >= 3 and kinds["segments"] >= 2 and kinds["pieces"] >= 2
    assert {"root", "format", "index", "locators"} <= kinds.keys()
    records = [
        record
        for path, data in scene.store.items()
        if path.startswith("packs/")
        for _offset, _length, record in scan_pack(bytes.fromhex(Path(path).stem), data)
        if isinstance(record, Record)
    ]
    assert {record.id.word for record in records} >= {"blob", "manifest", "tree", "commit", "tag"}
    assert any(record.depth > 1 for record in records)
    assert any(record.recipe is not None for record in records)
    assert sum(len(data) for data in scene.store.values()) < 30_000
    assert judge(scene, "sound") == (False, 0)


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_seen_and_never_read(scene, way):
    rng = random.Random(11)
    cases = list(WAYS[way](scene.kept, rng))
    counts = Counter(
        try_case(scene, name, case).detected for name, case in rng.sample(cases, min(SOME, len(cases)))
    )
    assert counts[True] > 10
    assert judge(scene, "put back") == (False, 0)


def test_the_head_of_a_pack(scene):
    """No record lies there, so only the pack's own hash tells."""
    for path, data in scene.store.items():
        if path.startswith("packs/"):
            for at in range(0, HEAD_BYTES, 5):
                case = {path: changed(data, at, bytes([data[at] ^ 1]))}
                assert try_case(scene, f"{path} at {at}", case).detected


def test_ids_of_the_index(scene):
    """Ids that damage hides, or puts in disorder: what they name is damaged then, and not unheard of."""
    for path, data in scene.store.items():
        if path.startswith("segments/"):
            segment = Segment.open(bytes.fromhex(Path(path).stem), data)
            for row, entry in enumerate(segment):
                at = segment.ids_at + 32 * row
                wrong = []
                if row % 4 == 0 or entry.kind == CommitId.kind:
                    wrong.append(changed(data, at + 31, bytes([entry.id[31] ^ 1])))
                if row % 4 == 2:
                    wrong.append(changed(data, at, bytes([row]) * 32))
                for bad in wrong:
                    verdict = try_case(scene, f"{path} id {row}", {path: bad})
                    assert verdict.detected and verdict.refused


@pytest.mark.parametrize("way", WAYS)
def test_what_is_derived_may_rot_unseen(scene, way):
    """Wrong locators, stat caches, digests and sketches change nothing that is told."""
    store = {path: data for path, data in scene.store.items() if derived(path)}
    rng = random.Random(12)
    cases = list(WAYS[way](store, rng))
    for name, case in rng.sample(cases, min(SOME // 3, len(cases))):
        lay(scene.folder, case)
        try:
            assert judge(scene, name) == (False, 0), name
            assert status(opened(scene.folder)).clean, name
        finally:
            put_back(scene, case)


def test_older_files_in_the_place_of_newer_ones(scene):
    """An older root is the older state, or damage where what it names has gone; never something between."""
    seen = []
    for data, told in scene.earlier.items():
        if data == scene.store["root"]:
            continue
        lay(scene.folder, {"root": data})
        try:
            seen.append(judge(scene, "an older root", expected=told).detected)
        finally:
            put_back(scene, {"root": None})
    assert seen.count(True) >= 3, "what a collection deleted is not missed"
    tried = 0
    for path, versions in scene.older.items():
        assert path.split("/")[0] in DERIVED
        for data in versions:
            lay(scene.folder, {path: data})
            try:
                assert judge(scene, f"an older {path}") == (False, 0)
                assert status(opened(scene.folder)).clean
                tried += 1
            finally:
                put_back(scene, {path: None})
    assert tried > 5


def test_files_of_the_store_laid_out_in_a_folder(scene, tmp_path):
    """The way of checkouts: in parallel, decoded in place."""
    rng = random.Random(13)
    cases = [case for way in WAYS.values() for case in rng.sample(list(way(scene.kept, rng)), 8)]
    for name, case in cases:
        if case.keys() & {"root", "format"}:
            continue  # nothing can be asked at all
        lay(scene.folder, case)
        try:
            lay_out_all(scene, tmp_path / "out", name)
        finally:
            put_back(scene, case)


def test_a_folder_in_a_files_place_and_a_file_in_a_folders(scene):
    for path in scene.kept:
        place = scene.folder / ".mvc" / path
        place.unlink()
        place.mkdir()
        try:
            assert path == "format" or judge(scene, f"{path} is a folder").detected
        finally:
            place.rmdir()
            put_back(scene, {path: None})
    for name in ("packs", "segments", "pieces"):
        folder, aside = scene.folder / ".mvc" / name, scene.folder / ".mvc" / "aside"
        folder.rename(aside)
        folder.write_bytes(b"")
        try:
            with pytest.raises(Exception, match="is not a folder") as caught:
                opened(scene.folder)
            assert caught.value.exit_code == 5
        finally:
            folder.unlink()
            aside.rename(folder)
    assert judge(scene, "put back") == (False, 0)


def test_what_is_local_may_go(scene, tmp_path):
    """Locks, temporary files, announcements and derived files are made again."""
    folder = tmp_path / "copy"
    shutil.copytree(scene.folder, folder)
    for name in (*LOCAL, *DERIVED):
        place = folder / ".mvc" / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    assert status(opened(folder)).clean
    again = Scene.__new__(Scene)
    again.folder, again.seen = folder, scene.seen
    assert judge(again, "without local files") == (False, 0)


@pytest.mark.parametrize("kind", ["root", "packs", "segments", "pieces"])
def test_the_command_says_so_with_exit_code_5(scene, kind, monkeypatch, capsys):
    path = next(path for path in scene.kept if path.startswith(kind))
    monkeypatch.chdir(scene.folder)
    for case in ({path: None}, {path: scene.store[path][:-40]}, {path: b""}):
        lay(scene.folder, case)
        try:
            assert main(["fsck", "--full"]) == 5
            said = capsys.readouterr()
            assert "Traceback" not in said.err and (said.out + said.err).strip()
        finally:
            put_back(scene, case)
    assert main(["fsck", "--full"]) == 0


def test_a_version_whose_kind_the_index_has_wrong_is_damaged_and_not_something_else(scene):
    """Only the record knows of what kind it is."""
    tried = 0
    for path, data in scene.store.items():
        if not path.startswith("segments/"):
            continue
        segment = Segment.open(bytes.fromhex(Path(path).stem), data)
        for row in range(segment.count):
            at = segment.rows_at + 14 * row + 13
            for kind in (1, 2, 4) if data[at] == CommitId.kind else ():
                case = {path: data[:at] + bytes([kind]) + data[at + 1 :]}
                assert try_case(scene, f"{path}: row {row} is of kind {kind}", case).detected
                tried += 1
    assert tried >= 9
