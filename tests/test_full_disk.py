"""Commands on disks that are really full. The short form of the second half of ``make full-disk``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.full_disk import why_not

HERE = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def disks():
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("name", ["commit", "gc"])
def test_commands_on_full_disks(name):
    command = [sys.executable, "-m", "tests.full_disk", "--scene", name, "--every", "4", "--jobs", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "had no room" in ended.stdout
