"""What strategies calculate, against plain numpy: each float type, and every kind of number in it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from math import ceil
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mvc.dtypes import DTYPES
from mvc.errors import UnsupportedFeature
from mvc.merging import magnitudes
from mvc.merging.angle import PARALLEL, arc_weights
from mvc.merging.arithmetic import combine
from mvc.merging.sides import Operand, Side, Sides
from mvc.merging.strategy import STRATEGIES, Parameters, Strategies
from mvc.predictors import ieee
from mvc.predictors.floats import FLOATS, NAN
from tests.make_files import safetensors_bytes
from tests.merging import Bench, bench

Numbers = NDArray[Any]

KINDS: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
CALCULATING = [name for name in STRATEGIES if name not in ("ours", "theirs")]
SHAPE = (3, 700)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("merging")) as made:
        yield made


def exact(dtype: str) -> Any:
    return np.float64 if dtype == "F64" else np.float32


def numbers(data: bytes, dtype: str) -> Numbers:
    with np.errstate(all="ignore"):
        return np.frombuffer(data, KINDS[dtype]).astype(exact(dtype))


def to_bits(values: Numbers, dtype: str) -> bytes:
    """Rounded by numpy and ml_dtypes, every NaN the same one."""
    with np.errstate(all="ignore"):
        made = values.astype(KINDS[dtype])
    bits = made.view(f"<u{made.dtype.itemsize}").copy()
    bits[np.isnan(values) | np.isnan(made.astype(np.float64))] = NAN[dtype]
    if dtype == "F8_E4M3":  # beyond its greatest number lies its NaN, which has the sign of what was there
        lost = np.isnan(made.astype(np.float32)) & ~np.isnan(values)
        bits[lost] = np.where(np.signbit(values[lost]), 0xFF, 0x7F)
    return bits.tobytes()


def averaged(base: Numbers, ours: Numbers, theirs: Numbers, chosen: Parameters) -> Numbers:
    kind = ours.dtype.type
    return kind(1 - chosen.weight) * ours + kind(chosen.weight) * theirs


def task_arithmetic(base: Numbers, ours: Numbers, theirs: Numbers, chosen: Parameters) -> Numbers:
    """θ = θ0 + λ·Σ τ, arXiv 2212.04089, section 2."""
    scale = ours.dtype.type(chosen.scale)
    return base + (scale * (ours - base) + scale * (theirs - base))


def ties(base: Numbers, ours: Numbers, theirs: Numbers, chosen: Parameters) -> Numbers:
    """Algorithm 1 of arXiv 2306.01708."""
    kind = base.dtype.type
    tasks = []
    for side in (ours, theirs):
        task = side - base
        size = np.where(np.isnan(task), np.inf, np.abs(task))
        kept = ceil(round(chosen.density * size.size, 6))
        least = np.sort(size)[::-1][kept - 1]
        tasks.append(np.where((size >= least) | np.isnan(task), task, kind(0)))
    total = tasks[0] + tasks[1]
    agreed = [np.where(np.sign(task) == np.sign(total), task, kind(0)) for task in tasks]
    number = sum((np.sign(task) == np.sign(total)) & (task != 0) for task in tasks)
    mean = (agreed[0] + agreed[1]) / np.maximum(number, 1).astype(kind)
    moved = base + kind(chosen.scale) * mean
    return np.where(np.isnan(total), kind(np.nan), np.where(total == 0, base, moved))


def slerped(base: Numbers, ours: Numbers, theirs: Numbers, chosen: Parameters) -> Numbers:
    """Shoemake 1985, of the directions; along the line where they are parallel or have none."""
    mine, others = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.sqrt((mine**2).sum()) * np.sqrt((others**2).sum())
    cosine = (mine * others).sum() / norms if norms else np.nan
    if not np.isfinite(cosine) or abs(cosine) >= PARALLEL:
        return averaged(base, ours, theirs, chosen)
    angle = np.arccos(cosine)
    first, second = (np.sin(share * angle) / np.sin(angle) for share in (1 - chosen.weight, chosen.weight))
    kind = ours.dtype.type
    return kind(np.float32(first)) * ours + kind(np.float32(second)) * theirs


REFERENCES = {"average": averaged, "task-arithmetic": task_arithmetic, "ties": ties, "slerp": slerped}


def merged(
    at: Bench, strategy: str, dtype: str, base: bytes, ours: bytes, theirs: bytes, chosen: Parameters
) -> bytes:
    count = len(base) // DTYPES[dtype].width
    sides = [
        Side(
            at.writer.database,
            at.put("m.safetensors", safetensors_bytes({"w": (dtype, (count,), data)})),
        )
        for data in (base, ours, theirs)
    ]
    made = combine(strategy, chosen, Sides(sides[0], sides[1], sides[2]), "w")
    return b"".join(bytes(stretch.give()) for stretch in made.stretches())


def related(dtype: str, seed: int = 0) -> list[bytes]:
    """A tensor and two that it became: some elements unmoved, some moved alike."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(SHAPE[0] * SHAPE[1])
    made = [base]
    for _ in range(2):
        moved = base + rng.standard_normal(base.size) * 0.3
        made.append(np.where(rng.random(base.size) < 0.2, base, moved))
    return [to_bits(values.astype(exact(dtype)), dtype) for values in made]


