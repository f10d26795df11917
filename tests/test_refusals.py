"""Out of space, or refused by the disk, at any step: the command says so, and nothing is lost. The short form
of the first half of ``make full-disk``."""

from __future__ import annotations

import errno

import pytest

from mvc.errors import MvcError
from tests.engine import open_repository, snapshot, two_versions, weights_versions
from tests.faults import FaultIO
from tests.refusals import refuse
from tests.scenes import SCENES, assert_whole, versions, work_files

EVERY = 83


@pytest.mark.parametrize("name", SCENES)
def test_refused_at_some_steps(name):
    tally = refuse(name, EVERY)
    assert tally.good, tally.failures[0]
    assert tally.counts["refusals"] > 0
    assert tally.counts["refused commands"] > 0


def test_refused_at_many_steps_of_a_commit():
    tally = refuse("commit", 11)
    assert tally.good, tally.failures[0]
    assert tally.counts["refused commands"] > 20


def test_the_source_is_untouched_when_the_disk_is_full(tmp_path):
    folder = tmp_path / "repo"
    two_versions(folder)
    (folder / "model.safetensors").write_bytes(weights_versions(3)[2])
    before, known = work_files(folder), versions(folder)
    full = FaultIO(fail_at=1, error=errno.ENOSPC, for_ever=True, counted=("write",))
    with pytest.raises(MvcError) as failure:
        snapshot(open_repository(folder, full))
    assert failure.value.exit_code == 3
    assert "space" in failure.value.hint
    assert work_files(folder) == before
    assert_whole(folder, known)
    snapshot(open_repository(folder), "again")
