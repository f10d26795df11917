"""``fetch``, ``push``, ``pull`` and ``clone``: what two people on one store rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvc.errors import (
    AnswerIsNo,
    ConflictError,
    CorruptObject,
    InvalidName,
    ObjectPurged,
    RepositoryNotFound,
    RevisionNotFound,
    StorageError,
    UsageError,
    UserError,
    WouldOverwrite,
)
from mvc.objects import Person
from mvc.ops import branch as branches
from mvc.ops import notes
from mvc.ops import tag as tags
from mvc.ops.clone import CLONING, CloneRequest
from mvc.ops.merge import abort, conclude_merge
from mvc.ops.oplog import restore as restore_operation
from mvc.ops.purge import Request as Purge
from mvc.ops.purge import purge
from mvc.ops.remote import add
from mvc.ops.reset import reset
from mvc.ops.status import status
from mvc.ops.switch import switch
from mvc.ops.undo import undo
from mvc.refs import NOTES, encode_target
from mvc.registry.notes import Notes
from mvc.sharing import pushing
from mvc.transaction import Update, begin
from mvc.underway.merging import Request
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    switch_to,
    tree,
)
from tests.lines import model
from tests.make_files import finetuned, random_weights, safetensors_bytes
from tests.sharing import (
    address_of,
    committed,
    fetched,
    make_pair,
    moves,
    pulled,
    pushed,
    ref,
    write,
)

MAIN, TRACKED = "refs/heads/main", "refs/remotes/origin/main"


@pytest.fixture(params=["folder", "memory"])
def pair(tmp_path, request):
    return make_pair(tmp_path, request.param)


# --- clone -------------------------------------------------------------------------------------------------
def test_a_clone_is_clean_follows_origin_and_has_the_same_files(pair):
    done = pair.cloned()
    assert tree(pair.folder / "bob") == tree(pair.folder / "ada")
    found = status(done.repository)
    assert found.clean and found.branch == "main"
    assert found.standing is not None
    assert (found.standing.upstream.shown, found.standing.ahead, found.standing.behind) == (
        "origin/main",
        0,
        0,
    )
    assert (done.branch, done.written, done.resumed) == ("main", 2, False)
    assert not (done.repository.store / CLONING).exists()
    assert_sound(pair.folder / "bob")


def test_weights_come_back_bit_for_bit_and_their_bases_come_along(pair):
    rng = np.random.default_rng(1)
    weights = [random_weights(rng, {"a": (64, 128), "b": (128,)})]
    weights += [finetuned(weights[0], rng, 0.01), finetuned(weights[0], rng, 0.02)]
    files = [safetensors_bytes(one) for one in weights]
    for number, data in enumerate(files):
        committed(pair.ada, "model.safetensors", data, f"step {number}")
    pushed(pair.ada)
    bob = pair.clone()
    for step, data in zip(("main~2", "main~1", "main"), files, strict=True):
        switch_to(bob, step, detach=True)
        assert (bob.worktree / "model.safetensors").read_bytes() == data
    assert_sound(pair.folder / "bob")


def test_an_empty_store_can_be_cloned_and_pushed_to(tmp_path):
    ada = make_repository(tmp_path / "ada")
    address = address_of("folder", tmp_path)
    assert add(ada, "origin", address, base=tmp_path).created
    pair = make_pair.__globals__["Pair"](tmp_path, address, ada)
    done = pair.cloned()
    assert done.commit is None and done.branch == "main"
    assert status(done.repository).clean
    first = committed(done.repository, "x", "x")
    pushed(done.repository)
    assert pulled(ada).merged.kind == "fast-forward" and ref(ada, MAIN) == first


def test_a_clone_begins_with_the_branch_that_is_asked_for(pair):
    switch(pair.ada, "HEAD", ME, now(), create="try")
    committed(pair.ada, "try.txt", "t")
    tags.create(pair.ada, "v1", "main", ME, now(), message="the first")
    pushed(pair.ada, all=True, tags=True)
    assert pair.cloned("one").branch == "main"
    assert pair.cloned("two", CloneRequest(branch="try")).branch == "try"
    assert (pair.folder / "two" / "try.txt").exists()
    detached = pair.cloned("three", CloneRequest(branch="v1"))
    assert detached.branch is None and status(detached.repository).branch is None
    with pytest.raises(RevisionNotFound, match="no branch or tag 'tri'"):
        pair.cloned("four", CloneRequest(branch="tri"))


def test_without_a_checkout_no_file_is_written(pair):
    bob = pair.clone("bob", CloneRequest(checkout=False))
    assert tree(bob.worktree) == {} and ref(bob, MAIN) == ref(pair.ada, MAIN)


def test_nothing_is_made_where_there_is_no_store_and_no_folder_is_overwritten(pair):
    pair.address = str(pair.folder / "nowhere")
    with pytest.raises(RepositoryNotFound):
        pair.cloned()
    assert not (pair.folder / "bob").exists()
    (pair.folder / "full").mkdir()
    (pair.folder / "full" / "thesis.txt").write_text("mine")
    pair.address = str(pair.ada.worktree)
    with pytest.raises(UserError, match="not empty"):
        pair.cloned("full")
    assert [path.name for path in (pair.folder / "full").iterdir()] == ["thesis.txt"]


def test_a_clone_that_failed_goes_on(pair, monkeypatch):
    from mvc.sharing import exchange

    whole = exchange.transfer

    def cut(*_arguments, **_options):
        raise StorageError("the line is dead")

    monkeypatch.setattr(exchange, "transfer", cut)
    with pytest.raises(StorageError) as error:
        pair.cloned()
    assert "the same command" in error.value.hint
    monkeypatch.setattr(exchange, "transfer", whole)
    here = pair.address
    pair.address = str(pair.ada.worktree)
    with pytest.raises(UserError, match="copy of something else"):
        pair.cloned()
    pair.address = here
    done = pair.cloned()
    assert done.resumed and status(done.repository).clean
    assert tree(pair.folder / "bob") == tree(pair.folder / "ada")


# --- push --------------------------------------------------------------------------------------------------
def test_a_push_moves_the_branch_there_and_what_follows_it_here(pair):
    new = committed(pair.ada, "a.txt", "changed\n")
    done = pushed(pair.ada)
    assert moves(done.updates) == {MAIN: "fast-forward"} and done.commits == 1
    assert ref(pair.ada, TRACKED) == new
    assert pushed(pair.ada).updates == ()
    with pair.store.reading() as view:
        newest = next(view.operations())
        assert (newest.command, newest.who) == ("push main", ME)
        assert view.root.extra["default_branch"] == "main"


def test_the_loser_of_a_race_is_refused_and_the_store_keeps_the_winner(pair):
    bob = pair.clone()
    theirs = committed(bob, "b.txt", "from bob\n")
    pushed(bob)
    committed(pair.ada, "a.txt", "from ada\n")
    with pytest.raises(ConflictError, match="versions that are not here") as error:
        pushed(pair.ada)
    assert "mvc pull" in error.value.hint and error.value.exit_code == 4
    assert pair.refs()[MAIN][1:] == theirs


def test_who_is_overtaken_between_looking_and_swapping_is_refused(pair, monkeypatch):
    bob = pair.clone()
    theirs = committed(bob, "b.txt", "from bob\n")
    committed(pair.ada, "a.txt", "from ada\n")
    carry = pushing.Exchange.run

    def slow(self, *arguments, **options):
        found = carry(self, *arguments, **options)
        monkeypatch.setattr(pushing.Exchange, "run", carry)
        pushed(bob)
        return found

    monkeypatch.setattr(pushing.Exchange, "run", slow)
    with pytest.raises(ConflictError, match="versions that are not here"):
        pushed(pair.ada)
    assert pair.refs()[MAIN][1:] == theirs


def test_several_refs_move_together_or_not_at_all(pair):
    bob = pair.clone()
    committed(bob, "b.txt", "from bob\n")
    pushed(bob)
    committed(pair.ada, "a.txt", "from ada\n")
    branches.create(pair.ada, "side", "main~1", ME, now())
    with pytest.raises(ConflictError, match="main"):
        pushed(pair.ada, "side", "main", remote="origin")
    assert "refs/heads/side" not in pair.refs()


def test_force_overwrites_and_a_lease_only_what_was_seen(pair):
    bob = pair.clone()
    kept = committed(bob, "b.txt", "from bob\n")
    pushed(bob)
    mine = committed(pair.ada, "a.txt", "from ada\n")
    with pytest.raises(ConflictError, match="not where it was"):
        pushed(pair.ada, leases=("",))
    with pytest.raises(ConflictError, match="not where it was"):
        pushed(pair.ada, leases=(f"main:{mine.hex()}",))
    fetched(pair.ada)
    assert moves(pushed(pair.ada, leases=("",)).updates) == {MAIN: "forced"}
    assert pair.refs()[MAIN][1:] == mine
    found = fetched(bob)
    assert moves(found.updates) == {TRACKED: "forced"} and found.updates[0].before == kept
    assert moves(pushed(bob, "+main", remote="origin").updates) == {MAIN: "forced"}
    assert pair.refs()[MAIN][1:] == kept


def test_a_rewound_branch_is_refused_with_what_it_would_lose(pair):
    new = committed(pair.ada, "a.txt", "from ada\n")
    pushed(pair.ada)
    reset(pair.ada, "main~1", ME, now(), mode="hard")
    with pytest.raises(ConflictError, match=new.short):
        pushed(pair.ada)


def test_tags_travel_annotated_ones_too_and_do_not_move_by_themselves(pair):
    tags.create(pair.ada, "light", "main", ME, now())
    tags.create(pair.ada, "v1", "main", ME, now(), message="the first")
    pushed(pair.ada, tags=True)
    bob = pair.clone()
    with bob.reading() as view:
        rows = {row.name: row for row in tags.tags(view)}
        assert tags.read_tag(view, rows["v1"].annotation).message == "the first"
    assert rows["light"].annotation is None
    committed(pair.ada, "a.txt", "x")
    tags.create(pair.ada, "v1", "main", ME, now(), message="moved", force=True)
    with pytest.raises(ConflictError, match="names something else"):
        pushed(pair.ada, "v1", remote="origin")
    pushed(pair.ada, "v1", "main", remote="origin", force=True)
    before = ref(bob, "refs/tags/v1")
    found = fetched(bob)
    assert moves(found.updates) == {TRACKED: "fast-forward", "refs/tags/v1": "rejected"}
    assert ref(bob, "refs/tags/v1") == before
    assert moves(fetched(bob, "+v1", remote="origin").updates) == {"refs/tags/v1": "forced"}


def test_branches_are_deleted_but_not_the_one_that_a_clone_begins_with(pair):
    branches.create(pair.ada, "side", "main", ME, now())
    pushed(pair.ada, "side", remote="origin")
    bob = pair.clone()
    done = pushed(pair.ada, remote="origin", delete=("side",))
    assert moves(done.updates) == {"refs/heads/side": "deleted"}
    assert ref(pair.ada, "refs/remotes/origin/side") is None
    with pytest.raises(ConflictError, match="a clone begins with it"):
        pushed(pair.ada, ":main", remote="origin")
    with pytest.raises(RevisionNotFound, match="has no 'side'"):
        pushed(pair.ada, remote="origin", delete=("side",))
    assert moves(fetched(bob).updates) == {}
    assert moves(fetched(bob, prune=True).updates) == {"refs/remotes/origin/side": "deleted"}


@pytest.mark.parametrize("target", ["refs/remotes/x/main", "refs/worktree/pending", "refs/bisect/bad"])
def test_what_is_one_stores_own_never_leaves_it(pair, target):
    with pytest.raises(UserError, match="never leaves"):
        pushed(pair.ada, f"main:{target}", remote="origin")
    assert set(pair.refs()) == {MAIN}


def test_another_name_there_and_an_upstream_of_another_name(pair):
    pushed(pair.ada, "main:backup", remote="origin", set_upstream=True)
    new = committed(pair.ada, "a.txt", "x")
    assert moves(pushed(pair.ada).updates) == {"refs/heads/backup": "fast-forward"}
    assert pair.refs()["refs/heads/backup"][1:] == new != pair.refs()[MAIN][1:]
    assert moves(pushed(pair.ada, f"{new.hex()}:refs/heads/by-id", remote="origin").updates) == {
        "refs/heads/by-id": "new"
    }
    with pytest.raises(UsageError, match="no branch or tag"):
        pushed(pair.ada, new.hex(), remote="origin")


def test_a_dry_run_tells_the_bytes_and_moves_nothing(pair):
    committed(pair.ada, "a.bin", bytes(range(256)) * 400)
    before = pair.refs()
    told = pushed(pair.ada, dry_run=True)
    assert pair.refs() == before and ref(pair.ada, TRACKED).hex() == before[MAIN][1:].hex()
    done = pushed(pair.ada)
    assert told.dry_run and told.bytes == done.bytes > 0 and told.updates == done.updates
    bob = make_repository(pair.folder / "bob")
    add(bob, "origin", pair.address, base=pair.folder)
    would = fetched(bob, dry_run=True)
    assert ref(bob, TRACKED) is None
    did = fetched(bob)
    assert would.bytes == did.bytes and moves(would.updates) == moves(did.updates) == {TRACKED: "new"}


def test_the_branch_that_somebody_works_on_is_not_pushed_to(tmp_path):
    ada = make_repository(tmp_path / "ada")
    first = committed(ada, "a", "a")
    bob = make_repository(tmp_path / "bob")
    add(bob, "ada", "ada", base=tmp_path)
    assert pulled(bob, "ada", "main").merged.commit == first
    new = committed(bob, "b", "b")
    with pytest.raises(ConflictError, match="somebody works on"):
        pushed(bob, "main", remote="ada", force=True)
    pushed(bob, "main:from-bob", remote="ada")
    assert ref(ada, "refs/heads/from-bob") == new and ref(ada, MAIN) == first
    assert status(ada).clean
    assert_sound(tmp_path / "ada")


def test_every_new_tip_gets_a_locator_and_a_long_push_only_those(pair, monkeypatch):
    from mvc.locators import read_locator

    monkeypatch.setattr(pushing, "MOST_LOCATED", 2)
    new = [committed(pair.ada, "a.txt", f"{number}") for number in range(3)]
    pushed(pair.ada)
    with pair.store.reading() as view:
        assert [read_locator(view.backend, one) is not None for one in new] == [False, False, True]
    more = [committed(pair.ada, "a.txt", f"more {number}") for number in range(2)]
    pushed(pair.ada)
    with pair.store.reading() as view:
        assert all(read_locator(view.backend, one) for one in more)


# --- pull --------------------------------------------------------------------------------------------------
def test_disjoint_files_merge_on_pull_and_both_see_both(pair):
    bob = pair.clone()
    committed(bob, "b.txt", "from bob\n")
    pushed(bob)
    committed(pair.ada, "a.txt", "from ada\n")
    done = pulled(pair.ada)
    assert done.merged.kind == "merged"
    with pair.ada.reading() as view:
        made = view.commit(view.head_commit())
    assert made.message == "Merge branch 'main' of origin" and len(made.parents) == 2
    pushed(pair.ada)
    assert pulled(bob).merged.kind == "fast-forward"
    assert tree(pair.folder / "ada") == tree(pair.folder / "bob")
    assert (pair.folder / "bob" / "a.txt").read_text() == "from ada\n"
    assert pulled(bob).merged.kind == "up-to-date"


def test_the_same_tensor_is_in_conflict_and_the_pull_can_be_concluded(pair):
    committed(pair.ada, "model.safetensors", model())
    pushed(pair.ada)
    bob = pair.clone()
    committed(bob, "model.safetensors", model(a=1.0, b=1.0))
    pushed(bob)
    committed(pair.ada, "model.safetensors", model(a=2.0, c=1.0))
    done = pulled(pair.ada)
    assert done.merged.kind == "conflicts"
    assert [(one.path, one.details) for one in done.merged.conflicts] == [("model.safetensors", ("a",))]
    with pytest.raises(ConflictError, match="under way"):
        pulled(pair.ada)
    abort(pair.ada, ME, now())
    from mvc.underway.threeway import Choice

    assert pulled(pair.ada).merged.kind == "conflicts"
    assert conclude_merge(pair.ada, Request(None, ME, now()), Choice("ours")).kind == "merged"
    pushed(pair.ada)
    assert pulled(bob).merged.kind == "fast-forward"
    assert (pair.folder / "bob" / "model.safetensors").read_bytes() == model(a=2.0, b=1.0, c=1.0)


def test_uncommitted_work_in_the_way_stops_a_pull_before_the_branch_moves(pair):
    bob = pair.clone()
    committed(bob, "a.txt", "from bob\n")
    pushed(bob)
    before = ref(pair.ada, MAIN)
    write(pair.ada, "a.txt", "not committed")
    with pytest.raises(WouldOverwrite):
        pulled(pair.ada)
    assert ref(pair.ada, MAIN) == before
    assert (pair.ada.worktree / "a.txt").read_text() == "not committed"


def test_only_a_fast_forward_or_none(pair):
    bob = pair.clone()
    committed(bob, "b.txt", "from bob\n")
    pushed(bob)
    assert pulled(pair.ada, fast_forward="no").merged.kind == "merged"
    pushed(pair.ada)
    pulled(bob)
    committed(bob, "b.txt", "again\n")
    pushed(bob)
    committed(pair.ada, "a.txt", "from ada\n")
    with pytest.raises(AnswerIsNo, match="not a fast-forward"):
        pulled(pair.ada, fast_forward="only")


def test_what_there_is_to_pull_from_is_said(pair):
    switch(pair.ada, "HEAD", ME, now(), create="alone")
    with pytest.raises(RevisionNotFound, match="no branch 'alone'"):
        pulled(pair.ada)
    lonely = make_repository(pair.folder / "lonely")
    with pytest.raises(UserError, match="no remote 'origin'"):
        pulled(lonely)
    switch_to(pair.ada, "main", detach=True)
    with pytest.raises(UserError, match="detached"):
        pulled(pair.ada)
    assert pulled(pair.ada, "origin", "main").merged.kind == "up-to-date"


def test_an_address_can_stand_for_a_remote(pair):
    bob = make_repository(pair.folder / "bob")
    assert pulled(bob, pair.address).merged.commit == ref(pair.ada, MAIN)
    new = committed(bob, "b", "b")
    pushed(bob, remote=pair.address)
    assert pair.refs()[MAIN][1:] == new and ref(bob, TRACKED) is None


# --- fetch -------------------------------------------------------------------------------------------------
def test_a_refspec_fetches_into_a_branch_but_never_the_current_one(pair):
    bob = pair.clone()
    new = committed(pair.ada, "a.txt", "x")
    pushed(pair.ada)
    found = fetched(bob, "main:copy", remote="origin")
    assert moves(found.updates) == {"refs/heads/copy": "new", TRACKED: "fast-forward"}
    assert ref(bob, "refs/heads/copy") == new
    refused = fetched(bob, "main:main", remote="origin")
    assert [(one.kind, "mvc pull" in one.why) for one in refused.updates] == [("rejected", True)]
    committed(bob, "own", "own")
    branches.create(bob, "own", "HEAD", ME, now())
    assert moves(fetched(bob, "main:own", remote="origin").updates) == {"refs/heads/own": "rejected"}
    assert moves(fetched(bob, "+main:own", remote="origin").updates) == {"refs/heads/own": "forced"}
    with pytest.raises(RevisionNotFound, match="did you mean 'main'"):
        fetched(bob, "mian", remote="origin")


def test_fetching_again_brings_nothing_and_is_no_operation(pair):
    bob = pair.clone()
    with bob.reading() as view:
        before = view.root.oplog.head
    assert fetched(bob).objects == 0
    with bob.reading() as view:
        assert view.root.oplog.head == before


# --- notes -------------------------------------------------------------------------------------------------
def _noted(repository, revision="main"):
    with repository.reading() as view:
        return {note.message for note in Notes(view.objects, view).of(ref(repository, MAIN))}


def test_notes_of_both_sides_are_joined_and_a_removed_one_stays_removed(pair):
    bob = pair.clone()
    target = "main"
    notes.add(pair.ada, target, notes.Wording({}, {}, "from ada"), ME, now())
    notes.add(bob, target, notes.Wording({}, {}, "from bob"), Person("Bob", "b@x"), now())
    pushed(pair.ada)
    pushed(bob)  # fetches ada's first
    assert _noted(bob) == {"from ada", "from bob"}
    fetched(pair.ada)
    assert _noted(pair.ada) == {"from ada", "from bob"}
    target_note = next(note for note in _all_notes(pair.ada) if note.message == "from bob")
    notes.remove(pair.ada, "main", ME, now(), note=target_note.id)
    notes.add(bob, "main", notes.Wording({"acc": 0.5}, {}, "more"), ME, now())
    pushed(bob)
    pushed(pair.ada)
    fetched(bob)
    assert _noted(bob) == _noted(pair.ada) == {"from ada", "more"}
    assert pair.refs()[NOTES]
    assert_sound(pair.folder / "bob")


def _all_notes(repository):
    with repository.reading() as view:
        return Notes(view.objects, view).of(ref(repository, MAIN))


# --- branches that follow ----------------------------------------------------------------------------------
def test_a_branch_that_only_the_remote_has_can_be_switched_to(pair):
    branches.create(pair.ada, "feature/x", "main", ME, now())
    pushed(pair.ada, "feature/x", remote="origin")
    bob = pair.clone()
    assert switch(bob, "feature/x", ME, now()).branch == "feature/x"
    committed(bob, "x", "x")
    found = status(bob).standing
    assert (found.upstream.shown, found.ahead, found.behind) == ("origin/feature/x", 1, 0)
    assert moves(pushed(bob).updates) == {"refs/heads/feature/x": "fast-forward"}
    with bob.reading() as view:
        from mvc.history.revisions import resolve_commit

        assert resolve_commit("@{u}", view.objects, view) == view.head_commit()
        assert resolve_commit("main@{upstream}", view.objects, view) == ref(bob, TRACKED)
        with pytest.raises(RevisionNotFound, match="not here"):
            resolve_commit("nothing@{u}", view.objects, view)


def test_status_counts_what_both_sides_have(pair):
    bob = pair.clone()
    for number in range(3):
        committed(bob, "b.txt", f"{number}")
    pushed(bob)
    for number in range(2):
        committed(pair.ada, "a.txt", f"{number}")
    fetched(pair.ada)
    found = status(pair.ada).standing
    assert (found.ahead, found.behind) == (2, 3)
    pulled(pair.ada)
    found = status(pair.ada).standing
    assert (found.ahead, found.behind) == (3, 0)


def test_a_renamed_branch_follows_the_same(pair):
    branches.rename(pair.ada, "main", "trunk", ME, now())
    assert status(pair.ada).standing.upstream.shown == "origin/main"
    undo(pair.ada, ME, now())
    assert status(pair.ada).standing.upstream.shown == "origin/main"


# --- undo --------------------------------------------------------------------------------------------------
def test_undo_takes_back_the_merge_then_the_fetch(pair):
    bob = pair.clone()
    committed(bob, "b.txt", "from bob\n")
    pushed(bob)
    before = tree(pair.ada.worktree), ref(pair.ada, MAIN), ref(pair.ada, TRACKED)
    pulled(pair.ada)
    assert undo(pair.ada, ME, now()).command == "pull origin main"
    assert (tree(pair.ada.worktree), ref(pair.ada, MAIN)) == before[:2]
    assert undo(pair.ada, ME, now()).command == "fetch origin"
    assert ref(pair.ada, TRACKED) == before[2]


def test_undo_of_a_push_says_how_to_move_it_back(pair):
    old = ref(pair.ada, MAIN)
    committed(pair.ada, "a.txt", "x")
    pushed(pair.ada)
    with pytest.raises(UserError, match="remote keeps") as error:
        undo(pair.ada, ME, now())
    spec = f"+{old.hex()}:main"
    assert f"mvc push origin {spec}" in error.value.hint
    assert moves(pushed(pair.ada, spec, remote="origin").updates) == {MAIN: "forced"}
    assert pair.refs()[MAIN][1:] == old


def test_a_clone_can_be_taken_back_and_brought_again(pair):
    bob = pair.clone()
    with bob.reading() as view:
        cloned = next(view.operations())
    undo(bob, ME, now())
    assert tree(bob.worktree) == {} and ref(bob, MAIN) is None
    restore_operation(bob, cloned.id.hex(), ME, now())
    assert tree(bob.worktree) == tree(pair.ada.worktree)


def test_a_push_reminds_of_the_collection_that_a_bucket_waits_for(tmp_path, monkeypatch):
    monkeypatch.setattr(pushing, "_MANY_WAITING", 3)
    pair = make_pair(tmp_path, "memory")
    for number in range(6):
        assert pair.ada.monitor.warnings == []
        committed(pair.ada, "notes.txt", f"{number}", f"version {number}")
        pushed(pair.ada)
        if pair.ada.monitor.warnings:
            break
    (warning,) = pair.ada.monitor.warnings
    assert "mvc gc --remote origin" in warning


# --- purged ------------------------------------------------------------------------------------------------
def test_what_was_purged_neither_comes_back_by_a_fetch_nor_by_a_push(tmp_path):
    pair = make_pair(tmp_path, "folder")
    committed(pair.ada, "secret.txt", "password " * 1000, "leak")
    pushed(pair.ada)
    bob = pair.clone()
    purge(pair.ada, Purge(("main:secret.txt",), ME, now(), "leaked"))
    committed(bob, "copy.txt", "password " * 1000, "the same again")
    pushed(bob, "main:copy", remote="origin")
    with pytest.raises(ObjectPurged, match="leaked") as error:
        fetched(pair.ada)
    assert error.value.exit_code == 3 and ref(pair.ada, "refs/remotes/origin/copy") is None
    add(bob, "ada", str(pair.ada.worktree), base=tmp_path)
    with pytest.raises(ObjectPurged, match="leaked"):
        pushed(bob, "main:copy", remote="ada")
    assert ref(pair.ada, "refs/heads/copy") is None


def test_a_purged_store_is_cloned_with_what_it_purged(tmp_path):
    pair = make_pair(tmp_path, "folder")
    committed(pair.ada, "secret.txt", "password " * 1000, "leak")
    (pair.ada.worktree / "secret.txt").unlink()
    committed(pair.ada, "other.txt", "fine", "without it")
    purge(pair.ada, Purge(("main~1:secret.txt",), ME, now(), "leaked"))
    pushed(pair.ada)  # to a store that never had it
    bob = pair.clone()
    assert tree(bob.worktree) == tree(pair.ada.worktree)
    assert_sound(bob.worktree)
    with bob.reading() as view:
        assert [purge.why for purge in view.tombstones.purges] == ["leaked"]
    with pytest.raises(ObjectPurged, match="leaked"):
        committed(bob, "copy.txt", "password " * 1000, "the same again")


def test_a_fetch_tells_of_what_the_other_purged_and_is_still_here(tmp_path):
    pair = make_pair(tmp_path, "folder")
    committed(pair.ada, "secret.txt", "password " * 1000, "leak")
    pushed(pair.ada)
    bob = pair.clone()
    add(bob, "ada", str(pair.ada.worktree), base=tmp_path)
    purge(pair.ada, Purge(("main:secret.txt",), ME, now(), "leaked"))
    fetched(bob, remote="ada")
    (warning,) = bob.monitor.warnings
    assert "ada purged main:secret.txt" in warning and "leaked" in warning and "still here" in warning
    with bob.reading() as view:
        assert not view.tombstones.purges  # what is here stays readable
    assert (bob.worktree / "secret.txt").read_text() == "password " * 1000


# --- processes ---------------------------------------------------------------------------------------------
_PUSH = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.engine import open_repository
from tests.sharing import pushed
from mvc.errors import ConflictError
repository = open_repository(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
try:
    pushed(repository)
except ConflictError:
    sys.exit(4)
"""


