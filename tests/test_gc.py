"""Collecting garbage: what is needed stays, what is not goes, whoever else is at work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from mvc.cli.main import main
from mvc.collection import collect, index, log
from mvc.collection.leftovers import sweep_condemned
from mvc.consolidation import consolidate
from mvc.errors import Busy, DamageError, UserError
from mvc.fileio import FileIO
from mvc.history.reader import read_manifest
from mvc.objectid import KINDS, BlobId, ManifestId
from mvc.odb.intents import announce
from mvc.odb.record import Base
from mvc.odb.writer import Hint
from mvc.oplog import OpLog
from mvc.ops import branch, tag
from mvc.ops.cat import cat
from mvc.ops.commit import Request as CommitRequest
from mvc.ops.commit import commit
from mvc.ops.gc import Request, gc
from mvc.ops.oplog import operations
from mvc.ops.reset import reset
from mvc.ops.undo import undo
from mvc.repo import Repository
from mvc.transaction import Update, begin
from mvc.workspace import files_of
from mvc.worktree.index import StatCache
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    tree,
    two_versions,
    weights_versions,
)
from tests.faults import Recorder

KEEP_ALL = Request(now(), None)


def everything() -> Request:
    """All that can go, now."""
    return Request(now(), 0)


def stored(folder: Path) -> set[str]:
    store = folder / ".mvc"
    return {
        str(path.relative_to(store))
        for place in ("packs", "segments", "pieces", "locators", "weights")
        for path in (store / place).rglob("*")
        if path.is_file()
    }


def contents(folder: Path) -> dict[bytes, dict[str, bytes]]:
    """Every version with every file's bytes."""
    repository = open_repository(folder)
    with repository.reading() as view:
        return {
            bytes(identity): {
                path: b"".join(
                    part.inline if part.blob is None else view.objects.get(part.blob)
                    for part in manifest_of(view, entry).parts
                )
                for path, entry in files_of(view, identity).items()
            }
            for identity in history(repository)
        }


def manifest_of(view, entry):
    return read_manifest(view.objects, entry.id)


def noise(seed: int, length: int = 60_000) -> bytes:
    return np.random.default_rng(seed).bytes(length)


def many_versions(folder: Path, count: int = 5) -> Repository:
    """Versions of a model that trains and of a file of text, each commit tagged."""
    repository = make_repository(folder)
    for number, content in enumerate(weights_versions(count)):
        (folder / "model.safetensors").write_bytes(content)
        (folder / "log.txt").write_text("".join(f"step {step}\n" for step in range(100 * (number + 1))))
        snapshot(repository, f"v{number}")
        tag.create(repository, f"v{number}", "HEAD", ME, now(), message=f"version {number}")
    return repository


# --- what stays and what goes ------------------------------------------------------------------------------
def test_every_version_stays_and_files_become_few(tmp_path):
    folder = tmp_path / "repo"
    repository = many_versions(folder)
    before = contents(folder)
    done = gc(repository, everything())
    assert contents(folder) == before
    assert_sound(folder)
    assert (done.after.packs, done.after.segments) == (1, 1)
    assert done.after.bytes < done.before.bytes
    assert not any(name.startswith("locators") for name in stored(folder))
    for number in range(5):
        switch_to(repository, f"v{number}")
        assert (folder / "log.txt").read_text().count("\n") == 100 * (number + 1)


def test_a_second_collection_finds_nothing_to_do(tmp_path):
    folder = tmp_path / "repo"
    repository = many_versions(folder)
    gc(repository, everything())
    files, root = stored(folder), (folder / ".mvc" / "root").read_bytes()
    done = gc(repository, everything())
    assert (stored(folder), (folder / ".mvc" / "root").read_bytes()) == (files, root)
    assert done.garbage.records == 0


