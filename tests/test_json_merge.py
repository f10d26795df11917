"""Merging JSON by key: what is merged, what is left untouched to the character, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.history.json_merge import JsonMerged, merge_json
from mvc.history.json_spans import NotJson, equal, parse

BASE = """{
    "model": "bert",
    "lr": 1e-05,
    "big": 123456789012345678901234567890,
    "layers": {"first": 1, "last": 12},
    "tags": ["a", "b"]
}
"""


def merged(base, ours, theirs, **options):
    found = merge_json(None if base is None else base.encode(), ours.encode(), theirs.encode(), **options)
    return None if found is None else (found.data.decode(), found.conflicts)


def test_changes_to_different_keys_are_both_taken_and_the_rest_is_untouched():
    ours = BASE.replace('"bert"', '"bert-large"').replace('"last": 12', '"last": 24')
    theirs = BASE.replace("1e-05", "3.0E-5").replace('"first": 1', '"first": 0')
    expected = ours.replace("1e-05", "3.0E-5").replace('"first": 1', '"first": 0')
    assert merged(BASE, ours, theirs) == (expected, ())


def test_their_order_spaces_and_number_forms_do_not_count_where_they_changed_nothing():
    ours = BASE.replace('"bert"', '"t5"')
    theirs = json.dumps(dict(reversed(json.loads(BASE).items())))
    assert json.loads(theirs) == json.loads(BASE)
    assert merged(BASE.replace("1e-05", "1e-05"), ours, theirs) == (ours, ())


def test_new_keys_come_where_theirs_has_them():
    ours = BASE.replace('    "tags"', '    "mine": 1,\n    "tags"')
    theirs = BASE.replace('    "model"', '    "zero": {\n        "x": 1\n    },\n    "model"').replace(
        '"last": 12', '"last": 12, "next": [1,  2]'
    )
    expected = ours.replace('    "model"', '    "zero": {\n        "x": 1\n    },\n    "model"').replace(
        '"last": 12', '"last": 12, "next": [1,  2]'
    )
    assert merged(BASE, ours, theirs) == (expected, ())


def test_keys_are_taken_out_wherever_they_stand():
    for key in json.loads(BASE):
        values = json.loads(BASE)
        del values[key]
        text, conflicts = merged(BASE, BASE, json.dumps(values))
        assert json.loads(text) == values
        assert not conflicts
        assert text.startswith("{\n    ") and text.endswith("\n}\n")
    assert merged(BASE, BASE, "{}") == ("{}\n", ())
    assert merged("{}", "{ }", '{"a": 1,\n "b": 2}') == ('{"a": 1,\n "b": 2}', ())


def test_conflicts_are_json_pointers_and_leave_ours():
    base = '{"a/b": {"~x": 1, "y": [1]}, "k": 1}'
    ours = '{"a/b": {"~x": 2, "y": [1, 2]}, "k": 1}'
    theirs = '{"a/b": {"~x": 3, "y": [0, 1]}, "k": 2}'
    assert merged(base, ours, theirs) == (ours.replace('"k": 1', '"k": 2'), ("/a~1b/~0x", "/a~1b/y"))
    assert merged(base, ours, theirs, favour="ours")[1] == ()
    assert json.loads(merged(base, ours, theirs, favour="theirs")[0]) == json.loads(theirs)


def test_changed_against_taken_away_leaves_what_is_there():
    base, gone, changed = '{"a": 1, "k": 0}', '{"k": 0}', '{"a": 2, "k": 0}'
    for ours, theirs in ((gone, changed), (changed, gone)):
        text, conflicts = merged(base, ours, theirs)
        assert json.loads(text) == json.loads(changed)
        assert conflicts == ("/a",)
    assert json.loads(merged(base, gone, changed, favour="ours")[0]) == json.loads(gone)
    assert json.loads(merged(base, changed, gone, favour="theirs")[0]) == json.loads(gone)


def test_both_added_the_file():
    assert merged(None, '{"a": 1}', '{"b": {"c": 1}}') == ('{"b": {"c": 1}, "a": 1}', ())
    assert merged(None, '{"a": {"x": 1}}', '{"a": {"y": 2}}')[1] == ()


def test_nan_and_numbers_that_python_would_round_are_kept():
    base = '{"a": NaN, "b": 0.1000000000000000055511151231257827, "c": -Infinity, "d": 1}'
    theirs = base.replace('"d": 1', '"d": 1.0')
    assert merged(base, base.replace("NaN", "Infinity"), theirs) == (theirs.replace("NaN", "Infinity"), ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "1",
        '{"a": 1, "a": 2}',
        '{"a": 1, "\\u0061": 2}',
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": 01}',
        '{"a": 1} x',
        '{"a": "\n"}',
        '{"\\ud800": 1}',
        '{"a": ' * 300 + "1" + "}" * 300,
        "\ufeff{}",
    ],
)
def test_what_is_not_one_clear_object_is_left_to_the_text_merge(text):
    for texts in ((text, "{}", "{}"), ("{}", text, "{}"), ("{}", "{}", text)):
        assert merged(*texts) is None


def test_bytes_that_are_not_utf8_are_left_to_the_text_merge():
    assert merge_json(b"{}", b'{"a": "\xff"}', b"{}") is None


scalars = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=3))
keys = st.one_of(st.sampled_from("abc"), st.text(max_size=3))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)
indents = st.sampled_from([None, 0, 2, 4])


def same(one, other):
    """Equal, and NaN is itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def expected_merge(base, ours, theirs, pointer=""):
    """The merge by its definition, on values; conflicts beside it."""
    out, conflicts, none = {}, [], object()
    for key in {**ours, **theirs}:
        b, o, t = (side.get(key, none) for side in (base, ours, theirs))
        b_is_t = (b is none) == (t is none) and (b is none or same(b, t))
        b_is_o = (b is none) == (o is none) and (b is none or same(b, o))
        o_is_t = none not in (o, t) and same(o, t)
        place = f"{pointer}/" + key.replace("~", "~0").replace("/", "~1")
        if b_is_t or o_is_t:
            found = o
        elif b_is_o:
            found = t
        elif isinstance(o, dict) and isinstance(t, dict):
            found, inner = expected_merge(b if isinstance(b, dict) else {}, o, t, place)
            conflicts += inner
        else:
            conflicts.append(place)
            found = t if o is none else o
        if found is not none:
            out[key] = found
    return out, conflicts