def test_of_two_processes_that_push_at_once_one_wins_and_one_is_told(tmp_path):
    pair = make_pair(tmp_path, "folder")
    people = [pair.ada, pair.clone("bob")]
    heads = [committed(one, f"of-{number}.txt", "x") for number, one in enumerate(people)]
    script = _PUSH.format(root=str(Path(__file__).parent.parent))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(one.worktree)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in people
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    codes = [process.wait(60) for process in running]
    for process in running:
        process.stdin.close()
        process.stdout.close()
    assert sorted(codes) == [0, 4]
    assert pair.refs()[MAIN][1:] == heads[codes.index(0)]
    loser = open_repository(people[codes.index(4)].worktree)
    assert pulled(loser).merged.kind == "merged"
    pushed(loser)
    assert len(history(pair.clone("carol"))) == 4


def test_nothing_is_left_in_a_shared_folder_not_even_of_the_dead(tmp_path):
    pair = make_pair(tmp_path, "folder")
    temporary = tmp_path / "shared" / "tmp"
    dead = temporary / f"{2**22 + 1}-{'0' * 16}-x"
    dead.write_bytes(b"of a push that was killed")
    bob = pair.clone()
    fetched(bob)
    assert dead.exists()
    committed(bob, "b.txt", "x")
    pushed(bob)
    assert list(temporary.iterdir()) == [] == list((tmp_path / "shared" / "intents").iterdir())


