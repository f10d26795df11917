"""Every target of tests/fuzz by its seeds and some mutations of them, the same ones each time.

``make fuzz`` and ``make fuzz-long`` go on from here, led by coverage.
"""

from __future__ import annotations

import random
from itertools import islice

import pytest

from mvc.codecs import CODECS
from mvc.formats import FORMATS
from mvc.predictors import PREDICTORS
from tests.fuzz import plain
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Finding, Watch

INPUTS = 400


def test_whatever_is_listed_in_a_table_is_fuzzed() -> None:
    tables = {f"format:{format.name}" for format in FORMATS}
    tables |= {f"codec:{name}" for name, _version in CODECS}
    tables |= {f"predictor:{name}" for name, _version in PREDICTORS}
    assert tables <= TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_no_bytes_do_harm(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    most = len(seeds) + (3 if target.is_slow else INPUTS)
    assert plain.run(target, seeds, seed=1, most=most, seconds=60) == most


def nothing() -> list[bytes]:
    return []


def too_much(data: bytes) -> None:
    bytearray(1 << 25)


def test_what_goes_wrong_is_found() -> None:
    def wrong(data: bytes) -> None:
        if data[:1] > b"\x80":
            raise KeyError(data)

    with pytest.raises(plain.Died) as found:
        plain.run(Target("wrong", wrong, lambda: [b"seed"]), [b"seed"], 1, 10_000, 60)
    assert found.value.data[0] > 0x80
    assert isinstance(found.value.__cause__, KeyError)
    with pytest.raises(Finding, match="32 MiB of memory"):
        Watch(Target("large", too_much, nothing, budget_bytes=1 << 20))(b"")


def test_the_same_seed_gives_the_same_inputs() -> None:
    one, two, other = (
        list(islice(plain.inputs([b"abc", bytes(50)], random.Random(n)), 100)) for n in (1, 1, 2)
    )
    assert one == two != other
