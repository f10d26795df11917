"""Every codec in the table: exact, for ever the same, and safe against any bytes."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.codecs import CODECS, ig
from mvc.codecs.planes import Planes
from mvc.errors import CorruptObject

ROOT = Path(__file__).parent.parent
VECTORS = json.loads((ROOT / "tests/vectors/codecs.json").read_text())
BLOCK = 524288

PARAMS: dict[tuple[str, int], list[dict[str, Any]]] = {
    ("zstd", 1): [{}, {"dictionary": True}],
    ("rot", 1): [{"width": w} for w in (1, 2, 4, 8)],
    ("ig", 1): [
        {"width": w, "shift": s, "bits": b, "block": block}
        for w, s, b in (
            (1, 3, 4),
            (1, 0, 8),
            (1, 0, 0),
            (2, 7, 8),
            (2, 10, 5),
            (2, 0, 0),
            (4, 23, 8),
            (8, 52, 11),
            (8, 0, 0),
        )
        for block in (4096, BLOCK)
    ],
    ("planes", 1): [{"width": w, "block": block} for w in (1, 2, 4, 8) for block in (4096, BLOCK)],
    ("buckets", 1): [
        {"width": w, "low": low}
        for w, low in ((1, 0), (1, 7), (2, 0), (2, 5), (2, 15), (4, 21), (4, 31), (8, 48), (8, 50), (8, 63))
    ],
    ("tokens", 1): [
        {"width": w, "shift": s, "bits": b}
        for w, s, b in (
            (1, 3, 4),
            (1, 0, 0),
            (2, 7, 8),
            (2, 10, 5),
            (2, 0, 0),
            (4, 23, 8),
            (8, 52, 11),
            (8, 0, 0),
        )
    ],
}
EVERY = [(key, params) for key, list_ in PARAMS.items() for params in list_]
each = pytest.mark.parametrize(("key", "params"), EVERY, ids=[f"{k[0]}{list(p.values())}" for k, p in EVERY])


def raw(data: Any) -> bytes:
    return memoryview(data).cast("B").tobytes() if memoryview(data).nbytes else b""


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def bf16(length: int, seed: int = 1) -> bytes:
    """Normally distributed weights; the tail of an odd length is part of one."""
    values = np.random.default_rng(seed).standard_normal(length // 2 + 1).astype("<f4")
    return (values.view("<u4") >> 16).astype("<u2").tobytes()[:length]


def near(base: bytes, seed: int = 2) -> bytes:
    """Other bytes of the same length, most of them the same or close."""
    out = np.frombuffer(base, np.uint8).copy()
    out[::2] += np.random.default_rng(seed).integers(-2, 3, out[::2].size).astype(np.int8).view(np.uint8)
    return out.tobytes()


def rows_changed(base: bytes, seed: int = 4) -> bytes:
    """The base with small steps in some stretches and nothing in between."""
    chance, out = random.Random(seed), bytearray(base)
    for start in range(0, len(out), 1000):
        if chance.random() < 0.2:
            out[start : start + 1000] = near(base[start : start + 1000], seed)
    return bytes(out)


def round_trip(key: tuple[str, int], params: dict[str, Any], plain: bytes, prediction: bytes) -> None:
    codec = CODECS[key]
    stored = raw(codec.encode(plain, params, prediction))
    assert raw(codec.decode(stored, params, prediction, len(plain))) == plain


def test_every_listed_codec_has_cases() -> None:
    assert set(PARAMS) == set(CODECS)
    for key, codec in CODECS.items():
        assert key == (codec.name, codec.version)
        assert {v["name"] for v in VECTORS} >= {codec.name}


@each
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 9, 4095, 4096, 4097, 8191, 12_301])
def test_round_trip_at_every_kind_of_length(key, params, length) -> None:
    for plain in (
        bytes(length),
        b"\xff" * length,
        noise(length),
        bf16(length),
        bytes(i % 15 for i in range(length)),
    ):
        round_trip(key, params, plain, near(plain))
        round_trip(key, params, plain, noise(length, 9))


@each
def test_round_trip_of_many_elements(key, params) -> None:
    plain = bf16(300_001 * params.get("width", 1))
    round_trip(key, params, plain, near(plain))
    round_trip(key, params, plain, rows_changed(plain))
    round_trip(key, params, plain, plain)


@each
def test_round_trip_of_every_16_bit_pattern(key, params) -> None:
    patterns = np.arange(1 << 16, dtype="<u2")
    round_trip(key, params, patterns.tobytes(), np.random.default_rng(3).permutation(patterns).tobytes())


@each
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_round_trip_of_any_bytes(key, params, data) -> None:
    plain = data.draw(st.binary(max_size=200)) * data.draw(st.integers(1, 60))
    prediction = (
        data.draw(st.binary(min_size=len(plain), max_size=len(plain))) if len(plain) < 200 else near(plain)
    )
    round_trip(key, params, plain, prediction)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['name']}{list(v['params'].values())}")
def test_released_bytes_decode_for_ever(vector) -> None:
    codec = CODECS[vector["name"], vector["version"]]
    plain, stored = base64.b64decode(vector["plain"]), base64.b64decode(vector["stored"])
    prediction = None if vector["prediction"] is None else base64.b64decode(vector["prediction"])
    assert raw(codec.decode(stored, vector["params"], prediction, len(plain))) == plain
    if vector["name"] in ("rot", "ig"):  # no zstd inside, so no freedom
        assert raw(codec.encode(plain, vector["params"], prediction)) == stored


def test_vectors_reach_every_mode_of_a_plane() -> None:
    modes = {
        base64.b64decode(v["stored"])[0] for v in VECTORS if v["name"] == "planes" and len(v["stored"]) > 12
    }
    assert modes == {0, 1, 2}


# --- the transforms against their definition ---------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_rot_is_a_rotation(width) -> None:
    plain = noise(width * 50)
    stored = raw(CODECS["rot", 1].encode(plain, {"width": width}, None))
    for i in range(0, len(plain), width):
        value = int.from_bytes(plain[i : i + width], "little")
        rotated = (value << 1 | value >> (8 * width - 1)) % (1 << 8 * width)
        assert stored[i : i + width] == rotated.to_bytes(width, "little")


@pytest.mark.parametrize("params", [p for p in PARAMS["ig", 1] if p["block"] == 4096], ids=str)
def test_ig_is_what_its_page_says(params) -> None:
    width, shift, bits = params["width"], params["shift"], params["bits"]
    plain, base = noise(10_000), noise(10_000, 2)
    modulus = 1 << 8 * width
    expected = b""
    for start in range(0, len(plain) // width * width, 4096):
        rows = []
        for i in range(start, min(start + 4096, len(plain) // width * width), width):
            t = int.from_bytes(plain[i : i + width], "little")
            b = int.from_bytes(base[i : i + width], "little")
            d = (t - b) % modulus
            zigzag = 2 * d if d < modulus // 2 else 2 * (modulus - d) - 1
            key = (b >> shift) % (1 << bits) >> max(bits - 8, 0)
            rows.append((key, zigzag.to_bytes(width, "little")))
        rows.sort(key=lambda row: row[0])  # Python's sort is stable
        expected += b"".join(row[1] for row in rows)
    expected += plain[len(plain) // width * width :]
    assert raw(CODECS["ig", 1].encode(plain, params, base)) == expected


@pytest.mark.parametrize("vectorised", [True, False])
def test_both_ways_to_sort_give_the_same_bytes(monkeypatch, vectorised) -> None:
    monkeypatch.setattr(ig, "_vector_sort_pays", lambda: vectorised)
    vectors = [v for v in VECTORS if v["name"] == "ig"]
    assert vectors
    for vector in vectors:
        test_released_bytes_decode_for_ever(vector)


def test_planes_cost_next_to_nothing_where_there_is_nothing() -> None:
    params = {"width": 2, "block": BLOCK}
    codec = CODECS["planes", 1]
    assert len(raw(codec.encode(bytes(1 << 20), params, None))) == 2 * 2 * 2
    assert len(raw(codec.encode(noise(1 << 20), params, None))) <= (1 << 20) + 4 * 5


# --- sharing -----------------------------------------------------------------------------------------------


@each
def test_results_stay_what_they_were(key, params) -> None:
    """No result is a view of a buffer that the next call reuses."""
    codec = CODECS[key]
    one, other = bf16(20_000), noise(20_000)
    stored = codec.encode(one, params, near(one))
    kept = raw(stored)
    plain = codec.decode(kept, params, near(one), len(one))
    codec.decode(raw(codec.encode(other, params, one)), params, one, len(other))
    assert raw(stored) == kept
    assert raw(plain) == one


@each
def test_threads_do_not_disturb_each_other(key, params) -> None:
    inputs = [bf16(30_000 + 1000 * i, seed=i) for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda plain: round_trip(key, params, plain, near(plain)), inputs))


@each
def test_any_buffer_will_do(key, params) -> None:
    plain = bf16(9001)
    shifted = memoryview(b"x" + plain)[1:]  # not aligned to any element
    codec = CODECS[key]
    stored = raw(codec.encode(shifted, params, bytearray(plain)))
    padded = memoryview(b"x" + stored)[1:]
    assert raw(codec.decode(padded, params, shifted, len(plain))) == plain


# --- hostile bytes -----------------------------------------------------------------------------------------


@each
def test_wrong_lengths_and_missing_predictions_are_damage(key, params) -> None:
    codec = CODECS[key]
    plain = bf16(9001)
    stored = raw(codec.encode(plain, params, plain))
    for length in (0, 9000, 9002, 1 << 20):
        with pytest.raises(CorruptObject):
            codec.decode(stored, params, plain[:length], length)
    for damaged in (stored[:-1], stored + b"x", b""):
        with pytest.raises(CorruptObject):
            codec.decode(damaged, params, plain, 9001)
    if codec.needs_prediction or "dictionary" in params:
        with pytest.raises(CorruptObject):
            codec.decode(stored, params, None, 9001)


@each
def test_damage_is_reported_or_keeps_the_length(key, params) -> None:
    codec = CODECS[key]
    plain = bf16(9001)
    bases = near(plain), rows_changed(plain)
    made = [raw(codec.encode(plain, params, base)) for base in bases]
    chance = random.Random(5)
    tracemalloc.start()
    for turn in range(150):
        base, damaged = bases[turn % 2], bytearray(made[turn % 2])
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(min(len(damaged), chance.choice((16, 60, 1 << 20))))] = chance.randrange(
                256
            )
        try:
            result = codec.decode(damaged, params, base, len(plain))
        except CorruptObject:
            continue
        assert memoryview(result).nbytes == len(plain)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20


@each
@given(stored=st.binary(max_size=60), length=st.integers(0, 70))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_reported_or_keep_the_length(key, params, stored, length) -> None:
    try:
        result = CODECS[key].decode(stored, params, bytes(length), length)
    except CorruptObject:
        return
    assert memoryview(result).nbytes == length


@each
def test_bad_parameters_are_damage(key, params) -> None:
    codec = CODECS[key]
    plain = bf16(64)
    stored = raw(codec.encode(plain, params, plain))
    bad: list[dict[str, Any]] = [{**params, "more": 1}]
    for name in params:
        values = [-1, 1 << 70, 1.0, "2", None, [1], {}, False]
        bad += [{**params, name: value} for value in ([*values, 3] if name in ("width", "block") else values)]
        bad += [{k: v for k, v in params.items() if k != name}] if name != "dictionary" else []
    for wrong in bad:
        with pytest.raises(CorruptObject):
            codec.decode(stored, wrong, plain, len(plain))
        with pytest.raises(CorruptObject):
            codec.encode(plain, wrong, plain)


@pytest.mark.parametrize(
    "wrap", [lambda f: ("zstd", {}, f), lambda f: ("planes", {"width": 1, "block": 4096}, f)]
)
def test_frames_that_claim_too_much_are_refused_before_memory_is_spent(wrap) -> None:
    huge = zstandard.ZstdCompressor(1).compress(bytes(200 << 20))  # 200 MiB in some kilobytes
    window = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    ).compressobj()
    wide = window.compress(b"x" * 5000) + window.flush()  # no size, a window of 128 MiB
    # a size that fits, a window of 1 GiB: magic, descriptor (2-byte size), window byte, size, raw block
    vast = (
        b"\x28\xb5\x2f\xfd"
        + b"\x40"
        + bytes([20 << 3])
        + (4000 - 256).to_bytes(2, "little")
        + b"\x01\x7d\x00"
    )
    vast += bytes(4000)
    assert zstandard.get_frame_parameters(vast).content_size == 4000
    assert zstandard.get_frame_parameters(vast).window_size == 1 << 30
    skippable = b"\x50\x2a\x4d\x18" + (4000).to_bytes(4, "little") + bytes(4000)
    twice = zstandard.ZstdCompressor().compress(bytes(4000)) * 2
    for frame in (huge, wide, vast, skippable, twice, huge[:9]):
        name, params, stored = wrap(frame)
        if name == "planes":
            stored = b"\x00" + len(frame).to_bytes(4, "little") + frame
        tracemalloc.start()
        with pytest.raises(CorruptObject):
            CODECS[name, 1].decode(stored, params, None, 4000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


def test_a_plane_may_be_stored_in_any_mode() -> None:
    """What a cleverer encoder may write: each mode wherever it fits."""
    decode = Planes().decode
    params = {"width": 1, "block": 4096}
    assert raw(decode(b"\x00\x03\x00\x00\x00abc", params, None, 3)) == b"abc"
    assert (
        raw(decode(b"\x01\x02\x00\x00\x00\xf1\x02\x01\x00\x00\x00\x63", params, None, 3)) == b"\x01\x63\x02"
    )
    assert raw(decode(b"\x02\x41", params, None, 3)) == b"AAA"
    with pytest.raises(CorruptObject, match="unknown mode"):
        decode(b"\x03\x41", params, None, 3)
    with pytest.raises(CorruptObject):  # two escapes announced, one there
        decode(b"\x01\x02\x00\x00\x00\xff\x02\x01\x00\x00\x00\x63", params, None, 3)


def test_reading_commits_needs_no_numpy() -> None:
    code = (
        "import sys\n"
        "from mvc.odb.encoder import encode_opaque\n"
        "from mvc.odb.decoder import decode_chain\n"
        "import mvc.predictors\n"
        "plain = b'tree parents message ' * 50\n"
        "e = encode_opaque(plain, None)\n"
        "assert e.chain and decode_chain(e.chain, e.stored, len(plain), None) == plain\n"
        "assert decode_chain((), plain, len(plain), None) == plain\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