def any_bits(dtype: str, seed: int) -> list[bytes]:
    """Any bits at all, and in front every special number against every other."""
    rng = np.random.default_rng(seed)
    width = DTYPES[dtype].width
    with np.errstate(all="ignore"):
        info = ml_dtypes.finfo(KINDS[dtype])
        special = np.array(
            [
                *(0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, info.min, info.tiny),
                *(info.smallest_subnormal, -info.smallest_subnormal),
            ],
            np.float64,
        ).astype(KINDS[dtype])
    grid = np.array(np.meshgrid(special, special, special, indexing="ij")).reshape(3, -1)
    return [row.tobytes() + rng.bytes(1000 * width) for row in grid]


def test_every_float_type_has_a_reference() -> None:
    assert set(KINDS) == FLOATS
    assert set(REFERENCES) == set(CALCULATING)


@pytest.mark.parametrize("dtype", sorted(KINDS))
@pytest.mark.parametrize("strategy", CALCULATING)
@pytest.mark.parametrize("chosen", [Parameters(), Parameters(0.3, 0.7, 0.45), Parameters(1.0, 1.5, 1.0)])
def test_strategies_are_what_their_papers_say(at: Bench, dtype, strategy, chosen) -> None:
    base, ours, theirs = related(dtype)
    wanted = REFERENCES[strategy](*(numbers(data, dtype) for data in (base, ours, theirs)), chosen)
    assert merged(at, strategy, dtype, base, ours, theirs, chosen) == to_bits(wanted, dtype)


@pytest.mark.parametrize("dtype", sorted(KINDS))
@pytest.mark.parametrize("strategy", CALCULATING)
def test_every_bit_pattern_has_a_result(at: Bench, dtype, strategy) -> None:
    chosen = Parameters(0.25, 0.5, 0.6)
    base, ours, theirs = any_bits(dtype, 3)
    with np.errstate(all="ignore"):
        wanted = REFERENCES[strategy](*(numbers(data, dtype) for data in (base, ours, theirs)), chosen)
    made = merged(at, strategy, dtype, base, ours, theirs, chosen)
    assert made == to_bits(wanted, dtype)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(CALCULATING),
    st.floats(0, 1),
    st.floats(0.01, 4),
    st.integers(1, 100),
    st.data(),
)
def test_any_numbers_with_any_parameters(at: Bench, dtype, strategy, weight, scale, percent, data) -> None:
    chosen = Parameters(weight, scale, percent / 100)
    width = DTYPES[dtype].width
    count = data.draw(st.integers(65, 90))
    base, ours, theirs = (
        data.draw(st.binary(min_size=count * width, max_size=count * width)) for _ in range(3)
    )
    with np.errstate(all="ignore"):
        wanted = REFERENCES[strategy](*(numbers(item, dtype) for item in (base, ours, theirs)), chosen)
    assert merged(at, strategy, dtype, base, ours, theirs, chosen) == to_bits(wanted, dtype)


