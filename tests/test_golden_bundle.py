"""Bundles of every released form keep being read, byte for byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops import bundle
from tests.engine import assert_sound, make_repository, switch_to, tree
from tests.test_bundle import take_in

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "bundle-1.json").read_text())


def test_a_golden_bundle_and_the_one_after_it_come_back(tmp_path):
    repository = make_repository(tmp_path)
    for name in ("bundle-1.bundle", "bundle-1-since.bundle"):
        take_in(repository, GOLDEN / name)
    with repository.reading() as view:
        assert {name: value.hex() for name, value in view.refs.values()} == EXPECTED["refs"]
    for identity, files in EXPECTED["versions"].items():
        switch_to(repository, identity, force=True)
        found = {
            path: [hashlib.sha256(data).hexdigest(), mode] for path, (data, mode) in tree(tmp_path).items()
        }
        assert found == files
    assert_sound(tmp_path)


def test_what_it_builds_on_is_told():
    found = bundle.verify(FileIO(), GOLDEN / "bundle-1-since.bundle", Monitor(), None)
    assert [[need.commit.hex(), need.subject] for need in found.needs] == EXPECTED["needs"]
    assert found.branch == "main"
