"""The native kernel: the numpy code's bytes in every case, and no step beyond an array."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvc.codecs import CODECS, buckets, fused, logs, native, plane, rans, shares, tokens
from mvc.codecs.native import NONE, RESIDUAL, ROTATE, Step
from mvc.codecs.planes import Planes
from mvc.codecs.shares import Model
from mvc.dtypes import DTYPES
from mvc.elements import unsigned
from mvc.errors import CorruptObject
from mvc.odb import estimate
from mvc.odb.decoder import decode_chain
from mvc.odb.encoder import encode_tensor
from mvc.odb.estimate import Choice

ROOT = Path(__file__).parent.parent
KERNEL = native.KERNEL
needs_kernel = pytest.mark.skipif(
    KERNEL is None, reason="no native kernel is built here: pip install -e . builds it where a C compiler is"
)
several = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

EXPONENTS = {1: [(3, 4), (0, 8)], 2: [(7, 8), (10, 5), (0, 16)], 4: [(23, 8), (1, 3)], 8: [(52, 11), (0, 64)]}
STEPS = [
    Step(kind, width, *exponent)
    for width in (1, 2, 4, 8)
    for kind, exponents in ((NONE, [()]), (ROTATE, [()]), (RESIDUAL, [(), *EXPONENTS[width]]))
    for exponent in exponents
]
each_step = pytest.mark.parametrize("step", STEPS, ids=str)


def octets(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


class Twin:
    """What :class:`mvc.codecs.native.Kernel` does, by the numpy code; while there is no kernel."""

    def split(self, step, block, target, base, scratch, planes) -> None:
        size = block * step.width
        for start in range(0, target.size, size):
            place = slice(start, start + size)
            coded = self._transform("encode", step, target[place], None if base is None else base[place])
            planes[place] = coded.reshape(-1, step.width).T.ravel()

    def join(self, step, planes, base, scratch, out) -> None:
        coded = np.ascontiguousarray(np.stack(planes, axis=1)).reshape(-1)
        out[:] = self._transform("decode", step, coded, base)

    def histograms(self, step, target, base, room) -> np.ndarray:
        kind = unsigned(step.width)
        beside = None if base is None else base.view(kind)
        return np.ascontiguousarray(estimate.histograms(step, target.view(kind), beside))

    def huffman(self, counts, table) -> list[int]:
        return estimate.huffman_bits(counts)

    def entropies(self, counts, least, table) -> tuple[int, int, int]:
        return estimate.entropies(counts, least)

    def fit(self, counts, precision, table, room, contexts, fitted, stored) -> int:
        model, form = shares.fit(counts, precision)
        contexts[:] = model.contexts
        fitted[: model.shares.size] = model.shares.ravel()
        stored[: len(form)] = octets(form)
        return len(form)

    def read_shares(self, stored, symbols, precision, contexts, fitted) -> int:
        reader = plane.Reader(memoryview(stored))
        try:
            model = shares.read(reader, symbols, precision)
        except CorruptObject:
            return 0
        contexts[:] = model.contexts
        fitted[: model.shares.size] = model.shares.ravel()
        return stored.size - reader.left

    def pack_nibbles(self, values, packed, escapes) -> int:
        halves, escaped = plane.pack_nibbles(values)
        packed[:] = halves
        escapes[: escaped.size] = escaped
        return escaped.size

    def keys(self, width, shift, bits, base, keys) -> None:
        keys[:] = tokens.keys_of(base.view(unsigned(width)), tokens.Layout(width, shift, bits))

    def tokenise(self, width, shift, bits, keep, target, base, found, keys, counts, extras) -> int:
        kind = unsigned(width)
        cut = tokens.Layout(width, shift, bits)
        found[:], keys[:], counts[0], more = tokens.tokenise(target.view(kind), base.view(kind), cut, keep)
        extras[: len(more)] = octets(more)
        return 8 * len(more)

    def untokenise(self, width, keep, found, base, extras, out) -> bool:
        try:
            tokens.untokenise(found, base.view(unsigned(width)), keep, memoryview(extras), out)
        except CorruptObject:
            return False
        return True

    def bucketise(self, width, low, target, symbol_of, found, counts, extras) -> int:
        cut = buckets.Layout(width, low)
        found[:], counts[:], more = buckets.bucketise(target.view(unsigned(width)), cut, symbol_of)
        extras[: len(more)] = octets(more)
        return 8 * len(more)

    def unbucketise(self, width, low, found, upper, extras, out) -> bool:
        try:
            buckets.unbucketise(found, buckets.Layout(width, low), upper, memoryview(extras), out)
        except CorruptObject:
            return False
        return True

    def rans_encode(self, symbols, keys, contexts, shares, precision, lanes, room) -> np.ndarray:
        return rans.encode(symbols, keys, Model(contexts, shares), precision, lanes)

    def rans_decode(self, coded, keys, contexts, shares, precision, lanes, symbols) -> bool:
        try:
            rans.decode(coded, keys, Model(contexts, shares), precision, lanes, symbols)
        except CorruptObject:
            return False
        return True

    unpack_nibbles = staticmethod(plane.unpack_nibbles)
    fill_escapes = staticmethod(plane.fill_escapes)

    @staticmethod
    def _transform(direction, step, data, base) -> np.ndarray:
        if step.kind == NONE:
            return data
        params = {"width": step.width}
        if step.kind == RESIDUAL:
            params |= {"shift": step.shift, "bits": step.bits, "block": 16 << 20}
        codec = CODECS["rot" if step.kind == ROTATE else "ig", 1]
        more = (data.size,) if direction == "decode" else ()
        return np.frombuffer(getattr(codec, direction)(data, params, base, *more), np.uint8)


@pytest.fixture
def twin(monkeypatch) -> Twin:
    monkeypatch.setattr(native, "KERNEL", None)
    return Twin()


# --- the functions -----------------------------------------------------------------------------------------


def test_the_known_answer_is_that_of_the_numpy_code(twin) -> None:
    assert native._fingerprint(twin) == native._KNOWN


def elements(data, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Target, base, and elements per block: any bit patterns, and many equal keys."""
    count = data.draw(st.integers(1, 3000))
    seed = data.draw(st.integers(0, 1 << 30))
    target, base = octets(noise(count * width, seed)), octets(noise(count * width, seed + 1)).copy()
    if data.draw(st.booleans()):
        base &= data.draw(st.sampled_from([0, 1, 0x81, 0xC0]))
    return target, base, data.draw(st.integers(1, count + 10))


