"""Index segments: what goes in comes out, by id and by prefix; damage is found; hostile tables do no harm."""

from __future__ import annotations

import mmap
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import CorruptFile
from mvc.odb import merge as bulk
from mvc.odb.segment import (
    MAX_BYTES,
    MAX_SUPERSEDED,
    Entry,
    Segment,
    assemble,
    build_segments,
    capacity,
    entry_order,
    fan_out,
    segment_name,
    shorten,
)

FEW = settings(deadline=None, max_examples=60)


def opened(data: bytes) -> Segment:
    return Segment.open(segment_name(data), data)


def stream_ids(count: int, seed: bytes = b"ids") -> list[bytes]:
    raw = blake3(seed).digest(length=32 * count)
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def pack_of(number: int) -> bytes:
    return blake3(b"pack %d" % number).digest()


def simple(count: int, packs: int = 3) -> list[Entry]:
    return [
        Entry(id, at % 6, pack_of(at % packs), 24 + 30 * at, 26 + at % 1000, at % 5)
        for at, id in enumerate(stream_ids(count))
    ]


# ids that crowd: a few heads of any length with short tails, beside the even ones that hashing gives
_heads = st.sampled_from([b"", b"\0" * 31, b"\xff" * 31, b"\x80" * 12, b"\x80" * 8, b"\x7f\xff"])
ids = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.builds(lambda head, tail: (head + tail)[:32].ljust(32, b"\x80"), _heads, st.binary(max_size=3)),
)
entries = st.builds(
    Entry,
    id=ids,
    kind=st.integers(0, 5),
    pack=st.integers(0, 9).map(pack_of),
    offset=st.integers(24, 48 << 20),
    length=st.integers(26, 16 << 20),
    depth=st.integers(0, 64),
)


def by_id(items: list[Entry]) -> dict[bytes, list[Entry]]:
    found: dict[bytes, list[Entry]] = {}
    for entry in sorted(set(items), key=entry_order):
        found.setdefault(entry.id, []).append(entry)
    return found


@FEW
@given(st.lists(entries, max_size=120), st.lists(ids, max_size=20), st.sampled_from([600, 2000, MAX_BYTES]))
def test_what_goes_in_comes_out(items: list[Entry], others: list[bytes], max_bytes: int) -> None:
    segments = [opened(data) for data in build_segments(items, [b"s" * 32], max_bytes)]
    model = by_id(items)
    assert [entry for segment in segments for entry in segment] == sorted(set(items), key=entry_order)
    for segment in segments:
        segment.verify()
        assert segment.supersedes == (b"s" * 16,)
        assert len(segment.data) <= max_bytes or len({entry.id for entry in segment}) == 1
    for id in [*model, *others, bytes(32), b"\xff" * 32]:
        answers = [found for segment in segments if (found := segment.find(id))]
        assert answers == ([model[id]] if id in model else [])  # one segment holds all of an id's records


@FEW
@given(st.lists(entries, min_size=1, max_size=120), ids, ids)
def test_prefix_search_agrees_with_a_scan(items: list[Entry], one: bytes, other: bytes) -> None:
    (data,) = build_segments(items)
    low, high = sorted((one, other))
    found = list(opened(data).find_prefix(low, high))
    assert [id for _, id in found] == [id for id in sorted(by_id(items)) if low <= id <= high]
    for kind, id in found:
        assert kind in {entry.kind for entry in items if entry.id == id}


def test_crowded_ids_are_found() -> None:
    # thousands of ids in one bucket, each with two records; and some that differ in the last byte only
    crowd = [b"\x11" * 20 + at.to_bytes(12, "big") for at in range(3000)]
    spread = [bytes(32), b"\xff" * 32]
    items = [Entry(id, 0, pack_of(0), 24, 100, depth) for id in crowd + spread for depth in (1, 0)]
    segment = opened(build_segments(items)[0])
    for id in crowd + spread:
        assert [entry.depth for entry in segment.find(id)] == [0, 1]
    for at in (-1, 3000):
        assert segment.find(b"\x11" * 20 + (at % (1 << 96)).to_bytes(12, "big")) == []


