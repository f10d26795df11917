"""Casts and linear combinations against other definitions of the same arithmetic."""

from __future__ import annotations

import threading
from fractions import Fraction
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import CorruptObject, UnsupportedFeature
from mvc.predictors import PREDICTORS, ieee, linear, n_of_m, prune
from mvc.predictors.floats import FLOATS, NAN

LIBRARY: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
SHAPES = {  # bits of mantissa, bias of the exponent, bits of the exponent
    "F64": (52, 1023, 11),
    "F32": (23, 127, 8),
    "F16": (10, 15, 5),
    "BF16": (7, 127, 8),
    "F8_E4M3": (3, 7, 4),
    "F8_E5M2": (2, 15, 5),
}
PAIRS = [pair for pair in product(sorted(FLOATS), repeat=2) if pair[0] != pair[1]]


def bits_of(dtype: str) -> np.dtype[Any]:
    return np.dtype(f"<u{np.dtype(LIBRARY[dtype]).itemsize}")


def cast(bits: np.ndarray, before: str, after: str) -> np.ndarray:
    length = bits.size * bits_of(after).itemsize
    made = PREDICTORS["cast", 1].predict([bits.tobytes()], {"from": before, "to": after}, length)
    return np.frombuffer(memoryview(made), bits_of(after))


def interesting(dtype: str) -> np.ndarray:
    """All bits of a narrow type; of a wide one what the narrow ones can say, what lies half way between two
    of those, and the neighbours of both."""
    if bits_of(dtype).itemsize <= 2:
        return np.arange(1 << 8 * bits_of(dtype).itemsize).astype(bits_of(dtype))
    found = []
    with np.errstate(all="ignore"):
        for narrow in ("F16", "BF16", "F8_E4M3", "F8_E5M2"):
            numbers = interesting(narrow).view(LIBRARY[narrow]).astype(np.float64)
            numbers = np.unique(numbers[np.isfinite(numbers)])
            between = (numbers[1:] + numbers[:-1]) / 2
            for values in (numbers, between):
                at = values.astype(LIBRARY[dtype]).view(bits_of(dtype))
                found += [at, at + at.dtype.type(1), at - at.dtype.type(1)]
        rng = np.random.default_rng(3)
        found.append(np.frombuffer(rng.bytes(1 << 17), bits_of(dtype)))
    return np.concatenate(found)


@pytest.mark.parametrize(("before", "after"), PAIRS)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_casts_are_those_of_numpy_and_ml_dtypes(before, after) -> None:
    bits = interesting(before)
    made = cast(bits, before, after)
    numbers = bits.view(LIBRARY[before])
    with np.errstate(all="ignore"):
        if before == "F64" and bits_of(after).itemsize < 4:
            numbers = numbers.astype(np.float32)
        expected = numbers.astype(LIBRARY[after])
        lost = np.isnan(expected.astype(np.float64))
    np.testing.assert_array_equal(made[~lost], expected.view(bits_of(after))[~lost])
    if (before, after) == ("BF16", "F32"):
        np.testing.assert_array_equal(made, bits.astype("<u4") << 16)
    else:
        # what overflows to the NaN of F8_E4M3 keeps its sign
        nan = np.isnan(numbers.astype(np.float64))
        assert set(made[nan]) <= {NAN[after]}
        assert np.isnan(made[lost].view(LIBRARY[after]).astype(np.float64)).all()


@pytest.mark.parametrize(("before", "after"), PAIRS)
@pytest.mark.slow
def test_casts_are_those_of_torch(before, after) -> None:
    torch = pytest.importorskip("torch")
    types = {name: getattr(torch, np.dtype(kind).name) for name, kind in LIBRARY.items()}
    bits = interesting(before)
    signed = bits.view(f"i{bits.itemsize}") if bits.itemsize > 1 else bits
    numbers = torch.from_numpy(signed.copy()).view(types[before])
    width = bits_of(after).itemsize
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[width]
    expected = numbers.to(types[after]).view(integers).numpy().view(bits_of(after))
    wide = numbers.to(torch.float64).numpy()
    # F8_E4M3 has no infinity: releases of torch differ in what becomes of too large numbers
    same = np.isfinite(wide) & ((np.abs(wide) <= 448) | (after != "F8_E4M3"))
    np.testing.assert_array_equal(cast(bits, before, after)[same], expected[same])


