"""Repair and names: versions whose way is broken stay and get branches, and what a copy says of refs that the
store has lost is heard."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mvc.objectid import CommitId
from mvc.ops import branch, tag
from mvc.ops.cat import cat
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as GcRequest
from mvc.ops.gc import gc
from mvc.ops.undo import undo
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    weights_versions,
)
from tests.test_repair import flip, mend, packs

MODEL = "model.safetensors"


@pytest.fixture
def original(tmp_path) -> Path:
    """Five versions that lean on each other; the log no longer leads to them, so that parents alone do."""
    folder = tmp_path / "original"
    folder.mkdir()
    repository = make_repository(folder)
    for number, data in enumerate(weights_versions(5)):
        (folder / MODEL).write_bytes(data)
        snapshot(repository, f"version {number}")
    gc(repository, GcRequest(now(), 0, trash_days=0))
    repository.temporary.close()
    return folder


@pytest.fixture
def broken(original, tmp_path) -> Path:
    folder = tmp_path / "broken"
    folder.mkdir()
    shutil.copytree(original / ".mvc", folder / ".mvc")
    return folder


def contents(folder: Path, versions: list[CommitId]) -> list[bytes]:
    with open_repository(folder).reading() as view:
        return [b"".join(cat(view, f"{one.hex()}:{MODEL}")) for one in versions]


def refs(folder: Path) -> dict[str, bytes]:
    with open_repository(folder).reading() as view:
        return dict(view.refs.values())


def lose(folder: Path, *lost: CommitId) -> None:
    """Damage every record of some versions."""
    with open_repository(folder).reading() as view:
        entries = [entry for one in lost for entry in view.index.find(one)]
    assert entries
    paths = {path.stem: path for path in packs(folder)}
    for entry in entries:
        flip(paths[entry.pack.hex()], entry.offset + entry.length - 3)


# --- behind what is lost -----------------------------------------------------------------------------------
def test_versions_behind_a_lost_one_get_a_branch(broken, original):
    versions = history(open_repository(original))
    lose(broken, versions[2])
    foreseen = mend(broken, dry_run=True)
    assert foreseen.recovered == {"refs/heads/recovered/1": versions[3].hex()}
    assert "refs/heads/recovered/1" not in refs(broken)
    done = mend(broken)
    assert done.recovered == foreseen.recovered
    assert [item.id for item in done.lost] == [versions[2].hex()]
    kept = [*versions[:2], *versions[3:]]
    assert contents(broken, kept) == contents(original, kept)
    again = mend(broken)
    assert not again.did_something and not again.sound


def test_several_gaps_make_several_branches(broken, original):
    versions = history(open_repository(original))
    lose(broken, versions[1], versions[3])
    done = mend(broken)
    assert done.recovered == {
        "refs/heads/recovered/1": versions[2].hex(),
        "refs/heads/recovered/2": versions[4].hex(),
    }
    assert contents(broken, versions[::2]) == contents(original, versions[::2])


def test_the_way_comes_back_from_a_copy_and_no_branch_is_made(broken, original):
    versions = history(open_repository(original))
    lose(broken, versions[2])
    done = mend(broken, original)
    assert done.sound and not done.recovered
    assert history(open_repository(broken)) == versions


def test_a_lost_index_hides_no_version_behind_a_gap(broken, original):
    versions = history(open_repository(original))
    lose(broken, versions[2])
    shutil.rmtree(broken / ".mvc/segments")
    done = mend(broken)
    assert done.recovered == {"refs/heads/recovered/1": versions[3].hex()}
    assert contents(broken, versions[3:]) == contents(original, versions[3:])


def test_what_a_collection_threw_away_is_not_recovered(tmp_path):
    """Neither by the index, which does not name it, nor out of the trash where the index is lost."""
    folder = tmp_path / "repo"
    folder.mkdir()
    repository = make_repository(folder)
    data = weights_versions(4)
    for number in range(3):
        (folder / MODEL).write_bytes(data[number])
        snapshot(repository, f"version {number}")
    (folder / MODEL).write_bytes(data[3])
    snapshot(repository, "wrong")
    undo(repository, ME, now())
    gc(repository, GcRequest(now(), 0))
    versions = history(repository)
    (folder / MODEL).unlink()
    for index_too in (False, True):
        lose(folder, versions[1]) if not index_too else shutil.rmtree(folder / ".mvc/segments")
        mend(folder)
        names = {name for name in refs(folder) if "recovered" in name}
        assert names == {"refs/heads/recovered/1"}
    assert refs(folder)["refs/heads/recovered/1"][1:33] == versions[2]


def test_undone_versions_are_not_recovered_for_a_lost_piece(broken):
    """Nothing leads to them any more, and no way is broken: they are what a collection may take."""
    repository = open_repository(broken)
    (broken / "more").write_bytes(b"more" * 5000)
    gone = snapshot(repository, "wrong").id
    undo(repository, ME, now())
    with repository.reading() as view:
        root = view.root.with_changes(oplog=type(view.root.oplog)())
        repository.roots.swap(view.raw, root)
        blob = max((one for one in view.index.entries() if one.kind == 0), key=lambda one: one.length)
    for path in packs(broken):
        if path.stem == blob.pack.hex():
            flip(path, blob.offset + blob.length - 3)
    (broken / "more").unlink(missing_ok=True)
    done = mend(broken)
    assert not done.sound and not done.recovered
    with open_repository(broken).reading() as view:
        assert view.commit(gone)


# --- what a copy says of refs ------------------------------------------------------------------------------
@pytest.fixture
def ahead(original, tmp_path) -> Path:
    """A copy whose branch went on."""
    folder = tmp_path / "copy"
    shutil.copytree(original, folder)
    for text in ("one more", "and another"):
        (folder / "more").write_text(text)
        snapshot(open_repository(folder), text)
    return folder


def spoil(folder: Path) -> None:
    (folder / ".mvc/root").write_bytes(b"\0" * 300)


def test_a_branch_that_is_ahead_in_a_copy_is_taken(broken, ahead):
    spoil(broken)
    foreseen = mend(broken, ahead, dry_run=True)
    done = mend(broken, ahead)
    assert done.sound and not done.recovered
    assert any("main was ahead" in line for line in done.told) and done.told == foreseen.told
    assert history(open_repository(broken)) == history(open_repository(ahead))
    assert_sound(broken)
    assert not mend(broken, ahead).did_something


def test_a_branch_that_was_taken_can_be_given_back(broken, ahead):
    before = history(open_repository(broken))
    branch.create(open_repository(broken), "mark", "HEAD", ME, now())
    spoil(broken)
    mend(broken, ahead)
    assert len(history(open_repository(broken))) == len(before) + 2
    undo(open_repository(broken), ME, now(), force=True)
    assert history(open_repository(broken)) == before


def test_a_branch_of_a_copy_that_went_another_way_gets_its_own_name(broken, ahead):
    (broken / "other").write_text("other")
    ours = snapshot(open_repository(broken), "ours").id
    # one more change, so that the state before knows of it
    branch.create(open_repository(broken), "mark", "HEAD", ME, now())
    spoil(broken)
    done = mend(broken, ahead)
    theirs = history(open_repository(ahead))[0]
    assert done.sound and done.recovered == {"refs/heads/recovered/1": theirs.hex()}
    assert history(open_repository(broken))[0] == ours
    switch_to(open_repository(broken), "recovered/1", force=True)
    assert (broken / "more").read_text() == "and another"


def test_a_name_that_only_a_copy_has_is_told(broken, original):
    tag.create(open_repository(original), "v1", "HEAD", ME, now())
    spoil(broken)
    done = mend(broken, original)
    assert done.sound and "refs/tags/v1" not in refs(broken)
    assert any("v1" in line and "not taken" in line for line in done.told)


def test_an_undone_version_does_not_come_back_as_a_branch_s(broken, tmp_path):
    """The log says that it was left on purpose, whatever an older copy has."""
    (broken / "more").write_text("more")
    snapshot(open_repository(broken), "wrong")
    copy = tmp_path / "older"
    shutil.copytree(broken, copy)
    undo(open_repository(broken), ME, now())
    branch.create(open_repository(broken), "mark", "HEAD", ME, now())
    head = history(open_repository(broken))[0]
    spoil(broken)
    done = mend(broken, copy)
    assert done.sound and not done.recovered
    assert history(open_repository(broken))[0] == head


def test_refs_of_a_stranger_are_passed_over(broken, tmp_path):
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "file").write_text("another project")
    snapshot(make_repository(folder), "theirs")
    before = refs(broken)
    spoil(broken)
    done = mend(broken, folder)
    assert done.sound
    assert {name: value for name, value in refs(broken).items() if "recovered" not in name} == before


def test_refs_of_a_remote_are_not_ours(broken, ahead):
    """It is shared with others, who may be ahead of us; its objects are welcome all the same."""
    repository = open_repository(broken)
    repository.write_config(repository.config().with_value("remote.origin.url", str(ahead)))
    head = history(repository)[0]
    spoil(broken)
    assert mend(broken).sound
    assert history(open_repository(broken))[0] == head


def test_without_any_root_a_copy_s_newer_versions_come_too(broken, ahead):
    spoil(broken)
    (broken / ".mvc/root.previous").unlink()
    done = mend(broken, ahead)
    assert done.sound
    assert history(open_repository(broken)) == history(open_repository(ahead))
    assert not fsck(open_repository(broken), full=True).damage


# --- an index that is damaged -------------------------------------------------------------------------------
def test_a_damaged_segment_is_replaced_by_one_of_another_name(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "file").write_text("one")
    version = snapshot(make_repository(folder), "one").id
    (segment,) = (folder / ".mvc/segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-5])
    assert mend(folder).sound
    (other,) = (folder / ".mvc/segments").iterdir()
    assert other.name != segment.name  # each segment has a nonce
    assert history(open_repository(folder)) == [version]
    assert_sound(folder)


# --- what the index no longer claims -----------------------------------------------------------------------
def test_a_commit_after_a_repair_brings_back_what_was_lost(broken, original):
    """The repaired index does not say that it is there, so the commit stores it, and older versions have it
    again."""
    versions = history(open_repository(original))
    expected = contents(original, versions)
    with open_repository(broken).reading() as view:
        blob = max((one for one in view.index.entries() if one.kind == 0), key=lambda one: one.length)
    (path,) = (path for path in packs(broken) if path.stem == blob.pack.hex())
    flip(path, blob.offset + blob.length - 3)
    assert mend(broken).lost
    for data in reversed(expected):
        (broken / MODEL).write_bytes(data)
        snapshot(open_repository(broken), "again")
    assert contents(broken, versions) == expected
    assert_sound(broken)
