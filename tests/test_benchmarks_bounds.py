"""The order-0 bounds: exact on histograms that can be worked out by hand, and never above real coders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bounds
from benchmarks.tensor_files import Tensor
from mvc.dtypes import DTYPES
from mvc.odb.encoder import encode_tensor


def bf16(values: list[int]) -> Tensor:
    return Tensor("BF16", (len(values),), np.array(values, "<u2").tobytes())


def test_a_fair_coin_costs_a_bit() -> None:
    assert bounds.entropy(np.array([40, 40])) == pytest.approx(10)


def test_one_symbol_costs_nothing() -> None:
    assert bounds.entropy(np.array([0, 7, 0])) == 0
    assert bounds.entropy(np.array([], np.int64)) == 0


def test_residuals_are_zigzag() -> None:
    base = np.array([10, 10, 10, 10, 0], "<u2")
    target = np.array([10, 9, 11, 8, 0xFFFF], "<u2")
    assert bounds.zigzag_residual(target, base).tolist() == [0, 1, 2, 3, 1]


def test_planes_are_priced_apart() -> None:
    # the low byte is one of two values, the high one of four: 1 + 2 bits
    elements = np.array([low + 256 * high for low in (0, 1) for high in range(4)] * 8, "<u2")
    assert bounds.planes(elements) == pytest.approx(elements.size * 3 / 8)


def test_no_change_costs_nothing() -> None:
    tensor = bf16([1, 2, 3, 4000])
    for bound in (bounds.of_residual, bounds.of_grouped_residual, bounds.of_changes):
        assert bound(tensor, tensor) == 0


def test_groups_explain_what_the_exponent_tells() -> None:
    # moves are 0 where the exponent is 1 and 1 where it is 2
    base = bf16([1 << 7, 2 << 7] * 64)
    target = bf16([1 << 7, (2 << 7) + 1] * 64)
    assert bounds.of_residual(target, base) == pytest.approx(128 / 8)
    assert bounds.of_grouped_residual(target, base) == 0


def test_changes_are_positions_and_values() -> None:
    base = bf16([300] * 8)
    target = bf16([300] * 4 + [301] * 4)  # half of the positions, one value
    assert bounds.of_changes(target, base) == pytest.approx(1)


def test_integers_have_no_groups() -> None:
    base, target = (Tensor("I8", (4,), bytes(data)) for data in ([1, 2, 3, 4], [1, 2, 4, 6]))
    assert bounds.of_grouped_residual(target, base) == bounds.of_residual(target, base)


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=300), st.data())
def test_groups_never_cost_more(values: list[int], data: st.DataObject) -> None:
    size = len(values)
    other = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=size, max_size=size))
    target, base = bf16(values), bf16(other)
    assert bounds.of_grouped_residual(target, base) <= bounds.of_residual(target, base) + 1e-6


def test_the_encoder_stays_above_the_bound() -> None:
    rng = np.random.default_rng(3)
    before = (rng.standard_normal(1 << 16) * 0.02).astype("<f4")
    after = before + (rng.standard_normal(1 << 16) * 0.0002).astype("<f4")
    base, target = (
        Tensor("BF16", (1 << 16,), (one.view("<u4") >> 16).astype("<u2").tobytes()) for one in (before, after)
    )
    stored = len(encode_tensor(target.data, DTYPES["BF16"], base.data).stored)
    assert bounds.of_grouped_residual(target, base) <= stored
    assert bounds.alone(target) <= len(encode_tensor(target.data, DTYPES["BF16"], None).stored)
