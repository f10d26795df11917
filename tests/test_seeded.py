"""The seeded faults (``make seeded`` tries all of them) still fit the product, and some are caught."""

from __future__ import annotations

import ast

import pytest

from tests.seeded import HERE, PASSED, Edit, attempt, copy_of_all, listed, run_tests, seeded
from tests.seeded.faults import FAULTS

TRIED = ("swap that does not compare", "piece's hash skipped")


@pytest.mark.parametrize("item", FAULTS, ids=lambda item: item.name)
def test_a_fault_can_be_put_in(item):
    texts = {}
    for edit in item.edits:
        texts[edit.file] = seeded(texts.get(edit.file) or (HERE / edit.file).read_text(), edit)
    for file, text in texts.items():
        ast.parse(text, file)
    for test in item.tests:
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (HERE / path).read_text(), test


def test_there_are_enough_of_different_names():
    assert len({item.name for item in FAULTS}) == len(FAULTS) >= 25


def test_the_page_has_the_list():
    """``python -m tests.seeded --list`` prints it."""
    page = (HERE / "docs" / "reliability.md").read_text()
    assert page.count("<!-- seeded: begin -->\n" + listed(FAULTS) + "\n<!-- seeded: end -->") == 1


def test_text_that_is_not_there_once_is_refused():
    for text in ("", "twice twice"):
        with pytest.raises(ValueError, match="times"):
            seeded(text, Edit("mvc/x.py", "twice", "once"))


def test_some_faults_are_caught_and_a_harmless_one_is_not(tmp_path):
    place = copy_of_all(tmp_path / "copy")
    chosen = [item for item in FAULTS if item.name in TRIED]
    assert len(chosen) == len(TRIED)
    for item in chosen:
        outcome = attempt(place, item)
        assert outcome.caught, outcome
    # and with everything put back they pass
    assert run_tests(place, chosen[-1].tests).why == PASSED
