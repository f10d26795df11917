"""``gc``, ``fsck`` and ``stats`` of a store that people share, in a folder and in a bucket."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mvc.errors import DamageError, ObjectPurged
from mvc.objects import Timestamp
from mvc.ops.cat import cat
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request, gc_store
from mvc.ops.purge import Request as PurgeRequest
from mvc.ops.purge import finish_store, forgive, preview_store, purge_store, purges
from mvc.ops.repair import Request as RepairRequest
from mvc.ops.repair import repair
from mvc.ops.stats import stats
from mvc.sharing import pushing, stores
from mvc.sharing.exchange import Exchange
from mvc.store import FolderStore
from tests.engine import ME, assert_sound, now, open_repository, snapshot, tree
from tests.sharing import make_pair, pulled, pushed, write
from tests.test_cli import Run, run

__all__ = ["run"]

KINDS = pytest.mark.parametrize("kind", ["folder", "memory"])
_HOUR = 3_600_000_000


def weights(seed: int) -> bytes:
    return random.Random(seed).randbytes(200_000)


def later(hours: int) -> Timestamp:
    return Timestamp(now().microseconds + hours * _HOUR, 0)


def rewound(pair) -> bytes:
    """Ada pushes a version with large weights and takes it back, there too; returns them."""
    leaked = weights(1)
    write(pair.ada, "big.bin", leaked)
    snapshot(pair.ada, "too large")
    pushed(pair.ada)
    (pair.ada.worktree / "big.bin").unlink()
    snapshot(pair.ada, "small again", amend=True)
    pushed(pair.ada, force=True)
    return leaked


def assert_store_sound(pair) -> None:
    report = fsck(pair.store, full=True)
    assert report.damage == [], report.damage


@KINDS
def test_what_was_taken_back_goes_and_everybody_goes_on(tmp_path, kind):
    pair = make_pair(tmp_path, kind)
    bob = pair.clone()
    rewound(pair)
    before = stats(pair.store, pair.store.read()).pack_bytes
    foreseen = gc_store(pair.store, Request(later(1), 0, dry_run=True))
    done = gc_store(pair.store, Request(later(2), 0, grace_hours=24))
    assert done.garbage == foreseen.garbage
    assert done.garbage.bytes > 200_000
    if isinstance(pair.store, FolderStore):
        assert done.after.bytes < before - 200_000
    else:
        assert done.waiting_bytes > 200_000
        done = gc_store(pair.store, Request(later(27), 0, grace_hours=24))
        assert done.waiting_bytes == 0
        assert done.after.bytes < before - 200_000
    assert_store_sound(pair)
    write(bob, "c.txt", "bob's\n")
    snapshot(bob, "bob's")
    pushed(bob, force=True)
    assert_store_sound(pair)
    assert tree(pair.clone("carol").worktree) == tree(bob.worktree)


@KINDS
def test_many_pushes_leave_many_packs_and_a_collection_few(tmp_path, kind):
    pair = make_pair(tmp_path, kind)
    for number in range(12):
        write(pair.ada, "a.txt", f"{number}\n" * 50)
        snapshot(pair.ada, str(number))
        pushed(pair.ada)
    before = stats(pair.store, pair.store.read())
    for hours in (1, 2):
        gc_store(pair.store, Request(later(hours), 90, grace_hours=0))
    after = stats(pair.store, pair.store.read())
    assert before.packs >= 12
    assert (after.packs, after.segments) == (1, 1)
    assert len(after.versions) == len(before.versions)
    assert_store_sound(pair)
    assert not pair.store.read().root.retired


def test_a_push_whose_packs_are_taken_for_garbage_sends_only_those_again(tmp_path, monkeypatch):
    pair = make_pair(tmp_path, "memory")
    write(pair.ada, "big.bin", weights(2))
    snapshot(pair.ada, "large")
    sent = []
    run_ = pushing.Exchange.run

    def running(self, *given, **options):
        found = run_(self, *given, **options)
        if not sent:
            gc_store(pair.store, Request(later(1), 0, grace_hours=24))
        sent.append(True)
        return found

    monkeypatch.setattr(pushing.Exchange, "run", running)
    pushed(pair.ada)
    assert len(sent) == 2
    assert any("sent again" in text for text in pair.ada.monitor.warnings)
    assert_store_sound(pair)
    assert tree(pair.clone().worktree) == tree(pair.ada.worktree)


def test_commands_name_the_remote(run: Run, tmp_path):
    run("init")
    Path("a.txt").write_text("one\n")
    run("commit", "-m", "first")
    run("remote", "add", "origin", str(tmp_path / "shared"))
    run("push", "-u", "origin", "main")
    assert run("fsck", "--full", "--remote", "origin").code == 0
    assert json.loads(run("fsck", "--json", "--remote", str(tmp_path / "shared")).out)["commits"] == 1
    assert json.loads(run("stats", "--json", "--remote", "origin").out)["packs"] == 1
    done = json.loads(run("gc", "--json", "--remote", "origin").out)
    assert done["garbage"]["records"] == 0
    assert run("gc", "--remote", "nobody").code == 3
    assert run("gc", "--undo", "--remote", "origin").code == 2
    assert run("gc", "--grace", "3").code == 2
    next((tmp_path / "shared" / "packs").rglob("*.pack")).unlink()
    assert run("fsck", "--remote", "origin").code == 5
    assert run("gc", "--remote", "origin").code == 5
    assert run("fsck", "--full").code == 0


def test_a_repair_asks_a_bucket(tmp_path):
    pair = make_pair(tmp_path, "memory")
    write(pair.ada, "big.bin", weights(3))
    snapshot(pair.ada, "large")
    pushed(pair.ada)
    (pair.ada.worktree / "big.bin").unlink()
    largest = max((pair.ada.store / "packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    folder = pair.ada.worktree
    assert fsck(open_repository(folder), full=True).damage
    done = repair(open_repository(folder), RepairRequest(ME, now()))
    assert done.sound, done
    assert {item.source for item in done.restored} == {"origin"}
    assert_sound(folder)


def test_a_bucket_that_does_not_answer_stops_no_repair(tmp_path):
    pair = make_pair(tmp_path, "memory")
    stores._memory.clear()
    repository = open_repository(pair.ada.worktree)
    assert repair(repository, RepairRequest(ME, now())).sound
    assert any("origin is not asked" in text for text in repository.monitor.warnings)


def purge_of(*targets: str, **options) -> PurgeRequest:
    return PurgeRequest(targets, ME, now(), **options)


@KINDS
@pytest.mark.parametrize("rewrite", [False, True])
def test_what_is_purged_is_gone_from_the_store(tmp_path, kind, rewrite):
    pair = make_pair(tmp_path, kind)
    write(pair.ada, "secret.bin", weights(4))
    snapshot(pair.ada, "leaked")
    write(pair.ada, "secret.bin", weights(4) + b"more")
    write(pair.ada, "a.txt", "kept\n")
    snapshot(pair.ada, "second")
    pushed(pair.ada)
    assert preview_store(pair.store, purge_of("secret.bin")).planned.survey.gone
    done = purge_store(pair.store, purge_of("secret.bin", reason="private", rewrite=rewrite), wait=0)
    assert done.ended.proof.clean, done.ended
    assert done.ended.proof.files > 3
    assert not done.ended.waiting_packs
    assert_store_sound(pair)
    assert finish_store(pair.store, now()).proof.clean
    if rewrite:
        assert sorted(tree(pair.clone().worktree)) == ["a.txt", "b.txt"]
    else:
        with pytest.raises(ObjectPurged):
            b"".join(cat(pair.store.read(), "refs/heads/main:secret.bin"))


@KINDS
def test_what_was_purged_at_the_remote_does_not_come_back_with_a_push(tmp_path, kind):
    pair = make_pair(tmp_path, kind)
    bob = pair.clone()
    write(pair.ada, "secret.bin", weights(5))
    snapshot(pair.ada, "leaked")
    pushed(pair.ada)
    purge_store(pair.store, purge_of("secret.bin"), wait=0)
    write(bob, "copy.bin", weights(5))
    snapshot(bob, "the same bytes")
    with pytest.raises(ObjectPurged):
        pushed(bob, force=True)
    forgiven = forgive(pair.store, purges(pair.store.read())[0].name[:8], ME, now())
    assert forgiven.lifted
    pushed(bob, force=True)


def test_the_proof_finds_what_lies_in_a_bucket(tmp_path):
    pair = make_pair(tmp_path, "memory")
    write(pair.ada, "secret.bin", weights(6))
    snapshot(pair.ada, "leaked")
    pushed(pair.ada)
    backend = pair.store.backend
    packs = {key: backend.get(key) for key, _size in backend.list("packs/")}
    done = purge_store(pair.store, purge_of("secret.bin"), 3_600_000_000)  # with a grace: it lies there still
    assert not done.ended.proof.clean
    assert done.ended.proof.records
    assert done.ended.waiting_packs
    assert finish_store(pair.store, later(2)).proof.clean
    for key, data in packs.items():
        backend.put(key, [data])  # somebody brings them back
    assert finish_store(pair.store, later(3)).proof.clean


def test_purge_names_the_remote(run: Run, tmp_path):
    run("init")
    Path("secret.bin").write_bytes(weights(7))
    Path("a.txt").write_text("one\n")
    run("commit", "-m", "first")
    run("remote", "add", "origin", str(tmp_path / "shared"))
    run("push", "-u", "origin", "main")
    assert run("purge", "--remote", "origin", "secret.bin").code == 2  # nobody to ask
    done = json.loads(run("purge", "--remote", "origin", "secret.bin", "--yes", "--json").out)
    assert done["proof"]["clean"]
    assert json.loads(run("purge", "--list", "--json", "--remote", "origin").out)[0]["what"] == "secret.bin"
    assert run("purge", "--list", "--json").out.strip() == "[]"
    assert run("cat", "HEAD:secret.bin").raw == weights(7)
    assert run("fsck", "--full", "--remote", "origin").code == 0


def test_a_reader_whose_grace_is_over_reads_root_again(tmp_path, monkeypatch):
    pair = make_pair(tmp_path, "memory")
    bob = pair.clone()
    for number in range(4):
        write(pair.ada, "a.txt", f"{number}\n" * 50)
        snapshot(pair.ada, str(number))
        pushed(pair.ada)
    run_ = Exchange.run
    tries = []

    def running(self, *given, **options):
        tries.append(True)
        if len(tries) == 1:
            gc_store(pair.store, Request(later(1), 90, grace_hours=0))  # joins packs, and deletes at once
        return run_(self, *given, **options)

    monkeypatch.setattr(Exchange, "run", running)
    pulled(bob)
    assert len(tries) == 2
    assert tree(bob.worktree) == tree(pair.ada.worktree)
    assert_sound(bob.worktree)


def test_damage_at_the_remote_is_no_reason_to_try_again(tmp_path, monkeypatch):
    pair = make_pair(tmp_path, "memory")
    bob = pair.clone()
    write(pair.ada, "a.txt", "changed\n")
    snapshot(pair.ada, "second")
    pushed(pair.ada)
    backend = pair.store.backend
    for key, _size in list(backend.list("packs/")):
        backend.delete(key)
    with pytest.raises(DamageError):
        pulled(bob)
