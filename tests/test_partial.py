"""Clones in which something was left out: read, kept, checked, collected."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvc.errors import CorruptObject, StorageError
from mvc.objectid import BlobId, CommitId, ManifestId
from mvc.ops.cat import cat
from mvc.ops.fsck import fsck
from mvc.repo import Repository
from mvc.sharing.partial import filters, read_shallow, remember
from tests.engine import history, make_repository, open_repository, snapshot, weights_versions
from tests.partial_clones import partial_clone


@pytest.fixture
def source(tmp_path: Path) -> Repository:
    """Three versions of a model and a text."""
    folder = tmp_path / "source"
    folder.mkdir()
    repository = make_repository(folder)
    for number, data in enumerate(weights_versions(3, elements=20_000)):
        (folder / "model.safetensors").write_bytes(data)
        (folder / "notes.txt").write_bytes(b"run %d\n" % number * 2000)
        snapshot(repository, f"version {number}")
    return repository


def tip_of(repository: Repository) -> CommitId:
    with repository.reading() as view:
        head = view.head_commit()
        assert head is not None
        return head


def clone(source: Repository, folder: Path, *texts: str, depth: int | None = None) -> Repository:
    folder.mkdir()
    return partial_clone(source, str(source.worktree), folder, tip_of(source), texts, depth)


def content(repository: Repository, spec: str) -> bytes:
    with repository.reading() as view:
        return b"".join(cat(view, spec))


def missing(repository: Repository) -> int:
    """Pieces of all versions that are not here."""
    with repository.reading() as view:
        objects = view.objects.at_hand()
        found = set()
        for identity in history(repository):
            from mvc.workspace import files_of

            for entry in files_of(view, identity).values():
                manifest = view.manifests.manifest(ManifestId(entry.id))
                found |= {part.blob for part in manifest.parts if part.blob and part.blob not in objects}
        return len(found)


def test_what_is_read_is_fetched_and_stays(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", "path:notes.txt")
    before = missing(made)
    assert before > 3
    wanted = (source.worktree / "model.safetensors").read_bytes()
    assert content(made, "HEAD:model.safetensors") == wanted
    assert made.monitor.counters["fetched_objects"] > 0
    after = missing(made)
    assert after < before
    # another process finds it, with nobody to ask
    again = open_repository(made.worktree)
    source.worktree.rename(tmp_path / "away")
    assert content(again, "HEAD:model.safetensors") == wanted
    assert again.monitor.counters["fetched_objects"] == 0


def test_what_matches_the_filter_is_here(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", "path:notes.txt")
    source.worktree.rename(tmp_path / "away")
    assert content(made, "HEAD~2:notes.txt").startswith(b"run 0\n")


def test_without_a_connection_the_error_names_the_remote(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", "path:notes.txt")
    source.worktree.rename(tmp_path / "away")
    with pytest.raises(StorageError, match="not here but with origin, which cannot be asked") as caught:
        content(made, "HEAD:model.safetensors")
    assert caught.value.exit_code == 3 and "\n" not in caught.value.message


def test_nothing_left_out_is_damage(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", "path:notes.txt", depth=2)
    report = fsck(made, full=True)
    assert report.damage == []
    assert report.elsewhere == missing(made) and report.elsewhere_bytes > 0
    assert report.shallow == 1 and report.commits == 2
    assert made.monitor.counters["fetched_objects"] == 0


def test_a_missing_manifest_is_damage_all_the_same(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", "path:notes.txt")
    for pack in (made.store / "packs").rglob("*.pack"):
        pack.unlink()
    assert fsck(made).damage


def test_history_ends_where_it_was_cut(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", depth=2)
    assert history(made) == history(source)[:2]
    assert read_shallow(made) == {history(source)[1]}
    with made.reading() as view:
        assert view.whole_commit(history(source)[1]).parents == (history(source)[2],)


def test_an_amended_version_keeps_the_parents_that_are_not_here(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", depth=1)
    from tests.engine import switch_to

    switch_to(made, "main", force=True)
    snapshot(made, "better words", amend=True)
    with made.reading() as view:
        head = view.head_commit()
        assert head is not None
        assert view.whole_commit(head).parents == (history(source)[1],)


def test_settings_name_what_was_left_out(source: Repository, tmp_path: Path) -> None:
    made = clone(source, tmp_path / "clone", "path:*.txt", "tensor:a.*", depth=2)
    found = filters(made.config())
    assert found["origin"].texts() == ("path:*.txt", "tensor:a.*") and found["origin"].depth == 2


def test_a_clone_that_took_everything_after_all_is_like_any_other(source: Repository, tmp_path: Path) -> None:
    from mvc.remotes.filters import EVERYTHING

    made = clone(source, tmp_path / "clone", "path:*.txt")
    remember(made, "origin", EVERYTHING, ())
    assert not (made.store / "shallow").exists()
    assert open_repository(made.worktree).supply() is None
    assert filters(made.config()) == {}


def test_a_remote_that_lies_is_refused_and_nothing_of_it_stays(
    source: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from mvc.odb.record import Record
    from mvc.sharing import promise

    made = clone(source, tmp_path / "clone", "path:notes.txt")
    before = missing(made)
    honest = promise.reach

    def lying(*given):
        for record in honest(*given):
            if isinstance(record.id, BlobId) and not record.chain and not record.bases:
                record = replace(record, stored=bytes(len(memoryview(record.stored))))
            elif not record.bases:
                # sound in itself: another object's bytes under this id
                plain = b"no such weights"
                record = Record(record.id, len(plain), 0, (), None, (), plain)
            yield record

    monkeypatch.setattr(promise, "reach", lying)
    with pytest.raises(CorruptObject, match=r"^origin: it sent what it should not"):
        content(made, "HEAD:model.safetensors")
    assert missing(open_repository(made.worktree)) == before
    monkeypatch.undo()
    assert content(made, "HEAD:model.safetensors") == (source.worktree / "model.safetensors").read_bytes()


def test_two_who_fetch_the_same_at_once_both_get_it(source: Repository, tmp_path: Path) -> None:
    from threading import Barrier, Thread

    made = clone(source, tmp_path / "clone", "path:notes.txt")
    wanted = (source.worktree / "model.safetensors").read_bytes()
    barrier, found = Barrier(2), []

    def read(repository: Repository) -> None:
        with repository.reading() as view:
            barrier.wait()
            found.append(b"".join(cat(view, "HEAD:model.safetensors")))
            barrier.wait()

    readers = [Thread(target=read, args=(open_repository(made.worktree),)) for _ in range(2)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert found == [wanted, wanted]
    again = open_repository(made.worktree)
    assert fsck(again, full=True).damage == []
    source.worktree.rename(tmp_path / "away")
    assert content(again, "HEAD:model.safetensors") == wanted


@pytest.mark.parametrize("where", ["before the pack", "before root"])
def test_who_dies_while_it_fetches_leaves_the_clone_as_it_was(
    source: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from mvc.odb.pack import PackWriter
    from mvc.sharing import promise

    class Died(BaseException):
        pass

    def die(*_given: object) -> None:
        raise Died

    made = clone(source, tmp_path / "clone", "path:notes.txt")
    before = missing(made)
    with monkeypatch.context() as patch:
        patch.setattr(*((PackWriter, "flush") if where == "before the pack" else (promise, "swap")), die)
        with pytest.raises(Died):
            content(made, "HEAD:model.safetensors")
    again = open_repository(made.worktree)
    assert missing(again) == before and fsck(again, full=True).damage == []
    assert content(again, "HEAD:model.safetensors") == (source.worktree / "model.safetensors").read_bytes()


def test_what_cannot_be_kept_is_read_all_the_same(
    source: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mvc.sharing import promise

    def full(*_given: object) -> None:
        raise StorageError("no room")

    made = clone(source, tmp_path / "clone", "path:notes.txt")
    monkeypatch.setattr(promise, "swap", full)
    assert content(made, "HEAD:model.safetensors") == (source.worktree / "model.safetensors").read_bytes()
    assert [text for text in made.monitor.warnings if "did not stay" in text and "no room" in text]


@pytest.mark.parametrize("text", ["xyz\n", "ab" * 31 + "\n", "\0" * 64 + "\n"])
def test_a_damaged_list_of_cut_commits_is_told(source: Repository, tmp_path: Path, text: str) -> None:
    from mvc.errors import CorruptFile

    made = clone(source, tmp_path / "clone", depth=1)
    (made.store / "shallow").write_text(text)
    with pytest.raises(CorruptFile, match=r"\.mvc/shallow"):
        open_repository(made.worktree).read()