def test_an_id_that_straddles_two_others_is_not_found() -> None:
    left, right = b"\x10" * 16 + b"\xaa" * 16, b"\x10" * 8 + b"\x20" * 8 + b"\xbb" * 16
    pair = sorted((left, right))
    straddling = pair[0][16:] + pair[1][:16]
    low = b"\x00" * 32
    segment = opened(build_segments([Entry(id, 0, pack_of(0), 24, 26, 0) for id in (low, *pair)])[0])
    assert straddling in bytes(segment.data)
    assert segment.find(straddling) == []
    # the same bytes, aligned further on, are found behind the straddling match
    more = [low, pair[0], pair[1], straddling]
    segment = opened(build_segments([Entry(id, 0, pack_of(0), 24, 26, 0) for id in more])[0])
    assert [entry.id for entry in segment.find(straddling)] == [straddling]


def test_a_mapped_file_serves_as_bytes_do(tmp_path: Path) -> None:
    items = simple(1000)
    (data,) = build_segments(items)
    path = tmp_path / "segment"
    path.write_bytes(data)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        segment = Segment.open(segment_name(data), mapped)
        segment.verify()
        segment.forget_pages()
        assert all(segment.find(entry.id) == [entry] for entry in items)
        assert list(segment) == list(opened(data))
    assert list(Segment.open(segment_name(data), memoryview(data))) == list(opened(data))


def test_a_small_commit_costs_a_few_hundred_bytes() -> None:
    (data,) = build_segments(simple(5, packs=1))
    assert len(data) < 400


def test_split_segments_cover_ascending_ranges_and_are_well_filled() -> None:
    items = simple(20_000, packs=50)
    built = build_segments(items, max_bytes=100_000)
    segments = [opened(data) for data in built]
    assert len(segments) > 5
    assert all(60_000 < len(data) <= 100_000 for data in built[:-1])
    assert all(one.last <= other.first for one, other in pairwise(segments))


