"""How far tensors moved, against plain numpy in binary64: every dtype, NaN, infinities, strides, blocks."""

from __future__ import annotations

import math
from hashlib import sha256

import ml_dtypes
import numpy as np
import pytest
from history_memory import MemoryReader
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mvc.dtypes import ML_DTYPES_NAMES, NUMPY_NAMES
from mvc.history.numeric import is_numeric
from mvc.history.reader import PartTable
from mvc.history.spectrum import Grid, effective_rank, low_rank, rounding_noise, singular_values
from mvc.history.stretches import Compared
from mvc.history.tensordiff import SpanPair
from mvc.history.tensorstats import BLOCK_BYTES, compare, delta_blocks
from mvc.objectid import BlobId
from mvc.objects import Manifest, Part
from mvc.spans import Span, touched_elements

NUMPY = {
    **{name: np.dtype(numpy).newbyteorder("<") for name, numpy in NUMPY_NAMES.items()},
    **{name: np.dtype(getattr(ml_dtypes, numpy)) for name, numpy in ML_DTYPES_NAMES.items()},
}
PLAIN = sorted(NUMPY)


def stored(reader, data, span, cut=0):
    """The parts of a file that holds one tensor, in blobs cut every so many bytes."""
    cut = cut or max(len(data), 1)
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    parts = tuple(Part(len(piece), reader.put_blob(BlobId, piece)) for piece in pieces)
    return PartTable(Manifest("test", len(data), sha256(data).digest(), parts, (span,)))


def pair_of(reader, old, new, names, shapes=None, cut=0, strides=(None, None)):
    """Two tensors of which the bits are given."""
    sides = []
    for data, name, shape, step in zip((old, new), names, shapes, strides, strict=True):
        span = Span(0, len(data), "w", name, tuple(shape), step)
        sides.append((stored(reader, data, span, cut), span))
    (before, first), (after, second) = sides
    return Compared(before, after, SpanPair(first, second))


