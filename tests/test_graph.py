"""Walking the graph: order, completeness, laziness, against Git where it is installed."""

import os
import shutil
import subprocess
from itertools import islice

import pytest
from history_memory import MemoryReader
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import CorruptObject, ObjectMissing
from mvc.history.ancestry import is_ancestor
from mvc.history.graph import walk
from mvc.history.reader import read_commit
from mvc.objectid import CommitId


def messages(reader, starts, **options):
    return [commit.message for _, commit in walk(reader, starts, **options)]


@pytest.fixture
def diamond():
    """a ← b, c ← d (merge of b and c); c is newer than b."""
    reader = MemoryReader()
    a = reader.commit(time=1, message="a")
    b = reader.commit(a, time=2, message="b")
    c = reader.commit(a, time=3, message="c")
    d = reader.commit(b, c, time=4, message="d")
    return reader, {"a": a, "b": b, "c": c, "d": d}


def test_newest_first_and_each_commit_once(diamond):
    reader, ids = diamond
    assert messages(reader, [ids["d"]]) == ["d", "c", "b", "a"]
    assert messages(reader, [ids["b"], ids["c"], ids["b"]]) == ["c", "b", "a"]
    assert [identity for identity, _ in walk(reader, [ids["d"]])] == [ids[name] for name in "dcba"]


def test_first_parent_follows_only_the_first(diamond):
    reader, ids = diamond
    assert messages(reader, [ids["d"]], first_parent=True) == ["d", "b", "a"]


def test_no_starts_no_commits(diamond):
    reader, _ = diamond
    assert list(walk(reader, [])) == []


def test_a_parent_whose_clock_ran_ahead_waits_for_its_known_children():
    reader = MemoryReader()
    parent = reader.commit(time=100, message="parent")
    old_child = reader.commit(parent, time=1, message="old child")
    new_child = reader.commit(parent, time=50, message="new child")
    assert messages(reader, [parent, old_child, new_child]) == ["new child", "old child", "parent"]


def test_equal_times_keep_the_order_of_meeting():
    reader = MemoryReader()
    first = reader.commit(time=5, message="first")
    second = reader.commit(time=5, message="second")
    assert messages(reader, [first, second]) == ["first", "second"]
    assert messages(reader, [second, first]) == ["second", "first"]


def test_one_parent_named_twice():
    reader = MemoryReader()
    root = reader.commit(time=1, message="root")
    twice = reader.commit(root, root, time=2, message="twice")
    assert messages(reader, [twice]) == ["twice", "root"]


def test_streams_without_reading_ahead():
    reader = MemoryReader()
    tip = reader.commit(time=0, message="0")
    for number in range(1, 1000):
        tip = reader.commit(tip, time=number, message=str(number))
    reader.reads.clear()
    steps = walk(reader, [tip])
    assert [commit.message for _, commit in islice(steps, 3)] == ["999", "998", "997"]
    assert reader.reads["commit"] == 3
    assert len(list(steps)) == 997
    assert reader.reads["commit"] == 1000


def test_a_missing_commit_is_reported_when_it_is_reached():
    reader = MemoryReader()
    missing = CommitId(bytes(32))
    child = reader.commit(missing, time=1, message="child")
    steps = walk(reader, [child])
    assert next(steps)[0] == child
    with pytest.raises(ObjectMissing):
        next(steps)


def test_damage_names_the_commit():
    reader = MemoryReader()
    reader.objects[CommitId(bytes(32))] = b"\x80"
    with pytest.raises(CorruptObject, match="commit 000000000000 is damaged"):
        read_commit(reader, CommitId(bytes(32)))


def test_is_ancestor(diamond):
    reader, ids = diamond
    pairs = {(x, y) for x in "abcd" for y in "abcd" if is_ancestor(reader, ids[x], ids[y])}
    assert pairs == {(x, x) for x in "abcd"} | {("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")}


def test_is_ancestor_trusts_no_clock():
    reader = MemoryReader()
    future = reader.commit(time=1_000, message="future")
    past = reader.commit(future, time=1, message="past")
    tip = reader.commit(past, time=500, message="tip")
    assert is_ancestor(reader, future, tip)


# Each commit: its time, and how far back its parents lie.
graphs = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.integers(1, 5), max_size=3, unique=True)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(graphs, st.data())
def test_any_graph_is_walked_whole_and_children_met_first(graph, data):
    reader, ids, parents = MemoryReader(), [], []
    for number, (time, back) in enumerate(graph):
        parents.append([number - distance for distance in back if distance <= number])
        ids.append(reader.commit(*(ids[p] for p in parents[-1]), time=time, message=str(number)))
    starts = data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1, max_size=3))

    reachable, todo = set(), list(starts)
    while todo:
        number = todo.pop()
        if number not in reachable:
            reachable.add(number)
            todo += parents[number]
    order = [int(message) for message in messages(reader, [ids[s] for s in starts])]
    assert len(order) == len(set(order))
    assert set(order) == reachable

    # Replay: at each step the known commits are those met through what was already given out.
    known, given_out = set(starts), set()
    for number in order:
        assert number in known
        waiting = known - given_out
        free = {n for n in waiting if not any(n in parents[other] for other in waiting)}
        assert number in free, "a parent came before a child that was known"
        assert graph[number][0] == max(graph[n][0] for n in free), "not the newest"
        given_out.add(number)
        known.update(parents[number])


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_same_order_as_git_log(tmp_path):
    """60 commits with merges, with equal times side by side, where clocks run forwards along every line.

    (Where they do not, Git may show a parent before a child that it knows; mvc does not.)
    """
    from random import Random

    random = Random(7)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
    }

    def git(*arguments, **options):
        return subprocess.run(
            ["git", *arguments],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            **options,
        ).stdout

    git("init", "-q", "-b", "main")
    reader, ids, lines, times = MemoryReader(), [], [], []
    for number in range(60):
        parents = sorted({number - random.randint(1, 6) for _ in range(random.choice((1, 1, 2, 3)))})
        parents = [p for p in parents if p >= 0]
        times.append(max((times[p] for p in parents), default=1000) + random.randint(1, 3))
        ids.append(reader.commit(*(ids[p] for p in parents), time=times[-1], message=str(number)))
        lines += [
            f"commit refs/heads/b{number}",
            f"mark :{number + 1}",
            f"committer A <a@b> {times[-1]} +0000",
            f"data {len(str(number))}",
            str(number),
        ]
        lines += [f"{'merge' if at else 'from'} :{p + 1}" for at, p in enumerate(parents)]
    git("fast-import", "--quiet", input="\n".join(lines) + "\n")
    compared = 0
    for starts in ([59], [59, 40], [30, 59, 58], list(range(59, 49, -1))):
        for options in ({}, {"first_parent": True}):
            flags = ["--first-parent"] if options else []
            theirs = git("log", "--format=%s", *flags, *(f"b{s}" for s in starts)).split()
            ours = messages(reader, [ids[s] for s in starts], **options)
            assert ours == theirs
            compared += len(ours)
    assert compared > 200
