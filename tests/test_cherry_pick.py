"""``cherry-pick`` and ``revert``: versions applied, and taken back, one after the other."""

from __future__ import annotations

import pytest

from mvc.errors import AnswerIsNo, ConflictError, UsageError, UserError, WouldOverwrite
from mvc.objects import Person
from mvc.ops import pick as pick_verb
from mvc.ops.commit import Request, commit
from mvc.ops.merge import Choice
from mvc.ops.restore import restore
from mvc.ops.status import status
from tests.engine import ME, assert_sound, make_repository, now, snapshot, switch_to, tree
from tests.lines import (
    assert_undone,
    cherry_pick,
    everything,
    head,
    merge,
    model,
    put,
    request,
    revert,
    under_way,
    values,
    version,
)

OTHER = Person("Grace", "grace@example.org")


def line(folder):
    """``main``: one base; ``side``: four versions more, of which the third changes the same file as main."""
    repository = make_repository(folder)
    version(repository, {"a": "a\n", "b": "b\n", "m.safetensors": model()}, "base")
    switch_to(repository, "HEAD", new_branch="side")
    ids = []
    for files, message in (
        ({"one": "1\n"}, "add one\n\nwith a body"),
        ({"two": "2\n", "b": None}, "add two"),
        ({"a": "theirs\n"}, "change a"),
        ({"four": "4\n", "m.safetensors": model(a=1.0)}, "add four"),
    ):
        put(folder, files)
        made = Request(message, OTHER, now(), metrics={"loss": 1.0}, params={"lr": 0.1})
        ids.append(commit(repository, made).id)
    switch_to(repository, "main")
    version(repository, {"a": "ours\n"}, "ours")
    return repository, ids


def log(repository, count):
    with repository.reading() as view:
        found, identity = [], view.head_commit()
        for _ in range(count):
            made = view.commit(identity)
            found.append(made.subject)
            identity = made.parents[0]
    return found


# --- cherry-pick -------------------------------------------------------------------------------------------
def test_a_pick_keeps_author_message_and_params_and_drops_metrics_of_other_files(tmp_path):
    repository, _ids = line(tmp_path)
    before = everything(repository)
    done = cherry_pick(repository, "side~3")
    identity, made = head(repository)
    assert done.made == (identity,) and done.stopped is None
    assert (made.author, made.message) == (OTHER, "add one\n\nwith a body")
    assert made.params == {"lr": 0.1} and made.metrics == {}
    assert len(made.parents) == 1 and "one" in tree(tmp_path) and "two" not in tree(tmp_path)
    assert status(repository).clean and under_way(repository) is None
    assert_sound(tmp_path)
    assert_undone(repository, before)


def test_metrics_stay_with_the_files_that_they_were_measured_on(tmp_path):
    repository, ids = line(tmp_path)
    switch_to(repository, "main~1", new_branch="twin")
    cherry_pick(repository, "side~3", note=True)
    made = head(repository)[1]
    assert made.metrics == {"loss": 1.0}
    assert made.message == f"add one\n\nwith a body\n\n(cherry picked from commit {ids[0].hex()})"


def test_a_range_is_one_operation_oldest_first(tmp_path):
    repository, _ids = line(tmp_path)
    before = everything(repository)
    done = cherry_pick(repository, "side~4..side~2", "side")
    assert len(done.made) == 3
    assert log(repository, 4) == ["add four", "add two", "add one", "ours"]
    assert {"one", "two", "four"} <= set(tree(tmp_path)) and "b" not in tree(tmp_path)
    assert (tmp_path / "m.safetensors").read_bytes() == model(a=1.0)
    assert status(repository).clean
    assert_sound(tmp_path)
    assert_undone(repository, before)
    with pytest.raises(UserError, match="no version"):
        cherry_pick(repository, "side..side")


def test_picks_stop_at_a_conflict_and_go_on(tmp_path):
    repository, ids = line(tmp_path)
    before = everything(repository)
    done = cherry_pick(repository, "main~1..side")
    assert len(done.made) == 2 and done.stopped == ids[2] and done.left == 1
    assert [conflict.path for conflict in done.conflicts] == ["a"]
    halfway = everything(repository)
    assert log(repository, 2) == ["add two", "add one"]
    assert_undone(repository, before)
    cherry_pick(repository, "main~1..side")
    assert everything(repository)[2] == halfway[2]
    found = status(repository)
    assert found.pending is not None and found.pending.kind == "cherry-pick" and found.unresolved
    with pytest.raises(ConflictError, match="in conflict"):
        pick_verb.go_on(repository, "cherry-pick", request())
    with pytest.raises(UserError, match="but a cherry-pick"):
        pick_verb.go_on(repository, "revert", request())
    put(tmp_path, {"a": "both\n", "unrelated": "mine"})
    halfway = everything(repository)
    done = pick_verb.go_on(repository, "cherry-pick", request())
    assert len(done.made) == 2 and done.stopped is None
    assert log(repository, 5) == ["add four", "change a", "add two", "add one", "ours"]
    assert head(repository)[1].author == OTHER
    assert (tmp_path / "a").read_text() == "both\n"
    assert status(repository).state.added == ["unrelated"] and under_way(repository) is None
    assert_sound(tmp_path)
    assert_undone(repository, halfway)