# --- stores that lie ---------------------------------------------------------------------------------------
def _lie(pair, refs, default=None):
    with begin(pair.store, "lie", ME, now()) as tx:
        made = refs(tx)
        tx.publish(lambda _view: Update(refs=made, default_branch=default))


def test_a_tag_that_means_another_version_than_its_ref_says_is_refused(pair):
    other = committed(pair.ada, "a.txt", "x")
    tags.create(pair.ada, "v1", "main~1", ME, now(), message="the first")
    pushed(pair.ada, "main", "v1", remote="origin")
    tag = ref(pair.ada, "refs/tags/v1")
    _lie(pair, lambda _tx: {"refs/tags/false": encode_target(tag, other)})
    bob = make_repository(pair.folder / "bob")
    add(bob, "origin", pair.address, base=pair.folder)
    with pytest.raises(CorruptObject, match="false of the remote is a tag of another version"):
        fetched(bob)
    assert ref(bob, TRACKED) is None
    assert moves(fetched(bob, tags="none").updates) == {TRACKED: "new"}


def test_refs_with_names_that_nobody_may_choose_stay_where_they_are(pair):
    main = ref(pair.ada, MAIN)
    odd = "refs/heads/--upload-pack", "refs/heads/a\u202eb", "refs/tags/" + "0" * 64
    _lie(pair, lambda _tx: dict.fromkeys(odd, encode_target(main)), default="--upload-pack")
    found = moves(fetched(pair.ada).updates)
    assert set(found.values()) == {"rejected"} and len(found) == 3
    assert ref(pair.clone(), MAIN) == main


@pytest.mark.parametrize("checkout", [True, False])
@pytest.mark.parametrize("name", ["-rf", "HEAD", "@", "x.lock", "y" * 244])
def test_a_branch_that_could_not_be_one_here_is_not_begun_with(pair, name, checkout):
    """Root's own rules are milder: it takes any name that is no danger by itself."""
    values = pair.refs()
    with begin(pair.store, "made by somebody else", ME, now()) as tx:
        refs = {"refs/heads/main": None, f"refs/heads/{name}": values["refs/heads/main"]}
        tx.publish(lambda _view: Update(refs=refs))
    with pytest.raises(InvalidName, match="cannot begin with that branch") as caught:
        pair.clone(request=CloneRequest(checkout=checkout))
    assert "-b BRANCH" in caught.value.hint
    assert not (pair.folder / "bob").exists()
    with begin(pair.store, "and a good one", ME, now()) as tx:
        tx.publish(lambda _view: Update(refs={"refs/heads/good": values["refs/heads/main"]}))
    bob = pair.clone(request=CloneRequest(branch="good", checkout=checkout))
    with bob.reading() as view:
        assert view.head == "refs/heads/good" and view.head_commit() is not None
