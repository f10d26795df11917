"""The charts of the benchmarks: well-formed SVG that shows every series and says what is missing."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plots import WIDTH, bar_chart, line_chart, tick_text, ticks

SVG = "{http://www.w3.org/2000/svg}"
SOME = {"ours": [(1.0, 2.0), (3.0, 4.0), (2.0, 1.0)], "theirs": [(1.0, 1.5)]}


def texts(chart: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(chart).iter(f"{SVG}text")]


def test_a_line_chart_names_its_axes_and_series() -> None:
    shown = texts(line_chart("Title", "moved", "ratio", SOME))
    assert {"Title", "moved", "ratio", "ours", "theirs"} <= set(shown)


def test_points_are_joined_in_order_of_x() -> None:
    root = ElementTree.fromstring(line_chart("t", "x", "y", SOME))
    (line,) = root.iter(f"{SVG}polyline")  # one point makes no line
    xs = [float(pair.split(",")[0]) for pair in line.attrib["points"].split()]
    assert xs == sorted(xs)
    assert len(xs) == 3


def test_marks_lie_inside_the_chart() -> None:
    root = ElementTree.fromstring(line_chart("t", "x", "y", SOME, log_x=True, log_y=True))
    height = float(root.attrib["height"])
    marks = list(root.iter(f"{SVG}circle"))
    assert len(marks) == 4  # three points and the legend
    for mark in marks:
        assert 0 < float(mark.attrib["cx"]) < WIDTH
        assert 0 < float(mark.attrib["cy"]) < height


def test_a_series_without_values_says_so() -> None:
    assert "peer (no values)" in texts(line_chart("t", "x", "y", {"peer": [], **SOME}))


def test_a_bar_that_is_missing_says_so() -> None:
    shown = texts(bar_chart("t", "seconds", {"ours": 1.25, "theirs": None}))
    assert "not measured" in shown
    assert "1.25" in shown


def test_bars_are_as_long_as_their_values() -> None:
    root = ElementTree.fromstring(bar_chart("t", "seconds", {"one": 1.0, "three": 3.0}))
    one, three = (float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect") if "y" in bar.attrib)
    assert three / one == pytest.approx(3, rel=0.01)


def test_names_are_escaped() -> None:
    assert "a <b> & c" in texts(line_chart("t", "x", "y", {"a <b> & c": [(1, 1)]}))


def test_dark_pages_have_colours_of_their_own() -> None:
    assert "prefers-color-scheme:dark" in bar_chart("t", "y", {"a": 1})


def test_the_same_values_give_the_same_bytes() -> None:
    assert line_chart("t", "x", "y", SOME) == line_chart("t", "x", "y", SOME)


def test_many_series_wrap_in_the_legend() -> None:
    chart = line_chart("t", "x", "y", {f"a series with a long name {n}": [(n, n)] for n in range(12)})
    root = ElementTree.fromstring(chart)
    for node in root.iter(f"{SVG}text"):
        if (node.text or "").startswith("a series"):
            assert float(node.attrib["x"]) < WIDTH - 100


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        line_chart("t", "x", "y", {"a": [(1, wrong)]})


def test_a_logarithmic_axis_refuses_zero() -> None:
    with pytest.raises(ValueError, match="logarithmic"):
        line_chart("t", "x", "y", {"a": [(0, 1)]}, log_x=True)


def test_a_chart_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        line_chart("t", "x", "y", {"a": []})
    with pytest.raises(ValueError, match="no values"):
        bar_chart("t", "y", {"a": None})


def test_negative_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        bar_chart("t", "y", {"a": -1})


FINITE = st.floats(min_value=1e-6, max_value=1e6)


@given(st.lists(FINITE, min_size=1), st.booleans(), st.booleans())
def test_ticks_surround_all_values_and_are_few(values: list[float], log: bool, from_zero: bool) -> None:
    marks = ticks(values, log=log, from_zero=from_zero)
    assert marks == sorted(set(marks))
    assert marks[0] <= min(values) * (1 + 1e-6)
    assert marks[-1] >= max(values) * (1 - 1e-6)
    assert 2 <= len(marks) <= 15


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (0.05, "0.05"), (2500.0, "2,500"), (0.30000000000000004, "0.3"), (2e9, "2e+09")],
)
def test_ticks_are_written_as_people_do(value: float, text: str) -> None:
    assert tick_text(value) == text
