"""Which versions a store has is told by few look-ups, and no push reads much of a large index."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.odb import ranged
from mvc.remotes import lookup, negotiate, reaching
from mvc.remotes.lookup import ENTRY_BYTES, Lookup
from mvc.remotes.negotiate import missing
from mvc.remotes.probing import probed_objects
from mvc.upkeep.mark import references
from tests.engine import make_repository, snapshot, weights_versions
from tests.transfers import MAIN, Far, Made, bucket, closure, move

ELSEWHERE = CommitId.of(b"what somebody else pushed")


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_what_is_told_is_what_is_there(seed, versions, chosen):
    made = Made(seed, versions, branches=3)
    with made.store().reading() as view:
        objects = view.objects
        everything = {one for tip in made.refs.values() for one in closure(objects, tip)}
        commits = sorted(one for one in everything if isinstance(one, CommitId))
        there = closure(objects, commits[chosen % len(commits)]) if chosen % 5 else set()
        tips = [tip for tip in made.refs.values() if isinstance(tip, CommitId)]
        ours = {one for tip in tips for one in closure(objects, tip) if isinstance(one, CommitId)}
        found = probed_objects(objects, tips, (), lambda asked: there.intersection(asked))
    assert {one for one in found if isinstance(one, CommitId)} == ours & there
    assert found <= there


def test_a_long_line_takes_few_look_ups_and_a_version_on_known_ones_none(tmp_path):
    repository = make_repository(tmp_path / "one")
    line = []
    for number in range(40):
        (tmp_path / "one" / "notes.txt").write_bytes(b"%d" % number)
        snapshot(repository, f"v{number}")
        with repository.reading() as view:
            line.append(view.head_commit())
    asked: list[CommitId] = []

    def has(count):
        return lambda some: asked.extend(some) or [one for one in some if one in line[:count]]

    with repository.reading() as view:
        for count in range(41):
            asked.clear()
            found = probed_objects(view.objects, line[-1:], (), has(count))
            assert found.intersection(line) == set(line[:count])
            assert len(asked) <= 14, count
            # all of the newest version that is there, and none of the others need be known
            if count:
                assert found.issuperset(references(view.objects, line[count - 1]))
        asked.clear()
        assert probed_objects(view.objects, line[-1:], {line[-2]}, has(40)) == set()
        assert asked == []


@pytest.fixture
def pushed(tmp_path, monkeypatch):
    """A repository, and a bucket with its first eight versions of nine in whose index hardly anything may be
    looked up."""
    monkeypatch.setattr(negotiate, "_LOOK_UP_BYTES", 1)
    monkeypatch.setattr(negotiate, "_LOOK_UP_EACH", 0)
    one, shared = make_repository(tmp_path / "one"), bucket(Far())
    for number, content in enumerate(weights_versions(9, elements=300)):
        if number == 8:
            move(one, shared)
        (tmp_path / "one" / "model.safetensors").write_bytes(content)
        snapshot(one, f"v{number}")
    return one, shared


@pytest.mark.parametrize("heads", [[], [ELSEWHERE], ["oldest"]])
def test_who_lacks_the_heads_of_a_large_store_sends_no_version_again(pushed, heads):
    one, shared = pushed
    with one.reading() as view, shared.reading() as there:
        oldest = view.head_commit()
        while parents := view.commit(oldest).parents:
            (oldest,) = parents
        heads = [oldest if head == "oldest" else head for head in heads]
        found = missing(view.objects, there.objects, [view.head_commit()], monitor=Monitor(), at_target=heads)
        before = closure(view.objects, there.refs.get(MAIN))
    assert len(found.commits) == 1
    assert before.isdisjoint(found.objects)


def test_a_version_with_nothing_in_common_looks_up_no_more_than_it_may(pushed, tmp_path, monkeypatch):
    _one, shared = pushed
    monkeypatch.setattr(reaching, "WHOLE_BYTES", 0)
    monkeypatch.setattr(ranged, "FIRST_BYTES", 64)
    monkeypatch.setattr(lookup, "ENTRY_BYTES", 1 << 30)  # never as a whole
    other = make_repository(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").write_bytes(weights_versions(1, elements=300)[0])
    snapshot(other, "the same weights")
    for each, again in ((0, True), (1 << 50, False)):
        monkeypatch.setattr(negotiate, "_LOOK_UP_EACH", each)
        with other.reading() as view, shared.reading() as there:
            tip = view.head_commit()
            found = missing(view.objects, there.objects, [tip], monitor=Monitor())
            known = Lookup(there.index).known(found.objects)
            assert found.commits == (tip,)
        assert bool(known) == again


@pytest.mark.parametrize("most", [0, 1, 3, 10])
def test_a_bound_is_one_for_all_runs(most):
    backend = Far()
    source = Made(3, 9).store(backend)
    with source.reading() as view:
        sizes = sorted(row.entries for row in view.index.rows)
        bound = ENTRY_BYTES * sum(sizes[:most])
        absent = [CommitId.of(b"%d" % number) for number in range(500)]
        backend.requests.clear()
        assert Lookup(view.index).known(absent, bound) == set()
    assert len(sizes) > 1
    assert len({key for key, _ in backend.requests}) <= most
