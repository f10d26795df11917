"""Sketches: relatives are near, strangers far; and the file that keeps them, whatever became of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.dtypes import DTYPES
from mvc.fileio import FileIO, TemporaryNames
from mvc.objectid import BlobId, ManifestId
from mvc.recipes.recipe import NEAR
from mvc.sketch import (
    KINDS,
    LEAST_BYTES,
    RUN,
    RUNS,
    VALUES,
    can_sketch,
    count_of,
    distances,
    numbers,
    ordered,
    places,
    sketch,
)
from mvc.sketches import (
    BUCKETS,
    FOLDER_NAME,
    MOST_ROWS,
    ROW,
    NewRow,
    SketchIndex,
    bucket_of,
    rows_of,
    short_name,
)
from mvc.spans import Span
from tests.family import as_dtype, through, tuned, weights
from tests.faults import FaultIO

SHAPE = {"w": (160, 256)}
FLOATS = ("F64", "F32", "BF16", "F16")


def sketched(values: np.ndarray, dtype: str = "F32") -> np.ndarray:
    return sketch_of(as_dtype(values, dtype), dtype)


def sketch_of(raw: bytes, dtype: str) -> np.ndarray:
    elements = len(raw) // DTYPES[dtype].width * DTYPES[dtype].elements
    span = Span(100, len(raw), "w", dtype, (elements,))
    return sketch(span, lambda offset, length: raw[offset : offset + length])


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(distances(one, other[None])[0])


# --- sketches ----------------------------------------------------------------------------------------------


@given(st.integers(VALUES, 1 << 40))
def test_places_lie_in_the_tensor_and_in_one_block(count):
    found = places(count)
    assert len(found) == RUNS
    assert found == sorted(found)
    assert all(place % RUN == 0 and 0 <= place <= count - RUN for place in found)
    assert found[0] == 0
    assert found[-1] > count - 2 * RUN


@given(st.binary(min_size=2 * VALUES, max_size=2 * VALUES))
def test_equal_sketches_are_at_no_distance_and_order_is_kept(raw):
    values = np.frombuffer(raw, "<u2")
    assert apart(values, values) == 0
    keys = ordered(values)
    assert keys.dtype == np.int32
    number = numbers(values)
    real = ~np.isnan(number)
    assert (np.sign(np.diff(keys[real])) == np.sign(np.diff(number[real]))).all() or not np.isfinite(
        number[real]
    ).all()
    assert 0 <= apart(values, np.roll(values, 1)) <= np.log2(513) + 1e-6
    assert apart(values, np.roll(values, 1)) == pytest.approx(apart(np.roll(values, 1), values))


@given(st.integers(0, 1 << 32), st.sampled_from([(160, 256), (9000,), (33, 129, 3)]))
def test_casts_are_near_and_strangers_are_far(seed, shape):
    values = weights(seed, {"w": shape if len(shape) > 1 else (shape[0] // 9, 9)})["w"]
    stranger = weights(seed + 1, {"w": shape if len(shape) > 1 else (shape[0] // 9, 9)})["w"]
    one = sketched(values)
    for dtype in FLOATS:
        assert apart(one, sketched(values, dtype)) <= 1
        assert apart(one, sketched(stranger, dtype)) > NEAR
        assert apart(sketched(values, dtype), sketched(tuned({"w": values}, seed, 0.02)["w"], dtype)) < NEAR
    assert apart(one, sketched(values, "F8_E4M3")) < NEAR


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_sketch_is_what_it_says(dtype):
    values = through(weights(1, SHAPE)["w"], "BF16")
    flat = values.reshape(-1)
    expected = np.concatenate([flat[place : place + RUN] for place in places(flat.size)])
    wanted = expected.astype(np.float16).astype(np.float32) if dtype == "F16" else expected
    upper = (wanted.view("<u4") >> 16).astype(np.uint16)
    assert (sketched(values, dtype) == upper).all()


def test_a_sketch_of_blocks_is_that_of_their_numbers():
    codes = np.random.default_rng(1).integers(-127, 128, (600, 32), np.int8)
    scales = np.linspace(0.01, 0.02, 600, dtype=np.float16)[:, None]
    raw = np.concatenate([scales.view(np.uint8).reshape(600, 2), codes.view(np.uint8)], axis=1).tobytes()
    values = scales.astype(np.float32) * codes.astype(np.float32)
    assert apart(sketch_of(raw, "Q8_0"), sketched(values)) == 0


@pytest.mark.parametrize("dtype", KINDS)
@given(seed=st.integers(0, 1 << 32))
def test_any_bits_can_be_sketched(dtype, seed):
    block = DTYPES[dtype]
    raw = np.random.default_rng(seed).bytes(-(-LEAST_BYTES // block.width) * block.width)
    with np.errstate(all="raise"):
        values = sketch_of(raw, dtype)
        assert values.shape == (VALUES,)
        assert np.isfinite(distances(values, values[None])).all()
        assert numbers(values).shape == (VALUES,)


def test_what_cannot_be_sketched():
    def span(length: int, dtype: str, strides: tuple[int, ...] | None = None) -> Span:
        return Span(0, length, "w", dtype, (length // DTYPES[dtype].width,), strides)

    assert can_sketch(span(LEAST_BYTES, "BF16"))
    assert count_of(span(LEAST_BYTES, "BF16")) == LEAST_BYTES // 2
    assert count_of(Span(0, 34 * 1000, "w", "Q8_0", (32000,))) == 32000
    assert not can_sketch(span(LEAST_BYTES - 2, "BF16"))
    assert not can_sketch(span(LEAST_BYTES, "BF16", (2,)))
    assert not can_sketch(span(LEAST_BYTES, "F32:be"))
    assert not can_sketch(span(LEAST_BYTES, "I64"))


# --- the index ---------------------------------------------------------------------------------------------

MANIFESTS = [ManifestId.of(bytes([number])) for number in range(4)]


def some_rows(manifest: int, key: int = 5000, count: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, manifest, key])
    return rows_of(
        MANIFESTS[manifest],
        [
            NewRow(key, place, BlobId.of(rng.bytes(8)), "BF16", rng.integers(0, 65536, VALUES, np.uint16))
            for place in range(count)
        ],
    )


def always(_name: int) -> bool:
    return True


def index_in(folder: Path, io: FileIO | None = None) -> SketchIndex:
    return SketchIndex(io or FaultIO(), folder)


def saved(folder: Path, *groups: np.ndarray, io: FileIO | None = None) -> SketchIndex:
    for rows in groups:
        index = index_in(folder, io)
        index.add(rows, always)
        index.save()
    return index_in(folder)


def file_of(folder: Path, key: int = 5000) -> Path:
    return folder / FOLDER_NAME / f"{bucket_of(key):x}"


def test_rows_are_found_at_once_and_after_saving(tmp_path):
    rows = some_rows(0)
    index = index_in(tmp_path)
    index.add(rows, always)
    assert (index.find(5000) == rows).all()
    assert index.find(5001).size == 0
    index.save()
    assert (index.find(5000) == rows).all()
    again = index_in(tmp_path)
    again.add(some_rows(1), always)
    assert (again.find(5000) == np.concatenate([rows, some_rows(1)])).all()
    assert (index.find(5000) == rows).all()  # what another one has not saved is not seen


def test_what_is_there_already_is_not_kept_again(tmp_path):
    first = some_rows(0)
    same = first.copy()
    same["manifest"] = short_name(MANIFESTS[1])
    index = saved(tmp_path, first, same, np.concatenate([same, same]))
    assert (index.find(5000) == first).all()
    moved = first.copy()
    moved["values"] ^= 1  # the first piece is equal and another one is not
    assert saved(tmp_path, moved).find(5000).size == 6


def test_a_tensor_of_a_file_that_is_gone_is_kept_again(tmp_path):
    first = some_rows(0)
    saved(tmp_path, first)
    again = first.copy()
    again["manifest"] = short_name(MANIFESTS[1])
    index = index_in(tmp_path)
    index.add(again, lambda name: name != short_name(MANIFESTS[0]))
    assert (index.find(5000)["manifest"][-3:] == short_name(MANIFESTS[1])).all()


@pytest.mark.parametrize("cut", [1, 7, ROW.itemsize - 1])
def test_a_torn_append_costs_its_own_row_only(tmp_path, cut):
    first, second = some_rows(0), some_rows(1)
    saved(tmp_path, first, second)
    path = file_of(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    assert (index_in(tmp_path).find(5000) == np.concatenate([first, second[:-1]])).all()
    third = some_rows(2)
    found = saved(tmp_path, third).find(5000)
    assert (found[:5] == np.concatenate([first, second[:-1]])).all()
    assert (found[-3:] == third).all()


def test_only_the_newest_rows_of_a_bucket_are_read(tmp_path):
    saved(tmp_path, some_rows(0))
    path = file_of(tmp_path)
    path.write_bytes(path.read_bytes() + some_rows(1, count=1).tobytes() * MOST_ROWS)
    found = index_in(tmp_path).find(5000)
    assert found.size == MOST_ROWS
    assert (found["manifest"] == short_name(MANIFESTS[1])).all()


@pytest.mark.parametrize("what", ["garbage", "link", "folder", "pipe", "unreadable", "file for folder"])
def test_whatever_lies_there_is_not_believed_and_not_followed(tmp_path, what):
    saved(tmp_path, some_rows(0))
    path = file_of(tmp_path)
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    path.unlink()
    if what == "garbage":
        path.write_bytes(np.random.default_rng(1).bytes(100_001))
    elif what == "link":
        path.symlink_to(outside)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "unreadable":
        path.write_bytes(b"")
        path.chmod(0)
    else:
        path.parent.rmdir()
        path.parent.write_bytes(b"")
    index = index_in(tmp_path)
    assert index.find(5000).size == 0
    index.add(some_rows(2), always)
    index.save()
    assert outside.read_bytes() == b"precious"
    if what in ("garbage", "unreadable"):
        assert (index_in(tmp_path).find(5000) == some_rows(2)).all()


def test_a_disk_that_refuses_is_no_failure(tmp_path):
    saved(tmp_path, some_rows(0))
    steps = FaultIO()
    saved(tmp_path / "counted", some_rows(0), io=steps)
    for step in range(1, steps.steps + 1):
        io = FaultIO(fail_at=step)
        index = index_in(tmp_path, io)
        index.add(some_rows(1), always)
        index.save()
        assert index_in(tmp_path).find(5000).size in range(3, 3 + 4 * step)
    short = FaultIO(short_at=1, counted=("write",))
    saved(tmp_path, some_rows(3), io=short)
    assert saved(tmp_path, some_rows(2)).find(5000).size


def test_rows_of_files_that_are_gone_are_dropped(tmp_path):
    keys = [5000, 5001, 1 << 40, (1 << 63) + 5]
    saved(tmp_path, *(some_rows(number, key) for number in range(3) for key in keys))
    before = {path: path.stat().st_ino for path in (tmp_path / FOLDER_NAME).iterdir()}
    (tmp_path / "tmp").mkdir()
    with TemporaryNames(FileIO(), tmp_path / "tmp") as temporary:
        index_in(tmp_path).keep(temporary, always)
        assert before == {path: path.stat().st_ino for path in (tmp_path / FOLDER_NAME).iterdir()}
        index_in(tmp_path).keep(temporary, lambda name: name == short_name(MANIFESTS[1]))
    for key in keys:
        assert (index_in(tmp_path).find(key) == some_rows(1, key)).all()


@given(st.integers(0, (1 << 64) - 1))
def test_every_key_has_a_bucket(key):
    assert 0 <= bucket_of(key) < BUCKETS