def test_what_was_undone_stays_for_undo_and_goes_when_it_expires(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "kept").write_bytes(noise(1))
    one = snapshot(repository).id
    (folder / "secret").write_bytes(noise(2))
    two = snapshot(repository).id
    undo(repository, ME, now())
    (folder / "secret").unlink()
    (folder / ".mvc" / "index").unlink()  # as any look at the changed folder would write it anew
    gc(repository, KEEP_ALL)
    undo(repository, ME, now(), operation=next(operations_of(repository)).id.hex())
    assert history(repository) == [two, one]
    undo(repository, ME, now())
    done = gc(repository, everything())
    assert history(repository) == [one]
    assert done.expired_operations == 5
    with repository.reading() as view:
        assert two not in view.objects
        assert BlobId.of(noise(2)) not in view.objects
        assert view.root.oplog == OpLog()
    assert contents(folder)[one]["kept"] == noise(1)
    assert done.after.bytes < done.before.bytes - 59_000
    assert_sound(folder)
    with pytest.raises(UserError, match="nothing left to undo"):
        undo(repository, ME, now())


def operations_of(repository):
    with repository.reading() as view:
        return iter(list(operations(view)))


def test_operations_expire_from_the_oldest_on_and_the_others_can_be_undone(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    times = [now() for _ in range(80)]
    for number, time in enumerate(times):
        (folder / "file").write_text(str(number))
        commit(repository, CommitRequest(str(number), ME, time))
    undo(repository, ME, now())
    day = 86_400_000_000
    moment = times[30]._replace(microseconds=times[30].microseconds + day)
    done = gc(repository, Request(moment, 1))
    assert done.expired_operations == 30
    kept = list(operations_of(repository))
    assert [item.command for item in reversed(kept)] == [
        *(f"commit: {number}" for number in range(30, 80)),
        "undo commit: 79",
    ]
    assert kept[-1].parent is None
    assert kept[0].undoes == kept[1].id, "what was taken back is still known to be"
    assert undo(repository, ME, now()).command == "commit: 78"
    assert len(history(repository)) == 78
    assert_sound(folder)


def test_what_a_forced_checkout_overwrote_stays_as_long_as_it_can_be_undone(tmp_path):
    repository, one, _two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    (folder / "model.safetensors").write_bytes(b"mine" * 1000)
    before = tree(folder)
    switch_to(repository, one.hex(), force=True)
    gc(repository, KEEP_ALL)
    undo(repository, ME, now())
    assert tree(folder) == before
    assert_sound(folder)


def test_a_manifest_whose_base_goes_is_stored_anew(tmp_path):
    """Text leans on the version before; where that is undone, it must not keep it."""
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    rows = [f"{number:064x}" for number in range(400)]
    for name in rows[:40]:
        (folder / name).write_text(name)
    (folder / "large").write_bytes(noise(3))
    snapshot(repository, "undone later")
    (folder / "large").write_bytes(b"small")
    last = snapshot(repository, None, amend=True).id
    gone = BlobId.of(noise(3))
    with repository.reading() as view:
        text = view.objects.record(view.commit(last).tree)
        assert text.bases, "the test needs a tree that leans on another"
    gc(repository, everything())
    assert len(history(repository)) == 1
    with repository.reading() as view:
        assert gone not in view.objects
        assert view.objects.record(view.commit(last).tree).depth == 0
    assert_sound(folder)


def test_pieces_that_others_lean_on_stay(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    first, second = weights_versions(2)
    (folder / "model.safetensors").write_bytes(first)
    snapshot(repository, "undone later")
    (folder / "model.safetensors").write_bytes(second)
    snapshot(repository, None, amend=True)
    gc(repository, everything())
    assert_sound(folder)
    assert list(contents(folder).values()) == [{"model.safetensors": second}]


def test_detached_head_and_branches_keep_what_they_name(tmp_path):
    repository, one, two = two_versions(tmp_path / "repo")
    folder = tmp_path / "repo"
    branch.create(repository, "side", one.hex(), ME, now())
    switch_to(repository, two.hex())
    branch.delete(repository, "main", ME, now(), force=True)
    gc(repository, everything())
    assert history(repository)[0] == two
    switch_to(repository, "side")
    assert history(repository) == [one]
    assert_sound(folder)


def test_what_only_a_tag_names_stays(tmp_path):
    """An annotated tag is an object that leads to its version."""
    repository = make_repository(tmp_path)
    (tmp_path / "file").write_bytes(noise(1))
    snapshot(repository)
    switch_to(repository, "HEAD", new_branch="side")
    (tmp_path / "file").write_bytes(noise(2))
    snapshot(repository)
    tag.create(repository, "v", "HEAD", ME, now(), message="kept")
    switch_to(repository, "main")
    branch.delete(repository, "side", ME, now(), force=True)
    gc(repository, everything())
    with open_repository(tmp_path).reading() as view:
        assert b"".join(cat(view, "v:file")) == noise(2)
    assert_sound(tmp_path)


def test_what_the_stat_cache_knows_stays(tmp_path):
    """A commit does not read again what it believes unchanged, so that must be there."""
    repository = make_repository(tmp_path)
    (tmp_path / "file").write_bytes(noise(1))
    snapshot(repository)
    (tmp_path / "new").write_bytes(noise(2))
    sleep(0.05)  # the clock of the file system has to move before a file is believed
    snapshot(repository)
    reset(repository, "HEAD~1", ME, now(), mode="soft")
    gc(repository, everything())
    with open_repository(tmp_path).reading() as view:
        known = StatCache.load(repository.io, repository.store / "index").entries["new"]
        manifest = read_manifest(view.objects, ManifestId(known.manifest))
        assert all(part.blob is None or part.blob in view.objects for part in manifest.parts)
    snapshot(repository)
    assert_sound(tmp_path)


def test_files_that_killed_commands_left_go(tmp_path):
    folder = tmp_path / "repo"
    repository = many_versions(folder, 2)
    backend = repository.backend
    backend.put(f"packs/ab/ab{'0' * 62}.pack", [b"left"])
    backend.put(f"segments/{'1' * 64}.seg", [b"left"])
    backend.put(f"pieces/{'2' * 64}.piece", [b"left"])
    (folder / ".mvc" / "weights").mkdir()
    (folder / ".mvc" / "weights" / f"manifest-{'3' * 64}").write_bytes(b"left")
    with announce(FileIO(), folder / ".mvc" / "intents", "writer"):
        gc(repository, everything())
        assert any("1" * 64 in name for name in stored(folder)), "somebody lives who may have put it"
    gc(repository, everything())
    assert not {name for name in stored(folder) if "000000" in name or "111111" in name or "22222" in name}
    assert not list((folder / ".mvc" / "weights").iterdir())
    assert_sound(folder)


def test_the_piece_that_the_next_operation_makes_is_spared(tmp_path):
    """A command that was killed may have put it, and the next one relies on finding it."""
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    for number in range(32):
        (folder / "file").write_text(str(number))
        snapshot(repository)
    with repository.reading() as view:
        log = view.root.oplog
        assert log.next_piece() is not None
        log.append(log.recent[-1], view.backend)
    assert len(list((folder / ".mvc" / "pieces").iterdir())) == 1
    gc(repository, KEEP_ALL)
    assert len(list((folder / ".mvc" / "pieces").iterdir())) == 1
    snapshot(repository, allow_empty=True)
    assert len(list(operations_of(repository))) == 33


def test_a_damaged_repository_is_left_as_it_is(tmp_path):
    folder = tmp_path / "repo"
    many_versions(folder, 3)
    pack = max((folder / ".mvc" / "packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[: len(data)] = bytes(len(data))
    pack.write_bytes(data)
    before = stored(folder)
    with pytest.raises(DamageError):
        gc(open_repository(folder), everything())
    assert stored(folder) >= before


def test_a_pack_with_a_damaged_piece_is_not_thrown_away(tmp_path):
    folder = tmp_path / "repo"
    repository = make_repository(folder)
    (folder / "a").write_bytes(noise(1))
    snapshot(repository)
    (folder / "b").write_bytes(noise(2))
    snapshot(repository)
    with repository.reading() as view:
        entry = next(entry for entry in view.index.entries() if entry.length > 50_000)
    pack = folder / ".mvc" / "packs" / entry.pack.hex()[:2] / f"{entry.pack.hex()}.pack"
    data = bytearray(pack.read_bytes())
    data[entry.offset + 5000] ^= 1
    pack.write_bytes(data)
    gc(repository, everything())
    assert pack.read_bytes() == data
    assert any("left as it is" in line for line in repository.monitor.damage)


# --- others at work ----------------------------------------------------------------------------------------
def test_a_reader_keeps_what_it_reads(tmp_path):
    folder = tmp_path / "repo"
    repository = many_versions(folder, 3)
    (folder / "undone").write_bytes(noise(7))
    lost = snapshot(repository).id
    undo(repository, ME, now())
    (folder / "undone").unlink()
    (folder / ".mvc" / "index").unlink()
    with open_repository(folder).reading() as old:
        done = gc(repository, everything())
        assert done.waiting_bytes > 50_000
        old_files = files_of(old, lost)
        manifest = manifest_of(old, old_files["undone"])
        assert b"".join(old.objects.get(part.blob) for part in manifest.parts) == noise(7)
        assert {path for path in stored(folder) if path.startswith("packs")}
    done = gc(repository, everything())
    assert done.waiting_bytes == 0
    assert done.after.bytes < 50_000
    assert_sound(folder)


def test_what_condemns_is_durable_before_anything_is_deleted(tmp_path):
    """Who swapped it in may have died before it was: a power cut must not bring the old root back then."""
    repository = many_versions(tmp_path)
    (tmp_path / "undone").write_bytes(noise(1))
    snapshot(repository)
    undo(repository, ME, now())
    with open_repository(tmp_path).reading():
        assert gc(repository, everything()).waiting_bytes
    repository.temporary.close()
    io = Recorder()
    sweep_condemned(open_repository(tmp_path, io))
    steps = [(step.name, step.path) for step in io.trace]
    deleted = [n for n, (name, path) in enumerate(steps) if name == "unlink" and path.endswith(".pack")]
    assert deleted
    assert ("sync_folder", str(tmp_path / ".mvc")) in steps[: deleted[0]]


def test_a_commit_between_look_up_and_swap_hears_that_what_it_relied_on_went(tmp_path):
    folder = tmp_path / "repo"
    repository = many_versions(folder, 2)
    (folder / "again").write_bytes(noise(8))
    snapshot(repository)
    undo(repository, ME, now())
    (folder / ".mvc" / "index").unlink()
    (folder / "again").rename(tmp_path / "again")
    writer = open_repository(folder)
    with begin(writer, "commit", ME, now()) as tx:
        assert all(tx.writer.known(KINDS[entry.kind](entry.id)) for entry in tx.view.index.entries())
        gc(repository, everything())
        with pytest.raises(Busy, match="was moved while"):
            tx.publish(lambda view: Update())
    (tmp_path / "again").rename(folder / "again")
    snapshot(repository, "again")
    assert_sound(folder)


def test_a_commit_hears_that_what_its_records_lean_on_went(tmp_path):
    """A base is no part of the version, so it is not among what was found instead of written."""
    repository = many_versions(tmp_path, 2)
    plain = noise(8, 10_000)
    (tmp_path / "again").write_bytes(plain)
    snapshot(repository)
    undo(repository, ME, now())
    (tmp_path / ".mvc" / "index").unlink()
    (tmp_path / "again").unlink(missing_ok=True)
    base = BlobId.of(plain)
    with begin(open_repository(tmp_path), "commit", ME, now()) as tx:
        depth = tx.view.objects.entries(base)[0].depth
        tx.writer.put(BlobId, plain[:-1], Hint(bases=(Base(base, 0, len(plain)),), depth=depth))
        assert tx.writer.leaned_on == {base: depth} and base not in tx.writer.relied
        gc(repository, everything())
        with pytest.raises(Busy, match="was moved while"):
            tx.publish(lambda view: Update())
    assert_sound(tmp_path)


def test_a_commit_made_while_garbage_is_looked_for_keeps_what_it_took_up(tmp_path, monkeypatch):
    """The versions that it adds may reach what was garbage a moment ago."""
    folder = tmp_path / "repo"
    repository = many_versions(folder, 3)
    (folder / "again").write_bytes(noise(8))
    snapshot(repository)
    undo(repository, ME, now())
    (folder / ".mvc" / "index").unlink()
    log.expire(repository, now().microseconds)
    real, calls = index.needed, []

    def needed(*arguments, **options):
        (folder / ".mvc" / "index").unlink(missing_ok=True)
        found = real(*arguments, **options)
        if not calls:
            calls.append(snapshot(open_repository(folder), "takes it up").id)
        return found

    monkeypatch.setattr(index, "needed", needed)
    gc(repository, everything())
    assert history(repository)[0] == calls[0]
    assert_sound(folder)
    assert contents(folder)[calls[0]]["again"] == noise(8)


def test_packs_joined_meanwhile_lose_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "repo"
    repository = many_versions(folder, 3)
    before = contents(folder)
    (folder / "garbage").write_bytes(noise(9))
    snapshot(repository)
    undo(repository, ME, now())
    (folder / "garbage").unlink()
    (folder / ".mvc" / "index").unlink()
    monkeypatch.setattr("mvc.upkeep.consolidate.MAX_PACKS", 2)
    real, calls = index.needed, []

    def needed(*arguments, **options):
        found = real(*arguments, **options)
        if not calls:
            calls.append(consolidate(open_repository(folder)))
        return found

    monkeypatch.setattr(index, "needed", needed)
    gc(repository, everything())
    assert calls[0] > 2
    assert contents(folder) == before
    assert_sound(folder)
    monkeypatch.undo()
    gc(repository, everything())
    assert contents(folder) == before
    assert_sound(folder)


def test_two_collections_do_not_run_at_once(tmp_path):
    repository = many_versions(tmp_path / "repo", 2)
    with collect.alone(open_repository(tmp_path / "repo")), pytest.raises(Busy, match="another gc"):
        gc(repository, everything())
    gc(repository, everything())
    assert_sound(tmp_path / "repo")


# --- the command -------------------------------------------------------------------------------------------
def test_the_command_tells_what_it_did(tmp_path, capsys):
    folder = tmp_path / "repo"
    repository = many_versions(folder, 2)
    undo(repository, ME, now())
    undo(repository, ME, now())
    (folder / ".mvc" / "index").unlink()
    repository.temporary.close()
    before = stored(folder)
    assert main(["-C", str(folder), "gc", "--expire", "now", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] and told["garbage"]["records"] > 0 and told["expired_operations"] == 6
    assert stored(folder) == before
    assert main(["-C", str(folder), "gc", "--expire", "now"]) == 0
    text = capsys.readouterr().out
    assert f"{told['garbage']['records']} records" in text
    assert main(["-C", str(folder), "gc", "--expire", "soon"]) == 2
    shutil.rmtree(folder)


@pytest.mark.parametrize("days", ["-1", '"many"', "1.5", "true"])
def test_a_setting_that_is_no_number_is_refused(tmp_path, capsys, days):
    folder = tmp_path / "repo"
    many_versions(folder, 1).temporary.close()
    (folder / ".mvc" / "config").write_text(f"[gc]\nundo-days = {days}\n")
    assert main(["-C", str(folder), "gc"]) == 3
    assert "gc.undo-days" in capsys.readouterr().err


def test_a_setting_keeps_operations_longer(tmp_path, capsys):
    folder = tmp_path / "repo"
    many_versions(folder, 1).temporary.close()
    (folder / ".mvc" / "config").write_text("[gc]\nundo-days = 36500\n")
    assert main(["-C", str(folder), "gc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expired_operations"] == 0
    assert main(["-C", str(folder), "gc", "--json"]) == 0


def test_what_a_living_writer_has_put_stays_until_root_names_it_or_he_is_gone(tmp_path):
    """He has put a pack, and stands still before his swap; nothing else has become garbage, so no epoch
    tells him to look again."""
    folder = tmp_path / "repo"
    repository = many_versions(folder, 2)
    gc(repository, everything())
    key = f"packs/00/{'00' * 32}.pack"
    with announce(FileIO(), folder / ".mvc" / "intents", "writer") as intent:
        intent.announce_epoch(repository.read().root.epoch)
        repository.backend.put(key, [b"what root does not name yet"])
        gc(open_repository(folder), everything())
        assert repository.backend.get(key)
    gc(open_repository(folder), everything())
    assert key not in dict(repository.backend.list("packs/"))