@settings(deadline=None, max_examples=200)
@given(objects, objects, objects, indents, indents, st.booleans())
def test_any_three_objects(base, ours, theirs, indent, other_indent, ascii_only):
    texts = (
        json.dumps(base),
        json.dumps(ours, indent=indent, ensure_ascii=ascii_only) + "\n",
        json.dumps(theirs, indent=other_indent),
    )
    text, conflicts = merged(*texts)
    wanted, places = expected_merge(base, ours, theirs)
    assert same(json.loads(text), wanted)
    assert sorted(conflicts) == sorted(places)
    assert text.endswith("\n")


@settings(deadline=None)
@given(objects, indents)
def test_without_their_changes_every_character_of_ours_stays(value, indent):
    text = json.dumps(value, indent=indent)
    assert merged(json.dumps(value), text, json.dumps(value, indent=1, sort_keys=True)) == (text, ())


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:0123456789-.eEtrufalsn \\\n', max_size=30))
def test_the_parser_takes_what_json_takes(text):
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except ValueError:
        pairs = None
        with pytest.raises(NotJson):
            parse(text)
    if pairs is not None:
        try:
            found = parse(text)
        except NotJson as error:
            assert "twice" in str(error)
        else:
            assert equal(text, found, text, found)


def test_objects_of_very_many_values_are_left_to_lines() -> None:
    """Each value takes half a kilobyte while it is merged: memory must not grow with what a file claims."""
    rows = ",".join(f'"{number}":1' for number in range(150_002))
    data = f"{{{rows}}}".encode()
    assert merge_json(data, data, data) is None


@pytest.mark.parametrize("text", [b"{\n\n}", b'{ "a":1 }\n', b'\n{"a": 1,\n\n"b": {\n}}'])
def test_what_ours_alone_changed_is_its_text(text):
    """White space inside an empty object too; found by fuzzing."""
    assert merge_json(b"{}", text, b"{}") == JsonMerged(text, ())
    assert merge_json(b"{}", text, text) == JsonMerged(text, ())
