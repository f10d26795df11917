"""The plug is pulled at any moment: what was not synced may be lost, torn or out of order; versions never
are. The short form of ``make power``."""

from __future__ import annotations

import pytest

from tests.faults import SYNCS
from tests.power import cut_power
from tests.scenes import SCENES, SESSIONS

STATES = 15
"""Of each scene; ``make power`` looks at thousands."""

FEW = 8
"""All that deleting a few files can leave."""


@pytest.mark.parametrize("name", [*SCENES, *SESSIONS])
def test_old_or_new_after_a_power_cut(name):
    tally = cut_power(name, STATES)
    assert tally.good, tally.failures[0]
    assert tally.counts["states"] == (FEW if name == "gc --empty-trash" else STATES)


@pytest.mark.parametrize("forgotten", [*sorted(SYNCS), "both"])
@pytest.mark.parametrize("name", ["commit", "checkout"])
def test_a_forgotten_sync_would_be_noticed(name, forgotten):
    tally = cut_power(name, 300, forget=SYNCS if forgotten == "both" else (forgotten,))
    assert not tally.good