def number(bits: int, dtype: str) -> Fraction | None:
    """What the bits of a finite number mean; None for others."""
    mantissa, bias, exponent_bits = SHAPES[dtype]
    exponent = bits >> mantissa & ((1 << exponent_bits) - 1)
    if exponent == (1 << exponent_bits) - 1 and dtype != "F8_E4M3":
        return None
    if dtype == "F8_E4M3" and bits & 0x7F == 0x7F:
        return None
    fraction = bits & ((1 << mantissa) - 1) | (bool(exponent) << mantissa)
    size = fraction * Fraction(2) ** (max(exponent, 1) - bias - mantissa)
    return -size if bits >> (mantissa + exponent_bits) else size


def rounded(wanted: Fraction, negative: bool, dtype: str) -> int:
    """Bits of the nearest number, by search among all sizes; behind the greatest stands overflow."""
    mantissa, bias, exponent_bits = SHAPES[dtype]
    size = abs(wanted)
    top = 0x7F if dtype == "F8_E4M3" else ((1 << exponent_bits) - 1) << mantissa

    def meaning(bits: int) -> Fraction:
        found = number(bits, dtype)
        if found is not None:
            return found
        step = Fraction(2) ** ((top - 1 >> mantissa) - bias - mantissa)
        below = number(top - 1, dtype)
        assert below is not None
        return below + step

    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if meaning(middle) <= size else (low, middle)
    below, above = size - meaning(low), meaning(high) - size
    nearest = high if above < below or (above == below and high % 2 == 0) else low
    return nearest | (negative << (mantissa + exponent_bits))


@given(bits=st.integers(0, 2**32 - 1), after=st.sampled_from(["F16", "BF16", "F8_E4M3", "F8_E5M2"]))
@settings(max_examples=300, deadline=None)
def test_casts_are_those_of_a_slow_definition(bits, after) -> None:
    wanted = number(bits, "F32")
    made = int(cast(np.array([bits], "<u4"), "F32", after)[0])
    if wanted is not None:
        assert made == rounded(wanted, bool(bits >> 31), after)
    elif bits << 1 & 0xFFFFFFFF == 0xFF000000:
        assert made in (rounded(Fraction(2) ** 200, bool(bits >> 31), after),)
    else:
        assert made == NAN[after]


@given(bits=st.integers(0, 2**64 - 1))
@settings(max_examples=200, deadline=None)
def test_casts_from_binary64_are_those_of_a_slow_definition(bits) -> None:
    wanted = number(bits, "F64")
    made = int(cast(np.array([bits], "<u8"), "F64", "F32")[0])
    if wanted is not None:
        assert made == rounded(wanted, bool(bits >> 63), "F32")


# --- merges ---------------------------------------------------------------------------------------


def weights(seed: int, count: int = 6000) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count) * 0.02).astype(np.float32)


def moved(base: np.ndarray, seed: int) -> np.ndarray:
    return base + weights(seed, base.size) * np.float32(0.05)