def test_a_pick_can_be_skipped_or_all_of_them_taken_back(tmp_path):
    repository, _ids = line(tmp_path)
    before = everything(repository)
    cherry_pick(repository, "main~1..side")
    put(tmp_path, {"a": "half done\n"})
    halfway = everything(repository)
    done = pick_verb.skip(repository, "cherry-pick", request())
    assert len(done.made) == 1 and log(repository, 4) == ["add four", "add two", "add one", "ours"]
    assert (tmp_path / "a").read_text() == "ours\n" and status(repository).clean
    assert_undone(repository, halfway)
    pick_verb.abort(repository, "cherry-pick", ME, now())
    assert everything(repository) == before
    assert_undone(repository, halfway)


def test_a_commit_concludes_one_pick_and_the_others_wait(tmp_path):
    repository, ids = line(tmp_path)
    cherry_pick(repository, "main~1..side")
    put(tmp_path, {"a": "both\n"})
    before = everything(repository)
    done = commit(repository, request("by hand"))
    assert done.commit.author == OTHER and done.commit.message == "by hand"
    pending = under_way(repository)
    assert pending is not None and pending.theirs is None and pending.rest == (ids[3],)
    with pytest.raises(ConflictError, match="waits to go on"):
        snapshot(repository, "another")
    with pytest.raises(ConflictError, match="under way"):
        switch_to(repository, "side")
    waiting = everything(repository)
    pick_verb.go_on(repository, "cherry-pick", request())
    assert log(repository, 3) == ["add four", "by hand", "add two"]
    assert under_way(repository) is None and status(repository).clean
    assert_undone(repository, waiting)
    assert_undone(repository, before)


def test_a_pick_that_changes_nothing_stops(tmp_path):
    repository, ids = line(tmp_path)
    cherry_pick(repository, "side~3")
    before = everything(repository)
    done = cherry_pick(repository, "side~3")
    assert done.stopped == ids[0] and not done.conflicts and not done.made
    assert everything(repository)[2] == before[2] and under_way(repository) is not None
    with pytest.raises(AnswerIsNo, match="nothing to commit"):
        pick_verb.go_on(repository, "cherry-pick", request())
    pick_verb.skip(repository, "cherry-pick", request())
    assert everything(repository) == before
    done = cherry_pick(repository, "side~3", allow_empty=True)
    assert len(done.made) == 1 and done.stopped is None


def test_a_merge_is_picked_from_one_of_its_parents(tmp_path):
    repository, _ids = line(tmp_path)
    merge(repository, "side~2")
    merged = head(repository)[0].hex()
    switch_to(repository, "main~1", new_branch="plain")
    with pytest.raises(UsageError, match="is a merge"):
        cherry_pick(repository, merged)
    with pytest.raises(UsageError, match="no parent number 3"):
        cherry_pick(repository, merged, mainline=3)
    cherry_pick(repository, merged, mainline=1)
    assert {"one", "two"} <= set(tree(tmp_path))
    revert(repository, "HEAD")
    assert "one" not in tree(tmp_path)


def test_without_a_commit_only_files_change(tmp_path):
    repository, _ids = line(tmp_path)
    before = everything(repository)
    done = cherry_pick(repository, "side~3", commit=False)
    assert not done.made and everything(repository)[:2] == before[:2]
    assert status(repository).state.added == ["one"] and under_way(repository) is None
    assert_undone(repository, before)
    with pytest.raises(UsageError, match="one version"):
        cherry_pick(repository, "side~3", "side~2", commit=False)


def test_uncommitted_work_in_the_way_refuses_a_pick(tmp_path):
    repository, _ids = line(tmp_path)
    put(tmp_path, {"one": "mine\n", "b": "mine too\n"})
    before = everything(repository)
    for revision in ("side~3", "side~2", "main~1..side"):
        with pytest.raises(WouldOverwrite):
            cherry_pick(repository, revision)
    assert everything(repository) == before
    cherry_pick(repository, "side")  # goes elsewhere
    assert (tmp_path / "one").read_text() == "mine\n"


