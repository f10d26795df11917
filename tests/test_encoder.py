"""The encoder's choices, and the decoder against honest and dishonest chains."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.codecs import CODECS, Step
from mvc.dtypes import DTYPES
from mvc.errors import CorruptObject, UnsupportedFeature
from mvc.odb import estimate
from mvc.odb.decoder import decode_chain
from mvc.odb.effort import Effort
from mvc.odb.encoder import Encoded, encode_opaque, encode_tensor, record_cost
from mvc.predictors import PREDICTORS

MIB = 1 << 20
BF16 = DTYPES["BF16"]
CLOSE = (["ig", "planes"], ["tokens"])
"""What becomes of a tensor near its base, without and with the native kernel."""
SEEN = [name for name, dtype in DTYPES.items() if dtype.elements == 1] + [
    "F4",
    "F6_E2M3",
    "Q8_0",
    "IQ4_XS:be",
]
"""Codecs see all block types alike: some stand for all."""


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def weights(dtype: str, count: int, seed: int = 1, step: float = 0.0) -> bytes:
    """A tensor of normally distributed weights, moved by ``step`` of their size in a direction of its own."""
    values = np.random.default_rng(seed).standard_normal(count) * 0.02
    values += step * 0.02 * np.random.default_rng(99).standard_normal(count)
    if dtype == "BF16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    if dtype in ("C64", "C128"):
        return (values + 1j * values[::-1]).astype({"C64": "<c8", "C128": "<c16"}[dtype]).tobytes()
    if dtype.startswith("F8"):
        return (values * 2000).astype(np.int8).tobytes()
    kinds = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
    if dtype in kinds:
        return values.astype(kinds[dtype]).tobytes()
    if DTYPES[dtype].elements > 1:
        return np.random.default_rng(seed).bytes(count * DTYPES[dtype].width)
    width = DTYPES[dtype].width
    if dtype == "BOOL":
        return (values > 0).astype(np.uint8).tobytes()
    return (values * 2000).astype(f"<i{width}").tobytes()


def decode(encoded: Encoded, plain: bytes, prediction: bytes | None = None) -> bytes:
    used = prediction if encoded.used_prediction else None
    return bytes(decode_chain(encoded.chain, encoded.stored, len(plain), used))


def names(encoded: Encoded) -> list[str]:
    return [step.name for step in encoded.chain]


# --- tensors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", SEEN)
@pytest.mark.parametrize("length", [0, 1, 31, 1000, 40_007])
def test_every_dtype_round_trips_and_never_grows(dtype, length) -> None:
    base = weights(dtype.removesuffix(":be"), length // DTYPES[dtype].width + 1)[:length]
    moved = weights(dtype.removesuffix(":be"), length // DTYPES[dtype].width + 1, step=0.01)[:length]
    for plain in (base, moved, bytes(length), noise(length), b"\x80" * length):
        for prediction in (None, base, noise(length, 2), b"", base + b"x"):
            encoded = encode_tensor(plain, DTYPES[dtype], prediction)
            assert type(encoded.stored) is bytes
            assert len(encoded.stored) <= length
            assert decode(encoded, plain, prediction) == plain


@given(
    plain=st.binary(max_size=300),
    repeat=st.integers(1, 40),
    dtype=st.sampled_from(SEEN),
    base=st.one_of(st.none(), st.integers(0, 255)),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_round_trip(plain, repeat, dtype, base) -> None:
    plain = plain * repeat
    prediction = None if base is None else bytes(b ^ (base & 3) for b in plain)
    assert decode(encode_tensor(plain, DTYPES[dtype], prediction), plain, prediction) == plain
    assert decode(encode_opaque(plain, prediction), plain, prediction) == plain


@pytest.mark.parametrize("dtype", SEEN)
@pytest.mark.parametrize("byte", [0, 1, 0x3F, 0xFF])
def test_constant_pieces_end_tiny(dtype, byte) -> None:
    plain = bytes([byte]) * MIB
    assert len(encode_tensor(plain, DTYPES[dtype], None).stored) <= 100


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64", "C64", "C128"])
def test_floats_stand_alone_as_rotated_planes(dtype) -> None:
    plain = weights(dtype, 100_000)
    encoded = encode_tensor(plain, DTYPES[dtype], None)
    assert names(encoded) == ["rot", "planes"]
    assert not encoded.used_prediction
    assert len(encoded.stored) < {"BF16": 0.69, "F16": 0.9, "F32": 0.87}.get(dtype, 0.95) * len(plain)


@pytest.mark.parametrize(
    ("dtype", "ratio"), [("BF16", 2.4), ("F16", 1.5), ("F32", 1.25), ("F64", 1.05), ("C64", 1.2)]
)
def test_a_close_base_is_used_and_pays(dtype, ratio) -> None:
    base, plain = weights(dtype, 100_000), weights(dtype, 100_000, step=0.01)
    encoded = encode_tensor(plain, DTYPES[dtype], base)
    alone = encode_tensor(plain, DTYPES[dtype], None)
    if ratio > 1.2:
        assert names(encoded) in CLOSE
        assert len(plain) / len(encoded.stored) > ratio
    assert encoded.used_prediction == (names(encoded) in CLOSE)
    assert len(encoded.stored) <= len(alone.stored)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64", "I8"])
def test_an_unrelated_base_is_left_alone(dtype) -> None:
    plain, base = weights(dtype, 100_000), weights(dtype, 100_000, seed=2)
    assert encode_tensor(plain, DTYPES[dtype], base) == encode_tensor(plain, DTYPES[dtype], None)


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_K", "F6_E3M2"])
def test_blocks_are_bytes_whatever_their_length(dtype) -> None:
    """A block of 34 bytes is no element of 34: neither alone nor against the previous version."""
    width = DTYPES[dtype].width
    base = np.random.default_rng(3).integers(120, 136, (20_000, width), np.uint8)
    moved = base.copy()
    moved[::9] ^= 1
    for plain in (moved.tobytes(), moved.tobytes()[:-1]):
        delta = encode_tensor(plain, DTYPES[dtype], base.tobytes()[: len(plain)])
        assert delta.used_prediction and len(delta.stored) < 0.3 * len(plain)
        assert decode(delta, plain, base.tobytes()[: len(plain)]) == plain
        assert len(encode_tensor(plain, DTYPES[dtype], None).stored) < 0.6 * len(plain)


def test_an_equal_base_costs_next_to_nothing() -> None:
    plain = weights("BF16", 500_000)
    encoded = encode_tensor(plain, BF16, plain)
    assert encoded.used_prediction
    assert len(encoded.stored) < 100


@pytest.mark.parametrize("dtype", ["I8", "I32", "I64", "U8"])
def test_integers_get_what_suits_them(dtype) -> None:
    width = DTYPES[dtype].width
    counts = np.random.default_rng(1).integers(0, 100, 100_000).astype(f"<u{width}")
    plain, base = counts.tobytes(), (counts - (np.arange(100_000) % 9 == 0)).astype(f"<u{width}").tobytes()
    alone = encode_tensor(plain, DTYPES[dtype], None)
    assert len(alone.stored) < 100_000 * 0.9
    delta = encode_tensor(plain, DTYPES[dtype], base)
    assert names(delta) in CLOSE
    assert delta.chain[0].params["bits"] == 0
    assert len(delta.stored) < 0.7 * len(alone.stored)


def test_repeats_that_planes_cannot_see_go_to_zstd() -> None:
    plain = noise(1000) * 500
    encoded = encode_tensor(plain, DTYPES["F32"], None)
    assert names(encoded) == ["zstd"]
    assert len(encoded.stored) < 5000


def test_noise_stays_as_it_is() -> None:
    plain = noise(MIB)
    assert encode_tensor(plain, DTYPES["F32"], noise(MIB, 2)) == Encoded((), plain, False)


def test_stored_bytes_outlive_the_callers_buffer() -> None:
    for plain in (noise(20_000), weights("BF16", 10_000), bytes(20_000)):
        buffer = bytearray(plain)
        for encoded in (encode_tensor(buffer, BF16, None), encode_opaque(buffer, None)):
            buffer[:] = bytes(i % 251 for i in range(len(buffer)))
            assert decode(encoded, plain) == plain
            buffer[:] = plain


def test_threads_get_their_own_results() -> None:
    base = weights("BF16", 60_000)
    inputs = [weights("BF16", 60_000, seed=i % 2 + 1, step=i / 1000) for i in range(24)]
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda plain: encode_tensor(plain, BF16, base), inputs))
        decoded = list(
            pool.map(lambda pair: decode(pair[0], pair[1], base), zip(encoded, inputs, strict=True))
        )
    assert decoded == inputs
    assert {e.used_prediction for e in encoded} == {True, False}


# --- opaque bytes ------------------------------------------------------------------------------------------


def test_opaque_bytes_use_a_dictionary_that_helps() -> None:
    before = noise(60_000)
    plain = before[:30_000] + b"changed" + before[30_000:]
    alone, helped = encode_opaque(plain, None), encode_opaque(plain, before)
    assert alone == Encoded((), plain, False)
    assert helped.used_prediction
    assert names(helped) == ["zstd"]
    assert len(helped.stored) < 300
    assert decode(helped, plain, before) == plain


@pytest.mark.parametrize("dictionary", [None, b"", b"short", noise(50_000, 7)])
def test_opaque_bytes_without_help_stand_alone(dictionary) -> None:
    for plain in (b"", b"a", b"tensor name " * 4000, noise(60_000), noise(200)):
        encoded = encode_opaque(plain, dictionary)
        assert not encoded.used_prediction
        assert len(encoded.stored) <= len(plain)
        assert decode(encoded, plain) == plain
    assert len(encode_opaque(b"tensor name " * 4000, dictionary).stored) < 100


# --- chains of what is still to come -----------------------------------------------------------------------


class Gaps:
    """Stand-in for a sparse codec: where plain and prediction differ, and what stands there."""

    name = "test-gaps"
    version = 3
    needs_prediction = True

    def encode(self, data: Any, params: Mapping[str, Any], prediction: Any) -> bytes:
        places = [i for i, (a, b) in enumerate(zip(data, prediction, strict=True)) if a != b]
        return b"".join(i.to_bytes(params["index"], "big") + data[i : i + 1] for i in places)

    def decode(self, data: Any, params: Mapping[str, Any], prediction: Any, length: int) -> bytes:
        out, row = bytearray(prediction), params["index"] + 1
        for i in range(0, len(data), row):
            out[int.from_bytes(data[i : i + row - 1], "big")] = data[i + row - 1]
        return bytes(out)


class Linear:
    """Stand-in for a recipe: a sum of bases with integer coefficients, modulo 256."""

    name = "test-linear"
    version = 1

    def predict(self, bases: Sequence[Any], params: Mapping[str, Any], length: int) -> bytes:
        rows = zip(*bases, strict=True)
        return bytes(
            sum(c * v for c, v in zip(params["coefficients"], row, strict=True)) % 256 for row in rows
        )


@pytest.fixture
def future(monkeypatch) -> None:
    monkeypatch.setitem(CODECS, ("test-gaps", 3), Gaps())
    monkeypatch.setitem(PREDICTORS, ("test-linear", 1), Linear())


@pytest.mark.usefixtures("future")
def test_recipes_sparse_steps_and_middle_lengths_fit_into_a_record() -> None:
    bases = [noise(5000, 1), noise(5000, 2)]
    recipe = PREDICTORS["test-linear", 1].predict(bases, {"coefficients": [3, -2]}, 5000)
    plain = bytearray(recipe)
    plain[17] ^= 1
    plain[4999] ^= 255
    gaps = CODECS["test-gaps", 3].encode(plain, {"index": 2}, recipe)
    stored = bytes(CODECS["planes", 1].encode(gaps, {"width": 1, "block": 4096}, recipe))
    chain = [
        Step("test-gaps", 3, {"index": 2}, 6),
        Step("planes", 1, {"width": 1, "block": 4096}, len(stored)),
    ]
    assert bytes(decode_chain(chain, stored, 5000, recipe)) == bytes(plain)
    with pytest.raises(CorruptObject, match="needs a prediction"):
        decode_chain(chain, stored, 5000, None)


@pytest.mark.usefixtures("future")
def test_a_codec_that_returns_another_length_is_caught() -> None:
    with pytest.raises(CorruptObject, match="gave 3 bytes"):
        decode_chain([Step("test-gaps", 3, {"index": 2}, 0)], b"", 5, b"abc")


# --- dishonest chains --------------------------------------------------------------------------------------

ROT = Step("rot", 1, {"width": 2}, 8)


@pytest.mark.parametrize(
    ("chain", "stored", "plain_length"),
    [
        ([], b"12345678", 7),
        ([], b"12345678", -1),
        ([], b"", 1 << 40),
        ([ROT], b"1234567", 8),
        ([ROT], b"12345678", 7),
        ([ROT, ROT._replace(output_length=9)], b"12345678", 8),
        ([ROT._replace(output_length=1 << 40), ROT], b"12345678", 8),
        ([ROT._replace(output_length=-8), ROT], b"12345678", 8),
        ([ROT._replace(output_length=8.0)], b"12345678", 8),
        ([ROT._replace(output_length=True)], b"1", 1),
        ([ROT._replace(params=None)], b"12345678", 8),
        ([ROT._replace(params=[["width", 2]])], b"12345678", 8),
        ([ROT._replace(name=["rot"])], b"12345678", 8),
        ([ROT._replace(name={})], b"12345678", 8),
        ([ROT._replace(version="1")], b"12345678", 8),
        ([ROT] * 9, b"12345678", 8),
        ([Step("ig", 1, {"width": 2, "shift": 7, "bits": 8, "block": 4096}, 8)], b"12345678", 8),
    ],
)
def test_lies_are_damage(chain, stored, plain_length) -> None:
    with pytest.raises(CorruptObject):
        decode_chain(chain, stored, plain_length, None)


def test_a_step_that_claims_too_much_is_refused_before_it_is_undone() -> None:
    """Small stored bytes, small plain bytes, and a great deal between the two."""
    bomb = zstandard.compress(bytes(1 << 20))
    chain = [Step("zstd", 1, {}, 1 << 20), Step("zstd", 1, {}, len(bomb))]
    with pytest.raises(CorruptObject, match="claims 1048576 bytes for 8"):
        decode_chain(chain, bomb, 8, None)


def test_eight_steps_are_allowed() -> None:
    stored: Any = b"12345678"
    assert bytes(decode_chain([ROT] * 8, stored, 8, None)) != stored
    assert bytes(decode_chain([ROT] * 8, decode_chain([ROT] * 8, stored, 8, None), 8, None)) == stored


@pytest.mark.parametrize(("name", "version"), [("rot", 2), ("rot", 0), ("", 1), ("brotli", 1)])
def test_an_unknown_codec_asks_for_a_newer_program(name, version) -> None:
    with pytest.raises(UnsupportedFeature, match="unknown") as caught:
        decode_chain([ROT._replace(name=name, version=version)], b"12345678", 8, None)
    assert caught.value.hint


@given(seed=st.integers(0, 1 << 30))
@settings(max_examples=150, deadline=None)
def test_damaged_records_are_reported_or_keep_the_length(seed) -> None:
    chance = random.Random(seed)
    plain, base = weights("BF16", 3000, step=0.01), weights("BF16", 3000)
    encoded = encode_tensor(plain, BF16, base)
    assert names(encoded) in CLOSE
    damaged = bytearray(encoded.stored)
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    try:
        result = decode_chain(encoded.chain, damaged, len(plain), base)
    except CorruptObject:
        return
    assert memoryview(result).nbytes == len(plain)


# --- effort ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize("dtype", ["BF16", "F32", "F64", "I8", "I32", "F8_E4M3", "Q8_0"])
def test_every_effort_round_trips_and_never_grows(dtype, effort) -> None:
    base = weights(dtype, 3000)
    for plain in (base, weights(dtype, 3000, step=0.01), noise(len(base)), bytes(len(base)), b"", b"x"):
        for prediction in (None, base):
            encoded = encode_tensor(plain, DTYPES[dtype], prediction, effort)
            assert len(encoded.stored) <= len(plain)
            assert decode(encoded, plain, prediction) == plain
            opaque = encode_opaque(plain, prediction, effort)
            assert len(opaque.stored) <= len(plain)
            assert decode(opaque, plain, prediction) == plain


def test_fast_needs_no_prediction() -> None:
    base, plain = weights("BF16", 50_000), weights("BF16", 50_000, step=0.01)
    assert names(encode_tensor(plain, BF16, base, Effort.FAST)) == ["rot", "planes"]
    assert not encode_tensor(plain, BF16, plain, Effort.FAST).used_prediction
    assert not encode_opaque(plain, plain, Effort.FAST).used_prediction
    assert names(encode_tensor(noise(50_000), BF16, None, Effort.FAST)) == []


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "I8", "I32"])
def test_best_is_never_larger_than_normal(dtype) -> None:
    base = weights(dtype, 30_000)
    masked = bytes(len(base) // 2) + base[len(base) // 2 :]
    for plain in (base, weights(dtype, 30_000, step=0.01), masked, noise(1000) * 40):
        for prediction in (None, base if len(plain) == len(base) else None):
            normal, best = (
                encode_tensor(plain, DTYPES[dtype], prediction, e) for e in (Effort.NORMAL, Effort.BEST)
            )
            # a prediction must save a fiftieth even here
            assert record_cost(best) <= record_cost(normal) / 0.98
    dense = encode_tensor(base, DTYPES[dtype], None, Effort.BEST)
    if dtype == "BF16":
        assert len(dense.stored) < 0.995 * len(encode_tensor(base, BF16, None).stored)


def test_nothing_ever_costs_more_than_a_thousandth_over_raw() -> None:
    for length in (1, 50, 500, 5000, 300_000):
        for effort in Effort:
            for prediction in (None, noise(length, 2)):
                encoded = encode_tensor(noise(length), BF16, prediction, effort)
                assert record_cost(encoded) <= length * 1.001


# --- masks, rows and sparse steps --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_a_random_mask_over_its_base_costs_its_bits(dtype) -> None:
    base = weights(dtype, 200_000)
    width = DTYPES[dtype].width
    keep = np.random.default_rng(5).random(200_000) < 0.5
    kind = np.dtype(f"<u{width}")
    plain = np.where(keep, np.frombuffer(base, kind), 0).astype(kind).tobytes()
    encoded = encode_tensor(plain, DTYPES[dtype], base)
    assert len(encoded.stored) < 1.02 * 200_000 / 8
    alone = encode_tensor(plain, DTYPES[dtype], None)
    assert len(alone.stored) < 200_000 / 8 + 0.51 * len(encode_tensor(base, DTYPES[dtype], None).stored)


def test_a_sparse_step_costs_little_more_than_its_entropy() -> None:
    """One step at a small rate: 0.86 % of the elements change."""
    base = np.frombuffer(weights("BF16", 500_000), "<u2")
    changed = np.random.default_rng(6).random(base.size) < 0.0086
    encoded = encode_tensor((base + changed).astype("<u2").tobytes(), BF16, base.tobytes())
    share = np.count_nonzero(changed) / base.size
    bound = -base.size * (share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 8
    assert bound / len(encoded.stored) > 0.83


def test_rows_that_did_not_change_are_left_out() -> None:
    base = np.frombuffer(weights("BF16", 512_000), "<u2").reshape(500, 1024)
    moved = np.frombuffer(weights("BF16", 512_000, step=0.01), "<u2").reshape(500, 1024)
    plain = base.copy()
    plain[::10] = moved[::10]
    part = encode_tensor(plain[::10].tobytes(), BF16, base[::10].tobytes())
    whole = encode_tensor(plain.tobytes(), BF16, base.tobytes())
    assert len(whole.stored) < len(part.stored) + 1000


def test_what_a_sample_says_a_record_costs_is_near_what_it_costs() -> None:
    seen = estimate.lane(BF16)
    base = weights("BF16", 200_000)
    for step, prediction in ((0.01, base), (0.0002, base), (0.0, None)):
        plain = weights("BF16", 200_000, step=step)
        target = np.frombuffer(plain, "<u2")
        other = None if prediction is None else np.frombuffer(prediction, "<u2")
        picks = np.concatenate([np.arange(i, i + 1024) for i in range(0, 200_000 - 1024, 26_000)])
        said = estimate.cost(target[picks], seen, None if other is None else other[picks], target.size)
        assert said == pytest.approx(record_cost(encode_tensor(plain, BF16, prediction)), rel=0.05)
