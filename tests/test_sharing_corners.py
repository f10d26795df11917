"""Where transfers meet what is under way beside them, and stores that are themselves a part of another."""

from __future__ import annotations

import numpy as np
import pytest

from mvc.backends.recording import RecordingBackend
from mvc.collection.swapping import swap
from mvc.errors import ConflictError, CorruptFile, UserError
from mvc.monitor import Monitor
from mvc.ops import notes
from mvc.ops.clone import CloneRequest
from mvc.ops.remote import add, remove
from mvc.refs import NOTES
from mvc.remotes.filters import Filter, parse_filter
from mvc.sharing import fetching, stores
from tests.engine import ME, assert_sound, history, make_repository, now, open_repository, tree
from tests.make_files import finetuned, random_weights, safetensors_bytes
from tests.sharing import committed, fetched, make_pair, moves, pushed, ref, write
from tests.transfers import Far


@pytest.fixture(params=["folder", "memory"])
def pair(tmp_path, request):
    return make_pair(tmp_path, request.param)


# --- what happens beside a fetch ---------------------------------------------------------------------------
def test_a_fetch_that_a_collection_overtook_begins_again(pair, monkeypatch):
    bob = pair.clone()
    new = committed(pair.ada, "a.txt", "two\n")
    pushed(pair.ada)
    real, calls = fetching.Exchange, []

    def overtaken(*args, **options):
        calls.append(1)
        if len(calls) == 1:
            swap(pair.store, lambda view: view.root.with_changes(epoch=view.root.epoch + 1))
            raise CorruptFile("a pack is missing")
        return real(*args, **options)

    monkeypatch.setattr(fetching, "Exchange", overtaken)
    assert moves(fetched(bob).updates) == {"refs/remotes/origin/main": "fast-forward"}
    assert len(calls) == 2 and ref(bob, "refs/remotes/origin/main") == new
    assert_sound(bob.worktree)


def test_a_fetch_beside_another_one_does_not_forget_where_that_cuts_history(pair, monkeypatch):
    for number in range(3):
        committed(pair.ada, "a.txt", f"{number}")
    pushed(pair.ada)
    bob = pair.clone("bob", CloneRequest(filter=Filter(depth=1)))
    for number in range(3):
        committed(pair.ada, "a.txt", f"more {number}")
    pushed(pair.ada, "main:other")
    real, calls = fetching.incoming, []

    def meanwhile(*args):
        if not calls:
            calls.append(1)
            fetched(open_repository(bob.worktree), "main")
        return real(*args)

    monkeypatch.setattr(fetching, "incoming", meanwhile)
    fetched(bob, "other", filter=Filter(depth=1))
    assert calls
    assert_sound(bob.worktree)


# --- stores that have a part of another one ----------------------------------------------------------------
def test_a_shallow_clone_is_no_damaged_store_for_who_clones_it(tmp_path):
    pair = make_pair(tmp_path, "folder")
    for number in range(3):
        committed(pair.ada, "a.txt", f"{number}")
    pushed(pair.ada)
    pair.clone("bob", CloneRequest(filter=Filter(depth=2)))
    pair.address = str(tmp_path / "bob")
    with pytest.raises(UserError, match="cut by --depth"):
        pair.clone("carl")
    dora = pair.clone("dora", CloneRequest(filter=Filter(depth=1)))
    assert len(history(dora)) == 1
    assert_sound(dora.worktree)


def test_a_clone_of_a_partial_clone_has_everything(tmp_path):
    pair = make_pair(tmp_path, "folder")
    for name in "xyz":
        write(pair.ada, f"large/{name}", name * 5000)
    committed(pair.ada, "a.txt", "two\n")
    pushed(pair.ada)
    pair.clone("bob", CloneRequest(filter=parse_filter(["path:a.txt"], None)))
    pair.address = str(tmp_path / "bob")
    carl = pair.clone("carl")
    assert tree(carl.worktree) == tree(pair.ada.worktree)
    assert_sound(carl.worktree)