@needs_kernel
@each_step
@given(data=st.data())
@several
def test_split_and_join(twin, step, data) -> None:
    target, base, block = elements(data, step.width)
    beside = base if step.kind == RESIDUAL else None
    apart = [np.empty(target.size, np.uint8) for _ in range(2)]
    scratch = np.empty(target.size, np.uint8)
    for kernel, planes in zip((KERNEL, twin), apart, strict=True):
        kernel.split(step, block, target, beside, scratch, planes)
    assert apart[0].tobytes() == apart[1].tobytes()
    out = np.empty(target.size, np.uint8)
    size = block * step.width
    for start in range(0, target.size, size):
        place = slice(start, start + size)
        rows = list(apart[0][place].reshape(step.width, -1))
        KERNEL.join(step, rows, None if beside is None else beside[place], scratch, out[place])
    assert out.tobytes() == target.tobytes()


@needs_kernel
@each_step
@given(data=st.data())
@several
def test_histograms(twin, step, data) -> None:
    target, base, _ = elements(data, step.width)
    beside = base if step.kind == RESIDUAL else None
    room = np.full(step.width * (256 if step.bits else 1) * 256, -1, np.int64)
    counts = KERNEL.histograms(step, target, beside, room)
    assert np.array_equal(counts, twin.histograms(step, target, beside, room))
    assert counts.sum() == target.size


def counts_of(data) -> np.ndarray:
    """Counts of 256 keys and some symbols: few keys or all, geometric or one of each, small or huge."""
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    symbols = data.draw(st.integers(1, 256))
    counts = np.zeros((256, symbols), np.uint32)
    for key in random.choice(256, data.draw(st.sampled_from([1, 2, 9, 30, 256])), replace=False):
        weight = float(random.choice([0.5, 10, 1000, 100_000]))
        counts[key] = random.poisson(weight * np.exp(-np.arange(symbols) / random.uniform(0.1, 30)))
    if data.draw(st.booleans()):
        counts = np.minimum(counts, 1)
    counts[data.draw(st.integers(0, 255)), 0] += data.draw(st.sampled_from([1, 5000, 1 << 31]))
    return counts


