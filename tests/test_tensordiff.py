"""Which tensors differ, by how much, and what is read to tell."""

import math
import subprocess
import sys
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
from history_memory import MemoryReader
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.dtypes import DTYPES as DTYPE_TABLE
from mvc.errors import CorruptObject, UnsupportedFeature, UsageError
from mvc.history.reader import PartTable, read_range
from mvc.history.tensordiff import diff_tensors, moved_share, pair_moved_share
from mvc.objectid import BlobId
from mvc.objects import Manifest, Part
from mvc.spans import Span


@pytest.fixture
def reader():
    return MemoryReader()


def store(reader, data, cuts, spans=()):
    """A manifest of ``data`` cut at ``cuts``; a cut (position, True) starts an inline part, else a blob."""
    borders = [*cuts, (len(data), False)]
    parts = []
    for (start, inline), (end, _) in pairwise(borders):
        piece = data[start:end]
        if piece:
            parts.append(
                Part(len(piece), None, piece) if inline else Part(len(piece), reader.put_blob(BlobId, piece))
            )
    manifest = Manifest("test", len(data), sha256(data).digest(), tuple(parts), tuple(spans))
    return Manifest.from_bytes(manifest.to_bytes())


def vector(name, offset, count, dtype="U8", width=1):
    return Span(offset, count * width, name, dtype, (count,))


def names(pairs):
    return [pair.new.name for pair in pairs]


# --- ranges ------------------------------------------------------------------------------------------------
cut_lists = st.lists(
    st.tuples(st.integers(1, 59), st.booleans()), max_size=8, unique_by=lambda cut: cut[0]
).map(sorted)


@settings(deadline=None, max_examples=150)
@given(cut_lists, st.booleans(), st.integers(0, 60), st.integers(0, 60))
def test_any_range_of_any_cut(cuts, inline_first, one, other):
    reader = MemoryReader()
    data = bytes(range(100, 160))
    manifest = store(reader, data, [(0, inline_first), *cuts])
    start, end = sorted((one, other))
    reader.reads.clear()
    pieces = list(read_range(reader, manifest, start, end - start))
    assert b"".join(pieces) == data[start:end]
    assert all(pieces), "no empty pieces"
    overlapping = [
        part
        for offset, part in manifest.placed_parts()
        if part.blob and max(offset, start) < min(offset + part.length, end)
    ]
    assert reader.reads["blob"] == len(overlapping), "only what overlaps is decoded, and once"


def test_ranges_are_read_when_their_turn_comes(reader):
    manifest = store(reader, bytes(range(40)), [(0, False), (10, False), (20, False), (30, False)])
    reader.reads.clear()
    assert next(read_range(reader, manifest, 5, 30)) == bytes(range(5, 10))
    assert reader.reads["blob"] == 1


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, 41), (41, 0), (30, 11), (3, -1)])
def test_ranges_outside_of_the_file(reader, offset, length):
    manifest = store(reader, bytes(40), [(0, False)])
    with pytest.raises(UsageError):
        list(read_range(reader, manifest, offset, length))


def test_a_blob_of_another_length_is_damage(reader):
    data = b"0123456789"
    manifest = store(reader, data, [(0, False)])
    reader.objects[manifest.parts[0].blob] = data[:9]
    with pytest.raises(CorruptObject):
        list(read_range(reader, manifest, 0, 2))


def test_an_empty_file_has_an_empty_range(reader):
    assert list(read_range(reader, PartTable(store(reader, b"", [])), 0, 0)) == []


# --- by name -----------------------------------------------------------------------------------------------
def test_groups(reader):
    old = store(
        reader,
        b"AAAABBBBCCCCDDDDEEEE",
        [(0, False), (4, False), (8, False), (12, True), (16, True)],
        [
            vector(name, 4 * at, 4)
            for at, name in enumerate(["same", "moved", "gone", "inline same", "inline moved"])
        ],
    )
    new = store(
        reader,
        b"--AAAADDDDXXXXEEE!BBBBFF",
        [(0, True), (2, False), (6, True), (10, False), (14, True), (18, False), (22, True)],
        [
            vector("same", 2, 4),
            vector("inline same", 6, 4),
            vector("moved", 10, 4),
            vector("inline moved", 14, 4),
            vector("fresh", 18, 4),
        ],
    )
    reader.reads.clear()
    found = diff_tensors(old, new)
    assert names(found.unchanged) == ["same", "inline same"]
    assert names(found.maybe_changed) == ["moved", "inline moved"]
    assert [span.name for span in found.added] == ["fresh"]
    assert [span.name for span in found.removed] == ["gone"]
    assert found.reshaped == ()
    assert not reader.reads, "told from the manifests alone"


