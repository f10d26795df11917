"""The benchmark of scale: what it counts and simulates is what it says."""

from __future__ import annotations

import pytest

from benchmarks.scale import in_merged, merging, root_bytes, runs_asked
from benchmarks.scale_store import Simulated, empty, look_bases_up, negotiate
from benchmarks.scale_swaps import simulate
from mvc.objectid import BlobId
from mvc.odb.index import COMMIT_ENTRIES
from mvc.remotes.filters import Filter


def test_a_lonely_writer_needs_one_try_and_many_wait_for_each_other():
    alone = simulate(0.1, 200, 0.03, 1000, 4, 200)
    crowd = simulate(30, 20, 0.03, 1000, 4, 200)
    assert (alone.tries, alone.most, alone.gave_up) == (1, 1, 0)
    assert 3 * 0.03 < alone.median < 6 * 0.03
    assert crowd.tries > 5 and crowd.slowest > 10 * alone.median
    # a swap takes half a request to arrive, and reading before it two and a half more at least
    assert crowd.per_second < 1 / (0.03 * 2)


def test_writers_give_up_after_so_many_tries():
    assert simulate(30, 10, 0.03, 1000, 4, 3).gave_up > 0


def test_the_policy_is_run_as_a_store_runs_it():
    life = merging(3000, 1000)
    assert 1 < life.runs < 12
    assert 2 < life.written < 12
    assert life.most_entries <= COMMIT_ENTRIES


def test_an_id_is_asked_for_in_the_smaller_runs_first():
    assert runs_asked([7]) == 1
    assert runs_asked([1] * 9) == 5
    assert runs_asked([3, 1]) == 1.75


def test_ids_in_a_merged_index_take_the_heads_of_the_segments_that_have_them():
    requests, one_head = in_merged(1)
    assert requests == 2 * 1000 + 2
    assert in_merged(40)[1] == pytest.approx(40 * one_head)
    assert 900 * one_head < in_merged(10_000)[1] < 1000 * one_head


def test_root_grows_with_segments_and_refs():
    bare, rows, refs = root_bytes(0, 0), root_bytes(100, 0), root_bytes(0, 1000)
    assert 55 < (rows - bare) / 100 < 90
    assert bare < refs < bare + 1000


def test_a_simulated_store_negotiates(tmp_path):
    simulated = Simulated(tmp_path / "bucket", 4000, 4)
    before_near, before_far = simulated.near(), simulated.far()
    tip = simulated.commit(60, shared=20)
    near, far = simulated.near(), simulated.far()
    assert near.refs.get("refs/heads/main") == tip
    # 40 new pieces, a file, a folder, a commit
    assert negotiate(near, before_far.objects, tip) == 43
    assert negotiate(far, before_near.objects, tip) == 43
    before_more = simulated.far().objects
    more = simulated.commit(60, shared=20)
    for heads in ([tip], [BlobId.of(b"")]):
        assert negotiate(simulated.near(), before_more, more, heads=heads) == 43
    look_bases_up(before_more, simulated.old(40))
    far = simulated.far()
    simulated.backend.forget()
    assert negotiate(far, empty(), tip, Filter(depth=1)) == 63
    assert simulated.backend.requests["get segments"] > 0
    simulated.collect()
    assert len(simulated.near().root.segments) == 1
    assert negotiate(simulated.far(), empty(), tip) == 63
