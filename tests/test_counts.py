"""Counts of several runs come together in one file, and from there into a page."""

from __future__ import annotations

import pytest

from tests.counts import BEGIN, END, place, put_into, record, rows_of, table
from tests.faults import fork, was_killed


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("MVC_COUNTS", str(tmp_path / "sub" / "counts.json"))


def test_rows_are_merged():
    record("power cuts", states=100, lost=0)
    record("kills", killed=7)
    record("power cuts", states=200_000, seconds=30.2)
    rows = rows_of(place())
    assert {name: {k: v for k, v in row.items() if k != "on"} for name, row in rows.items()} == {
        "power cuts": {"states": 200_000, "lost": 0, "seconds": 30.2},
        "kills": {"killed": 7},
    }
    assert "| power cuts | states 200,000 · lost 0 | 30 s |" in table(rows)


def test_several_processes_record_at_once():
    children = [fork(lambda number=number: record(f"row {number}", tried=number)) for number in range(8)]
    assert [was_killed(child) for child in children] == [False] * 8
    assert {name: row["tried"] for name, row in rows_of(place()).items()} == {
        f"row {number}": number for number in range(8)
    }


def test_the_table_goes_between_the_markers():
    record("kills", killed=7)
    page = put_into(f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n", rows_of(place()))
    assert page.startswith(f"above\n\n{BEGIN}\n| test |")
    assert page.endswith(f"|\n{END}\n\nbelow\n")
    assert "killed 7" in page and "old" not in page
    with pytest.raises(ValueError, match="lacks the comments"):
        put_into("no marks", {})
