"""Storing anew: the newest versions stand alone, older ones lean on them, and nothing is lost by it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.cli.main import main
from mvc.collection import repacking, rewriting
from mvc.errors import StorageError
from mvc.history.reader import read_manifest
from mvc.objectid import BlobId, CommitId
from mvc.odb.record import Base, Recipe, Record
from mvc.ops import branch, tag
from mvc.ops.gc import Request, gc
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.upkeep.lines import lines
from mvc.upkeep.standing import ANCHOR_EVERY, Target, fits, other_bases, tensor_base, text_base
from mvc.workspace import files_of
from tests.engine import (
    ME,
    assert_sound,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    weights_versions,
)
from tests.faults import FaultIO
from tests.test_gc import contents, many_versions, stored

REPACK = Request(now(), None, repack=True)


def store_bytes(folder: Path) -> int:
    return sum((folder / ".mvc" / name).stat().st_size for name in stored(folder))


def pieces_of(view, commit: CommitId) -> list[BlobId]:
    return [
        part.blob
        for entry in files_of(view, commit).values()
        for part in read_manifest(view.objects, entry.id).parts
        if part.blob is not None
    ]


def depths(repository: Repository, revision: CommitId) -> set[int]:
    with repository.reading() as view:
        return {view.objects.record(piece).depth for piece in pieces_of(view, revision)}


def trained(folder: Path, count: int, elements: int = 30_000) -> tuple[Repository, list[CommitId]]:
    repository = make_repository(folder)
    commits = []
    for content in weights_versions(count, elements):
        (folder / "model.safetensors").write_bytes(content)
        commits.append(snapshot(repository).id)
    return repository, commits


# --- the rules ---------------------------------------------------------------------------------------------
@given(st.integers(1, 300))
def test_bases_are_planned_before_what_leans_on_them_and_never_too_deep(count):
    tensor: dict[int, int] = {}
    for rank in [*range(0, count, ANCHOR_EVERY), *(r for r in range(count) if r % ANCHOR_EVERY)]:
        tensor[rank] = tensor[tensor_base(rank, count)] + 1 if rank else 0
        assert abs(rank - tensor_base(rank, count)) <= ANCHOR_EVERY or rank % ANCHOR_EVERY == 0
        assert all(other in tensor and other != rank for other in other_bases(rank, count))
    text = [0]
    for rank in range(1, count):
        text.append(text[text_base(rank)] + 1)
    assert max(tensor.values()) <= 2
    assert max(text) <= 8


def test_lines_start_with_heads_and_come_to_every_version_once(tmp_path):
    folder = tmp_path / "repo"
    repository = many_versions(folder, 3)
    branch.create(repository, "side", "HEAD~1", ME, now())
    switch_to(repository, "side")
    (folder / "new").write_text("side")
    side = snapshot(repository).id
    with repository.reading() as view:
        main_head = view.refs.get("refs/heads/main")
        found = list(lines(view.objects, [side, main_head], [main_head]))
    versions = [next(one for place, one in line.items() if place.kind == CommitId.kind) for line in found]
    assert versions[0] == [side] and versions[1] == [main_head]
    assert Counter(commit for line in versions[2:] for commit in line).keys() >= {side, main_head}
    assert sum(map(len, versions[2:])) == 4, "each version once: a head's line does not repeat another's"


# --- what it does ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("effort", ["repack", "best"])
def test_the_newest_version_stands_alone_and_older_ones_lean_on_it(tmp_path, effort):
    folder = tmp_path / "repo"
    repository, commits = trained(folder, 12)
    assert depths(repository, commits[-1]) != {0}
    before, size = contents(folder), store_bytes(folder)
    done = gc(repository, Request(now(), None, **{effort: True}))
    assert contents(folder) == before
    assert_sound(folder)
    assert depths(repository, commits[-1]) == {0}
    assert max(max(depths(repository, commit)) for commit in commits) == 2
    assert done.after.bytes == pytest.approx(store_bytes(folder), rel=0.05)
    # it was one chain of small steps, and is quick to read now
    assert store_bytes(folder) < 1.06 * size
    with repository.reading() as view:
        entries = list(view.index.entries())
    assert len(entries) == len({entry.id for entry in entries}), "one record of each object"


def test_doing_it_again_changes_nothing(tmp_path):
    folder = tmp_path / "repo"
    repository, _commits = trained(folder, 6)
    gc(repository, REPACK)
    files, root = stored(folder), (folder / ".mvc" / "root").read_bytes()
    gc(repository, REPACK)
    assert (stored(folder), (folder / ".mvc" / "root").read_bytes()) == (files, root)


def test_commits_go_on_and_the_new_head_stands_alone_next_time(tmp_path):
    folder = tmp_path / "repo"
    repository, commits = trained(folder, 4)
    gc(repository, REPACK)
    for content in weights_versions(7, 30_000)[4:]:
        (folder / "model.safetensors").write_bytes(content)
        commits.append(snapshot(repository).id)
    before = contents(folder)
    gc(repository, REPACK)
    assert contents(folder) == before
    assert depths(repository, commits[-1]) == {0}
    assert max(depths(repository, commits[0])) > 0
    assert_sound(folder)


def test_branches_and_a_detached_head_stand_alone_and_tags_where_it_is_asked_for(tmp_path):
    folder = tmp_path / "repo"
    repository, commits = trained(folder, 6)
    tag.create(repository, "old", commits[1].hex(), ME, now())
    branch.create(repository, "side", commits[2].hex(), ME, now())
    switch_to(repository, commits[3].hex())
    gc(repository, REPACK)
    assert [depths(repository, commit) == {0} for commit in commits] == [
        False, False, True, True, False, True,
    ]  # fmt: skip
    gc(repository, Request(now(), None, repack=True, all_refs=True))
    assert depths(repository, commits[1]) == {0}
    assert_sound(folder)


def test_what_only_the_log_names_is_not_forgotten(tmp_path):
    """Undone versions lean on versions that are stored anew."""
    folder = tmp_path / "repo"
    repository, commits = trained(folder, 5)
    versions = contents(folder)
    undo(repository, ME, now())
    undo(repository, ME, now())
    gc(repository, REPACK)
    assert_sound(folder)
    assert depths(repository, commits[2]) == {0}
    switch_to(repository, commits[4].hex(), force=True)
    assert contents(folder) == versions


def test_an_exact_recipe_stays_where_its_bases_stand_alone(tmp_path):
    repository = make_repository(tmp_path / "repo")
    base, cast = BlobId.of(b"base"), BlobId.of(b"cast")
    record = Record(cast, 4, 1, (), Recipe("concat", 1, {}), (Base(base, 0, 4),), b"cast")
    with repository.reading() as view:
        for depth, stays in ((0, True), (1, False)):
            targets = {cast: Target(0, (), None, 0), base: Target(depth, (), None, 0)}
            assert fits(record, targets, view.objects) is stays
        assert not fits(replace(record, recipe=None), targets, view.objects), "a head stands alone"


# --- others at work, and little room -----------------------------------------------------------------------
def test_a_commit_made_while_objects_are_stored_anew_keeps_its_bases(tmp_path, monkeypatch):
    folder = tmp_path / "repo"
    repository, _commits = trained(folder, 5)
    contents_then = weights_versions(8, 30_000)
    real, made = repacking.chosen, []

    def chosen(*arguments):
        found = real(*arguments)
        if len(made) < 3:
            (folder / "model.safetensors").write_bytes(contents_then[5 + len(made)])
            made.append(snapshot(open_repository(folder)).id)
        return found

    monkeypatch.setattr(repacking, "chosen", chosen)
    gc(repository, REPACK)
    assert len(made) == 3
    assert_sound(folder)
    assert [version["model.safetensors"] for version in contents(folder).values()] == contents_then[::-1]


def test_a_reader_of_an_old_state_reads_on(tmp_path):
    folder = tmp_path / "repo"
    repository, commits = trained(folder, 5)
    with open_repository(folder).reading() as old:
        gc(repository, REPACK)
        for commit in commits:
            assert all(len(old.objects.get(piece)) > 0 for piece in pieces_of(old, commit))
    assert_sound(folder)


def test_old_packs_go_as_new_ones_come(tmp_path, monkeypatch):
    """Never twice the store on the disk: an eighth more, a round of packs that are copied, those being
    written behind the encoder (two of a twentieth here), and the growth of the newest version."""
    folder = tmp_path / "repo"
    repository, _commits = trained(folder, 12, 200_000)
    before = store_bytes(folder)
    monkeypatch.setattr(rewriting, "ROUND_BYTES", before // 10)
    monkeypatch.setattr("mvc.odb.pack.TARGET_PACK", before // 20)
    monkeypatch.setattr("mvc.upkeep.usage.SMALL_PACK", 1)
    peak = [0]
    real = repacking.PackWriter.flush

    def flush(writer) -> None:
        real(writer)
        peak[0] = max(peak[0], store_bytes(folder))

    monkeypatch.setattr(repacking.PackWriter, "flush", flush)
    gc(repository, REPACK)
    assert before < peak[0] < 1.75 * before, peak[0] / before
    assert_sound(folder)


def test_a_full_disk_leaves_everything_as_it_was(tmp_path):
    folder = tmp_path / "repo"
    trained(folder, 6)[0].temporary.close()
    before = contents(folder)
    for step in (1, 20, 40, 60, 80):
        io = FaultIO(fail_at=step, error=28, for_ever=True, counted=("write", "create"))
        with pytest.raises(StorageError) as failure:
            gc(open_repository(folder, io), REPACK)
        assert "space" in failure.value.hint
        assert contents(folder) == before
        assert_sound(folder)
    gc(open_repository(folder), REPACK)
    assert contents(folder) == before


def test_the_command(tmp_path, capsys):
    folder = tmp_path / "repo"
    repository, commits = trained(folder, 4)
    repository.temporary.close()
    (folder / ".mvc" / "config").write_text('[gc]\nstandalone = "heads"\n')
    assert main(["-C", str(folder), "gc", "--best"]) == 0
    assert "stored" in capsys.readouterr().out
    assert depths(repository, commits[-1]) == {0}
    (folder / ".mvc" / "config").write_text('[gc]\nstandalone = "some"\n')
    assert main(["-C", str(folder), "gc", "--repack"]) == 3
    assert "gc.standalone" in capsys.readouterr().err