def stats_of(old, new, names, shapes=None, **more):
    reader = MemoryReader()
    shapes = shapes or [
        (len(data) // NUMPY[name].itemsize,) for data, name in zip((old, new), names, strict=True)
    ]
    (found,) = compare(reader, [pair_of(reader, old, new, names, shapes, **more)], rank=True)
    return found


def reference(old, new):
    """The definitions, over whole arrays."""
    wide = np.complex128 if old.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        first, second = old.reshape(-1).astype(wide), new.reshape(-1).astype(wide)
        good = np.isfinite(first) & np.isfinite(second)
        delta = np.abs(second[good] - first[good])
        l2, norm, other = (
            float(np.sqrt((x * x).sum())) for x in (delta, np.abs(first[good]), np.abs(second[good]))
        )
        cosine = (
            float((np.conj(first[good]) * second[good]).sum().real) / (norm * other)
            if norm and other
            else None
        )
    return l2, float(delta.max(initial=0.0)), norm, l2 / norm if norm else None, cosine


def close(found, wanted, rel=1e-9):
    if wanted is None or not math.isfinite(wanted):
        return found is None
    return found == pytest.approx(wanted, rel=rel, abs=1e-290)


def test_which_types_hold_numbers():
    assert all(is_numeric(name) for name in PLAIN)
    assert is_numeric("F32:be") and is_numeric("I16:be") and is_numeric("BF16:be")
    assert not any(map(is_numeric, ("Q4_K", "Q8_0", "I4", "F4", "F6_E2M3", "nothing")))


@pytest.mark.parametrize("name", PLAIN)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_bits_of_any_type(name, data):
    """Every bit pattern: NaNs, infinities, subnormals."""
    count, width = data.draw(st.integers(0, 40)), NUMPY[name].itemsize
    old = data.draw(st.binary(min_size=count * width, max_size=count * width))
    places = data.draw(st.lists(st.integers(0, max(count * width - 1, 0)), max_size=5)) if count else []
    changed = bytearray(old)
    for place in places:
        changed[place] ^= data.draw(st.integers(0, 255))
    if name == "BOOL":
        old, changed = bytes(x & 1 for x in old), bytearray(x & 1 for x in changed)
    found = stats_of(old, bytes(changed), (name, name))
    a, b = (np.frombuffer(bytes(x), NUMPY[name]) for x in (old, changed))
    l2, largest, norm, relative, cosine = reference(a, b)
    if name in ("C64", "C128"):  # whose parts are counted one by one
        parts = [x.view(f"<f{width // 2}") for x in (a, b)]
        assert found.nans == tuple(int(np.isnan(x).sum()) for x in parts)
        if not all(np.isfinite(x).all() for x in parts):
            return
    unequal = np.frombuffer(old, f"V{width}") != np.frombuffer(bytes(changed), f"V{width}")
    assert found.elements == count and found.moved == (unequal.mean() if count else 0)
    if name not in ("I64", "U64"):  # compared exactly below
        assert close(found.l2, l2) and close(found.largest, largest)
    assert close(found.norm, norm)
    if (
        relative is not None
        and math.isfinite(relative)
        and None not in (found.l2, found.norm)
        and name not in ("I64", "U64")
    ):
        assert close(found.relative, relative)
    # parts that are lost in the sum of squares are lost in the cosine too
    if cosine is not None and found.cosine is not None and norm > 1e-140 and norm < 1e140:
        assert found.cosine == pytest.approx(cosine, abs=1e-6)
    if NUMPY[name].kind not in "iubc":
        with np.errstate(all="ignore"):
            wide = [x.astype(np.float64) for x in (a, b)]
        assert found.nans == tuple(int(np.isnan(x).sum()) for x in wide)
        assert found.infinities == tuple(int(np.isinf(x).sum()) for x in wide)


@pytest.mark.parametrize("name", ["I64", "U64"])
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9)), min_size=1, max_size=20))
def test_large_integers_are_subtracted_before_they_are_rounded(name, rows):
    shift = 0 if name == "I64" else 2**63
    low, high = (-(2**63), 2**63 - 1) if name == "I64" else (0, 2**64 - 1)
    old = [min(max(x + shift, low), high) for x, _d in rows]
    new = [min(max(x + d, low), high) for x, (_x, d) in zip(old, rows, strict=True)]
    found = stats_of(*(np.array(x, NUMPY[name]).tobytes() for x in (old, new)), (name, name))
    deltas = [b - a for a, b in zip(old, new, strict=True)]
    assert found.largest == max(map(abs, deltas))
    assert found.l2 == pytest.approx(math.sqrt(sum(d * d for d in deltas)))


FLOATS = [name for name in PLAIN if name.startswith(("F", "BF")) and name != "F8_E8M0"]


@pytest.mark.parametrize("before", FLOATS)
@pytest.mark.parametrize("after", ["F64", "F32", "BF16", "F16", "F8_E4M3"])
def test_across_a_cast_numbers_are_compared(before, after):
    rng = np.random.default_rng(5)
    old = rng.standard_normal((30, 11)).astype(NUMPY[before])
    with np.errstate(all="ignore"):
        new = old.astype(np.float64).astype(NUMPY[after])
    found = stats_of(old.tobytes(), new.tobytes(), (before, after), [(30, 11)] * 2)
    l2, largest, norm, relative, cosine = reference(old, new)
    assert close(found.l2, l2) and close(found.largest, largest) and close(found.norm, norm)
    assert close(found.relative, relative) and close(found.cosine, cosine)
    assert found.moved == (old.astype(np.float64) != new.astype(np.float64)).mean()