def test_another_dtype_or_shape(reader):
    old = store(reader, bytes(16), [(0, False)], [vector("a", 0, 8), vector("b", 8, 8)])
    shapes = [Span(0, 8, "a", "U8", (2, 4)), Span(8, 8, "b", "F32", (2,))]
    new = store(reader, bytes(16), [(0, False)], shapes)
    found = diff_tensors(old, new)
    assert [(pair.old.shape, pair.new.shape) for pair in found.reshaped] == [((8,), (2, 4)), ((8,), (2,))]
    assert found.reshaped[1].new.dtype == "F32"
    assert found.maybe_changed == found.unchanged == ()


def test_views_inside_of_one_part(reader):
    """Aliases and small tensors start in the middle of a part; only their own bytes count."""
    spans = [vector("head", 0, 3), vector("whole", 0, 8), vector("tail", 5, 3)]
    old = store(reader, b"abcdefgh", [(0, True)], spans)
    new = store(reader, b"abcdeXgh", [(0, True)], spans)
    found = diff_tensors(old, new)
    assert names(found.unchanged) == ["head"]
    assert names(found.maybe_changed) == ["whole", "tail"]


def test_inline_bytes_are_compared_however_they_are_cut(reader):
    spans = [vector("t", 1, 6)]
    old = store(reader, b"abcdefgh", [(0, True), (3, True)], spans)
    new = store(reader, b"_bcdefg_", [(0, True), (2, True), (5, True)], spans)
    assert names(diff_tensors(old, new).unchanged) == ["t"]


def test_equal_bytes_in_other_blobs_may_have_changed(reader):
    spans = [vector("t", 0, 8)]
    old = store(reader, b"abcdefgh", [(0, False)], spans)
    new = store(reader, b"abcdefgh", [(0, False), (4, False)], spans)
    assert names(diff_tensors(old, new).maybe_changed) == ["t"]
    assert moved_share(reader, old, new, "t") == 0.0


def test_the_same_blob_at_another_place_in_it_is_not_unchanged(reader):
    spans_old, spans_new = [vector("t", 0, 4)], [vector("t", 2, 4)]
    old = store(reader, b"abcdefgh", [(0, False)], spans_old)
    new = store(reader, b"abcdefgh", [(0, False)], spans_new)
    assert names(diff_tensors(old, new).maybe_changed) == ["t"]
    assert moved_share(reader, old, new, "t") == 1.0


def test_two_tensors_of_one_name_do_not_hide_each_other(reader):
    old = store(reader, b"abcd", [(0, True)], [vector("t", 0, 2), vector("t", 2, 2)])
    new = store(reader, b"abxd", [(0, True)], [vector("t", 0, 2), vector("t", 2, 2)])
    found = diff_tensors(old, new)
    assert (len(found.unchanged), len(found.maybe_changed)) == (1, 1)
    fewer = store(reader, b"ab", [(0, True)], [vector("t", 0, 2)])
    assert [span.offset for span in diff_tensors(old, fewer).removed] == [2]
    tables = PartTable(old), PartTable(new)
    assert [pair_moved_share(reader, *tables, pair) for pair in diff_tensors(old, new).maybe_changed] == [0.5]


def test_numpy_is_not_imported_to_tell_names():
    code = (
        "import sys, mvc.history.tensordiff, mvc.history.treediff, mvc.history.revisions, mvc.history.graph\n"
        "print(sorted({'numpy', 'zstandard', 'difflib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- how much ----------------------------------------------------------------------------------------------
DTYPES = {"U8": "u1", "BF16": "u2", "F16:be": ">f2", "F32": "<f4", "I64": "<i8", "C128": "<c16"}


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(sorted(DTYPES)),
    st.integers(1, 12),
    st.data(),
)
def test_share_of_any_cut(name, count, data):
    """Against numpy on the whole bytes; glue before the tensor, parts cut anywhere, even inside elements."""
    reader = MemoryReader()
    width = np.dtype(DTYPES[name]).itemsize
    length = count * width
    base = data.draw(st.binary(min_size=length, max_size=length))
    changed = bytearray(base)
    for position in data.draw(st.lists(st.integers(0, length - 1), max_size=6)):
        changed[position] ^= data.draw(st.integers(1, 255))
    manifests = []
    for content in (base, bytes(changed)):
        before = data.draw(st.integers(0, 5))
        borders = data.draw(st.lists(st.tuples(st.integers(1, before + length), st.booleans()), max_size=6))
        cuts = [(0, data.draw(st.booleans())), *sorted(dict(borders).items())]
        span = Span(before, length, "t", name, (count,))
        manifests.append(store(reader, b"\0" * before + content + b"end", cuts, [span]))
    rows = [np.frombuffer(content, "u1").reshape(count, width) for content in (base, changed)]
    expected = np.count_nonzero((rows[0] != rows[1]).any(axis=1)) / count
    assert moved_share(reader, *manifests, "t") == expected
    if diff_tensors(*manifests).unchanged:
        assert expected == 0.0