def test_a_dry_run_from_a_partial_clone_says_what_it_cannot_count(tmp_path):
    pair = make_pair(tmp_path, "folder")
    committed(pair.ada, "large", "x" * 5000)
    pushed(pair.ada)
    bob = pair.clone("bob", CloneRequest(filter=parse_filter(["path:a.txt"], None)))
    add(bob, "backup", f"memory://backup-{tmp_path.name}", base=tmp_path)
    bob.monitor = monitor = Monitor()
    told = pushed(bob, remote="backup", dry_run=True)
    assert told.bytes > 0 and any("left out" in text and "pieces: 1" in text for text in monitor.warnings)
    assert pushed(bob, remote="backup").bytes > told.bytes


# --- notes -------------------------------------------------------------------------------------------------
def test_a_branch_that_is_called_as_notes_are_is_refused_as_a_branch(pair):
    bob = pair.clone()
    name = "notes/commits-of-mine"
    pushed(pair.ada, f"main:{name}")
    committed(pair.ada, "a.txt", "hers\n")
    pushed(pair.ada, f"main:{name}")
    noted = committed(bob, "b.txt", "his\n")
    notes.add(bob, noted.hex(), notes.Wording({"acc": 0.5}, {}), ME, now())
    with pytest.raises(ConflictError, match=f"{name}: .*versions that are not here"):
        pushed(bob, f"main:{name}")


def test_notes_that_are_named_move_once(pair):
    notes.add(pair.ada, "main", notes.Wording({"acc": 0.5}, {}), ME, now())
    committed(pair.ada, "a.txt", "two\n")
    done = pushed(pair.ada, "main", NOTES)
    assert sorted(update.name for update in done.updates) == ["refs/heads/main", NOTES]


# --- what is told of bytes ---------------------------------------------------------------------------------
def test_a_dry_run_counts_what_records_lean_on_from_far_away_too(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "MemoryBackend", Far)
    pair = make_pair(tmp_path, "memory")
    rng = np.random.default_rng(5)
    base = random_weights(rng, {"w": (256, 256)})
    committed(pair.ada, "base.safetensors", safetensors_bytes(base))
    committed(pair.ada, "tuned.safetensors", safetensors_bytes(finetuned(base, rng, 0.001)))
    pushed(pair.ada)
    assert not pair.store.backend.near
    bob = make_repository(tmp_path / "bob")
    add(bob, "origin", pair.address, base=tmp_path)
    part = parse_filter(["path:tuned.safetensors"], None)
    would = fetched(bob, dry_run=True, filter=part)
    did = fetched(bob, filter=part)
    assert did.bytes == would.bytes > 0.5 * 2 * 256 * 256  # the base


# --- what a push costs -------------------------------------------------------------------------------------
def test_locators_of_many_versions_cost_a_request_each(tmp_path, monkeypatch):
    pair = make_pair(tmp_path, "memory")
    for number in range(12):
        committed(pair.ada, "a.txt", f"{number}")
    counted = []
    real = stores._backend

    def recorded(*args):
        counted.append(RecordingBackend(real(*args)))
        return counted[-1]

    monkeypatch.setattr(stores, "_backend", recorded)
    pushed(pair.ada)
    (backend,) = counted
    assert backend.places["locators"] == 12 + 1  # those of the new versions, and the parent's
    assert backend.places["segments"] <= 5


def test_who_has_what_was_left_out_is_not_forgotten(tmp_path):
    pair = make_pair(tmp_path, "folder")
    committed(pair.ada, "large", "x" * 5000)
    pushed(pair.ada)
    bob = pair.clone("bob", CloneRequest(filter=parse_filter(["path:a.txt"], None)))
    with pytest.raises(UserError, match="origin has pieces that were left out"):
        remove(bob, "origin", ME, now())
    assert_sound(bob.worktree)
    bob.write_config(bob.config().without(("remote", "origin", "filter")))
    remove(bob, "origin", ME, now())
