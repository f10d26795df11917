"""Spans fall into regions that tile the file, and nothing unsound gets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.spans import (
    MAX_RANK,
    NotTileable,
    Region,
    Span,
    element_count,
    row_major_strides,
    shown,
    tile,
    touched_elements,
)


def u8(name: str, offset: int, length: int) -> Span:
    return Span(offset, length, name, "U8", (length,))


def places(size: int, *spans: Span) -> list[tuple[int, int, str | None]]:
    return [(r.offset, r.length, r.span.name if r.span else None) for r in tile(size, spans)]


def test_glue_stands_between_tensors() -> None:
    assert places(100, u8("b", 50, 20), u8("a", 10, 30)) == [
        (0, 10, None),
        (10, 30, "a"),
        (40, 10, None),
        (50, 20, "b"),
        (70, 30, None),
    ]


def test_a_file_without_tensors_is_one_region_and_an_empty_file_none() -> None:
    assert list(tile(7, ())) == [Region(0, 7, None)]
    assert list(tile(0, ())) == []


def test_aliases_and_views_make_no_region_of_their_own() -> None:
    whole, alias, view = u8("whole", 4, 20), u8("alias", 4, 20), u8("view", 10, 14)
    assert places(24, view, whole, alias) == [(0, 4, None), (4, 20, "whole")]


def test_empty_tensors_make_no_region() -> None:
    empty = Span(12, 0, "empty", "F32", (0, 5))
    assert places(20, empty, u8("a", 10, 10)) == [(0, 10, None), (10, 10, "a")]
    assert places(20, Span(20, 0, "at the end", "F32", (0,))) == [(0, 20, None)]


def test_a_column_major_tensor_and_a_spread_view_are_sound() -> None:
    column_major = Span(0, 24, "t", "F16", (3, 4), (1, 3))
    every_other = Span(0, 2 * 5, "v", "F16", (3,), (2,))
    assert places(24, column_major, every_other) == [(0, 24, "t")]


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (u8("a", 90, 11), "leaves the file"),
        (u8("a", -1, 5), "leaves the file"),
        (Span(101, 0, "a", "U8", (0,)), "leaves the file"),
        (Span(0, -4, "a", "U8", (4,)), "contradicts"),
        (Span(0, 4, "a", "Q9", (1,)), "unknown dtype"),
        (Span(0, 4, "a", "F32", (2,)), "contradicts"),
        (Span(0, 0, "a", "F32", ()), "contradicts"),
        (Span(0, 4, "a", "U8", (-2, -2)), "impossible shape"),
        (Span(0, 0, "a", "U8", (0, 1 << 63)), "impossible shape"),
        (Span(0, 0, "a", "F64", (0, 1 << 40, 1 << 40)), "impossible shape"),
        (Span(0, 1, "a", "U8", (1,) * (MAX_RANK + 1)), "dimensions"),
        (Span(0, 6, "a", "U8", (2, 3), (3,)), "stride per dimension"),
        (Span(0, 6, "a", "U8", (2, 3), (-3, 1)), "impossible shape"),
        (Span(0, 6, "a", "U8", (2, 3), (4, 1)), "contradicts"),
        (u8("\ud800", 0, 4), "not valid Unicode"),
        (Span(0, 34, "a", "Q8_0", ()), "no whole blocks of Q8_0"),
        (Span(0, 34, "a", "Q8_0", (32, 1)), "no whole blocks of Q8_0"),
        (Span(0, 34, "a", "Q8_0", (31,)), "no whole blocks of Q8_0"),
        (Span(0, 32, "a", "Q8_0", (32,)), "contradicts"),
        (Span(0, 34, "a", "Q8_0", (32,), (1,)), "strides through blocks"),
        (Span(0, 2, "a", "F4", (4,), (1,)), "strides through blocks"),
        (Span(0, 1, "a", "F4", (3,)), "contradicts"),
        (Span(0, 0, "a", "Q4_K", (256, 1 << 60, 0)), "impossible shape"),
    ],
)
def test_an_unsound_span_is_refused(span: Span, reason: str) -> None:
    with pytest.raises(NotTileable, match=reason):
        tile(100, [span])


@pytest.mark.parametrize(
    ("dtype", "shape", "length"),
    [
        ("Q8_0", (3, 64), 3 * 68),
        ("Q4_K:be", (256,), 144),
        ("Q8_0", (0, 32), 0),
        ("F4", (3, 3), 5),
        ("F4", (), 1),
        ("I2", (5,), 2),
        ("F6_E2M3", (4,), 3),
        ("F6_E3M2", (5,), 4),
    ],
)
def test_lengths_of_blocks(dtype: str, shape: tuple[int, ...], length: int) -> None:
    (*regions,) = tile(length, [Span(0, length, "t", dtype, shape)])
    assert [region.length for region in regions] == [length] * (length > 0)


def test_views_that_overlap_in_part_are_one_region() -> None:
    a, b = u8("a", 0, 20), u8("b", 10, 20)
    assert list(tile(40, [b, a])) == [Region(0, 30, a), Region(30, 10, None)]
    # across the border of two tensors that touch
    assert list(tile(40, [a, u8("b", 20, 20), u8("c", 10, 15)])) == [Region(0, 40, a)]


def test_foreign_text_is_shown_on_one_short_line() -> None:
    line = shown("weight\n\r\x1b[31m\u2028\u202e\ud800" + "x" * 10_000)
    assert len(line) < 120 and line.isprintable()
    assert shown("lm_head.weight") == "'lm_head.weight'"


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=6),
    st.integers(0, 60),
)
@settings(deadline=None, max_examples=200)
def test_regions_tile_exactly_and_hold_every_tensor(places: list[tuple[int, int]], size: int) -> None:
    spans = [u8(str(number), offset, length) for number, (offset, length) in enumerate(places)]
    try:
        regions = list(tile(size, spans))
    except NotTileable:
        return
    position = 0
    for region in regions:
        assert region.offset == position and region.length > 0
        position += region.length
    assert position == size
    for span in spans:
        if span.length:
            assert any(
                region.span
                and region.offset <= span.offset
                and span.offset + span.length <= region.offset + region.length
                for region in regions
            )


@given(st.lists(st.integers(0, 5), max_size=5))
@settings(deadline=None, max_examples=100)
def test_row_major_strides_touch_exactly_the_elements(shape: list[int]) -> None:
    assert touched_elements(shape, row_major_strides(shape)) == element_count(shape)