def test_a_conflict_in_tensors_is_settled_by_a_strategy(tmp_path):
    repository, _ids = line(tmp_path)
    version(repository, {"m.safetensors": model(a=3.0, b=1.0)}, "mine")
    done = cherry_pick(repository, "side")
    assert done.conflicts[0].details == ("a",)
    before = everything(repository)
    pick_verb.go_on(repository, "cherry-pick", request(), Choice("theirs"))
    found = values((tmp_path / "m.safetensors").read_bytes())
    assert found["a"].tobytes() == values(model(a=1.0))["a"].tobytes()
    assert found["b"].tobytes() == values(model(b=1.0))["b"].tobytes()
    assert_undone(repository, before)
    restore(repository, ["m.safetensors"], ME, now(), side="ours")
    pick_verb.go_on(repository, "cherry-pick", request())
    assert (tmp_path / "m.safetensors").read_bytes() == model(a=3.0, b=1.0)


def test_there_must_be_something_to_pick_onto(tmp_path):
    repository = make_repository(tmp_path)
    with pytest.raises(UserError, match="no version yet"):
        cherry_pick(repository, "main")


def test_many_versions_still_to_come_are_kept(tmp_path):
    repository = make_repository(tmp_path)
    version(repository, {"a": "a", "n": "0"}, "base")
    switch_to(repository, "HEAD", new_branch="side")
    version(repository, {"a": "theirs"}, "conflict")
    for number in range(1, 71):
        version(repository, {"n": str(number)}, str(number))
    switch_to(repository, "main")
    version(repository, {"a": "ours"}, "ours")
    done = cherry_pick(repository, "main~1..side")
    assert done.left == 70
    pending = under_way(repository)
    assert pending is not None and len(pending.rest) == 70
    with repository.reading() as view:
        stored = view.commit(view.refs.get("refs/worktree/pending"))
        reached, waiting = set(), list(stored.parents)
        while waiting:
            identity = waiting.pop()
            if identity not in reached:
                reached.add(identity)
                waiting += view.commit(identity).parents
    assert len(stored.parents) <= 64 and reached.issuperset(pending.rest)
    put(tmp_path, {"a": "both"})
    assert len(pick_verb.go_on(repository, "cherry-pick", request()).made) == 71
    assert (tmp_path / "n").read_text() == "70"


# --- revert ------------------------------------------------------------------------------------------------
def test_a_revert_takes_back_and_says_so(tmp_path):
    repository, ids = line(tmp_path)
    switch_to(repository, "side")
    before = everything(repository)
    revert(repository, "side~2")
    made = head(repository)[1]
    assert made.message == f'Revert "add two"\n\nThis reverts commit {ids[1].hex()}.'
    assert made.author == ME and made.params == {} and made.metrics == {}
    assert "two" not in tree(tmp_path) and (tmp_path / "b").read_text() == "b\n"
    assert "four" in tree(tmp_path) and status(repository).clean
    assert_undone(repository, before)


def test_a_range_is_reverted_newest_first(tmp_path):
    repository, _ids = line(tmp_path)
    files = tree(tmp_path)
    switch_to(repository, "side")
    revert(repository, "main~1..side")
    assert log(repository, 2) == ['Revert "add one"', 'Revert "add two"']
    files["a"] = (b"a\n", False)
    assert tree(tmp_path) == files


def test_the_first_version_can_be_reverted(tmp_path):
    repository = make_repository(tmp_path)
    version(repository, {"a": "a\n"}, "first")
    version(repository, {"b": "b\n"}, "second")
    revert(repository, "HEAD~1")
    assert set(tree(tmp_path)) == {"b"}


def test_a_revert_of_a_merge_names_the_side_that_stays(tmp_path):
    repository, _ids = line(tmp_path)
    merge(repository, "side~2")
    merged, made = head(repository)
    revert(repository, "HEAD", mainline=1)
    assert head(repository)[1].message.endswith(
        f"This reverts commit {merged.hex()}, reversing\nchanges made to {made.parents[0].hex()}."
    )
    assert "one" not in tree(tmp_path) and (tmp_path / "a").read_text() == "ours\n"


def test_a_revert_of_what_is_gone_says_no(tmp_path):
    repository, _ids = line(tmp_path)
    switch_to(repository, "side")
    revert(repository, "side~3")
    before = everything(repository)
    with pytest.raises(AnswerIsNo, match="not there any more"):
        revert(repository, "side~4")
    assert everything(repository) == before


def test_a_revert_in_conflict_is_concluded_or_taken_back(tmp_path):
    repository, _ids = line(tmp_path)
    switch_to(repository, "side")
    version(repository, {"a": "later\n"}, "later")
    before = everything(repository)
    done = revert(repository, "HEAD~2")
    assert [conflict.path for conflict in done.conflicts] == ["a"]
    pick_verb.abort(repository, "revert", ME, now())
    assert everything(repository) == before
    revert(repository, "HEAD~2")
    put(tmp_path, {"a": "both\n"})
    pick_verb.go_on(repository, "revert", request())
    assert head(repository)[1].subject == 'Revert "change a"' and status(repository).clean
