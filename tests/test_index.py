"""The index over many segments: look-ups agree with a dict, merges lose nothing, names resolve."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Container, Iterable

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mvc.errors import CorruptFile
from mvc.odb import index as index_module
from mvc.odb.index import (
    COMMIT_ENTRIES,
    LIGHT_ENTRIES,
    Index,
    Merge,
    Merged,
    SegmentRow,
    merge,
    plan_full_merge,
    plan_merge,
)
from mvc.odb.segment import MAX_SUPERSEDED, Entry, Segment


def id_of(number: int) -> bytes:
    return blake3(b"id %d" % number).digest()


def pack_of(number: int) -> bytes:
    return blake3(b"pack %d" % number).digest()


def entry_of(number: int, pack: int = 0, depth: int = 0) -> Entry:
    return Entry(id_of(number), number % 6, pack_of(pack), 24 + 100 * number, 100, depth)


class Shelf:
    """Segments by name, and the rows that are live: what a repository keeps."""

    def __init__(self) -> None:
        self.files: dict[bytes, bytes] = {}
        self.rows: tuple[SegmentRow, ...] = ()
        self.dead: set[bytes] = set()
        self.opened: list[bytes] = []

    def open(self, name: bytes) -> Segment:
        self.opened.append(name)
        return Segment.open(name, self.files[name])

    def index(self, rows: Iterable[SegmentRow] | None = None, dead: Container[bytes] | None = None) -> Index:
        return Index(tuple(self.rows if rows is None else rows), self.open, dead or frozenset(self.dead))

    def merge(self, plan: Merge, new: Iterable[Entry], max_bytes: int = 8 << 20) -> Merged:
        return merge(plan, new, self.index(), self.files.__setitem__, max_bytes=max_bytes)

    def commit(self, new: list[Entry], *, plan: Merge | None = None, max_bytes: int = 8 << 20) -> None:
        merged = self.merge(plan or plan_merge(self.rows, len(new)), new, max_bytes)
        rows = merged.apply(self.rows)
        assert rows is not None
        self.rows = rows


NO_MERGE = Merge(())


# --- look-up ------------------------------------------------------------------------------------------------
def test_an_id_with_records_in_several_runs_gives_all_least_depth_first() -> None:
    shelf = Shelf()
    shelf.commit([entry_of(1, pack=0, depth=3), entry_of(2, pack=0)], plan=NO_MERGE)
    shelf.commit([entry_of(1, pack=1, depth=0)], plan=NO_MERGE)
    shelf.commit([entry_of(1, pack=2, depth=1), entry_of(1, pack=1, depth=0)], plan=NO_MERGE)
    assert len(shelf.rows) == 3
    index = shelf.index()
    assert index.find(id_of(1)) == [entry_of(1, 1, 0), entry_of(1, 2, 1), entry_of(1, 0, 3)]
    assert index.find(id_of(2)) == [entry_of(2)]
    assert index.find(id_of(3)) == []
    assert id_of(1) in index
    assert id_of(3) not in index


def test_dead_packs_are_passed_over() -> None:
    shelf = Shelf()
    shelf.commit([entry_of(1, pack=0), entry_of(2, pack=0)], plan=NO_MERGE)
    shelf.commit([entry_of(1, pack=1, depth=2)], plan=NO_MERGE)
    index = shelf.index(dead={pack_of(0)})
    assert index.find(id_of(1)) == [entry_of(1, 1, 2)]
    assert id_of(1) in index
    assert index.find(id_of(2)) == []
    assert id_of(2) not in index
    assert list(index.entries()) == [entry_of(1, 1, 2)]
    assert index.find_prefix("") == {(1, id_of(1))}


def test_segments_open_only_when_they_are_needed() -> None:
    shelf = Shelf()
    shelf.commit([entry_of(n) for n in range(2000)], plan=NO_MERGE, max_bytes=20_000)
    assert len(shelf.rows) > 4
    shelf.opened.clear()
    index = shelf.index()
    assert shelf.opened == []
    assert all(index.find(id_of(7)) for _ in range(3))
    assert len(shelf.opened) == 1


def test_ids_that_share_their_prefix_across_two_segments_are_found() -> None:
    ids = [b"\x42" * 8 + n.to_bytes(24, "big") for n in range(64)]
    shelf = Shelf()
    shelf.commit([Entry(id, 0, pack_of(0), 24, 26, 0) for id in ids], plan=NO_MERGE, max_bytes=700)
    assert len(shelf.rows) > 4
    assert {row.first for row in shelf.rows} == {b"\x42" * 8}
    index = shelf.index()
    assert all(id in index for id in ids)
    assert b"\x42" * 8 + b"\xff" * 24 not in index


@settings(deadline=None, max_examples=40)
@given(
    st.one_of(
        st.text("0123456789abcdefABCDEF", max_size=4),
        st.integers(0, 64).map(lambda digits: id_of(0).hex()[:digits]),
        st.integers(0, 64).map(lambda digits: id_of(0).hex()[:digits].upper()),
    ),
    st.integers(1, 80),
)
def test_short_ids(prefix: str, count: int) -> None:
    shelf = Shelf()
    shelf.commit([entry_of(n) for n in range(0, count, 2)], plan=NO_MERGE)
    shelf.commit([entry_of(n) for n in range(1, count, 2)], plan=NO_MERGE, max_bytes=500)
    expected = {(n % 6, id_of(n)) for n in range(count) if id_of(n).hex().startswith(prefix.lower())}
    assert shelf.index().find_prefix(prefix) == expected


@pytest.mark.parametrize("bad", ["xyz", "0x12", " 1", "1" * 65, "é", "１"])
def test_what_is_no_short_id_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        Shelf().index().find_prefix(bad)


def test_an_empty_index_answers() -> None:
    index = Shelf().index()
    assert index.find(id_of(1)) == []
    assert id_of(1) not in index
    assert list(index.entries()) == []
    assert index.resolve([]) == []
    assert index.resolve([b"n" * 32]) is None


# --- merging ------------------------------------------------------------------------------------------------
def row_of(run: int, entries: int, name: bytes | None = None) -> SegmentRow:
    return SegmentRow(name or blake3(b"%d %d" % (run, entries)).digest(), run, entries, bytes(8), b"\xff" * 8)


def sizes(plan: Merge) -> list[int]:
    return sorted(row.entries for row in plan.replaced)


def test_the_plan_is_geometric_and_blind_to_age() -> None:
    assert sizes(plan_merge([], 10)) == []
    assert sizes(plan_merge([row_of(0, 30)], 10)) == [30]
    assert sizes(plan_merge([row_of(0, 31)], 10)) == []
    assert sizes(plan_merge([row_of(1, 30), row_of(0, 120), row_of(2, 900)], 10)) == [30, 120]
    assert sizes(plan_merge([row_of(0, 30), row_of(2, 120), row_of(1, 900)], 10)) == [30, 120]
    assert sizes(plan_merge([row_of(0, 5), row_of(1, 5)], 0)) == []


def test_a_run_is_merged_whole() -> None:
    rows = [row_of(0, 100, bytes([n]) * 32) for n in range(4)]
    assert sizes(plan_merge(rows, 134)) == [100] * 4
    assert sizes(plan_merge(rows, 133)) == []


def test_a_commit_merges_a_bounded_amount() -> None:
    rows = [row_of(n, COMMIT_ENTRIES // 2) for n in range(3)]
    assert sizes(plan_merge(rows, COMMIT_ENTRIES // 2)) == [COMMIT_ENTRIES // 2]
    assert sizes(plan_merge(rows, COMMIT_ENTRIES)) == []
    light = [row_of(0, LIGHT_ENTRIES - 10), row_of(1, 100)]
    assert sizes(plan_merge(light, 3000, light=True)) == [100]
    assert sizes(plan_merge(light, 3000)) == [100, LIGHT_ENTRIES - 10]
    assert sizes(plan_full_merge(rows)) == [COMMIT_ENTRIES // 2] * 3


def test_runs_stay_few() -> None:
    rows: list[SegmentRow] = []
    most = 0
    for at in range(3000):
        plan = plan_merge(rows, 5)
        kept = [row for row in rows if row not in plan.replaced]
        rows = [row_of(at, 5 + sum(sizes(plan)), at.to_bytes(32, "big")), *kept]
        most = max(most, len(rows))
    assert sum(row.entries for row in rows) == 15_000
    assert most <= 7


def test_small_merges_import_no_numpy() -> None:
    code = """