@pytest.mark.parametrize(
    ("dtype", "shape", "unit"),
    [
        ("Q8_0", (70, 64), 34),
        ("Q4_K", (3, 512), 144),
        ("MXFP4", (32 * 9,), 17),
        ("F4", (7, 5), 1),
        ("F6_E2M3", (3, 7), 1),
        ("Q4_1", (2, 32), 20),
    ],
)
def test_block_types_are_compared_by_block(reader, dtype, shape, unit):
    """One changed byte is one changed block; elements of less than a byte count by byte."""
    length = DTYPE_TABLE[dtype].byte_count(math.prod(shape))
    assert length % unit == 0
    old = np.random.default_rng(4).bytes(length)
    changed = bytearray(old)
    changed[0] ^= 1
    changed[-1] ^= 1
    spans = [Span(0, length, "t", dtype, shape)]
    cuts = [(at, False) for at in range(0, length, max(unit, length // 3 // unit * unit))]
    manifests = [store(reader, data, cuts, spans) for data in (old, bytes(changed))]
    assert moved_share(reader, *manifests, "t") == 2 / (length // unit)


def test_bits_count_not_values(reader):
    """0.0 and -0.0 are equal numbers of other bits, NaN is no number equal to itself."""
    old = np.array([0.0, np.nan, 1.0, 2.0], "<f4")
    new = np.array([-0.0, np.nan, 1.0, 2.5], "<f4")
    spans = [vector("t", 0, 4, "F32", 4)]
    manifests = [store(reader, array.tobytes(), [(0, False)], spans) for array in (old, new)]
    assert moved_share(reader, *manifests, "t") == 0.5


def test_only_pieces_that_differ_are_decoded(reader):
    size, piece = 40_000, 4_000
    base = np.arange(size, dtype="<u4")
    other = base.copy()
    other[12_345] += 1
    cuts = [(at, False) for at in range(0, 4 * size, piece)]
    spans = [vector("t", 0, size, "F32", 4)]
    manifests = [store(reader, array.tobytes(), cuts, spans) for array in (base, other)]
    reader.reads.clear()
    assert moved_share(reader, *manifests, "t") == 1 / size
    assert reader.reads == {"blob": 2}


def test_pieces_of_a_megabyte_cut_differently_on_each_side(reader):
    """Larger than one block of comparison."""
    count = 700_000
    base = np.arange(count, dtype="<u4")
    other = base.copy()
    other[::7] ^= 1 << 31
    spans = [vector("t", 0, count, "F32", 4)]
    old = store(reader, base.tobytes(), [(at, False) for at in range(0, 4 * count, 1 << 20)], spans)
    new = store(reader, other.tobytes(), [(at, False) for at in range(0, 4 * count, 999_999)], spans)
    assert moved_share(reader, old, new, "t") == 100_000 / count


def test_no_elements_no_share(reader):
    spans = [Span(0, 0, "t", "F32", (0, 5))]
    manifest = store(reader, b"", [], spans)
    assert moved_share(reader, manifest, manifest, "t") == 0.0


def test_a_scalar(reader):
    manifests = [store(reader, data, [(0, True)], [Span(0, 1, "t", "U8", ())]) for data in (b"a", b"b")]
    assert moved_share(reader, *manifests, "t") == 1.0


class TestStrides:
    """Views as torch saves them: transposed, sliced, expanded."""

    def share(self, reader, old, new):
        manifests = []
        for data, shape, strides in (old, new):
            width = 4
            touched = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
            span = Span(0, touched * width, "t", "F32", shape, strides)
            manifests.append(store(reader, data.astype("<f4").tobytes(), [(0, False)], [span]))
        return moved_share(reader, *manifests, "t"), diff_tensors(*manifests)

    def test_transposed_on_both_sides(self, reader):
        data = np.arange(12)
        other = data.copy()
        other[5] = -1
        share, _ = self.share(reader, (data, (3, 4), (1, 3)), (other, (3, 4), (1, 3)))
        assert share == 1 / 12

    def test_transposed_on_one_side_is_compared_by_element(self, reader):
        data = np.arange(12)
        turned = data.reshape(3, 4).T.ravel()
        share, found = self.share(reader, (data, (3, 4), (4, 1)), (turned, (3, 4), (1, 3)))
        assert share == 0.0
        assert names(found.maybe_changed) == ["t"]
        turned[0] = -1
        assert self.share(reader, (data, (3, 4), (4, 1)), (turned, (3, 4), (1, 3)))[0] == 1 / 12

    def test_equal_bytes_read_with_other_strides_differ(self, reader):
        data = np.arange(4)
        share, found = self.share(reader, (data, (2, 2), (2, 1)), (data, (2, 2), (1, 2)))
        assert share == 0.5
        assert found.unchanged == ()

    def test_what_a_slice_skips_does_not_count(self, reader):
        data = np.arange(11)
        other = data.copy()
        other[1] = -1  # between the elements
        assert self.share(reader, (data, (6,), (2,)), (other, (6,), (2,)))[0] == 0.0
        other[2] = -1
        assert self.share(reader, (data, (6,), (2,)), (other, (6,), (2,)))[0] == 1 / 6

    def test_expanded_views_cost_what_they_store(self, reader):
        data, other = np.arange(3), np.array([0, 1, 9])
        huge = 1 << 40
        assert self.share(reader, (data, (huge, 3), (0, 1)), (other, (huge, 3), (0, 1)))[0] == 1 / 3
        assert self.share(reader, (data[:1], (huge,), (0,)), (other[1:2], (huge,), (0,)))[0] == 1.0

    def test_contiguous_strides_written_out_are_no_change(self, reader):
        data = np.arange(6, dtype="<f4").tobytes()
        spans = (Span(0, 24, "t", "F32", (1, 2, 3)), Span(0, 24, "t", "F32", (1, 2, 3), (99, 3, 1)))
        assert names(
            diff_tensors(*(store(reader, data, [(0, False)], [span]) for span in spans)).unchanged
        ) == ["t"]

    def test_sixteen_bytes_wide(self, reader):
        old, new = np.arange(4, dtype="<c16"), np.array([0, 1, 2, 3 + 1j], dtype="<c16")
        span = Span(0, 48, "t", "C128", (2,), (2,))
        manifests = [store(reader, array.tobytes(), [(0, False)], [span]) for array in (old, new)]
        assert moved_share(reader, *manifests, "t") == 0.0
        new[2] = 2j
        manifests[1] = store(reader, new.tobytes(), [(0, False)], [span])
        assert moved_share(reader, *manifests, "t") == 0.5


# --- what cannot be compared -------------------------------------------------------------------------------
def test_questions_that_make_no_sense(reader):
    old = store(reader, bytes(8), [(0, False)], [vector("t", 0, 8)])
    new = store(reader, bytes(8), [(0, False)], [Span(0, 8, "t", "U8", (2, 4))])
    with pytest.raises(UsageError, match="dtype or shape"):
        moved_share(reader, old, new, "t")
    with pytest.raises(UsageError, match="no tensor 'x'"):
        moved_share(reader, old, new, "x")


def test_tables_that_lie(reader):
    lies = {
        "length": Span(0, 8, "t", "U8", (9,)),
        "strides": Span(0, 8, "t", "U8", (4, 4), (4, 4)),
        "rank": Span(0, 8, "t", "U8", (8,), (1, 1)),
        "size": Span(0, 8, "t", "U8", (1 << 62, 1 << 62), (0, 0)),
    }
    for span in lies.values():
        manifest = store(reader, bytes(8), [(0, False)], [span])
        with pytest.raises(CorruptObject):
            moved_share(reader, manifest, manifest, "t")
    with pytest.raises(CorruptObject):
        diff_tensors(*[store(reader, bytes(8), [(0, False)], [lies["rank"]])] * 2)


def test_a_dtype_of_a_newer_mvc(reader):
    manifest = store(reader, bytes(8), [(0, False)], [vector("t", 0, 8, "F3")])
    assert names(diff_tensors(manifest, manifest).unchanged) == ["t"]
    with pytest.raises(UnsupportedFeature, match="F3"):
        moved_share(reader, manifest, manifest, "t")


def test_a_strided_view_too_large_to_hold(reader):
    """One stored megabyte, claimed many times over."""
    blob = reader.put_blob(BlobId, bytes(1 << 20))
    size = 257 << 20
    span = Span(0, size - 1, "t", "U8", (size // 2,), (2,))
    manifest = Manifest("test", size, bytes(32), tuple([Part(1 << 20, blob)] * 257), (span,))
    other = Manifest("test", size, bytes(32), manifest.parts, (Span(0, size // 2, "t", "U8", (size // 2,)),))
    reader.reads.clear()
    with pytest.raises(UnsupportedFeature, match="strided"):
        moved_share(reader, manifest, other, "t")
    assert not reader.reads
    overlapping = Span(0, 3_997, "t", "U8", (1_000, 1_000, 1_000, 1_000), (1, 1, 1, 1))
    manifest = store(reader, bytes(4_000), [(0, False)], [overlapping])
    with pytest.raises(UnsupportedFeature, match="strided"):
        moved_share(reader, manifest, manifest, "t")