@needs_kernel
@given(data=st.data())
@several
def test_fitted_shares(twin, data) -> None:
    counts = counts_of(data)
    precision = data.draw(st.sampled_from([8, 12, 14]))
    made = []
    for kernel in (KERNEL, twin):
        room, fitted = np.empty(counts.size, np.uint32), np.empty(counts.size, np.uint16)
        contexts, stored = np.empty(256, np.uint8), np.empty(520 + 3 * counts.size, np.uint8)
        length = kernel.fit(counts, precision, logs.TABLE, room, contexts, fitted, stored)
        size = (int(stored[0]) + 1) * counts.shape[1]
        made.append((contexts.tobytes(), fitted[:size].tobytes(), stored[:length].tobytes()))
    assert made[0] == made[1]
    reader = plane.Reader(memoryview(made[0][2]))
    read = shares.read(reader, counts.shape[1], precision)
    assert (read.contexts.tobytes(), read.shares.tobytes()) == made[0][:2]
    assert reader.left == 0
    assert (read.shares[read.contexts] > 0)[counts > 0].all()


@needs_kernel
@pytest.mark.parametrize("width", [1, 2, 4, 8])
@given(data=st.data())
@several
def test_tokens(twin, width, data) -> None:
    """Of any elements, whole tiles and what is left; too few extra bits or too many are refused."""
    target, base, _ = elements(data, width)
    if data.draw(st.booleans()):  # most did not move, or a little
        moves = octets(noise(target.size, 7)).view(unsigned(width)) >> data.draw(
            st.integers(0, 8 * width - 1)
        )
        target = (base.view(unsigned(width)) + moves).view(np.uint8)
        target[: target.size // width // 9 * width] = 0
    count = target.size // width
    keep = data.draw(st.integers(1, 1 if width in (1, 8) else 3))
    shift, bits = data.draw(st.sampled_from([(0, 0), *EXPONENTS[width]]))
    number, made = tokens.alphabet(width, keep), []
    for kernel in (KERNEL, twin):
        found, keys = np.empty(count, np.uint8), np.empty(count, np.uint8)
        counts, extras = np.empty((2, 256, number), np.uint32), np.empty(target.size + 8, np.uint8)
        total = kernel.tokenise(width, shift, bits, keep, target, base, found, keys, counts, extras)
        extras = extras[: (total + 7) // 8].copy()
        made.append([part.tobytes() for part in (found, keys, counts[0], extras)])
    assert made[0] == made[1]
    for wrong in (0, 1, -1, 9):
        out = [np.empty(target.size, np.uint8) for _ in range(2)]
        some = extras[:wrong] if wrong < 0 else np.append(extras, np.zeros(wrong, np.uint8))
        some = some.copy()  # so that a sanitiser sees a step beyond it
        done = [
            kernel.untokenise(width, keep, found, base, some, room)
            for kernel, room in zip((KERNEL, twin), out, strict=True)
        ]
        assert done == [some.size == extras.size] * 2
        assert wrong or out[0].tobytes() == out[1].tobytes() == target.tobytes()


@needs_kernel
@given(data=st.data())
@several
def test_coded_symbols(twin, data) -> None:
    """With few lanes and with many, of any length; damaged ones are refused by both or by neither."""
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    count = data.draw(st.sampled_from([1, 7, 8, 255, 256, 257, 1000, 3001]))
    number = data.draw(st.integers(1, 200))
    share = 0.5 ** np.arange(number) if data.draw(st.booleans()) else np.ones(number)
    symbols = random.choice(number, count, p=share / share.sum()).astype(np.uint8)
    keys = random.integers(0, data.draw(st.sampled_from([1, 2, 256])), count).astype(np.uint8)
    precision, lanes = data.draw(st.sampled_from([8, 12, 14])), 1 << data.draw(st.integers(0, 7))
    counts = np.zeros((256, number), np.uint32)
    np.add.at(counts, (keys, symbols), 1)
    model = shares.fit(counts, precision)[0]
    made = [
        kernel.rans_encode(
            symbols, keys, *model, precision, lanes, np.empty(2 * count + 4 * lanes, np.uint8)
        ).copy()
        for kernel in (KERNEL, twin)
    ]
    assert made[0].tobytes() == made[1].tobytes()
    coded = made[0]
    if data.draw(st.booleans()):
        coded[random.integers(coded.size)] ^= np.uint8(random.integers(1, 256))
    elif data.draw(st.booleans()):
        coded = coded[: coded.size - 2 * data.draw(st.integers(1, 12))]
    found = [np.zeros(count, np.uint8) for _ in range(2)]
    done = [
        kernel.rans_decode(coded, keys, *model, precision, lanes, room)
        for kernel, room in zip((KERNEL, twin), found, strict=True)
    ]
    assert done[0] == done[1]
    if done[0]:
        assert found[0].tobytes() == found[1].tobytes()
    if coded.tobytes() == made[1].tobytes():
        assert done[0]
        assert found[0].tobytes() == symbols.tobytes()


@needs_kernel
@given(data=st.data())
@settings(several, max_examples=300)
def test_damaged_shares(twin, data) -> None:
    """Refused or read alike, and not a byte beyond what there is."""
    counts, precision = counts_of(data), data.draw(st.sampled_from([8, 12, 14]))
    stored = octets(bytes(shares.fit(counts, precision)[1])).copy()
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, min(stored.size, data.draw(st.sampled_from([4, 40, 9999]))) - 1))
        stored[place] = data.draw(st.integers(0, 255))
    stored = stored[: stored.size - data.draw(st.sampled_from([0, 0, 1, 30]))].copy()
    if data.draw(st.booleans()):
        stored = np.append(stored, octets(noise(9)))
    found = []
    for kernel in (KERNEL, twin):
        contexts, fitted = np.zeros(256, np.uint8), np.zeros(counts.size, np.uint16)
        length = kernel.read_shares(stored, counts.shape[1], precision, contexts, fitted)
        size = (int(stored[0]) + 1) * counts.shape[1] if length else 0
        found.append((length, contexts.tobytes() if length else b"", fitted[:size].tobytes()))
    assert found[0] == found[1]