def test_a_widened_tensor_did_not_move():
    old = np.array([1.0, -2.5, np.nan, np.inf, 0.0], ml_dtypes.bfloat16)
    found = stats_of(old.tobytes(), old.astype("<f4").tobytes(), ("BF16", "F32"))
    assert (found.moved, found.l2, found.nans, found.infinities) == (0, 0, (1, 1), (1, 1))


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=st.floats(-4, 4, width=32)),
    st.permutations(range(3)),
    st.booleans(),
)
def test_strides_do_not_matter(array, axes, both):
    """A tensor whose axes lie in another order in one of the files, or in both, is the same tensor."""
    axes = [axis for axis in axes if axis < array.ndim]
    other = array + np.float32(0.5)
    lying = np.ascontiguousarray(other.transpose(axes))  # how the file has it
    strides = [0] * array.ndim
    for place, axis in enumerate(axes):
        strides[axis] = lying.strides[place] // 4
    first = np.ascontiguousarray(array.transpose(axes)) if both else array
    steps = (tuple(strides) if both else None, tuple(strides))
    length = touched_elements(array.shape, tuple(strides)) * 4
    found = stats_of(
        first.tobytes(), lying.tobytes()[:length], ("F32", "F32"), [array.shape] * 2, strides=steps
    )
    l2, largest, norm, _relative, _cosine = reference(array, other)
    assert found.elements == array.size and close(found.l2, l2) and close(found.largest, largest)
    assert close(found.norm, norm) and found.moved == 1


def test_a_view_that_repeats_counts_each_time():
    old, new = np.array([1, 2], "<f4"), np.array([1, 4], "<f4")
    found = stats_of(old.tobytes(), new.tobytes(), ("F32", "F32"), [(50, 2)] * 2, strides=((0, 1), (0, 1)))
    l2, largest, norm, _relative, cosine = reference(np.tile(old, (50, 1)), np.tile(new, (50, 1)))
    assert close(found.l2, l2) and close(found.norm, norm) and close(found.cosine, cosine)
    assert (found.moved, found.largest, found.elements) == (0.5, largest, 100)


def test_a_view_of_any_extent_costs_nothing():
    data = np.array([3.0], "<f4").tobytes()
    found = stats_of(data, data, ("F32", "F32"), [(2**40,)] * 2, strides=((0,), (0,)))
    assert found.elements == 2**40 and found.moved == 0 and found.rank is None


def test_rows_that_were_added_are_left_out():
    rng = np.random.default_rng(1)
    old = rng.standard_normal((6, 5)).astype("<f4")
    new = np.concatenate([old + 1, rng.standard_normal((2, 5)).astype("<f4")])
    found = stats_of(old.tobytes(), new.tobytes(), ("F32", "F32"), [(6, 5), (8, 5)])
    assert found.elements == 30 and close(found.l2, reference(old, new[:6])[0])
    back = stats_of(new.tobytes(), old.tobytes(), ("F32", "F32"), [(8, 5), (6, 5)])
    assert back.elements == 30 and back.l2 == found.l2
    flat = stats_of(old.tobytes(), old.tobytes(), ("F32", "F32"), [(6, 5), (5, 6)])
    assert flat.elements == 30 and flat.moved == 0
    assert stats_of(old.tobytes(), new.tobytes()[:36], ("F32", "F32"), [(6, 5), (3, 3)]) is None


def test_of_blocks_only_their_share_is_known():
    old = bytes(34 * 4)
    new = bytes(34) + b"\x01" + bytes(34 * 3 - 1)
    found = stats_of(old, new, ("Q8_0", "Q8_0"), [(4, 32)] * 2)
    assert found.moved == 0.25 and found.l2 is None and found.rank is None
    assert stats_of(old, bytes(512), ("Q8_0", "F32"), [(4, 32)] * 2) is None


def test_big_endian_numbers_are_numbers():
    old, new = np.array([1.5, 2.0], ">f4"), np.array([1.5, 4.0], ">f4")
    found = stats_of(old.tobytes(), new.tobytes(), ("F32:be", "F32:be"), [(2,)] * 2)
    assert (found.l2, found.largest, found.norm) == (2.0, 2.0, 2.5)


