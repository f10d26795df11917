"""Transfers over a line that is cut, by clients that are killed: the short form of ``make cuts``."""

from __future__ import annotations

import pytest

from tests import cuts


@pytest.fixture(scope="module")
def line(seaweed, tmp_path_factory):
    place = tmp_path_factory.mktemp("cuts")
    with cuts.set_up(seaweed, place, place, 1 << 20) as there:
        yield there


@pytest.mark.parametrize("number", range(6))
def test_what_is_cut_goes_on_and_ends_as_if_nothing_had_been(line, number):
    tally = cuts.rounds(line, 1, seed=3, only=number)
    assert tally.good, tally.failures[0]
    kind = cuts.KINDS[number % 3]
    most = 2 * line.needed[kind] + (1 << 20)  # small transfers may be sent twice
    assert tally.counts[f"bytes of {kind}"] <= most * (1 + tally.counts["cuts"])