@needs_kernel
@given(data=st.data())
@several
def test_prices(twin, data) -> None:
    counts = np.minimum(counts_of(data), 30)
    least = data.draw(st.sampled_from([0, 1, 40, 1000]))
    assert KERNEL.entropies(counts, least, logs.TABLE) == twin.entropies(counts, least, logs.TABLE)
    planes = np.zeros((2, 256, 256), np.int64)
    planes[0, :, : counts.shape[1]], planes[1, :, : counts.shape[1]] = counts, counts[::-1]
    planes[:, :, 0] += data.draw(st.sampled_from([1, 7, 400]))
    planes[1] = planes[1, :, ::-1]
    assert KERNEL.huffman(planes, logs.TABLE) == twin.huffman(planes, logs.TABLE)


@given(st.lists(st.one_of(st.integers(0, 9000), st.integers(0, (1 << 32) - 1)), min_size=1))
def test_logarithms_are_near(counts) -> None:
    exact = np.log2(np.maximum(np.array(counts, np.float64), 1))
    assert np.abs(logs.log2(np.array(counts)) / 65536 - exact).max() < 2 * 2**-16


planes_of_bytes = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda size, seed, most: bytes(min(b, most) for b in noise(size, seed)),
              st.integers(0, 3000), st.integers(0, 1 << 30), st.sampled_from([0, 13, 14, 15, 16, 255])),
    st.builds(lambda size, seed, share: bytes(b if b > share else b % 15 for b in noise(size, seed)),
              st.integers(0, 3000), st.integers(0, 1 << 30), st.sampled_from([128, 200, 254])),
)  # fmt: skip