import sys
from mvc.odb.index import Index, merge, plan_merge
from mvc.odb.segment import Entry, Segment
files, rows = {}, ()
for at in range(50):
    new = [Entry(bytes([at, n]) * 16, 0, bytes(32), 24, 26, 0) for n in range(5)]
    index = Index(rows, lambda name: Segment.open(name, files[name]))
    rows = merge(plan_merge(rows, 5, light=True), new, index, files.__setitem__).apply(rows)
assert sum(row.entries for row in rows) == 250 and len(rows) < 6, rows
sys.exit('numpy' in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_dead_entries_leave_with_a_merge_and_a_run_may_vanish() -> None:
    shelf = Shelf()
    shelf.commit([entry_of(n, pack=n % 2) for n in range(10)], plan=NO_MERGE)
    shelf.dead = {pack_of(0)}
    shelf.commit([], plan=plan_full_merge(shelf.rows))
    shelf.dead = set()
    assert {entry.pack for entry in shelf.index().entries()} == {pack_of(1)}
    shelf.dead = {pack_of(1)}
    shelf.commit([], plan=plan_full_merge(shelf.rows))
    assert shelf.rows == ()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_damaged_segment_stops_its_merge_and_nothing_else(
    streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if streamed:
        monkeypatch.setattr(index_module, "LIGHT_ENTRIES", 0)
    shelf = Shelf()
    shelf.commit([entry_of(n) for n in range(8)], plan=NO_MERGE)
    name = shelf.rows[0].name
    hurt = bytearray(shelf.files[name])
    hurt[-1] ^= 1
    shelf.files[name] = bytes(hurt)
    new = [entry_of(n, pack=5) for n in range(100, 108)]
    with pytest.raises(CorruptFile):
        shelf.merge(plan_merge(shelf.rows, 8), new)
    shelf.commit(new, plan=NO_MERGE)
    index = shelf.index()
    assert all(index.find(entry.id) == [entry] for entry in new)
    assert len(list(index.damage())) == 1


def test_a_segment_that_root_describes_otherwise_is_damage() -> None:
    shelf = Shelf()
    shelf.commit([entry_of(n) for n in range(8)])
    for change in ({"entries": 7}, {"first": bytes(8)}, {"last": b"\xff" * 8}):
        index = shelf.index([shelf.rows[0]._replace(**change)])
        with pytest.raises(CorruptFile):
            index.find(id_of(3))


def test_a_merge_applies_to_rows_that_somebody_else_changed() -> None:
    shelf = Shelf()
    for start in (0, 100):
        shelf.commit([entry_of(n) for n in range(start, start + 8)], plan=NO_MERGE)
    ours = shelf.merge(Merge(shelf.rows[:1]), [entry_of(500)])
    shelf.commit([entry_of(300)], plan=NO_MERGE)  # another writer was faster
    both = ours.apply(shelf.rows)
    assert both is not None
    shelf.rows = both
    assert {entry.id for entry in shelf.index().entries()} == {
        id_of(n) for n in (*range(8), *range(100, 108), 300, 500)
    }
    assert len({row.run for row in both}) == len(both)
    assert [row.run for row in both] == sorted((row.run for row in both), reverse=True)
    assert ours.apply(shelf.rows) is None  # what it took is merged away by now


# --- names --------------------------------------------------------------------------------------------------
def test_names_resolve_through_successors() -> None:
    shelf = Shelf()
    history: dict[bytes, set[bytes]] = {}
    for at in range(40):
        new = [entry_of(n, pack=at) for n in range(at * 20, at * 20 + 20)]
        shelf.commit(new, max_bytes=6000)
        for row in shelf.rows:
            if row.name not in history:
                history[row.name] = {entry.id for entry in shelf.open(row.name)}
    live = {row.name for row in shelf.rows}
    assert len(history.keys() - live) > 20
    index = shelf.index()
    for name, inside in history.items():
        rows = index.resolve([name])
        assert rows is not None
        found = {entry.id for row in rows for entry in shelf.open(row.name)}
        assert inside <= found
        assert len(set(rows)) == len(rows)
    assert index.resolve([shelf.rows[0].name]) == [shelf.rows[0]]
    assert index.resolve([shelf.rows[0].name, b"?" * 32]) is None


def test_the_oldest_names_are_forgotten() -> None:
    shelf = Shelf()
    names = []
    for at in range(MAX_SUPERSEDED + 10):
        shelf.commit([entry_of(at % 10, pack=at % 7)], plan=plan_full_merge(shelf.rows))
        names.append(shelf.rows[0].name)
    index = shelf.index()
    assert index.resolve(names[:1]) is None
    assert index.resolve(names[10:]) == list(shelf.rows)


# --- against a model ----------------------------------------------------------------------------------------
class AgainstModel(RuleBasedStateMachine):
    """Commits, condemned packs and merges of any kind against a set of entries."""

    @initialize(light_limit=st.sampled_from([0, 40, 10_000]), max_bytes=st.sampled_from([400, 3000, 8 << 20]))
    def start(self, light_limit: int, max_bytes: int) -> None:
        self.shelf = Shelf()
        self.model: set[Entry] = set()
        self.max_bytes = max_bytes
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(index_module, "LIGHT_ENTRIES", light_limit)
        self.pack = 0

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(numbers=st.lists(st.integers(0, 60), min_size=1, max_size=30), depth=st.integers(0, 3))
    def commit(self, numbers: list[int], depth: int) -> None:
        new = [entry_of(number, self.pack, depth) for number in numbers]
        self.pack += 1
        self.shelf.commit(new, max_bytes=self.max_bytes)
        self.model.update(new)

    @rule(which=st.integers(0, 20))
    def condemn(self, which: int) -> None:
        if self.pack:
            pack = pack_of(which % self.pack)
            self.shelf.dead.add(pack)
            self.model = {entry for entry in self.model if entry.pack != pack}

    @rule()
    def collect(self) -> None:
        self.shelf.commit([], plan=plan_full_merge(self.shelf.rows), max_bytes=self.max_bytes)
        indexed = {e.pack for row in self.shelf.rows for e in self.shelf.open(row.name)}
        assert not indexed & self.shelf.dead

    @invariant()
    def the_same_answers(self) -> None:
        if not hasattr(self, "shelf"):
            return
        index = self.shelf.index()
        assert set(index.entries()) == self.model
        assert not list(index.damage())
        for number in range(0, 61, 4):
            found = index.find(id_of(number))
            assert set(found) == {entry for entry in self.model if entry.id == id_of(number)}
            assert len(set(found)) == len(found)
            assert [entry.depth for entry in found] == sorted(entry.depth for entry in found)
            assert (id_of(number) in index) == bool(found)


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(deadline=None, max_examples=25, stateful_step_count=15)