def as_bf16(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(ml_dtypes.bfloat16).view("<u2")


BASE = weights(0)
MODELS = [as_bf16(BASE), as_bf16(moved(BASE, 1)), as_bf16(moved(BASE, 2))]
NUMBERS = [model.view(ml_dtypes.bfloat16).astype(np.float32) for model in MODELS]
F = np.float32


@pytest.mark.parametrize(
    ("recipe", "made", "count"),
    [
        ("mean of two", as_bf16((NUMBERS[0] + NUMBERS[1]) / F(2)), 2),
        ("mean of three", as_bf16((NUMBERS[0] + NUMBERS[1] + NUMBERS[2]) / F(3)), 3),
        ("weighted", as_bf16(F(0.3) * NUMBERS[0] + F(0.7) * NUMBERS[1]), 2),
        (
            "task arithmetic",
            as_bf16(NUMBERS[0] + F(0.6) * (NUMBERS[1] - NUMBERS[0]) + F(0.4) * (NUMBERS[2] - NUMBERS[0])),
            3,
        ),
        ("extrapolated", as_bf16(NUMBERS[0] + F(1.5) * (NUMBERS[1] - NUMBERS[0])), 2),
        ("analogy", as_bf16(NUMBERS[0] + (NUMBERS[1] - NUMBERS[2])), 3),
        ("thirds", as_bf16(F(1 / 3) * NUMBERS[0] + F(2 / 3) * NUMBERS[1]), 2),
    ],
)
def test_a_merge_is_found_from_a_sample_and_made_exactly(recipe, made, count) -> None:
    sample = slice(0, 4096)
    params = linear.fit(made[sample], [model[sample] for model in MODELS[:count]], "BF16")
    assert params is not None, recipe
    bases = [model.tobytes() for model in MODELS[:count]]
    prediction = bytes(PREDICTORS["linear", 1].predict(bases, params, made.nbytes))
    assert np.mean(np.frombuffer(prediction, "<u2") == made) > 0.999


def test_a_merge_that_rounded_each_step_is_found_as_such() -> None:
    bf16 = ml_dtypes.bfloat16
    a, b = (model.view(bf16) for model in MODELS[:2])
    made = (a + (b - a) * bf16(0.5)).view("<u2")
    params = linear.fit(made, MODELS[:2], "BF16")
    assert params is not None and params["compute"] == "native"
    prediction = bytes(
        PREDICTORS["linear", 1].predict([m.tobytes() for m in MODELS[:2]], params, made.nbytes)
    )
    assert prediction == made.tobytes()


def test_a_merge_by_fused_operations_is_found_as_such() -> None:
    """torch's lerp and add(alpha=…) on most processors."""
    base, other = BASE, moved(BASE, 1)
    made = (base.astype(float) + float(F(0.3)) * (other - base).astype(float)).astype(F)
    operands = [base.view("<u4"), other.view("<u4")]
    params = linear.fit(made.view("<u4"), operands, "F32")
    assert params is not None and params["fused"]
    prediction = bytes(PREDICTORS["linear", 1].predict([o.tobytes() for o in operands], params, made.nbytes))
    assert prediction == made.tobytes()


def test_a_merge_with_weights_in_a_tensor_is_found() -> None:
    """mergekit keeps the weights of models in a tensor of the models' type."""
    bf16 = ml_dtypes.bfloat16
    a, b = (model.view(bf16) for model in MODELS[:2])
    made = (bf16(0.3) * a + bf16(0.7) * b).view("<u2")
    params = linear.fit(made, MODELS[:2], "BF16")
    assert params is not None and params["coefficients"] == [float(bf16(0.3)), float(bf16(0.7))]
    prediction = bytes(
        PREDICTORS["linear", 1].predict([m.tobytes() for m in MODELS[:2]], params, made.nbytes)
    )
    assert prediction == made.tobytes()


def test_no_merge_is_found_where_there_is_none() -> None:
    assert linear.fit(as_bf16(moved(BASE, 5)), MODELS[:2], "BF16") is None
    assert linear.fit(MODELS[0], [MODELS[1], MODELS[1]], "BF16") is None  # which of the two, nobody can tell
    assert linear.fit(MODELS[0][:3], [model[:3] for model in MODELS[1:]], "BF16") is None
    nothing = np.zeros(100, "<u2")
    assert linear.fit(nothing, [nothing, nothing], "BF16") is None


# --- pruning --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_sign", [False, True])
def test_pruning_is_found_and_made_exactly(keep_sign) -> None:
    base = MODELS[0]
    sizes = base & 0x7FFF
    threshold = np.sort(sizes)[base.size // 2]
    made = np.where(sizes >= threshold, base, (base & 0x8000) if keep_sign else 0).astype("<u2")
    params = prune.find(made, base)
    assert params is not None and params["keep_sign"] == keep_sign
    prediction = bytes(PREDICTORS["prune", 1].predict([base.tobytes()], params, base.nbytes))
    assert prediction == made.tobytes()


def test_no_pruning_is_found_where_there_is_none() -> None:
    base = MODELS[0]
    assert prune.find(base, base) is None  # nothing became zero
    assert prune.find(MODELS[1], base) is None
    at_random = np.where(np.random.default_rng(4).random(base.size) < 0.5, base, 0).astype("<u2")
    assert prune.find(at_random, base) is None


@pytest.mark.parametrize(("keep", "of"), [(2, 4), (1, 4), (4, 8), (1, 2)])
@pytest.mark.parametrize("ties", ["first", "last"])
def test_a_pattern_of_n_of_m_is_found_and_made_exactly(keep, of, ties) -> None:
    base = MODELS[0].reshape(-1, of)
    sizes = (base & 0x7FFF).astype(int)
    # a stable order of the places by falling size, equal ones as the tool takes them
    places = sizes if ties == "first" else sizes[:, ::-1]
    order = np.argsort(-places, axis=1, kind="stable")[:, :keep]
    mask = np.zeros(base.shape, bool)
    np.put_along_axis(mask, order if ties == "first" else of - 1 - order, True, axis=1)
    made = np.where(mask, base, 0).astype("<u2").reshape(-1)
    params = n_of_m.find(made, MODELS[0])
    assert params is not None and (params["keep"], params["of"]) == (keep, of)
    prediction = bytes(PREDICTORS["n_of_m", 1].predict([base.tobytes()], params, base.nbytes))
    assert prediction == made.tobytes()


def test_no_pattern_is_found_where_there_is_none() -> None:
    base = MODELS[0]
    assert n_of_m.find(base, base) is None
    at_random = np.where(np.random.default_rng(4).random(base.size) < 0.5, base, 0).astype("<u2")
    assert n_of_m.find(at_random, base) is None


# --- arithmetic -----------------------------------------------------------------------------------

MEAN = {
    "from": "F32",
    "to": "F32",
    "coefficients": [1.0, 1.0],
    "divisor": 2.0,
    "form": "sum",
    "compute": "F32",
    "fused": False,
}
TINY = np.arange(1, 2001, dtype="<u4")  # subnormal numbers


def test_arithmetic_is_exact_here() -> None:
    assert ieee.is_exact()


def test_a_child_process_predicts_the_same_and_tells_damage() -> None:
    bases = [TINY.tobytes(), (2 * TINY).tobytes()]
    predictor: Any = PREDICTORS["linear", 1]
    here = bytes(predictor.predict(bases, MEAN, TINY.nbytes))
    assert ieee.calculate_apart(predictor, bases, MEAN, TINY.nbytes) == here
    with pytest.raises(CorruptObject, match="linear: 16000 bytes of bases where 8000 belong"):
        ieee.calculate_apart(predictor, bases, MEAN, TINY.nbytes // 2)


def test_a_child_process_imports_nothing_from_the_current_folder(tmp_path, monkeypatch) -> None:
    for name in ("numpy", "msgpack", "mvc", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    predictor: Any = PREDICTORS["linear", 1]
    bases = [TINY.tobytes(), TINY.tobytes()]
    assert ieee.calculate_apart(predictor, bases, MEAN, TINY.nbytes) == TINY.tobytes()


def test_a_child_process_that_cannot_be_had_is_no_wrong_prediction(monkeypatch) -> None:
    bases = [TINY.tobytes(), TINY.tobytes()]
    predictor: Any = PREDICTORS["linear", 1]
    monkeypatch.setattr(ieee, "is_exact", lambda: False)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(UnsupportedFeature, match="child process failed"):
        predictor.predict(bases, MEAN, TINY.nbytes)
    monkeypatch.setattr("sys.executable", "/bin/true")
    with pytest.raises(UnsupportedFeature, match="which ended with 0"):
        predictor.predict(bases, MEAN, TINY.nbytes)


@pytest.mark.slow
def test_flushed_subnormals_are_noticed_and_change_no_prediction() -> None:
    torch = pytest.importorskip("torch")
    bases = [TINY.tobytes(), (2 * TINY).tobytes()]
    predictor: Any = PREDICTORS["linear", 1]
    expected = bytes(predictor.predict(bases, MEAN, TINY.nbytes))
    seen: dict[str, Any] = {}

    def flushed() -> None:  # in a thread of its own: the state is the thread's
        if not torch.set_flush_denormal(True):
            return
        seen["exact"] = ieee.is_exact()
        seen["prediction"] = bytes(predictor.predict(bases, MEAN, TINY.nbytes))

    thread = threading.Thread(target=flushed)
    thread.start()
    thread.join()
    if not seen:
        pytest.skip("torch cannot flush subnormals on this processor")
    assert seen == {"exact": False, "prediction": expected}
    assert ieee.is_exact()
