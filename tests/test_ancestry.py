"""Where lines of history meet: against Git on random graphs with wrong clocks, and how much is read."""

from __future__ import annotations

from random import Random

import pytest
from git_oracle import Git, needs_git
from history_memory import MemoryReader
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.canonical import pack
from mvc.errors import CorruptObject, ObjectMissing, UnsupportedFeature
from mvc.history.ancestry import is_ancestor, merge_bases, merge_bases_of_all
from mvc.history.reader import read_commit, read_links
from mvc.objectid import CommitId

SOUND = {
    "author": ["A", "a@b"],
    "message": "",
    "metrics": {},
    "params": {},
    "parents": [],
    "time": [0, 0],
    "tree": bytes(32),
}
"""A commit's fields as they are stored."""


def grown(graph):
    """A store with a commit for each (time, numbers of parents), and their ids."""
    reader, ids = MemoryReader(), []
    for number, (time, parents) in enumerate(graph):
        ids.append(reader.commit(*(ids[p] for p in parents), time=time, message=str(number)))
    return reader, ids


def ancestors(graph, number):
    """A commit and all that it reaches."""
    found, todo = set(), [number]
    while todo:
        commit = todo.pop()
        if commit not in found:
            found.add(commit)
            todo += graph[commit][1]
    return found


def best(graph, *groups):
    """Common ancestors of groups of commits that no other one descends from, by the definition."""
    shared = set.intersection(*(set().union(*(ancestors(graph, n) for n in group)) for group in groups))
    return {c for c in shared if not any(c != other and c in ancestors(graph, other) for other in shared)}


graphs = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.integers(1, 6), max_size=3, unique=True)),
    min_size=1,
    max_size=20,
).map(
    lambda rows: [(time, [n - back for back in backs if back <= n]) for n, (time, backs) in enumerate(rows)]
)


@settings(deadline=None, max_examples=150)
@given(graphs, st.data())
def test_merge_bases_are_what_the_definition_says(graph, data):
    """Whatever the clocks say; newest first."""
    reader, ids = grown(graph)
    numbers = st.integers(0, len(ids) - 1)
    one, *others = data.draw(st.lists(numbers, min_size=2, max_size=4))

    found = merge_bases(reader, ids[one], *(ids[n] for n in others))
    assert {ids.index(c) for c in found} == best(graph, [one], others)
    times = [graph[ids.index(c)][0] for c in found]
    assert times == sorted(times, reverse=True)
    assert is_ancestor(reader, ids[one], ids[others[0]]) == (one in ancestors(graph, others[0]))
    assert set(merge_bases(reader, ids[one], ids[others[0]])) == set(
        merge_bases(reader, ids[others[0]], ids[one])
    )
    every = merge_bases_of_all(reader, [ids[one], *(ids[n] for n in others)])
    assert {ids.index(c) for c in every} == best(graph, *([n] for n in (one, *others)))


@needs_git
@pytest.mark.parametrize("seed", range(3))
def test_same_answers_in_the_same_order_as_git(seed, tmp_path):
    git, random, asked = Git(tmp_path), Random(seed), 0
    for skew in (0, 3, 100):
        graph = []
        for number in range(40):
            parents = sorted(
                {number - random.randint(1, 5) for _ in range(random.choice((1, 2, 2, 3)))},
                key=lambda _: random.random(),
            )
            graph.append((1000 + number // 2 + random.randint(-skew, skew), [p for p in parents if p >= 0]))
        reader, ids = grown(graph)
        names = git.commits((time, parents, {}) for time, parents in graph)
        for _ in range(12):
            picked = random.sample(range(15, 40), random.choice((2, 2, 3)))
            expected = (
                git.run("merge-base", "--all", *(names[n] for n in picked), codes=(0, 1)).decode().split()
            )
            found = merge_bases(reader, *(ids[n] for n in picked))
            assert [names[ids.index(c)] for c in found] == expected, (graph, picked)
            asked += len(expected)
    assert asked > 30


def test_a_commit_is_its_own_base_and_unrelated_ones_have_none():
    reader, (a, b, c) = grown([(1, []), (2, [0]), (3, [])])
    assert merge_bases(reader, b, b) == [b]
    assert merge_bases(reader, a, b) == merge_bases(reader, b, a) == [a]
    assert merge_bases(reader, b, c) == []
    assert merge_bases_of_all(reader, [a]) == [a]


def test_a_missing_commit_is_an_error_not_an_answer():
    reader = MemoryReader()
    child = reader.commit(CommitId(bytes(32)), time=1)
    other = reader.commit(time=2)
    with pytest.raises(ObjectMissing):
        merge_bases(reader, child, other)
    with pytest.raises(ObjectMissing):
        is_ancestor(reader, other, child)


def criss_cross(steps):
    """Two lanes that merge each other's previous commit at every step."""
    graph = [(0, [])]
    left = right = 0
    for number in range(1, 2 * steps, 2):
        graph += [(number, [left, right]), (number + 1, [right, left])]
        left, right = number, number + 1
    return graph


def test_what_is_near_costs_little():
    """A criss-cross of 10,000 commits has two bases one step up; nothing further down is read twice."""
    reader, ids = grown(criss_cross(5_000))
    reader.reads.clear()
    assert merge_bases(reader, ids[-1], ids[-2]) == [ids[-3], ids[-4]]
    assert reader.reads["commit"] <= 8
    reader.reads.clear()
    assert is_ancestor(reader, ids[-4], ids[-1])
    assert not is_ancestor(reader, ids[-1], ids[-2])
    assert reader.reads["commit"] <= 20


def test_lanes_that_meet_at_the_root_are_read_once():
    reader, ids = grown([(0, []), (1, [0]), (2, [0]), *((n, [n - 2]) for n in range(3, 2_000))])
    reader.reads.clear()
    assert merge_bases(reader, ids[-1], ids[-2]) == [ids[0]]
    assert reader.reads["commit"] == 2_000


def test_links_say_what_the_whole_commit_says():
    reader, ids = grown([(5, []), (7, [0]), (6, [0, 1])])
    for identity in ids:
        commit = read_commit(reader, identity)
        assert read_links(reader, identity) == (commit.time.microseconds, commit.parents)


@pytest.mark.parametrize(
    "value",
    [
        b"\x80",
        b"\xc1",
        pack({**SOUND, "parents": [b"short"]}),
        pack({**SOUND, "parents": [bytes(32)] * 65}),
        pack({**SOUND, "time": [1 << 62, 0]}),
        pack({**SOUND, "time": "now"}),
    ],
)
def test_links_of_what_is_no_commit_are_damage(value):
    reader = MemoryReader()
    identity = reader.put_blob(CommitId, value)
    with pytest.raises(CorruptObject, match=f"commit {identity.short} is damaged"):
        read_links(reader, identity)


def test_a_commit_that_needs_a_newer_mvc_is_refused_on_walks_too():
    reader = MemoryReader()
    with pytest.raises(UnsupportedFeature):
        read_links(reader, reader.put_blob(CommitId, pack({"!new": 1, **SOUND})))
