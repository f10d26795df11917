"""Tensors that were made out of others cost next to nothing, and come back bit for bit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import numpy as np
import pytest

import mvc
from mvc import ingest
from mvc.errors import UserError
from mvc.objectid import BlobId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.odb.writer import ObjectWriter
from mvc.ops.checkout import checkout_paths
from mvc.ops.gc import Request as GcRequest
from mvc.ops.gc import gc
from mvc.predictors import linear
from mvc.recipes.adapters import adapter_key
from mvc.recipes.cast import Cast
from mvc.recipes.linear import Combined
from mvc.recipes.lora import Merged
from mvc.recipes.moved import MAX_TENSOR_DEPTH
from mvc.recipes.prune import Pruned
from mvc.recipes.quantise import Quantised
from mvc.recipes.recipe import MAX_RECIPE_DEPTH
from mvc.sketches import FOLDER_NAME, ROW, SketchIndex, bucket_of
from tests.archive_files import npz_bytes
from tests.engine import ME, assert_sound, history, now, open_repository, snapshot, switch_to
from tests.family import LARGE, Arrays, Store, as_dtype, file_of, rounded, through, tuned, weights
from tests.make_files import gguf_bytes, npy_bytes, safetensors_bytes

SMALL = {"w": (64, 256)}

Files = dict[str, bytes]
Versions = list[Files]

BASE = weights()
HALF = rounded(BASE, "BF16")
TUNED = rounded(tuned(BASE, 1), "BF16")
OTHER = rounded(tuned(BASE, 2), "BF16")


class Relation(NamedTuple):
    """Versions to commit; the last one's file at ``path`` may take this share of its bytes. Its largest
    tensor, or ``tensor``, is predicted by ``recipe``."""

    versions: Callable[[], Versions]
    path: str
    share: float
    recipe: str
    tensor: str = LARGE


def mapped(made: Callable[[np.ndarray], np.ndarray], model: Arrays = HALF) -> Arrays:
    return {name: made(values) for name, values in model.items()}


def smallest_to_zero(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) >= np.median(np.abs(values)), values, np.float32(0))


def two_of_four(values: np.ndarray) -> np.ndarray:
    groups = values.reshape(-1, 4)
    order = np.argsort(np.abs(groups), axis=1, kind="stable")
    kept = groups.copy()
    np.put_along_axis(kept, order[:, :2], 0, axis=1)
    return kept.reshape(values.shape)


def half_at_random(values: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(9).random(values.shape) < 0.5, values, np.float32(0))


def int8_per_row() -> bytes:
    tensors = {}
    for name, values in HALF.items():
        scale = np.abs(values).max(-1, keepdims=True) / np.float32(127)
        codes = np.rint(values / scale).clip(-128, 127).astype(np.int8)
        tensors[name] = ("I8", values.shape, codes.tobytes())
        tensors[f"{name}_scale"] = ("F32", scale.shape, scale.astype("<f4").tobytes())
    return safetensors_bytes(tensors)


def int8_per_tensor() -> bytes:
    tensors = {}
    for name, values in HALF.items():
        scale = np.abs(values).max() / np.float32(127)
        codes = np.rint(values / scale).clip(-128, 127).astype(np.int8)
        tensors[name] = ("I8", values.shape, codes.tobytes())
        tensors[f"{name}_scale"] = ("F32", (), scale.astype("<f4").tobytes())
    return safetensors_bytes(tensors)


def fp8() -> bytes:
    return safetensors_bytes(
        {name: ("F8_E4M3", values.shape, as_dtype(values, "F8_E4M3")) for name, values in HALF.items()}
    )


def q8_0() -> bytes:
    """As llama.cpp makes it, under its own names."""
    tensors = {}
    for number, values in enumerate(HALF.values()):
        blocks = values.reshape(-1, 32)
        scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
        inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
        scaled = blocks * inverse
        codes = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
        raw = np.concatenate([scale.astype("<f2").view(np.uint8), codes.view(np.uint8)], axis=1)
        tensors[f"blk.{number}.weight"] = ("Q8_0", values.shape, raw.tobytes())
    return gguf_bytes(tensors)


def adapter() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    rows, columns = HALF[LARGE].shape
    module = f"base_model.model.{LARGE.removesuffix('.weight')}"
    return {
        f"{module}.lora_A.weight": rng.standard_normal((8, columns), np.float32) * np.float32(0.02),
        f"{module}.lora_B.weight": rng.standard_normal((rows, 8), np.float32) * np.float32(0.02),
    }


def merged() -> Arrays:
    down, up = adapter().values()
    return {**HALF, LARGE: through(HALF[LARGE] + np.float32(2) * (up @ down), "BF16")}


def with_rows(rows: np.ndarray) -> Arrays:
    return {**HALF, LARGE: rows}


NEW_ROWS = rounded(weights(7, {"new": (128, 992)}), "BF16")["new"]

RELATIONS: dict[str, Relation] = {
    "bf16 beside fp32": Relation(
        lambda: [{"0.fp32.safetensors": file_of(BASE, "F32"), "1.bf16.safetensors": file_of(BASE)}],
        "1.bf16.safetensors",
        0.01,
        "cast",
    ),
    "bf16 after fp32": Relation(
        lambda: [{"b.safetensors": file_of(BASE, "F32")}, {"a.safetensors": file_of(BASE)}],
        "a.safetensors",
        0.01,
        "cast",
    ),
    "fp16 after fp32": Relation(
        lambda: [{"b.safetensors": file_of(BASE, "F32")}, {"a.safetensors": file_of(BASE, "F16")}],
        "a.safetensors",
        0.01,
        "cast",
    ),
    "bf16 over fp32, under one name": Relation(
        lambda: [{"m.safetensors": file_of(BASE, "F32")}, {"m.safetensors": file_of(BASE)}],
        "m.safetensors",
        0.01,
        "cast",
    ),
    "fp32 after bf16": Relation(
        lambda: [{"m.safetensors": file_of(BASE)}, {"m32.safetensors": file_of(BASE, "F32")}],
        "m32.safetensors",
        0.56,
        "cast",
    ),
    "fp32 out of bf16": Relation(
        lambda: [{"m.safetensors": file_of(BASE)}, {"m32.safetensors": file_of(HALF, "F32")}],
        "m32.safetensors",
        0.01,
        "cast",
    ),
    "fine-tune in a new folder": Relation(
        lambda: [{"a/m.safetensors": file_of(HALF)}, {"b/tuned.safetensors": file_of(TUNED)}],
        "b/tuned.safetensors",
        0.4,
        "concat",
    ),
    "fine-tune in the same commit": Relation(
        lambda: [{"a/m.safetensors": file_of(HALF), "b/tuned.safetensors": file_of(TUNED)}],
        "b/tuned.safetensors",
        0.4,
        "concat",
    ),
    "fine-tune, all names new": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"m.safetensors": file_of({f"net.{n}": v for n, v in TUNED.items()})},
        ],
        "m.safetensors",
        0.4,
        "concat",
        f"net.{LARGE}",
    ),
    "average of two": Relation(
        lambda: [
            {"a.safetensors": file_of(HALF), "b.safetensors": file_of(TUNED)},
            {"mean.safetensors": file_of({n: (HALF[n] + TUNED[n]) / np.float32(2) for n in HALF})},
        ],
        "mean.safetensors",
        0.02,
        "linear",
    ),
    "weighted merge": Relation(
        lambda: [
            {"a.safetensors": file_of(HALF), "b.safetensors": file_of(TUNED)},
            {
                "w.safetensors": file_of(
                    {n: np.float32(0.3) * HALF[n] + np.float32(0.7) * TUNED[n] for n in HALF}
                )
            },
        ],
        "w.safetensors",
        0.02,
        "linear",
    ),
    "task arithmetic of three": Relation(
        lambda: [
            {
                "a.safetensors": file_of(HALF),
                "b.safetensors": file_of(TUNED),
                "c.safetensors": file_of(OTHER),
            },
            {
                "t.safetensors": file_of(
                    {
                        n: HALF[n]
                        + np.float32(0.6) * (TUNED[n] - HALF[n])
                        + np.float32(0.4) * (OTHER[n] - HALF[n])
                        for n in HALF
                    }
                )
            },
        ],
        "t.safetensors",
        0.02,
        "linear",
    ),
    "pruned by magnitude": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"pruned.safetensors": file_of(mapped(smallest_to_zero))},
        ],
        "pruned.safetensors",
        0.02,
        "prune",
    ),
    "two of four": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"pruned.safetensors": file_of(mapped(two_of_four))}],
        "pruned.safetensors",
        0.02,
        "n_of_m",
    ),
    "masked at random": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"pruned.safetensors": file_of(mapped(half_at_random))}],
        "pruned.safetensors",
        0.5,
        "concat",
    ),
    "int8 per row": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"int8.safetensors": int8_per_row()}],
        "int8.safetensors",
        0.02,
        "quantise",
    ),
    "scales of int8": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"int8.safetensors": int8_per_row()}],
        "int8.safetensors",
        0.02,
        "absmax",
        f"{LARGE}_scale",
    ),
    "int8 per tensor": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"int8.safetensors": int8_per_tensor()}],
        "int8.safetensors",
        0.02,
        "quantise",
    ),
    "fp8": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"fp8.safetensors": fp8()}],
        "fp8.safetensors",
        0.02,
        "cast",
    ),
    "Q8_0": Relation(
        lambda: [{"m.safetensors": file_of(HALF)}, {"m.gguf": q8_0()}],
        "m.gguf",
        0.02,
        "q8_0",
        "blk.0.weight",
    ),
    "Q8_0, after fine-tunes that are nearer than rounding": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"a.safetensors": file_of(TUNED), "b.safetensors": file_of(OTHER)},
            {"m.gguf": q8_0()},
        ],
        "m.gguf",
        0.02,
        "q8_0",
        "blk.0.weight",
    ),
    "int8, after fine-tunes that are nearer than rounding": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"a.safetensors": file_of(TUNED), "b.safetensors": file_of(OTHER)},
            {"int8.safetensors": int8_per_tensor()},
        ],
        "int8.safetensors",
        0.02,
        "quantise",
    ),
    "LoRA merged, adapter before": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"adapter/adapter_model.safetensors": file_of(adapter(), "F32")},
            {"merged.safetensors": file_of(merged())},
        ],
        "merged.safetensors",
        0.02,
        "lora",
    ),
    "LoRA merged, adapter beside": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {
                "adapter/adapter_model.safetensors": file_of(adapter(), "F32"),
                "merged.safetensors": file_of(merged()),
            },
        ],
        "merged.safetensors",
        0.02,
        "lora",
    ),
    "128 rows appended": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"m.safetensors": file_of(with_rows(np.concatenate([HALF[LARGE], NEW_ROWS])))},
        ],
        "m.safetensors",
        0.15,
        "rows",
    ),
    "64 rows inserted": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {
                "m.safetensors": file_of(
                    with_rows(np.concatenate([HALF[LARGE][:333], NEW_ROWS[:64], HALF[LARGE][333:]]))
                )
            },
        ],
        "m.safetensors",
        0.1,
        "rows",
    ),
    "rows removed": Relation(
        lambda: [
            {"m.safetensors": file_of(HALF)},
            {"m.safetensors": file_of(with_rows(np.delete(HALF[LARGE], slice(100, 150), axis=0)))},
        ],
        "m.safetensors",
        0.02,
        "concat",
    ),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_a_relation_is_found_and_costs_little(tmp_path, name):
    relation = RELATIONS[name]
    store = Store(tmp_path)
    versions = relation.versions()
    for files in versions:
        stored = store.commit(files)
    size = len(versions[-1][relation.path])
    if len(versions[-1]) > 1:  # what the files beside it took does not count
        stored = sum(
            len(memoryview(record.stored)) for record in store.records(relation.path, relation.tensor)
        )
    assert stored <= relation.share * size + 4096
    assert relation.recipe in store.recipes(relation.path, relation.tensor)
    store.check()


TINY = {f"layers.{number}.w": (60, 64) for number in range(6)}
"""Too small for sketches: what they come from is found by path, or said."""


def test_a_base_that_is_said_is_used(tmp_path):
    sizes = []
    for bases in ((), ("HEAD:a",), ("HEAD:a/m.safetensors",)):
        store = Store(tmp_path / str(len(sizes)))
        model = rounded(weights(20, TINY), "BF16")
        store.commit({"a/m.safetensors": file_of(model)})
        (store.folder / "b").mkdir()
        (store.folder / "b" / "m.safetensors").write_bytes(file_of(rounded(tuned(model, 1), "BF16")))
        sizes.append(snapshot(store.repository, bases=bases).stored_bytes)
        assert_sound(store.folder)
    assert max(sizes[1:]) < 0.7 * sizes[0]


def test_a_fast_commit_leans_on_nothing_and_gc_makes_up_for_it(tmp_path):
    store = Store(tmp_path)
    model = rounded(weights(20, SMALL), "BF16")
    store.commit({"m.safetensors": file_of(model)})
    later = file_of(rounded(tuned(model, 1, 0.002), "BF16"))
    (tmp_path / "m.safetensors").write_bytes(later)
    fast = snapshot(store.repository, fast=True)
    assert store.recipes("m.safetensors", "w") == {"alone"}
    assert fast.stored_bytes > 0.5 * len(later)
    store.versions.append({"m.safetensors": (later, False)})
    done = gc(store.repository, GcRequest(now(), repack=True))
    assert done.after.bytes < done.before.bytes - 0.3 * len(later)
    store.check()


def merged_versions(store: Store, count: int) -> tuple[list[Arrays], tuple[str, ...]]:
    """So many fine-tunes of one model, each a version, and their names."""
    base = weights(20, SMALL)
    models = [rounded(tuned(base, seed, 0.02), "BF16") for seed in range(count)]
    for model in models:
        store.commit({"m.safetensors": file_of(model)})
    return models, tuple(commit.hex() for commit in history(store.repository)[::-1])


def test_an_average_of_many_is_found_when_it_is_said(tmp_path):
    store = Store(tmp_path)
    models, names = merged_versions(store, 6)
    data = file_of({"w": sum(model["w"] for model in models) / np.float32(6)})
    (tmp_path / "m.safetensors").write_bytes(data)
    assert snapshot(store.repository, recipe=names).stored_bytes < 0.1 * len(data)
    assert store.recipes("m.safetensors", "w") == {"linear"}
    assert_sound(tmp_path)


def test_a_recipe_of_many_that_is_none_is_given_up_soon(tmp_path, monkeypatch):
    """Eight operands have 40,320 orders."""
    store = Store(tmp_path)
    _models, names = merged_versions(store, 8)
    real, fits = linear.fit, []
    monkeypatch.setattr(linear, "fit", lambda *given: fits.append(1) or real(*given))
    (tmp_path / "m.safetensors").write_bytes(file_of(weights(99, SMALL)))
    snapshot(store.repository, recipe=names)
    assert 1 <= len(fits) <= 8
    assert_sound(tmp_path)


def test_a_recipe_of_more_than_a_record_holds_is_refused(tmp_path):
    store = Store(tmp_path)
    _models, names = merged_versions(store, 1)
    (tmp_path / "m.safetensors").write_bytes(file_of(weights(99, SMALL)))
    with pytest.raises(UserError, match="65 versions"):
        snapshot(store.repository, recipe=names * 65)
    assert len(history(store.repository)) == 1


@pytest.mark.parametrize("wide_first", [True, False])
def test_two_precisions_in_one_commit_cost_no_more_than_the_wider(tmp_path, wide_first):
    store = Store(tmp_path / "both")
    wide, narrow = ("0", "1") if wide_first else ("1", "0")
    together = store.commit(
        {f"{wide}.safetensors": file_of(BASE, "F32"), f"{narrow}.safetensors": file_of(BASE)}
    )
    alone = Store(tmp_path / "alone").commit({"m.safetensors": file_of(BASE, "F32")})
    assert together <= 1.02 * alone
    store.check()


def test_a_tensor_comes_back_from_another_branch(tmp_path):
    """Its base is on no way down from the new commit."""
    store = Store(tmp_path)
    store.commit({"base.safetensors": file_of(weights(20, SMALL))})
    first = history(store.repository)[0]
    switch_to(store.repository, "HEAD", new_branch="side")
    store.commit({"m.safetensors": file_of(HALF)})
    switch_to(store.repository, first.hex())
    data = file_of(TUNED)
    (tmp_path / "other.safetensors").write_bytes(data)
    assert snapshot(store.repository).stored_bytes < 0.4 * len(data)
    assert_sound(tmp_path)


def strange(dtype: str, count: int = 9000) -> bytes:
    """Every kind of bits: NaNs of both signs, quiet and signalling, infinities, subnormals, both zeros."""
    width = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}[dtype]
    rng = np.random.default_rng(6)
    bits = rng.integers(0, 1 << 8 * width - 1, count, np.uint64)
    bits |= rng.integers(0, 2, count, np.uint64) << np.uint64(8 * width - 1)
    ends = np.array([0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1], np.uint64)
    bits[::7] = np.resize(ends, bits[::7].size)
    exponent = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F800000, "F64": 0x7FF << 52}[dtype]
    bits[3::11] = exponent
    bits[4::11] = exponent + 1
    return bits.astype(f"<u{width}").tobytes()


def narrowed(data: bytes) -> bytes:
    """F32 bits cut to BF16, whatever they are."""
    return (np.frombuffer(data, "<u4") >> 16).astype("<u2").tobytes()


def test_strange_values_come_back(tmp_path):
    """In every float type, with everything that is made out of them."""
    store = Store(tmp_path)
    versions: Versions = [{}, {}, {}]
    for dtype in ("BF16", "F16", "F32", "F64"):
        data = strange(dtype)
        versions[0][f"{dtype}.safetensors"] = safetensors_bytes({"w": (dtype, (9, 1000), data)})
        halved = np.frombuffer(data, np.uint8).copy()
        halved[: halved.size // 2] = 0
        versions[1][f"{dtype}.safetensors"] = safetensors_bytes({"w": (dtype, (9, 1000), halved.tobytes())})
        flipped = np.frombuffer(data, np.uint8).copy()
        flipped[:: len(data) // 9000] ^= 1
        versions[2][f"{dtype}.safetensors"] = safetensors_bytes({"w": (dtype, (9, 1000), flipped.tobytes())})
    cut = narrowed(strange("F32"))
    versions[2]["cut.safetensors"] = safetensors_bytes({"w": ("BF16", (9, 1000), cut)})
    for files in versions:
        store.commit(files)
    store.check()


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-45, 3e38])
def test_tensors_of_one_value_come_back(tmp_path, value):
    store = Store(tmp_path)
    arrays = {f"t{n}": np.full((64, 256), value, np.float32) for n in range(3)}
    with np.errstate(all="ignore"):
        half = {n: v.astype(np.float16) for n, v in arrays.items()}
    store.commit({"m.npz": npz_bytes(arrays)})
    store.commit({"h.npz": npz_bytes(half)})
    arrays["t1"] = weights(3, SMALL)["w"]
    store.commit({"m.npz": npz_bytes(arrays), "n.npz": npz_bytes(half | {"t0": half["t0"][:50]})})
    store.check()


def test_odd_tensors_come_back(tmp_path):
    """Empty, without dimensions, longer or shorter in the next version, of other types under one name."""
    store = Store(tmp_path)
    w = weights(3, SMALL)["w"]

    def file(**tensors: np.ndarray) -> bytes:
        kinds = {"f": "F", "i": "I", "u": "U"}
        return safetensors_bytes(
            {
                name: (kinds[v.dtype.kind] + str(8 * v.itemsize), v.shape, v.tobytes())
                for name, v in tensors.items()
            }
        )

    empty, scalar = np.empty((0, 256), np.float32), np.float32(3).reshape(())
    for tensors in (
        {"a": empty, "b": scalar, "c": w, "d": w[:40]},
        {"a": w, "b": w, "c": empty, "d": w[:, :200].copy()},
        {"a": w[:10], "b": empty, "c": w + 1, "d": scalar},
        {"a": w.astype("f8"), "b": w.astype("i4"), "c": w.astype("f2"), "d": w.reshape(-1)},
        {"a": w.reshape(8, 8, 256), "b": w.astype("i1"), "c": w.astype("u1"), "d": w.astype("f8")[:40]},
    ):
        store.commit({"m.safetensors": file(**tensors)})
    store.check()


def test_strided_and_big_endian_tensors_come_back(tmp_path):
    store = Store(tmp_path)
    w = weights(3, SMALL)["w"]
    for number in range(3):
        step = w * np.float32(1 + number / 1000)
        store.commit(
            {
                "columns.npy": npy_bytes(np.asfortranarray(step)),
                "big.npy": npy_bytes(step.astype(">f4")),
                "little.npy": npy_bytes(step),
                "double.npy": npy_bytes(step.astype(">f8")),
            }
        )
    store.check()


def test_aliases_come_back(tmp_path):
    """Two names for one storage, as tied embeddings are saved."""
    store = Store(tmp_path)
    for number in range(3):
        w = through(weights(3, SMALL)["w"] * np.float32(1 + number / 500), "BF16")
        data = as_dtype(w, "BF16")
        header = {
            name: {"dtype": "BF16", "shape": list(w.shape), "data_offsets": [0, len(data)]}
            for name in ("embed", "head")
        }
        text = json.dumps(header).encode()
        store.commit({"m.safetensors": len(text).to_bytes(8, "little") + text + data})
    store.check()


def test_long_histories_stay_shallow(tmp_path):
    """Chains of differences with recipes on top, and differences from what recipes made."""
    store = Store(tmp_path)
    model = weights(5, SMALL)
    for number in range(12):
        model = rounded(tuned(model, number, 0.02), "BF16")
        files = {"m.safetensors": file_of(model)}
        if number % 3 == 2:
            files["wide.safetensors"] = file_of(tuned(model, 100 + number, 0.001), "F32")
            files["pruned.safetensors"] = file_of(mapped(smallest_to_zero, model))
        store.commit(files)
    depths = {
        revision: max(record.depth for record in store.records(path, None, revision))
        for revision in range(12)
        for path in ("m.safetensors", *(("wide.safetensors", "pruned.safetensors") if revision >= 2 else ()))
    }
    assert max(depths.values()) <= MAX_RECIPE_DEPTH
    assert max(record.depth for record in store.records("m.safetensors", None)) <= MAX_TENSOR_DEPTH
    store.check()


# --- a damaged index of sketches ---


def everything_after(store: Store) -> None:
    """Commit what recipes, names and sketches lead to, and look whether all of it comes back."""
    model = weights(3, SMALL)
    down = np.random.default_rng(1).standard_normal((16, 256), np.float32)
    up = np.random.default_rng(2).standard_normal((64, 16), np.float32) * np.float32(0.01)
    adapters = {"base_model.model.w.lora_A.weight": down, "base_model.model.w.lora_B.weight": up}
    store.commit({"adapter.safetensors": file_of(adapters, "F32"), "a/m.safetensors": file_of(model)})
    merged = {"w.weight": model["w"] + up @ down}
    store.commit(
        {
            "half.safetensors": file_of(model, "F16"),
            "merged.safetensors": file_of(merged),
            "pruned.safetensors": file_of(mapped(smallest_to_zero, rounded(model, "BF16"))),
            "mean.safetensors": file_of({n: (v + merged["w.weight"]) / 2 for n, v in model.items()}),
            "m.safetensors": file_of(tuned(model, 5)),
            "rows.safetensors": file_of({"w": np.concatenate([model["w"], model["w"][:7] + 1])}),
        }
    )
    store.check()


def started(folder: Path) -> Store:
    store = Store(folder)
    model = weights(3, SMALL)
    store.commit({"m.safetensors": file_of(model), "wide.safetensors": file_of(model, "F32")})
    store.commit({"m.safetensors": file_of(tuned(model, 4))})
    return store


def sketch_files(store: Store) -> list[Path]:
    found = sorted((store.folder / ".mvc" / FOLDER_NAME).iterdir())
    assert found
    return found


@pytest.mark.parametrize("damage", ["missing", "torn", "garbage", "gone", "link"])
def test_a_damaged_index_of_sketches_costs_no_truth(tmp_path, damage):
    store = started(tmp_path / "repo")
    for path in sketch_files(store):
        data = path.read_bytes()
        path.unlink()
        if damage == "torn":
            path.write_bytes(data[:-5])
        elif damage == "garbage":
            path.write_bytes(np.random.default_rng(1).bytes(50 * ROW.itemsize + 7))
        elif damage == "gone":
            rows = np.frombuffer(data, ROW).copy()
            rows["manifest"] += 1
            path.write_bytes(rows.tobytes())
        elif damage == "link":
            path.symlink_to("/dev/zero")
    everything_after(store)


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_lie_cost_no_truth(tmp_path, seed):
    """Sound rows whose fields were exchanged, or are anything."""
    store = started(tmp_path)
    rng = np.random.default_rng(seed)
    for path in sketch_files(store):
        rows = np.repeat(np.frombuffer(path.read_bytes(), ROW), 8).copy()
        for field in ("manifest", "blob", "tensor", "kind", "values"):
            rows[field] = rng.permutation(rows[field])
        rows["kind"] = rng.integers(0, 10, rows.size)
        rows["tensor"][::3] = rng.integers(0, 1 << 32, rows["tensor"][::3].size)
        for key in (64 * 256, 16 * 256, adapter_key("w")):
            lying = rows.copy()
            lying["key"] = key
            rows = np.concatenate([rows, lying[: rows.size // 2]])
        path.write_bytes(rows.tobytes())
        for key in (64 * 256, 16 * 256, adapter_key("w")):
            with (path.parent / f"{bucket_of(key):x}").open("ab") as file:
                file.write(rows[rows["key"] == key].tobytes())
    everything_after(store)


def test_a_stored_table_that_lies_costs_no_truth(tmp_path, monkeypatch):
    """A row whose length contradicts its shape: two bytes of an adapter are missing in it."""

    def lying(*args: object) -> Manifest:
        honest = Manifest(*args)
        rows = [
            replace(span, length=span.length - 2) if "lora_A" in span.name else span
            for span in honest.tensors
        ]
        return replace(honest, tensors=tuple(rows))

    store = Store(tmp_path)
    store.commit({"base.safetensors": file_of(HALF)})
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "Manifest", lying)
        store.commit({"adapter.safetensors": file_of(adapter(), "F32")})
    store.commit({"merged.safetensors": file_of(merged())})
    (tmp_path / "merged.safetensors").unlink()
    checkout_paths(store.repository, "HEAD", ["merged.safetensors"], ME, now())
    assert (tmp_path / "merged.safetensors").read_bytes() == file_of(merged())


def test_a_base_that_cannot_be_read_costs_only_its_help(tmp_path):
    """Damage of one version, found by sketches alone, stops no other one."""
    store = Store(tmp_path)
    store.commit({"a/m.safetensors": file_of(HALF)})
    for pack in (tmp_path / ".mvc").glob("packs/**/*"):
        if pack.is_file() and pack.stat().st_size > 1 << 16:
            data = bytearray(pack.read_bytes())
            for place in range(5000, len(data), 5000):
                data[place] ^= 0x55
            pack.chmod(0o644)
            pack.write_bytes(data)
    data = file_of(TUNED)
    (tmp_path / "b.safetensors").write_bytes(data)
    assert snapshot(store.repository).stored_bytes > 0.5 * len(data)
    (tmp_path / "b.safetensors").unlink()
    checkout_paths(store.repository, "HEAD", ["b.safetensors"], ME, now())
    assert (tmp_path / "b.safetensors").read_bytes() == data


def test_two_commits_at_once(tmp_path):
    """Of relatives of one base, from Python: both are stored, and lean on it."""
    Store(tmp_path).commit({"base.safetensors": file_of(HALF)})
    start = Barrier(2)

    def commit(number: int) -> None:
        repository = mvc.Repo.open(tmp_path)
        state = tuned(BASE, 30 + number)
        start.wait(20)
        repository.commit({f"model{number}": state}, message=str(number))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(commit, range(2)))
    assert len(history(open_repository(tmp_path))) == 3
    assert_sound(tmp_path)
    repository = mvc.Repo.open(tmp_path)
    for number in range(2):
        loaded = repository.load_state_dict("HEAD", f"model{number}")
        for name, values in tuned(BASE, 30 + number).items():
            assert (loaded[name] == values).all()


# --- work that is not done ---


def test_small_tensors_need_no_sketches_and_few_looks_at_the_index(tmp_path, monkeypatch):
    count = 2000
    shapes = {f"layers.{n}.w": (4, 256) for n in range(count)}
    store = Store(tmp_path)
    model = rounded(weights(1, shapes), "BF16")
    store.commit({"m.safetensors": file_of(model)})
    looks = Counter()

    def counted(cls: type, name: str) -> None:
        real = getattr(cls, name)

        def call(*args, **keywords):
            looks[name] += 1
            return real(*args, **keywords)

        monkeypatch.setattr(cls, name, call)

    counted(ObjectDatabase, "entries")
    counted(ObjectDatabase, "_decode")
    counted(SketchIndex, "_read")
    counted(SketchIndex, "_append")
    counted(ObjectWriter, "prepare")
    store.commit({"m.safetensors": file_of(tuned(model, 2))})
    assert looks["_read"] == looks["_append"] == 0
    assert count <= looks["entries"] <= 2.1 * count
    assert looks["_decode"] <= 1.01 * count
    assert looks["prepare"] <= 1.01 * count


def test_an_ordinary_fine_tune_is_encoded_once(tmp_path, monkeypatch):
    """No fit is tried, and no piece is encoded to see what it would take."""
    store = Store(tmp_path)
    store.commit({"m.safetensors": file_of(HALF)})
    prepared = []
    real = ObjectWriter.prepare

    def prepare(self, identity, *args):
        prepared.append(identity)
        return real(self, identity, *args)

    monkeypatch.setattr(ObjectWriter, "prepare", prepare)
    for recipe in (Combined, Merged, Pruned, Quantised, Cast):
        monkeypatch.setattr(recipe, "hint", lambda *_: pytest.fail("a recipe was tried"))
    store.commit({"m.safetensors": file_of(TUNED)})
    pieces = [identity for identity in prepared if isinstance(identity, BlobId)]
    assert len(pieces) == len(set(pieces)) == len(list(store.records("m.safetensors")))
    assert store.recipes("m.safetensors") == {"concat"}
