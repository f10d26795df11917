"""Quantising, scales and adapters: what tools write is made exactly, from any place of a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import BytesView, no_sibling

from mvc.errors import CorruptObject
from mvc.formats import describe
from mvc.predictors import PREDICTORS, absmax, cast, linear, lora, prune, q8_0, quantise

ROWS, COLUMNS = 24, 256
BF16 = ml_dtypes.bfloat16
F = np.float32


def weights(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    numbers = np.random.default_rng(seed).standard_normal((rows, COLUMNS)).astype(F) * F(0.02)
    numbers[3] = 0
    return numbers


def bits(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers).view(f"<u{numbers.itemsize}").reshape(-1)


PARENT = weights().astype(BF16)
NUMBERS = PARENT.astype(F)


def divided(numbers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.nan_to_num(numbers / scales)


def per_row(greatest: float) -> np.ndarray:
    return np.abs(NUMBERS).max(1, keepdims=True) / F(greatest)


def by_blocks(numbers: np.ndarray, size: int) -> np.ndarray:
    return numbers.reshape(ROWS, -1, size)


def made(name: str, params: dict[str, Any], length: int, *operands: np.ndarray) -> np.ndarray:
    prediction = PREDICTORS[name, 1].predict(
        [bits(operand).tobytes() for operand in operands], params, length
    )
    return np.frombuffer(memoryview(prediction), np.uint8)


def int8_rows() -> np.ndarray:
    return np.clip(np.rint(divided(NUMBERS, per_row(127))), -127, 127).astype(np.int8)


def int8_tensor() -> np.ndarray:
    return np.rint(NUMBERS / (np.abs(NUMBERS).max() / F(127))).astype(np.int8)


def int8_in_bf16() -> np.ndarray:
    """As torch does it where nobody converts to float32 first."""
    scales = (np.abs(PARENT).max(1, keepdims=True) / BF16(127)).astype(BF16)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.rint((PARENT / scales).astype(F))).astype(np.int8)


def int4_blocks() -> np.ndarray:
    blocks = by_blocks(NUMBERS, 64)
    scales = np.abs(blocks).max(2, keepdims=True) / F(7)
    whole = np.clip(np.rint(divided(blocks, scales)), -8, 7).astype(np.int8).reshape(-1) & 15
    return (whole[0::2] | whole[1::2] << 4).astype(np.uint8)


def fp8_rows() -> np.ndarray:
    return divided(NUMBERS, per_row(448)).astype(ml_dtypes.float8_e4m3fn)


@pytest.mark.parametrize(
    ("target", "to"),
    [
        (int8_rows(), "I8"),
        (int8_tensor(), "I8"),
        (int8_in_bf16(), "I8"),
        (int4_blocks(), "I4"),
        (fp8_rows(), "F8_E4M3"),
    ],
    ids=["int8 by row", "int8 by tensor", "int8 in bf16", "int4 by block", "fp8 by row"],
)
def test_quantising_is_found_and_made_exactly(target, to) -> None:
    params = quantise.find(bits(target), to, bits(PARENT), "BF16", COLUMNS)
    assert params is not None
    assert made("quantise", params, target.nbytes, PARENT).tobytes() == target.tobytes()


@pytest.mark.parametrize("scale_type", ["F16", "F32"])
def test_stored_scales_are_used_where_they_cannot_be_calculated(scale_type) -> None:
    kind = np.float16 if scale_type == "F16" else np.float32
    scales = (np.abs(NUMBERS).max(1, keepdims=True) / F(101)).astype(kind)  # a clipping of the tool's own
    target = np.clip(np.rint(divided(NUMBERS, scales.astype(F))), -128, 127).astype(np.int8)
    assert quantise.find(bits(target), "I8", bits(PARENT), "BF16", COLUMNS) is None
    params = quantise.find(bits(target), "I8", bits(PARENT), "BF16", COLUMNS, (bits(scales), scale_type))
    assert params is not None and params["scale"] == ["stored", scale_type]
    assert made("quantise", params, target.nbytes, PARENT, scales).tobytes() == target.tobytes()


def test_a_search_among_any_bits_finds_nothing_and_warns_of_nothing() -> None:
    noise = np.frombuffer(np.random.default_rng(6).bytes(4 * PARENT.size), "<u1")
    target = noise[: PARENT.size]
    for dtype, width in (("F16", 2), ("BF16", 2), ("F32", 4)):
        parent = noise[: width * PARENT.size].view(f"<u{width}")
        assert quantise.find(target, "I8", parent, dtype, COLUMNS, (parent[:ROWS], dtype)) is None
        assert absmax.find(parent[:ROWS], dtype, parent[::-1].copy(), dtype) is None
        assert linear.fit(parent, [parent[::-1].copy(), np.roll(parent, 7)], dtype) is None
        other, size = ("F16", 2) if dtype == "F32" else ("F32", 4)
        unlike = noise[::-1][: size * parent.size].copy().view(f"<u{size}")
        assert cast.find(parent[: unlike.size], dtype, unlike, other) is None
        assert (
            lora.find(parent, parent[::-1].copy(), dtype, parent[:COLUMNS], parent[:ROWS], dtype, 1) is None
        )


def test_no_quantising_is_found_where_there_is_none() -> None:
    other = np.random.default_rng(9).integers(-127, 128, PARENT.size).astype(np.int8)
    assert quantise.find(bits(other), "I8", bits(PARENT), "BF16", COLUMNS) is None
    assert quantise.find(bits(other)[:0], "I8", bits(PARENT)[:0], "BF16", COLUMNS) is None


def test_scales_are_found_and_made_exactly() -> None:
    scales = per_row(127).astype(np.float16)
    params = absmax.find(bits(scales), "F16", bits(PARENT), "BF16")
    assert params == {"from": "BF16", "to": "F16", "group": COLUMNS, "divisor": 127.0}
    assert made("absmax", params, scales.nbytes, PARENT).tobytes() == scales.tobytes()
    assert absmax.find(bits(scales), "F16", bits(weights(7).astype(BF16)), "BF16") is None
    assert absmax.find(bits(scales)[:5], "F16", bits(PARENT), "BF16") is None


@given(start=st.integers(0, PARENT.size), length=st.integers(0, 3 * COLUMNS))
@settings(max_examples=60, deadline=None)
def test_a_piece_is_quantised_as_the_whole_is(start, length) -> None:
    whole = int8_rows().reshape(-1)
    stop = min(start + length, whole.size)
    params = quantise.find(bits(whole), "I8", bits(PARENT), "BF16", COLUMNS)
    assert params is not None
    first, last = start // COLUMNS, -(-stop // COLUMNS)
    rows = PARENT[first:last] if stop > start else PARENT[:0]
    piece = made("quantise", params | {"skip": start % COLUMNS}, stop - start, rows)
    assert piece.tobytes() == whole[start:stop].tobytes()


@pytest.mark.parametrize("size", [0.02, 1e-7, 1e5])
def test_q8_0_is_that_of_ggml(size) -> None:
    gguf = pytest.importorskip("gguf")
    numbers = (weights() * F(size / 0.02)).astype(F)
    numbers[5, :32] = np.arange(32, dtype=F) / 2  # ties
    target = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q8_0)
    params = q8_0.find(bits(target), bits(numbers), "F32")
    assert params == {"from": "F32"}
    assert made("q8_0", params, target.nbytes, numbers).tobytes() == target.tobytes()


def test_q8_0_is_not_found_where_it_is_not() -> None:
    noise = np.random.default_rng(2).integers(0, 256, 34 * 8).astype(np.uint8)
    assert q8_0.find(noise, bits(weights(1, 8))[: 32 * 8], "F32") is None
    assert q8_0.find(noise[:-1], bits(weights(1, 8))[: 32 * 8], "F32") is None


RANK = 8
DOWN = np.random.default_rng(11).standard_normal((RANK, COLUMNS)).astype(F) * F(0.05)
UP = np.random.default_rng(12).standard_normal((ROWS, RANK)).astype(F) * F(0.05)


def product(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    total = up[:, :1] * down[0]
    for index in range(1, len(down)):
        total = total + up[:, index : index + 1] * down[index]
    return total


MERGED = (NUMBERS + F(2) * product(UP, DOWN)).astype(BF16)


def test_a_merged_adapter_is_found_and_made_exactly() -> None:
    params = lora.find(bits(MERGED), bits(PARENT), "BF16", bits(DOWN), bits(UP), "F32", RANK)
    assert params is not None and (params["scale"], params["compute"]) == (2.0, "F32")
    assert made("lora", params, MERGED.nbytes, PARENT, DOWN, UP).tobytes() == MERGED.tobytes()
    assert lora.find(bits(PARENT), bits(PARENT), "BF16", bits(DOWN), bits(UP), "F32", RANK) is None
    other = weights(3).astype(BF16)
    assert lora.find(bits(other), bits(PARENT), "BF16", bits(DOWN), bits(UP), "F32", RANK) is None


def test_an_adapter_that_was_rounded_before_it_was_added_is_found_as_such() -> None:
    down, up = DOWN.astype(BF16), UP.astype(BF16)
    delta = (product(up.astype(F), down.astype(F)).astype(BF16).astype(F) * F(0.5)).astype(BF16)
    merged = (NUMBERS + delta.astype(F)).astype(BF16)
    params = lora.find(bits(merged), bits(PARENT), "BF16", bits(down), bits(up), "BF16", RANK)
    assert params is not None and (params["scale"], params["compute"]) == (0.5, "native")
    assert made("lora", params, merged.nbytes, PARENT, down, up).tobytes() == merged.tobytes()


@given(start=st.integers(0, PARENT.size - 1), length=st.integers(1, 3 * COLUMNS))
@settings(max_examples=60, deadline=None)
def test_a_piece_is_merged_as_the_whole_is(start, length) -> None:
    stop = min(start + length, PARENT.size)
    params = {
        "dtype": "BF16",
        "adapter": "F32",
        "rank": RANK,
        "columns": COLUMNS,
        "skip": start % COLUMNS,
        "scale": 2.0,
        "compute": "F32",
    }
    rows = UP[start // COLUMNS : -(-stop // COLUMNS)]
    piece = made("lora", params, 2 * (stop - start), PARENT.reshape(-1)[start:stop], DOWN, rows)
    assert piece.tobytes() == MERGED.reshape(-1)[start:stop].tobytes()


def test_long_rows_are_the_same_as_short_ones() -> None:
    """Rows beyond what is calculated with at a time."""
    columns = 70_001
    numbers = np.random.default_rng(5).standard_normal((3, columns)).astype(F)
    scales = np.abs(numbers).max(1, keepdims=True) / F(127)
    target = np.rint(numbers / scales).astype(np.int8)
    params = quantise.find(bits(target), "I8", bits(numbers), "F32", columns)
    assert params is not None
    assert made("quantise", params, target.nbytes, numbers).tobytes() == target.tobytes()


def test_a_small_record_cannot_ask_for_much_work() -> None:
    """Small matrices whose product is large."""
    side, rank = 4096, 1024
    params = {
        "dtype": "BF16",
        "adapter": "BF16",
        "rank": rank,
        "columns": side,
        "skip": 0,
        "scale": 1.0,
        "compute": "F32",
    }
    bases = [bytes(2 * side * side), bytes(2 * rank * side), bytes(2 * rank * side)]
    with pytest.raises(CorruptObject, match="more to calculate"):
        PREDICTORS["lora", 1].predict(bases, params, 2 * side * side)


# --- files that real tools wrote ------------------------------------------------------------------

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "checkpoints"
real = pytest.mark.skipif(
    not SHARED.is_dir(), reason="trained checkpoints (../shared/data/checkpoints) are not on this machine"
)


def tensors(name: str) -> dict[str, tuple[str, tuple[int, ...], np.ndarray]]:
    """Dtype, shape and bits of each tensor of a real file."""
    data = (SHARED / name).read_bytes()
    found = {}
    for span in describe(BytesView(name, data), no_sibling).layout.spans:
        raw = data[span.offset : span.offset + span.length]
        width = {"BF16": 2, "F16": 2, "F32": 4, "I8": 1}[span.dtype]
        found[span.name] = span.dtype, span.shape, np.frombuffer(raw, f"<u{width}")
    return found


@real
def test_real_int8_and_its_scales_are_made_exactly() -> None:
    parent, quantised = tensors("pretrain-bf16/step-0800.safetensors"), tensors("int8/step-0800.safetensors")
    names = [name for name, (dtype, *_rest) in quantised.items() if dtype == "I8"]
    assert len(names) == 8
    for name in names:
        _dtype, (_rows, columns), target = quantised[name]
        base, scales = parent[name][2], quantised[name + "_scale"][2]
        some = 16 * columns
        params = quantise.find(target[:some], "I8", base[:some], "BF16", columns)
        assert params is not None
        assert made("quantise", params, target.nbytes, base).tobytes() == target.tobytes()
        params = absmax.find(scales[:16], "F16", base[:some], "BF16")
        assert params is not None
        assert made("absmax", params, scales.nbytes, base).tobytes() == scales.tobytes()


@real
def test_real_casts_and_pruned_weights_are_made_exactly() -> None:
    wide = tensors("pretrain-fp32/step-0800.safetensors")
    for name, to in (("pretrain-bf16", "BF16"), ("fp16", "F16")):
        for tensor, (_dtype, _shape, target) in tensors(f"{name}/step-0800.safetensors").items():
            params = cast.find(target[:4096], to, wide[tensor][2][:4096], "F32")
            assert params == {"from": "F32", "to": to}
            assert made("cast", params, target.nbytes, wide[tensor][2]).tobytes() == target.tobytes()
    base, pruned = tensors("pretrain-bf16/step-0800.safetensors"), tensors("pruned-bf16/mag50.safetensors")
    for name, (_dtype, shape, target) in pruned.items():
        if len(shape) == 2:
            params = prune.find(target, base[name][2])
            assert params is not None
            assert made("prune", params, target.nbytes, base[name][2]).tobytes() == target.tobytes()


@real
def test_a_real_merged_adapter_is_made_but_for_a_few_elements() -> None:
    base, merged = (
        tensors("pretrain-bf16/step-0800.safetensors"),
        tensors("lora-merged-bf16/model.safetensors"),
    )
    adapter = tensors("lora/step-0120/adapter_model.safetensors")
    for kind in ("q_proj", "v_proj"):
        name = f"model.layers.0.self_attn.{kind}"
        down, up = (adapter[f"base_model.model.{name}.lora_{which}.weight"][2] for which in "AB")
        target, before = merged[name + ".weight"][2], base[name + ".weight"][2]
        params = lora.find(target[: 16 * 384], before[: 16 * 384], "BF16", down, up[: 16 * 16], "F32", 16)
        assert params is not None and params["scale"] == 2.0
        # the tool's matrix product sums in another order
        assert np.mean(made("lora", params, target.nbytes, before, down, up).view("<u2") == target) > 0.9999


@real
def test_a_fine_tune_is_no_merge() -> None:
    names = ["pretrain-bf16/step-0800", "finetune-bf16/lr1e-5/final", "finetune-bf16/lr2e-5/final"]
    loaded = [tensors(f"{name}.safetensors")["model.embed_tokens.weight"][2][:4096] for name in names]
    assert linear.fit(loaded[2], loaded[:2], "BF16") is None