def test_many_blocks_give_what_one_would_and_what_is_shared_is_read_once():
    rng = np.random.default_rng(3)
    old = rng.standard_normal((1100, 1024)).astype("<f4")
    new = old.copy()
    new[700:] *= np.float32(1.01)
    reader = MemoryReader()
    one = pair_of(reader, old.tobytes(), new.tobytes(), ("F32", "F32"), [old.shape] * 2, cut=BLOCK_BYTES)
    reader.reads.clear()
    (found,) = compare(reader, [one])
    l2, largest, norm, relative, cosine = reference(old, new)
    assert close(found.l2, l2) and close(found.largest, largest) and close(found.norm, norm)
    assert close(found.relative, relative) and close(found.cosine, cosine) and found.rank is None
    assert reader.reads["blob"] == 2 + 2 * 3, "two blocks are the same in both"
    assert sum(block.size for block in delta_blocks(reader, one)) == old.size


def test_threads_do_not_change_a_digit(monkeypatch):
    rng = np.random.default_rng(4)
    reader = MemoryReader()
    ones = []
    for _ in range(6):
        old = rng.standard_normal((600, 1024)).astype("<f4")
        new = old + rng.standard_normal(old.shape).astype("<f4")
        ones.append(
            pair_of(reader, old.tobytes(), new.tobytes(), ("F32", "F32"), [old.shape] * 2, cut=BLOCK_BYTES)
        )
    several = list(compare(reader, ones))
    monkeypatch.setattr("mvc.parallel.worker_count", lambda: 1)
    assert list(compare(reader, ones)) == several
    assert list(compare(reader, ones[::-1])) == several[::-1]


# --- spectra -----------------------------------------------------------------------------------------------
def test_effective_rank_is_the_entropy_of_the_singular_values():
    rng = np.random.default_rng(7)
    low = rng.standard_normal((90, 4)) @ rng.standard_normal((4, 70))
    exact = np.linalg.svd(low, compute_uv=False)[:4]
    shares = exact / exact.sum()
    wanted = math.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(singular_values(low)) == pytest.approx(wanted, rel=1e-6)
    assert effective_rank(singular_values(np.eye(20))) == pytest.approx(20)
    assert effective_rank(singular_values(np.ones((5, 9)))) == pytest.approx(1)
    assert effective_rank(singular_values(np.zeros((5, 9)))) == 0


def test_few_directions_beside_noise():
    rng = np.random.default_rng(8)
    noise = 0.01 * rng.standard_normal((256, 200))
    signal = rng.standard_normal((256, 6)) @ rng.standard_normal((6, 200))
    assert low_rank(noise, 0.01) is None
    assert low_rank(signal + noise, 0.01) == 6
    assert low_rank(signal, 0.0) == 6
    assert low_rank(rng.standard_normal((256, 200)), 0.01) is None, "every direction stands out"
    assert low_rank(np.zeros((9, 9)), 0.1) is None


def test_rounding_noise_is_that_of_rounding():
    values = np.random.default_rng(9).standard_normal(20_000)
    rounded = values.astype(ml_dtypes.bfloat16).astype(np.float64)
    assert rounding_noise(values, 7) == pytest.approx(float((rounded - values).std()), rel=0.05)


def test_the_sample_is_spread_evenly():
    grid = Grid.of((1000, 10, 30))
    assert grid.shape == (256, 256)
    places = grid.places()
    assert places[0] == 0 and places[-1] == 996 * 300 + 298 and (np.diff(places) > 0).all()
    assert Grid.of((5,)) is None and Grid.of((1, 9)) is None and Grid.of((0, 9)) is None
    rng = np.random.default_rng(9)
    old = rng.standard_normal((400, 300)).astype("<f8")
    new = old + rng.standard_normal((400, 3)) @ rng.standard_normal((3, 300))
    found = stats_of(old.tobytes(), new.tobytes(), ("F64", "F64"), [old.shape] * 2, cut=BLOCK_BYTES)
    rows, columns = np.arange(256) * 400 // 256, np.arange(256) * 300 // 256
    wanted = effective_rank(singular_values((new - old)[np.ix_(rows, columns)]))
    assert found.rank == pytest.approx(wanted) and 2 < found.rank < 3.01