# --- numbers of whole tensors -------------------------------------------------------------------------------
def operand(at: Bench, dtype: str, data: bytes) -> Operand:
    count = len(data) // DTYPES[dtype].width
    file = at.put("m.safetensors", safetensors_bytes({"w": (dtype, (count,), data)}))
    side = Side(at.writer.database, file)
    return Operand(side, side.spans["w"])


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
@pytest.mark.parametrize("density", [0.001, 0.2, 1 / 3, 0.29, 1.0])
def test_thresholds_are_the_kth_largest_change(at: Bench, dtype: str, density: float) -> None:
    """Over several pieces, with many elements of equal size, and densities that no binary number says."""
    count = 700_000
    rng = np.random.default_rng(7)
    base, side = (
        to_bits((rng.integers(-400, 400, count) / 64).astype(exact(dtype)), dtype) for _ in range(2)
    )
    kept = ceil(round(density * count, 3))
    sizes = np.sort(np.abs(numbers(side, dtype) - numbers(base, dtype)))[::-1]
    found = magnitudes.thresholds(operand(at, dtype, base), (operand(at, dtype, side),), density)
    words = np.array(found, "<u8" if dtype == "F64" else "<u4")
    assert words.view(exact(dtype))[0] == sizes[kept - 1]


def test_changes_that_are_no_numbers_are_never_trimmed(at: Bench) -> None:
    base = np.zeros(100, "<f4")
    side = base.copy()
    side[:50] = np.frombuffer(bytes.fromhex("010080ff") * 50, "<f4")
    side[50:60] = 3.0
    made = merged(at, "ties", "F32", base.tobytes(), side.tobytes(), base.tobytes(), Parameters(density=0.1))
    assert np.isnan(np.frombuffer(made, "<f4")[:50]).all()
    assert not np.frombuffer(made, "<f4")[50:].any()


def test_nearly_parallel_tensors_are_averaged_and_others_are_not(at: Bench) -> None:
    rng = np.random.default_rng(1)
    one = rng.standard_normal(5000).astype("<f4")
    near = (one + 0.01 * rng.standard_normal(5000)).astype("<f4")
    far = rng.standard_normal(5000).astype("<f4")
    mine = operand(at, "F32", one.tobytes())
    assert arc_weights(mine, operand(at, "F32", near.tobytes()), 0.3) == (0.7, 0.3)
    assert arc_weights(mine, operand(at, "F32", (-near).tobytes()), 0.3) == (0.7, 0.3)
    assert arc_weights(mine, operand(at, "F32", np.zeros(5000, "<f4").tobytes()), 0.3) == (0.7, 0.3)
    first, second = arc_weights(mine, operand(at, "F32", far.tobytes()), 0.5)
    assert first == second == pytest.approx(np.sqrt(0.5), rel=0.02)
    made = merged(at, "slerp", "F32", one.tobytes(), one.tobytes(), far.tobytes(), Parameters())
    norm = np.linalg.norm(np.frombuffer(made, "<f4"))
    assert norm == pytest.approx(np.linalg.norm(one), rel=0.02)  # an average would have 0.71 of it


def test_huge_numbers_have_no_angle(at: Bench) -> None:
    huge = operand(at, "F64", np.full(100, 1e300).tobytes())
    assert arc_weights(huge, operand(at, "F64", np.arange(100.0).tobytes()), 0.5) == (0.5, 0.5)


def test_arithmetic_that_is_not_ieees_is_refused(at: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    base, ours, theirs = related("F32")
    monkeypatch.setattr(ieee, "is_exact", lambda: False)
    for strategy in ("ties", "slerp"):
        with pytest.raises(UnsupportedFeature):
            merged(at, strategy, "F32", base, ours, theirs, Parameters())


@pytest.mark.slow
def test_a_tensor_is_merged_in_less_memory_than_it_takes(at: Bench) -> None:
    """What is held is the database's cache of 48 MiB and a few pieces, however large the tensor."""
    count = 48 << 20
    rng = np.random.default_rng(5)
    rows = (rng.integers(0, 1 << 16, count, np.uint16).tobytes() for _ in range(3))
    files = [at.put("m.safetensors", safetensors_bytes({"w": ("BF16", (count,), row)})) for row in rows]
    tracemalloc.start()
    content = at.content("m.safetensors", *files, Strategies.parse("ties"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content.clean
    assert peak < 80 << 20