@given(st.integers(0, 300_000), st.integers(0, MAX_SUPERSEDED), st.integers(100_000, MAX_BYTES))
def test_capacity_is_never_too_much(packs: int, superseded: int, max_bytes: int) -> None:
    count = capacity(packs, superseded, max_bytes)
    largest = 64 + 16 * superseded + 32 * min(packs, count) + 4 * (max(1, count // 4) + 1) + 46 * count
    assert largest <= max_bytes


def test_superseded_names_are_cut_and_capped() -> None:
    names = [at.to_bytes(32, "little") for at in range(3000)]
    kept = shorten([*names[:5], *names])
    assert kept == [name[:16] for name in names[:MAX_SUPERSEDED]]


def test_what_no_pack_can_hold_is_refused() -> None:
    good = Entry(bytes(32), 0, pack_of(0), 24, 26, 0)
    build_segments([good])
    for change in (
        {"id": bytes(31)}, {"pack": b"short"}, {"offset": 23}, {"length": 25}, {"depth": 65}, {"kind": 256},
        {"kind": -1}, {"offset": 64 << 20}, {"depth": -1},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            build_segments([good._replace(**change)])
    with pytest.raises(ValueError):
        opened(build_segments([good])[0]).find(b"short")


# --- damage -------------------------------------------------------------------------------------------------
def probe_all(segment: Segment, ids: list[bytes]) -> None:
    """Ask everything; only CorruptFile may come out, and every answer must end."""
    for id in ids:
        with suppress(CorruptFile):
            assert len(segment.find(id)) <= segment.count
    with suppress(CorruptFile):
        assert len(list(segment.find_prefix(bytes(32), b"\xff" * 32))) <= segment.count
    with suppress(CorruptFile):
        assert len(list(segment)) == segment.count


def test_every_flipped_byte_is_caught() -> None:
    items = simple(40)
    (data,) = build_segments(items, [b"old" * 11])
    name = segment_name(data)
    asked = [entry.id for entry in items] + stream_ids(20, b"absent")
    columns = Segment.open(name, data).ids_at
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            hurt = bytearray(data)
            hurt[at] ^= flip
            if at < columns:
                with pytest.raises(CorruptFile):
                    Segment.open(name, bytes(hurt))
            else:
                segment = Segment.open(name, bytes(hurt))
                with pytest.raises(CorruptFile):
                    segment.verify()
                if flip == 0xFF:
                    probe_all(segment, asked)


def test_a_short_id_is_not_looked_up_among_ids_in_disorder() -> None:
    items = simple(40)
    (data,) = build_segments(items)
    segment = opened(data)
    ids = sorted(entry.id for entry in items)
    at = segment.ids_at + 32 * 21
    hurt = opened(data[:at] + bytes(32) + data[at + 32 :])
    with pytest.raises(CorruptFile, match="order"):
        list(hurt.find_prefix(ids[20], b"\xff" * 32))


@pytest.mark.parametrize("keep", [0, 1, 63, 64, 200, -1])
def test_a_cut_file_is_refused(keep: int) -> None:
    (data,) = build_segments(simple(40))
    for changed in (data[:keep], data + b"\0"):
        with pytest.raises(CorruptFile):
            Segment.open(segment_name(data), changed)


@FEW
@given(st.data())
def test_a_table_written_to_harm_does_none(data: st.DataObject) -> None:
    """Any fan-out, ids and rows under a valid checksum: an answer or CorruptFile, never anything else."""
    count = data.draw(st.integers(1, 30))
    ids_blob = data.draw(st.binary(min_size=32 * count, max_size=32 * count))
    first, last = ids_blob[:8], ids_blob[-32:][:8]
    extent = int.from_bytes(last, "big") - int.from_bytes(first, "big")
    shift = data.draw(st.integers(max(0, extent.bit_length() - 3), 64)) if extent >= 0 else 0
    buckets = (extent >> shift) + 1 if extent >= 0 else 1
    table = data.draw(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, count), min_size=buckets + 1,
                               max_size=buckets + 1))  # fmt: skip
    rows = data.draw(st.binary(min_size=14 * count, max_size=14 * count))
    blob = b"".join(value.to_bytes(4, "little") for value in table)
    hostile = assemble(count, [pack_of(0)], [], shift, blob, ids_blob, rows)
    try:
        segment = opened(hostile)
    except CorruptFile:
        assert extent < 0
        return
    probe_all(segment, [ids_blob[at : at + 32] for at in range(0, len(ids_blob), 32)] + [bytes(32)])


def rebuilt(items: list[Entry], **change: object) -> bytes:
    """A segment with one rule broken and everything else in order, so that only that rule can catch it."""
    packs = sorted({entry.pack for entry in items})
    prefixes = [int.from_bytes(entry.id[:8], "big") for entry in items]
    parts: dict[str, object] = {
        "count": len(items),
        "packs": packs,
        "superseded": [],
        "shift": 64,
        "fan_out": fan_out(prefixes, 64, 1),
        "ids": b"".join(entry.id for entry in items),
        "rows": b"".join(
            packs.index(e.pack).to_bytes(4, "little") + e.offset.to_bytes(4, "little")
            + e.length.to_bytes(4, "little") + bytes([e.depth, e.kind])
            for e in items
        ),
    }  # fmt: skip
    return assemble(**{**parts, **change})  # type: ignore[arg-type]


def test_a_fan_out_that_leaves_the_column_is_damage() -> None:
    items = sorted(simple(8), key=entry_order)
    for low, high in ((0, 9), (5, 3), (0, 2**32 - 1)):
        table = low.to_bytes(4, "little") + high.to_bytes(4, "little")
        segment = opened(rebuilt(items, fan_out=table))
        with pytest.raises(CorruptFile):
            segment.find(items[3].id)


def test_an_entry_that_no_pack_can_hold_is_damage() -> None:
    items = sorted(simple(8), key=entry_order)
    segment = opened(rebuilt(items, packs=[pack_of(0)]))
    with pytest.raises(CorruptFile):
        for entry in items:
            segment.find(entry.id)
    with pytest.raises(CorruptFile):
        list(segment)
    for change in ({"offset": 23}, {"length": 25}, {"depth": 65}, {"offset": 64 << 20}):
        with pytest.raises(CorruptFile):
            list(opened(rebuilt([items[0]._replace(**change), *items[1:]])))


def test_bytes_reserved_for_later_must_be_zero() -> None:
    (data,) = build_segments(simple(8))
    segment = opened(data)
    for at in range(57, 64):
        hurt = bytearray(data)
        hurt[at] = 1
        hurt[8:24] = blake3(hurt[24 : segment.ids_at]).digest(length=16)
        with pytest.raises(CorruptFile):
            opened(bytes(hurt))


def test_verify_finds_broken_rules() -> None:
    items = sorted(simple(8), key=entry_order)
    opened(rebuilt(items)).verify()
    twice = sorted([items[0], items[0]._replace(depth=7), *items[1:]], key=entry_order)
    opened(rebuilt(twice)).verify()
    broken = {
        "ids": rebuilt([items[0], items[2], items[1], *items[3:]]),
        "records of one id": rebuilt([twice[1], twice[0], *twice[2:]]),
        "duplicate": rebuilt([items[0], *items]),
        "range": rebuilt([items[0]._replace(depth=65), *items[1:]]),
        "offset": rebuilt([items[0]._replace(offset=3), *items[1:]]),
        "packs": rebuilt(items, packs=sorted({e.pack for e in items}, reverse=True)),
        "unused pack": rebuilt(items, packs=sorted({*(e.pack for e in items), b"\xff" * 32})),
        "fan-out": rebuilt(items, fan_out=b"\0\0\0\0\x07\0\0\0"),
    }
    for what, data in broken.items():
        with pytest.raises(CorruptFile):
            opened(data).verify()
            pytest.fail(f"not found: {what}")


# --- the writer that streams gives the same bytes -----------------------------------------------------------
@FEW
@given(
    st.lists(st.lists(entries, min_size=1, max_size=40), min_size=1, max_size=5),
    st.sets(st.integers(0, 9).map(pack_of), max_size=3),
    st.sampled_from([500, 1500, MAX_BYTES]),
    st.sampled_from([1, 3, 1000]),
)
def test_merging_in_windows_equals_building_at_once(
    groups: list[list[Entry]], dead: set[bytes], max_bytes: int, window: int
) -> None:
    runs = [[opened(data) for data in build_segments(group, max_bytes=700)] for group in groups]
    live = [entry for group in groups for entry in group if entry.pack not in dead]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "WINDOW_ROWS", window)
        patch.setattr(bulk, "_LEAST_WINDOW", window)
        streamed = list(bulk.merge_runs(runs, [b"s" * 16], dead, max_bytes))
    assert streamed == build_segments(live, [b"s" * 16], max_bytes)


def test_the_streaming_writer_refuses_what_verify_refuses() -> None:
    items = sorted(simple(8), key=entry_order)
    for data in (
        rebuilt([items[0], items[2], items[1], *items[3:]]),
        rebuilt([items[0]._replace(depth=65), *items[1:]]),
        rebuilt(items, packs=[items[0].pack]),
    ):
        with pytest.raises(CorruptFile):
            list(bulk.merge_runs([[opened(data)]], [], set(), MAX_BYTES))


def test_reading_imports_no_numpy() -> None:
    code = "import sys, mvc.odb.segment, mvc.odb.index; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
