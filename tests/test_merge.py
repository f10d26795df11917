"""``merge``: what becomes of HEAD, refs and work tree, with and without conflicts."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from mvc.errors import AnswerIsNo, ConflictError, DamageError, UsageError, UserError, WouldOverwrite
from mvc.formats import safetensors
from mvc.objects import Manifest
from mvc.ops import merge as verb
from mvc.ops.commit import commit
from mvc.ops.reset import reset
from mvc.ops.restore import restore
from mvc.ops.status import status
from mvc.ops.switch import switch, switch_orphan
from mvc.ops.undo import undo
from mvc.underway.pending import PENDING
from tests.engine import ME, assert_sound, make_repository, now, open_repository, snapshot, switch_to, tree
from tests.lines import (
    assert_undone,
    everything,
    fork,
    go_on,
    head,
    merge,
    model,
    put,
    request,
    under_way,
    values,
    version,
)
from tests.make_files import safetensors_bytes

TEXT = "one\ntwo\nthree\nfour\nfive\n"


def text_conflict(folder):
    return fork(
        folder,
        {"a.txt": TEXT, "b.bin": b"\0base", "only-ours": "x", "only-theirs": "x"},
        {"a.txt": TEXT.replace("two", "ours"), "b.bin": b"\0ours", "only-ours": "y"},
        {"a.txt": TEXT.replace("two", "theirs"), "b.bin": b"\0theirs", "only-theirs": "y", "new": "new"},
    )


def clean_fork(folder):
    return fork(
        folder,
        {"a.txt": TEXT, "gone": "x", "model.safetensors": model()},
        {"a.txt": TEXT.replace("one", "ours"), "model.safetensors": model(a=1.0)},
        {"a.txt": TEXT.replace("five", "theirs"), "gone": None, "model.safetensors": model(b=1.0)},
    )


def test_a_merge_parses_each_manifest_and_each_header_once(tmp_path, monkeypatch):
    repository = fork(
        tmp_path,
        {"model.safetensors": model()},
        {"model.safetensors": model(a=1.0, b=1.0)},
        {"model.safetensors": model(a=2.0, c=1.0)},
    )
    manifests: Counter[bytes] = Counter()
    headers: Counter[bytes] = Counter()
    parse_manifest, parse_header = Manifest.from_bytes.__func__, safetensors._parse

    def manifest(cls, data):
        manifests[bytes(data)] += 1
        return parse_manifest(cls, data)

    def header(raw):
        headers[raw] += 1
        return parse_header(raw)

    monkeypatch.setattr(Manifest, "from_bytes", classmethod(manifest))
    monkeypatch.setattr(safetensors, "_parse", header)
    assert merge(repository, strategy="average").kind == "merged"
    assert len(manifests) == 3 and set(manifests.values()) == {1}, "base, ours, theirs"
    assert list(headers.values()) == [2], "the one that all have, and once more in the file that was made"


# --- without conflicts -------------------------------------------------------------------------------------
def test_a_merge_has_both_parents_both_changes_and_gits_message(tmp_path):
    repository = clean_fork(tmp_path)
    before = everything(repository)
    ours, theirs = head(repository)[0], before[1]["refs/heads/side"][1:]
    result = merge(repository)
    assert result.kind == "merged" and not result.conflicts
    identity, made = head(repository)
    assert identity == result.commit
    assert made.parents == (ours, theirs)
    assert made.message == "Merge branch 'side'"
    assert [bytes(base) for base in result.bases] == list(made.extra["merge"]["bases"])
    assert (tmp_path / "a.txt").read_text() == "ours\ntwo\nthree\nfour\ntheirs\n"
    assert not (tmp_path / "gone").exists()
    assert (tmp_path / "model.safetensors").read_bytes() == model(a=1.0, b=1.0)
    assert status(repository).clean and status(repository).pending is None
    assert_sound(tmp_path)
    assert_undone(repository, before)


def test_strategies_of_the_beginning_hold_when_a_merge_goes_on(tmp_path):
    repository = fork(
        tmp_path,
        {"model.safetensors": model()},
        {"model.safetensors": model(a=1.0, b=1.0, c=1.0)},
        {"model.safetensors": model(a=3.0, b=3.0, c=3.0)},
    )
    merge(repository, choice=verb.Choice(None, ("a=average", "c=theirs"), weight=0.25))
    assert under_way(repository).conflicts[0].details == ("b",)
    verb.conclude_merge(repository, request(), verb.Choice("theirs", ("c=ours",)))
    found, base = values((tmp_path / "model.safetensors").read_bytes()), values(model())
    for name, moved in (("a", 1.5), ("b", 3.0), ("c", 1.0)):
        np.testing.assert_allclose(found[name], base[name] + np.float32(moved), rtol=1e-5, atol=1e-5)
    recorded = head(repository)[1].extra["merge"]
    assert recorded["strategy"] == "theirs" and recorded["weight"] == 0.25
    assert recorded["tensors"] == [["a", "average"], ["c", "theirs"], ["c", "ours"]]


def test_messages_name_what_was_merged_and_where(tmp_path):
    repository = clean_fork(tmp_path)
    switch_to(repository, "main", new_branch="topic")
    merge(repository)
    assert head(repository)[1].message == "Merge branch 'side' into topic"
    undo(repository, ME, now())
    switch_to(repository, "topic", detach=True)
    side = everything(repository)[1]["refs/heads/side"][1:].hex()
    merge(repository, side[:10])
    assert head(repository)[1].message == f"Merge commit '{side[:10]}' into HEAD"
    undo(repository, ME, now())
    merge(repository, request=request("mine", metrics={"loss": 1.5}, params={"k": 1}))
    made = head(repository)[1]
    assert (made.message, made.metrics, made.params) == ("mine", {"loss": 1.5}, {"k": 1})


def test_merging_what_is_there_does_nothing(tmp_path):
    repository = clean_fork(tmp_path)
    before = everything(repository)
    for revision in ("main~1", "main", "HEAD"):
        assert merge(repository, revision).kind == "up-to-date"
    assert everything(repository) == before


@pytest.mark.parametrize("mode", ["yes", "only"])
def test_a_fast_forward_makes_no_version(tmp_path, mode):
    repository = clean_fork(tmp_path)
    switch_to(repository, "main~1", new_branch="behind")
    before = everything(repository)
    result = merge(repository, "side", fast_forward=mode)
    assert result.kind == "fast-forward"
    assert everything(repository)[1]["refs/heads/behind"] == before[1]["refs/heads/side"]
    assert (tmp_path / "a.txt").read_text().endswith("theirs\n") and status(repository).clean
    assert_undone(repository, before)


def test_a_fast_forward_can_be_refused_or_demanded(tmp_path):
    repository = clean_fork(tmp_path)
    before = everything(repository)
    with pytest.raises(AnswerIsNo, match="not a fast-forward"):
        merge(repository, fast_forward="only")
    assert everything(repository) == before
    switch_to(repository, "main~1", new_branch="behind")
    merge(repository, "side", fast_forward="no")
    made = head(repository)[1]
    assert len(made.parents) == 2 and made.message == "Merge branch 'side' into behind"


def test_unrelated_histories_are_refused_without_a_word(tmp_path):
    repository = clean_fork(tmp_path)
    switch_orphan(repository, "other", ME, now())
    assert tree(tmp_path) == {}
    version(repository, {"other.txt": "other\n"})
    before = everything(repository)
    with pytest.raises(UserError, match="no version in common"):
        merge(repository, "main")
    with pytest.raises(UsageError, match="common version"):
        merge(repository, "main", unrelated=True, strategy="ties")
    assert everything(repository) == before
    assert merge(repository, "main", unrelated=True).kind == "merged"
    assert {"other.txt", "a.txt", "model.safetensors"} <= set(tree(tmp_path))
    assert_undone(repository, before)


def test_an_unborn_branch_becomes_what_is_merged(tmp_path):
    repository = clean_fork(tmp_path)
    files = tree(tmp_path)
    switch_orphan(repository, "other", ME, now())
    before = everything(repository)
    assert merge(repository, "main").kind == "fast-forward"
    assert tree(tmp_path) == files and status(repository).clean
    assert_undone(repository, before)


def test_a_detached_head_moves_alone(tmp_path):
    repository = clean_fork(tmp_path)
    switch_to(repository, "main", detach=True)
    before = everything(repository)
    result = merge(repository)
    after = everything(repository)
    assert after[0] == result.commit and after[1] == before[1]
    assert_undone(repository, before)


# --- uncommitted work --------------------------------------------------------------------------------------
def test_uncommitted_work_stays_where_the_merge_does_not_go_and_refuses_where_it_does(tmp_path):
    repository = clean_fork(tmp_path)
    put(tmp_path, {"unrelated": "mine"})
    merge(repository)
    assert (tmp_path / "unrelated").read_text() == "mine"
    assert status(repository).state.added == ["unrelated"]
    undo(repository, ME, now())
    put(tmp_path, {"a.txt": "mine"})
    before = everything(repository)
    with pytest.raises(WouldOverwrite, match=r"a\.txt"):
        merge(repository)
    assert everything(repository) == before


def test_uncommitted_work_in_a_file_in_conflict_refuses_too(tmp_path):
    repository = text_conflict(tmp_path)
    put(tmp_path, {"b.bin": b"\0mine"})  # which the merge would leave as ours has it
    before = everything(repository)
    with pytest.raises(WouldOverwrite, match=r"b\.bin"):
        merge(repository)
    assert everything(repository) == before


# --- conflicts ---------------------------------------------------------------------------------------------
def test_conflicts_are_left_listed_and_concluded(tmp_path):
    repository = text_conflict(tmp_path)
    before = everything(repository)
    result = merge(repository)
    assert result.kind == "conflicts"
    assert [(conflict.path, conflict.kind) for conflict in result.conflicts] == [
        ("a.txt", "content"),
        ("b.bin", "content"),
    ]
    assert head(repository)[0] == result.commit  # HEAD did not move
    assert "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> side\n" in (tmp_path / "a.txt").read_text()
    assert (tmp_path / "b.bin").read_bytes() == b"\0ours"
    assert (tmp_path / "only-theirs").read_text() == "y"
    found = status(repository)
    assert found.pending is not None and found.pending.kind == "merge"
    assert [conflict.path for conflict in found.unresolved] == ["a.txt", "b.bin"]
    with pytest.raises(ConflictError, match="2 in conflict"):
        go_on(repository)
    put(tmp_path, {"a.txt": "<<<<<<< HEAD\nstill\n"})
    assert len(status(repository).unresolved) == 2
    put(tmp_path, {"a.txt": "resolved\n", "b.bin": b"\0both", "unrelated": "mine"})
    assert status(repository).unresolved == ()
    halfway = everything(repository)
    assert go_on(repository).kind == "merged"
    identity, made = head(repository)
    assert len(made.parents) == 2 and made.message == "Merge branch 'side'"
    assert under_way(repository) is None
    assert status(repository).state.added == ["unrelated"]  # it has nothing to do with the merge
    assert not status(repository).state.modified and identity != result.commit
    assert_sound(tmp_path)
    assert_undone(repository, halfway)
    put(tmp_path, {"unrelated": None, "b.bin": b"\0ours"})  # which the merge had not touched
    assert_undone(repository, before, force=True)


def test_a_commit_concludes_a_merge(tmp_path):
    repository = text_conflict(tmp_path)
    merge(repository, request=request(params={"k": 1}))
    with pytest.raises(ConflictError, match="in conflict"):
        snapshot(repository, "too early")
    with pytest.raises(ConflictError, match="alone"):
        snapshot(repository, "a part", paths=["a.txt"])
    with pytest.raises(ConflictError, match="amended"):
        snapshot(repository, "amended", amend=True)
    put(tmp_path, {"a.txt": "resolved\n", "b.bin": None})
    before = everything(repository)
    done = commit(repository, request(metrics={"loss": 2.0}))
    assert done.commit.message == "Merge branch 'side'" and len(done.commit.parents) == 2
    assert done.commit.params == {"k": 1} and done.commit.metrics == {"loss": 2.0}
    assert "merge" in done.commit.extra
    assert "b.bin" not in tree(tmp_path) and status(repository).clean
    assert_undone(repository, before)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_is_chosen_for_a_file(tmp_path, side):
    repository = text_conflict(tmp_path)
    merge(repository)
    before = everything(repository)
    done = restore(repository, ["b.bin"], ME, now(), side=side)
    assert done.resolved == ("b.bin",)
    assert (tmp_path / "b.bin").read_bytes() == b"\0" + side.encode()
    assert [conflict.path for conflict in status(repository).unresolved] == ["a.txt"]
    assert_undone(repository, before)
    restore(repository, [], ME, now(), side=side)
    assert status(repository).unresolved == ()
    with pytest.raises(UserError, match="nothing is in conflict"):
        restore(repository, ["a.txt"], ME, now(), side=side)
    go_on(repository)
    assert (tmp_path / "a.txt").read_text() == TEXT.replace("two", side)
    assert status(repository).clean


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_modified_here_deleted_there(tmp_path, side):
    repository = fork(tmp_path, {"f": "base", "k": "k"}, {"f": "ours"}, {"f": None})
    result = merge(repository)
    assert [(c.path, c.kind) for c in result.conflicts] == [("f", "modify/delete")]
    assert (tmp_path / "f").read_text() == "ours"  # the modified file is left
    restore(repository, ["f"], ME, now(), side=side)
    assert (tmp_path / "f").exists() == (side == "ours")
    go_on(repository)
    assert ("f" in tree(tmp_path)) == (side == "ours") and status(repository).clean


def test_what_is_left_can_be_merged_again_with_a_strategy(tmp_path):
    repository = text_conflict(tmp_path)
    merge(repository)
    put(tmp_path, {"a.txt": "by hand\n"})
    before = everything(repository)
    assert go_on(repository, "theirs").kind == "merged"
    assert (tmp_path / "b.bin").read_bytes() == b"\0theirs"
    assert (tmp_path / "a.txt").read_text() == "by hand\n"
    assert status(repository).clean
    assert head(repository)[1].extra["merge"]["strategy"] == "theirs"
    assert_undone(repository, before)


def test_abort_restores_what_the_merge_touched_and_nothing_else(tmp_path):
    repository = text_conflict(tmp_path)
    put(tmp_path, {"unrelated": "mine"})
    before = everything(repository)
    merge(repository)
    put(tmp_path, {"b.bin": b"\0half done", "a.txt": None, "later": "mine too"})
    halfway = everything(repository)
    verb.abort(repository, ME, now())
    files = {**before[2], "later": (b"mine too", False)}
    assert everything(repository) == (*before[:2], files)
    assert_undone(repository, halfway)


def test_abort_after_an_undo_of_what_was_before(tmp_path):
    repository = text_conflict(tmp_path)
    merge(repository)
    with repository.reading() as view:
        commit_of_ours = list(view.operations())[1]
    undo(repository, ME, now(), operation=commit_of_ours.id.hex())
    with pytest.raises(ConflictError, match="moved since the merge began"):
        go_on(repository, "ours")
    before = everything(repository)
    verb.abort(repository, ME, now())
    assert (tmp_path / "a.txt").read_text() == TEXT and under_way(repository) is None
    assert status(repository).clean
    assert_undone(repository, before)


def test_while_a_merge_is_under_way_head_stays(tmp_path):
    repository = text_conflict(tmp_path)
    merge(repository)
    before = everything(repository)
    for attempt in (
        lambda: switch_to(repository, "side"),
        lambda: switch_to(repository, "HEAD", new_branch="new"),
        lambda: switch(repository, "side", ME, now()),
        lambda: switch_orphan(repository, "new", ME, now()),
        lambda: merge(repository),
        lambda: reset(repository, "HEAD~1", ME, now(), mode="soft"),
    ):
        with pytest.raises(ConflictError, match="under way") as refused:
            attempt()
        assert "merge --continue" in refused.value.hint
    assert everything(repository) == before


@pytest.mark.parametrize("mode", ["mixed", "hard"])
def test_a_reset_ends_a_merge(tmp_path, mode):
    repository = text_conflict(tmp_path)
    start = everything(repository)
    merge(repository)
    put(tmp_path, {"a.txt": "half done", "unrelated": "mine"})
    before = everything(repository)
    reset(repository, "HEAD", ME, now(), mode=mode)
    assert PENDING not in everything(repository)[1]
    if mode == "hard":
        assert tree(tmp_path) == {**start[2], "unrelated": (b"mine", False)}
    else:
        assert tree(tmp_path) == before[2]
    assert_undone(repository, before)


def test_a_merge_can_wait_without_conflicts(tmp_path):
    repository = clean_fork(tmp_path)
    before = everything(repository)
    assert merge(repository, conclude=False).kind == "prepared"
    assert status(repository).unresolved == () and under_way(repository) is not None
    assert not (tmp_path / "gone").exists()
    verb.abort(repository, ME, now())
    assert everything(repository) == before
    merge(repository, conclude=False)
    go_on(repository, message="at last")
    made = head(repository)[1]
    assert len(made.parents) == 2 and made.message == "at last" and status(repository).clean


def test_a_squash_has_one_parent(tmp_path):
    repository = clean_fork(tmp_path)
    ours = head(repository)[0]
    merge(repository, squash=True)
    go_on(repository)
    made = head(repository)[1]
    assert made.parents == (ours,) and "merge" not in made.extra
    assert made.message.startswith("Squashed commit of the following:") and "theirs" in made.message
    assert (tmp_path / "a.txt").read_text() == "ours\ntwo\nthree\nfour\ntheirs\n"


@pytest.mark.parametrize("make", [clean_fork, text_conflict])
def test_a_dry_run_says_what_would_happen_and_changes_nothing(tmp_path, make):
    repository = make(tmp_path)
    before = everything(repository)
    told = merge(repository, dry_run=True)
    assert everything(repository) == before
    done = merge(repository)
    assert (told.kind, told.changes, told.conflicts) == (done.kind, done.changes, done.conflicts)


def test_garbage_collection_keeps_both_sides(tmp_path):
    from mvc.ops.branch import delete
    from mvc.ops.gc import Request as Collection
    from mvc.ops.gc import gc

    repository = text_conflict(tmp_path)
    merge(repository)
    delete(repository, "side", ME, now(), force=True)
    gc(repository, Collection(now(), 0, False, True, False, False))
    repository = open_repository(tmp_path)
    assert len(status(repository).unresolved) == 2
    restore(repository, [], ME, now(), side="theirs")
    go_on(repository)
    assert (tmp_path / "b.bin").read_bytes() == b"\0theirs" and len(head(repository)[1].parents) == 2
    assert_sound(tmp_path)


def test_a_status_with_something_under_way_is_not_clean(tmp_path):
    repository = fork(tmp_path, {"b": b"\0base"}, {"b": b"\0ours"}, {"b": b"\0theirs"})
    merge(repository)
    found = status(repository)
    assert found.state.clean and not found.clean


def test_nothing_can_be_committed_from_memory_meanwhile(tmp_path):
    from mvc.memoryfile import MemoryFile, Stretch
    from mvc.ops.commit_given import Given, commit_given

    repository = text_conflict(tmp_path)
    merge(repository)
    given = Given({"x.bin": MemoryFile("x.bin", [Stretch.of(b"x")])})
    with pytest.raises(ConflictError, match="under way"):
        commit_given(repository, request("from memory"), given)


def test_continue_and_abort_need_a_merge(tmp_path):
    repository = clean_fork(tmp_path)
    with pytest.raises(UserError, match="no merge is under way"):
        go_on(repository)
    with pytest.raises(UserError, match="no merge is under way"):
        verb.abort(repository, ME, now())


# --- tensors -----------------------------------------------------------------------------------------------
def weights_fork(folder):
    return fork(
        folder,
        {"m.safetensors": model()},
        {"m.safetensors": model(a=1.0, b=1.0)},
        {"m.safetensors": model(b=2.0, c=1.0)},
    )


def test_a_tensor_that_both_changed_is_a_conflict_by_name(tmp_path):
    repository = weights_fork(tmp_path)
    result = merge(repository)
    (conflict,) = result.conflicts
    assert conflict.details == ("b",)
    assert (tmp_path / "m.safetensors").read_bytes() == model(a=1.0, b=1.0, c=1.0)
    assert len(status(repository).unresolved) == 1
    assert go_on(repository, "average").kind == "merged"
    merged, base = values((tmp_path / "m.safetensors").read_bytes()), values(model())
    ours, theirs = values(model(b=1.0))["b"], values(model(b=2.0))["b"]
    np.testing.assert_array_equal(merged["b"], np.float32(0.5) * ours + np.float32(0.5) * theirs)
    np.testing.assert_array_equal(merged["c"], base["c"] + np.float32(1))
    assert head(repository)[1].extra["merge"]["weight"] == 0.5
    assert_sound(tmp_path)


def test_strategies_are_recorded_and_rule_by_tensor(tmp_path):
    repository = weights_fork(tmp_path)
    choice = verb.Choice("average", ("b=theirs",), weight=0.25)
    before = everything(repository)
    merge(repository, choice=choice)
    assert (
        values((tmp_path / "m.safetensors").read_bytes())["b"].tobytes()
        == values(model(b=2.0))["b"].tobytes()
    )
    record = head(repository)[1].extra["merge"]
    assert record["strategy"] == "average" and record["tensors"] == [["b", "theirs"]]
    with repository.reading() as view:
        newest = next(view.operations()).command
    assert newest == "merge --strategy average --strategy-for b=theirs --weight 0.25 side"
    assert_undone(repository, before)
    with pytest.raises(UsageError):
        merge(repository, strategy="no-such")


def test_merges_of_repositories_opened_anew_go_on(tmp_path):
    weights_fork(tmp_path)
    merge(open_repository(tmp_path))
    go_on(open_repository(tmp_path), "ours")
    assert status(open_repository(tmp_path)).clean


def test_a_first_merge_of_an_empty_repository_needs_a_version(tmp_path):
    with pytest.raises(UserError):
        merge(make_repository(tmp_path), "main")


# --- from Python -------------------------------------------------------------------------------------------
def test_the_same_from_python(tmp_path):
    import mvc

    weights_fork(tmp_path)
    with mvc.Repo.open(tmp_path) as repo:
        assert repo.merge("side", dry_run=True).kind == "conflicts" and repo.status().pending is None
        assert repo.merge("side").conflicts[0].details == ("b",)
        state = repo.status()
        assert state.pending == "merge" and state.unresolved == ("m.safetensors",)
        repo.abort()
        assert repo.status().clean and repo.undo() == "merge --abort"
        repo.restore(["."], side="theirs")
        assert repo.commit().parents == (head(open_repository(tmp_path))[1].parents[0].hex(), repo["side"].id)
        repo.reset("HEAD~1", mode="hard")
        done = repo.merge("side", "mine", strategy="slerp", strategy_for={"a": "ours"}, metrics={"loss": 1.0})
        assert done.kind == "merged" and repo.head.message == "mine" and repo.head.metrics == {"loss": 1.0}
        repo.reset("HEAD~1", mode="hard")
        assert repo.cherry_pick("side").conflicts
        repo.skip()
        repo.cherry_pick("side")
        assert len(repo.conclude(strategy="theirs").made) == 1
        assert len(repo.revert("HEAD").made) == 1
        with pytest.raises(UserError, match="under way"):
            repo.conclude()
        for wrong in (
            lambda: repo.reset(mode="harder"),
            lambda: repo.restore([]),
            lambda: repo.restore(["m.safetensors"], side="both"),
            lambda: repo.cherry_pick(),
            lambda: repo.merge(3),
            lambda: repo.merge("side", strategy_for="a=ours"),
            lambda: repo.switch("side", orphan="new"),
        ):
            with pytest.raises(UsageError):
                wrong()


# --- damaged versions --------------------------------------------------------------------------------------
def test_damage_is_told_by_file_and_a_merge_or_a_switch_leaves_nothing_half_done(tmp_path):
    start = tmp_path / "start"
    weights = [_weights(), _weights(a=1.0, b=2.0), _weights(b=1.0, c=2.0)]
    fork(start, *({"sub/m.safetensors": data} for data in weights))
    wholes, refused = [], 0
    verbs = (
        lambda at: merge(at, strategy="average"),
        lambda at: switch(at, "side", ME, now()),
    )
    packs = [path.relative_to(start) for path in sorted((start / ".mvc" / "packs").rglob("*.pack"))]
    assert len(packs) == 3
    for number, verb_ in enumerate(verbs):
        for pack in [None, *packs]:
            folder = tmp_path / "work"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(start, folder)
            if pack is not None:
                data = bytearray((folder / pack).read_bytes())
                data[len(data) // 2] ^= 1  # most of a pack are values of tensors
                (folder / pack).chmod(0o644)
                (folder / pack).write_bytes(data)
            repository = open_repository(folder)
            before = everything(repository)
            try:
                verb_(repository)
            except DamageError as damage:
                refused += 1
                assert damage.exit_code == 5 and damage.message.startswith("'sub/m.safetensors': ")
                assert everything(repository) == before
            else:
                wholes += [tree(folder)] if pack is None else []
                assert tree(folder) == wholes[number]
    assert refused >= 3


def _weights(**moved):
    rng = np.random.default_rng(1)
    made = {}
    for name in "abc":
        values = rng.standard_normal((200, 100)).astype("<f4") + np.float32(moved.get(name, 0))
        made[name] = ("F32", (200, 100), values.astype("<f4").tobytes())
    return safetensors_bytes(made)
