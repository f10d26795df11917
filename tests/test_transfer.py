"""What one store has and another lacks arrives there, with all that it leans on, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.transfer import measure
from mvc.backends.memory import MemoryBackend
from mvc.history.reader import read_tree
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId
from mvc.odb import ranged
from mvc.remotes import lookup, negotiate, reaching
from mvc.remotes.filters import Filter
from mvc.remotes.lookup import Lookup
from mvc.remotes.negotiate import missing
from tests.engine import make_repository, snapshot, weights_versions
from tests.transfers import MAIN, Far, Made, bucket, check, closure, ids, move

SEEDS = st.integers(0, 2**32)
BACKENDS = st.sampled_from([MemoryBackend, Far])


@given(SEEDS, st.integers(1, 6), BACKENDS, BACKENDS, st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_what_arrives_is_the_closure_and_what_it_leans_on(seed, versions, near, other, verify, exact):
    made = Made(seed, versions)
    source, target = made.store(near()), bucket(other())
    with source.reading() as view:
        wanted = closure(view.objects, view.refs.get(MAIN))
    moved = move(source, target, verify=verify, exact=exact)
    check(target)
    arrived = ids(target)
    assert wanted <= arrived
    with target.reading() as view:
        extra = {entry.kind for entry in view.index.entries() if entry.id not in wanted}
    assert extra <= {BlobId.kind}  # a base may come along, but nothing that refers to anything
    assert set(moved.plan.wanted) == wanted
    assert not move(source, target).found.objects  # and then there is nothing left to do


@given(SEEDS, st.integers(2, 6), BACKENDS, BACKENDS)
@settings(deadline=None, max_examples=40)
def test_branch_after_branch_only_what_is_missing_goes(seed, versions, near, other):
    made = Made(seed, versions, branches=3)
    source, target = made.store(near()), bucket(other())
    for name in ["refs/tags/v1", *sorted(made.refs)]:
        before = ids(target)
        with source.reading() as view:
            wanted = closure(view.objects, made.refs[name])
        moved = move(source, target, [name])
        check(target)
        assert set(moved.found.objects) == wanted - before
        assert set(moved.found.commits) == {one for one in wanted - before if isinstance(one, CommitId)}
        with target.reading() as view:
            assert all(len(view.index.find(identity)) == 1 for identity in wanted - before)


@given(SEEDS, st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_objects_come_behind_what_they_refer_to(seed, versions):
    made = Made(seed, versions)
    found = move(made.store(), bucket(), sorted(made.refs)).found
    place = {identity: number for number, identity in enumerate(found.objects)}
    with made.store().reading() as view:
        for identity in found.objects:
            for other in closure(view.objects, identity) - {identity}:
                assert place[other] < place[identity]


@given(SEEDS, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_from_far_away_hardly_more_is_read_than_was_planned(seed, versions):
    made = Made(seed, versions)
    backend = Far()
    source = made.store(backend)
    with source.reading() as view:
        packs = {entry.pack for entry in view.index.entries()}
    backend.requests.clear()
    moved = move(source, bucket())
    assert len([key for key, _ in backend.requests if key.startswith("packs/")]) <= 40 * len(packs)
    with source.reading() as view:
        gaps = sum(entry.length for entry in view.index.entries())
    # what lies between is small here, so that all of it may be read along, once for each depth and kind
    assert backend.read_bytes() <= 1.05 * moved.plan.bytes + 20 * gaps


def test_a_plan_that_is_exact_tells_the_bytes():
    told = 0
    for seed in range(20):
        made = Made(seed, 4)
        target = bucket()
        moved = move(made.store(Far()), target, exact=True)
        with target.reading() as view:
            stored = sum(entry.length for entry in view.index.entries())
        assert moved.plan.exact
        if not moved.plan.anew:  # of what is coded anew nobody knows before
            assert stored == moved.plan.bytes
            told += 1
    assert told > 5


def test_a_history_goes_to_a_bucket_and_into_other_folders(tmp_path):
    one, two, three = (make_repository(tmp_path / name) for name in ("one", "two", "three"))
    shared = bucket(Far())
    for number, content in enumerate(weights_versions(5, elements=30_000)):
        (tmp_path / "one" / "model.safetensors").write_bytes(content)
        snapshot(one, f"v{number}")
        for source, target in ((one, shared), (shared, two)):
            move(source, target)
            check(target)
    move(shared, three)
    check(three)
    assert ids(one) == ids(three)


@given(SEEDS, st.integers(3, 7), st.integers(1, 3), BACKENDS)
@settings(deadline=None, max_examples=30)
def test_a_depth_takes_so_many_generations_and_tells_where_it_cut(seed, versions, depth, near):
    made = Made(seed, versions)
    source, target = made.store(near()), bucket()
    found = move(source, target, filter=Filter(depth=depth)).found
    with source.reading() as view:
        level, expected = {view.refs.get(MAIN)}, set()
        for _ in range(depth):
            expected |= level
            level = {parent for commit in level for parent in view.commit(commit).parents}
        cut = {one for one in expected if not expected.issuperset(view.commit(one).parents)}
    assert set(found.commits) == expected
    assert found.shallow == cut
    # deepened, all of it is there
    move(source, target, deepen=True)
    check(target)


def test_the_smallest_run_is_asked_first_and_the_others_not_at_all():
    made = Made(3, 5)
    backend = Far()
    source = made.store(backend)
    with source.reading() as view:
        rows = sorted(view.index.rows, key=lambda row: row.entries)
        newest = view.index.of_rows(rows[:1])
        wanted = {commit for entry in newest.entries() if (commit := BlobId(entry.id)) and entry.kind == 0}
        backend.requests.clear()
        assert wanted == Lookup(view.index).known(wanted)
    if wanted:
        assert {key for key, _ in backend.requests} == {f"segments/{rows[0].name.hex()}.seg"}


@given(SEEDS, st.integers(2, 7), st.integers(2, 7))
@settings(deadline=None, max_examples=30)
def test_what_the_targets_refs_say_ends_the_walk_as_its_index_does(seed, versions, more):
    made = Made(seed, versions, branches=3)
    source, target = made.store(), bucket(Far())
    sent = sorted(made.refs)[: more % len(made.refs) + 1]
    move(source, target, sent)
    with target.reading() as view:
        heads = [view.refs.get(name) for name in sent]
    with source.reading() as view, target.reading() as there:
        tips = list(made.refs.values())
        plainly = missing(view.objects, there.objects, tips, monitor=Monitor())
        told = missing(view.objects, there.objects, tips, monitor=Monitor(), at_target=heads)
    assert told.objects == plainly.objects  # the whole index is small enough to be looked at
    assert told.commits == plainly.commits


def test_a_push_asks_for_the_small_segments_of_the_index_only(tmp_path, monkeypatch):
    monkeypatch.setattr(negotiate, "_LOOK_UP_BYTES", 400)
    one, shared = make_repository(tmp_path / "one"), bucket(Far())
    contents = weights_versions(9, elements=300)
    for number, content in enumerate(contents[:8]):
        (tmp_path / "one" / "model.safetensors").write_bytes(content)
        snapshot(one, f"v{number}")
    move(one, shared)
    (tmp_path / "one" / "model.safetensors").write_bytes(contents[8])
    snapshot(one, "v8")
    with one.reading() as view, shared.reading() as there:
        shared.backend.requests.clear()
        heads = [there.refs.get(MAIN)]
        found = missing(view.objects, there.objects, [view.head_commit()], monitor=Monitor(), at_target=heads)
        assert len(found.commits) == 1
        assert shared.backend.requests == []


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_by_ranges_of_segments_is_the_same(monkeypatch, seed):
    monkeypatch.setattr(reaching, "WHOLE_BYTES", 0)
    monkeypatch.setattr(ranged, "FIRST_BYTES", 64)
    if seed % 2:
        monkeypatch.setattr(lookup, "ENTRY_BYTES", 1 << 30)  # never as a whole
    made = Made(seed, 5)
    source = made.store(Far())
    target = bucket(Far())
    with source.reading() as view:
        wanted = closure(view.objects, view.refs.get(MAIN))
    moved = move(source, target)
    check(target)
    assert set(moved.found.objects) == wanted


def test_the_requests_of_a_fetch_and_a_push_do_not_grow_with_the_history():
    few, many = measure(4), measure(40)
    assert few["fetch"]["requests"] == many["fetch"]["requests"] <= 4
    assert few["push"]["requests"] == many["push"]["requests"] <= 4
    assert many["fetch"]["read_packs"] <= 1.01 * many["fetch"]["records"]
    assert many["clone"]["read_packs"] <= 1.01 * many["clone"]["records"]
    assert many["clone"]["of_packs"] <= 2 * 40


@given(SEEDS, st.integers(1, 5), BACKENDS)
@settings(deadline=None, max_examples=30)
def test_a_filter_takes_descriptions_whole_and_of_pieces_what_it_says(seed, versions, near):
    made = Made(seed, versions)
    source, target = made.store(near()), bucket()
    found = move(source, target, filter=Filter(paths=("first",))).found
    with source.reading() as view:
        everything = closure(view.objects, made.refs[MAIN])
        pieces = set()
        for commit in {one for one in everything if isinstance(one, CommitId)}:
            first = next(
                one
                for one in read_tree(view.objects, view.commit(commit).tree).entries
                if one.name == "first"
            )
            pieces |= closure(view.objects, first.id) - {first.id}
    assert set(found.objects) == {one for one in everything if not isinstance(one, BlobId)} | pieces
    with target.reading() as view:  # all that came can be read, with what it leans on
        for identity in found.objects:
            view.objects.get(identity)
    # what was left out can be had later
    move(source, target, deepen=True)
    check(target)
