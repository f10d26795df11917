"""Every predictor in the table: it repeats itself exactly, and refuses what it cannot read."""

from __future__ import annotations

from typing import Any

import pytest

from mvc.errors import CorruptObject
from mvc.predictors import PREDICTORS

CASES: dict[tuple[str, int], list[tuple[list[bytes], dict[str, Any], bytes]]] = {
    ("concat", 1): [
        ([b"abc"], {}, b"abc"),
        ([b""], {}, b""),
        ([b"ab", b"", b"c"], {}, b"abc"),
        ([bytes([i]) for i in range(64)], {}, bytes(range(64))),
    ],
}
"""For each predictor: bases, parameters, and the prediction that repositories rely on. Never change one."""


def test_every_listed_predictor_has_cases() -> None:
    assert set(CASES) == set(PREDICTORS)
    for key, predictor in PREDICTORS.items():
        assert key == (predictor.name, predictor.version)


@pytest.mark.parametrize(("key", "case"), [(key, case) for key, list_ in CASES.items() for case in list_])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_predictions_are_for_ever(key, case, kind) -> None:
    bases, params, expected = case
    prediction = PREDICTORS[key].predict([kind(base) for base in bases], params, len(expected))
    assert bytes(prediction) == expected


@pytest.mark.parametrize("key", CASES)
def test_what_cannot_be_predicted_from_is_damage(key) -> None:
    bases, params, expected = CASES[key][0]
    with pytest.raises(CorruptObject):
        PREDICTORS[key].predict([], params, len(expected))
    with pytest.raises(CorruptObject):
        PREDICTORS[key].predict(bases, {**params, "unknown": 1}, len(expected))
