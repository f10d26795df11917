"""Files of weights merged tensor by tensor: what comes from where, and what stays in conflict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mvc.merging.strategy import Strategies
from tests.family import LARGE, file_of, rounded, tuned, weights
from tests.merging import Bench, bench

BASE = rounded(weights(0), "BF16")
OURS, THEIRS = (rounded(tuned(BASE, seed), "BF16") for seed in (1, 2))


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def test_an_average_costs_almost_nothing(at: Bench) -> None:
    result = at.merge(
        "m.safetensors", file_of(BASE), file_of(OURS), file_of(THEIRS), Strategies.parse("average")
    )
    half = np.float32(0.5)
    wanted = rounded({name: half * OURS[name] + half * THEIRS[name] for name in OURS}, "BF16")
    assert result.clean
    assert result.data == file_of(wanted)
    assert at.stored_bytes(result.manifest) * 100 < len(result.data)


def test_without_a_strategy_what_both_changed_is_in_conflict(at: Bench) -> None:
    ours = {**BASE, LARGE: OURS[LARGE]}
    result = at.merge("m.safetensors", file_of(BASE), file_of(ours), file_of(THEIRS))
    assert not result.clean
    assert result.details == (LARGE,)
    assert result.data == file_of({**THEIRS, LARGE: OURS[LARGE]})