@needs_kernel
@given(values=planes_of_bytes)
@several
def test_nibbles(twin, values) -> None:
    packed = [np.empty((len(values) + 1) // 2, np.uint8) for _ in range(2)]
    escapes = [np.empty(len(values), np.uint8) for _ in range(2)]
    found = [
        kernel.pack_nibbles(octets(values), *room)
        for kernel, *room in zip((KERNEL, twin), packed, escapes, strict=True)
    ]
    assert found[0] == found[1] == sum(value >= 15 for value in values)
    assert packed[0].tobytes() == packed[1].tobytes()
    assert escapes[0][: found[0]].tobytes() == escapes[1][: found[1]].tobytes()
    back = np.empty(len(values), np.uint8)
    assert KERNEL.unpack_nibbles(packed[0], back) == found[0]
    KERNEL.fill_escapes(back, escapes[0][: found[0]])
    assert back.tobytes() == values


@needs_kernel
@given(packed=st.binary(max_size=400), odd=st.booleans(), lie=st.integers(-9, 9))
@several
def test_hostile_nibbles(packed, odd, lie) -> None:
    """Any bytes unpack, and a wrong number of escapes is an error that reads and writes no further."""
    count = max(0, 2 * len(packed) - odd)
    packed = packed[: (count + 1) // 2]
    guarded = np.full(count + 16, 0xAA, np.uint8)
    values = guarded[8 : 8 + count]
    escaped = KERNEL.unpack_nibbles(octets(packed), values)
    expected = [half for byte in packed for half in (byte & 15, byte >> 4)][:count]
    assert values.tolist() == expected
    assert escaped == expected.count(15)
    escapes = octets(noise(max(0, escaped + lie)))
    if lie == 0 or escapes.size == escaped:
        KERNEL.fill_escapes(values, escapes)
        replaced = iter(escapes.tolist())
        assert values.tolist() == [next(replaced) if half == 15 else half for half in expected]
    else:
        with pytest.raises(ValueError, match="fit"):
            KERNEL.fill_escapes(values, escapes)
    assert guarded[:8].tolist() == guarded[8 + count :].tolist() == [0xAA] * 8


@needs_kernel
def test_arrays_that_do_not_fit_are_refused() -> None:
    def room(size: int) -> np.ndarray:
        return np.zeros(size, np.uint8)

    plain, grouped = Step(NONE, 2), Step(RESIDUAL, 2, 7, 8)
    for call in (
        lambda: KERNEL.split(plain, 4, room(7), None, room(8), room(7)),
        lambda: KERNEL.split(plain, 4, room(8), None, room(8), room(6)),
        lambda: KERNEL.split(plain, 0, room(8), None, room(8), room(8)),
        lambda: KERNEL.split(plain, 4, room(8), room(8), room(8), room(8)),
        lambda: KERNEL.split(grouped, 4, room(8), None, room(8), room(8)),
        lambda: KERNEL.split(grouped, 4, room(8), room(6), room(8), room(8)),
        lambda: KERNEL.split(grouped, 4, room(8), room(8), room(7), room(8)),
        lambda: KERNEL.split(Step(NONE, 3), 4, room(9), None, room(9), room(9)),
        lambda: KERNEL.split(Step(RESIDUAL, 2, 9, 8), 4, room(8), room(8), room(8), room(8)),
        lambda: KERNEL.split(Step(7, 2), 4, room(8), None, room(8), room(8)),
        lambda: KERNEL.split(plain, 4, room(16)[::2], None, room(8), room(8)),
        lambda: KERNEL.join(plain, [room(4)], None, room(8), room(8)),
        lambda: KERNEL.join(plain, [room(4), room(3)], None, room(8), room(8)),
        lambda: KERNEL.join(grouped, [room(4), room(4)], room(8), room(7), room(8)),
        lambda: KERNEL.join(plain, [room(4), room(4)], None, room(8), octets(bytes(8))),
        lambda: KERNEL.histograms(grouped, room(8), room(8), np.zeros(2 * 3 * 256, np.int64)),
        lambda: KERNEL.pack_nibbles(room(8), room(3), room(8)),
        lambda: KERNEL.pack_nibbles(room(8), room(4), room(7)),
        lambda: KERNEL.unpack_nibbles(room(3), room(8)),
    ):
        with pytest.raises(ValueError, match="fit"):
            call()


# --- whole chains ------------------------------------------------------------------------------------------


def weights(dtype: str, length: int, step: float, seed: int) -> bytes:
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<f4"}.get(dtype, f"<i{DTYPES[dtype].width}")
    values = np.random.default_rng(seed).standard_normal(length // np.dtype(kind).itemsize + 2) * 0.02
    values += step * 0.02 * np.random.default_rng(seed + 1).standard_normal(values.size)
    if dtype == "BF16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()[:length]
    return (values if "f" in kind else values * 2000).astype(kind).tobytes()[:length]


@needs_kernel
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64", "C64", "I8", "I16", "I32", "F8_E4M3"])
@pytest.mark.parametrize("length", [0, 1, 15, 4099, 70_001])
@pytest.mark.parametrize("choice", Choice)
def test_records_are_the_same_with_and_without(monkeypatch, dtype, length, choice) -> None:
    # which way is chosen may depend on how fast it is: here only the bytes count
    monkeypatch.setattr(estimate, "choose", lambda plain, seen, base: _possible(choice, seen, base))
    chains = set()
    for step, base in ((0.01, True), (0.0002, True), (0.0, False), (0.5, True)):
        plain = weights(dtype, length, step, 1)
        prediction = weights(dtype, length, 0.0, 1) if base else None
        made = []
        for kernel in (KERNEL, None):
            monkeypatch.setattr(native, "KERNEL", kernel)
            made.append(encode_tensor(plain, DTYPES[dtype], prediction))
        assert made[0] == made[1]
        used = prediction if made[0].used_prediction else None
        for kernel in (KERNEL, None):
            monkeypatch.setattr(native, "KERNEL", kernel)
            back = decode_chain(made[0].chain, made[0].stored, length, used)
            assert bytes(back) == plain
        chains.add(tuple(codec.name for codec in made[0].chain))
    if length >= 70_001 and dtype in ("BF16", "F32"):
        assert any(WAYS[choice] == names for names in chains)


WAYS = {
    Choice.RAW: (),
    Choice.ZSTD: ("zstd",),
    Choice.PLANES: ("planes",),
    Choice.ROT: ("rot", "planes"),
    Choice.RESIDUAL: ("ig", "planes"),
    Choice.GROUPED: ("ig", "planes"),
    Choice.TOKENS: ("tokens",),
    Choice.BUCKETS: ("buckets",),
}


def _possible(choice: Choice, seen: estimate.Lane, base: bytes | None) -> Choice:
    with_base = choice in (Choice.RESIDUAL, Choice.GROUPED, Choice.TOKENS)
    needs_exponent = choice in (Choice.ROT, Choice.GROUPED, Choice.BUCKETS)
    return Choice.PLANES if (with_base and base is None) or (needs_exponent and not seen.bits) else choice


@needs_kernel
@pytest.mark.parametrize("dtype", ["BF16", "F32", "I8"])
def test_what_ways_are_said_to_cost_is_the_same_with_and_without(monkeypatch, dtype) -> None:
    seen = estimate.lane(DTYPES[dtype])
    target, base = (octets(weights(dtype, 8000, step, 1)).view(unsigned(seen.width)) for step in (0.01, 0.0))
    target = np.where(np.arange(target.size) % 5 == 0, target.dtype.type(0), target)
    found = []
    for kernel in (KERNEL, None):
        monkeypatch.setattr(native, "KERNEL", kernel)
        found.append(estimate.costs(target, seen, base, 100_000))
    assert found[0] == found[1]
    assert len(found[0]) >= 6


def test_without_a_kernel_slow_ways_must_pay(monkeypatch) -> None:
    """rANS in numpy is ten times slower than planes are."""
    base, plain = weights("BF16", 70_001, 0.0, 1), weights("BF16", 70_001, 0.01, 1)
    masked = bytearray(base)
    for place in range(0, 70_000, 6):
        masked[place : place + 2] = bytes(2)
    monkeypatch.setattr(native, "KERNEL", None)
    assert [step.name for step in encode_tensor(plain, DTYPES["BF16"], base).chain] == ["ig", "planes"]
    assert [step.name for step in encode_tensor(masked, DTYPES["BF16"], base).chain] == ["tokens"]


PAIRS = [
    (("rot", {"width": 2}), {"width": 2, "block": 4096}),
    (("rot", {"width": 8}), {"width": 8, "block": 8192}),
    (("rot", {"width": 2}), {"width": 4, "block": 4096}),
    (("ig", {"width": 2, "shift": 7, "bits": 8, "block": 4096}), {"width": 2, "block": 4096}),
    (("ig", {"width": 2, "shift": 7, "bits": 8, "block": 8192}), {"width": 2, "block": 4096}),
    (("ig", {"width": 4, "shift": 0, "bits": 0, "block": 8192}), {"width": 4, "block": 4096}),
    (("ig", {"width": 2, "shift": 7, "bits": 8, "block": 4096}), {"width": 1, "block": 4096}),
]


@needs_kernel
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("length", [0, 1, 4096, 20_011])
def test_fused_pairs_are_the_steps_one_by_one(pair, length) -> None:
    (name, params), cut = pair
    plain, base = weights("BF16", length, 0.01, 1), weights("BF16", length, 0.0, 1)
    first, second = (CODECS[name, 1], params), (Planes(14), cut)
    middle = first[0].encode(plain, params, base)
    stored = second[0].encode(middle, cut, base)
    together = fused.encode(first, second, plain, base)
    possible = params["width"] == cut["width"] and (
        params.get("bits", 0) == 0 or params["block"] == cut["block"]
    )
    assert together == (stored if possible else None)
    back = fused.decode(first, second, stored, base, length)
    assert back == (plain if possible else None)


@needs_kernel
@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=100, deadline=None)
def test_damaged_records_fare_alike(seed) -> None:
    chance = random.Random(seed)
    plain, base = weights("BF16", 9001, 0.01, 1), weights("BF16", 9001, 0.0, 1)
    way = chance.choice([Choice.ROT, Choice.GROUPED, Choice.TOKENS, Choice.BUCKETS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "choose", lambda *_: way)
        encoded = encode_tensor(plain, DTYPES["BF16"], base)
    damaged = bytearray(encoded.stored)
    for _ in range(chance.choice((1, 1, 3))):
        damaged[chance.randrange(min(len(damaged), chance.choice((12, 1 << 20))))] = chance.randrange(256)
    results = []
    for kernel in (KERNEL, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "KERNEL", kernel)
            try:
                results.append(bytes(decode_chain(encoded.chain, damaged, len(plain), base)))
            except CorruptObject:
                results.append(None)
    assert results[0] == results[1]


@needs_kernel
def test_a_prediction_of_another_length_is_damage() -> None:
    plain, base = weights("BF16", 9000, 0.01, 1), weights("BF16", 9000, 0.0, 1)
    encoded = encode_tensor(plain, DTYPES["BF16"], base)
    assert encoded.used_prediction
    for wrong in (base[:-1], base + b"x", b""):
        with pytest.raises(CorruptObject):
            decode_chain(encoded.chain, encoded.stored, len(plain), wrong)


@needs_kernel
def test_threads_share_a_kernel() -> None:
    base = weights("BF16", 300_000, 0.0, 1)
    inputs = [weights("BF16", 300_000, i / 1000, 1) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda plain: encode_tensor(plain, DTYPES["BF16"], base), inputs))
        plain = list(pool.map(lambda e: bytes(decode_chain(e.chain, e.stored, 300_000, base)), encoded))
    assert plain == inputs


# --- loading -----------------------------------------------------------------------------------------------


def test_there_may_be_no_kernel(tmp_path) -> None:
    assert native.load(tmp_path) is None


def test_what_is_no_library_is_passed_over(tmp_path) -> None:
    for suffix in native.EXTENSION_SUFFIXES:
        (tmp_path / f"_kernel{suffix}").write_bytes(b"no library")
    assert native.load(tmp_path) is None


@needs_kernel
def test_a_kernel_that_gives_other_bytes_is_refused(monkeypatch) -> None:
    folder = Path(native.__file__).parent
    assert native.load(folder) is not None
    monkeypatch.setattr(native, "_KNOWN", "0" * 64)
    assert native.load(folder) is None


@needs_kernel
def test_a_kernel_of_another_interface_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(native, "INTERFACE", native.INTERFACE + 1)
    assert native.load(Path(native.__file__).parent) is None


def test_available_says_whether_there_is_one(monkeypatch) -> None:
    assert native.available() == (KERNEL is not None)
    monkeypatch.setattr(native, "KERNEL", None)
    assert not native.available()


def test_new_bytes_hold_what_is_written() -> None:
    for length in (0, 1, 2, 100_000):
        made, content = native.new_bytes(length)
        content[:] = octets(noise(length))
        assert type(made) is bytes
        assert made == noise(length)


def test_what_needs_no_kernel_does_not_load_it() -> None:
    code = (
        "import sys\n"
        "import mvc.codecs.zstd\n"
        "from mvc.odb.encoder import encode_opaque\n"
        "from mvc.odb.decoder import decode_chain\n"
        "plain = b'tree parents message ' * 50\n"
        "e = encode_opaque(plain, None)\n"
        "assert e.chain and decode_chain(e.chain, e.stored, len(plain), None) == plain\n"
        "assert not {'numpy', 'ctypes', 'mvc.codecs.native'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
