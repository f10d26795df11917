"""Merging text by lines: byte for byte what ``git merge-file`` gives."""

from __future__ import annotations

import itertools
import subprocess
from random import Random
from time import perf_counter

import pytest
from git_oracle import needs_git
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.history import linediff
from mvc.history.linediff import diff_lines
from mvc.history.text_merge import has_markers, is_text, merge_text

BASE = b"".join(b"line %d\n" % n for n in range(20))


def replaced(text, **lines):
    """Lines by number (``l3``) changed to other bytes."""
    out = text.splitlines(keepends=True)
    for name, line in lines.items():
        out[int(name[1:])] = line
    return b"".join(out)


def test_changes_apart_are_both_taken():
    ours, theirs = replaced(BASE, l2=b"ours\n"), replaced(BASE, l9=b"theirs\n")
    assert merge_text(BASE, ours, theirs) == (replaced(ours, l9=b"theirs\n"), 0)
    assert merge_text(BASE, ours, ours) == (ours, 0)
    assert merge_text(BASE, BASE, theirs) == merge_text(BASE, theirs, BASE) == (theirs, 0)


def test_a_conflict_is_marked_and_shrinks_to_what_differs():
    ours = replaced(BASE, l2=b"same\n", l3=b"ours\n")
    theirs = replaced(BASE, l2=b"same\n", l3=b"theirs\n")
    merged = merge_text(BASE, ours, theirs, labels=("HEAD", "main~2"))
    expected = b"same\n<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> main~2\nline 4\n"
    assert expected in merged.data
    assert merged.conflicts == 1
    assert has_markers([merged.data])


@pytest.mark.parametrize(
    ("favour", "lines"), [("ours", b"ours\n"), ("theirs", b"theirs\n"), ("union", b"ours\ntheirs\n")]
)
def test_favour_settles_conflicts_and_nothing_else(favour, lines):
    ours = replaced(BASE, l2=b"ours\n", l10=b"kept\n")
    theirs = replaced(BASE, l2=b"theirs\n", l17=b"too\n")
    expected = replaced(BASE, l2=lines, l10=b"kept\n", l17=b"too\n")
    assert merge_text(BASE, ours, theirs, favour=favour) == (expected, 0)


def test_touching_changes_are_a_conflict():
    assert merge_text(BASE, replaced(BASE, l2=b"o\n"), replaced(BASE, l3=b"t\n")).conflicts == 1
    assert merge_text(BASE, replaced(BASE, l2=b"o\n"), replaced(BASE, l4=b"t\n")).conflicts == 0


def test_line_ends_and_missing_last_ones():
    base = b"a\r\nb\r\nc"
    merged = merge_text(base, b"a\r\nb\r\nours", b"a\r\nb\r\ntheirs")
    assert merged.data == (b"a\r\nb\r\n<<<<<<< ours\r\nours\r\n=======\r\ntheirs\r\n>>>>>>> theirs\r\n")
    assert merge_text(b"a\nb", b"a\nb\n", b"a\nb").data == b"a\nb\n"
    assert merge_text(b"", b"x", b"y").conflicts == 1


def test_what_counts_as_text():
    assert is_text(b"")
    assert is_text("grüße\n".encode("latin-1"))
    assert not is_text(b"a\0b")
    assert is_text(b"a" * 8000 + b"\0")
    assert not is_text(b"a" * (5 << 20))
    assert is_text(b"\n" * 500_000) and not is_text(b"\n" * 500_001), "lines take memory too"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", False),
        (b"<<<<<<< a\nx\n=======\ny\n>>>>>>> b\n", True),
        (b"x\r\n<<<<<<< a\r\n", True),
        (b"the start was deleted\n=======\n>>>>>>> b\n", True),
        (b"title\n=======\ntext\n", False),
        (b"<<<<<<<\n>>>>>>>>> quoted\n", False),
        (b"x <<<<<<< a\n=======\nx >>>>>>> b\n", False),
    ],
)
def test_markers_are_found_however_a_file_is_cut(data, expected):
    for size in (1, 3, 8, 9, 1000):
        assert has_markers(data[at : at + size] for at in range(0, len(data), size)) is expected


texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\n"]), max_size=30)


@settings(deadline=None)
@given(texts, texts)
def test_hunks_turn_one_side_into_the_other(old, new):
    made, done = [], 0
    for hunk in diff_lines(old, new):
        assert hunk.old_start < hunk.old_end or hunk.new_start < hunk.new_end
        assert not done or hunk.old_start > done
        made += old[done : hunk.old_start]
        assert len(made) == hunk.new_start
        made += new[hunk.new_start : hunk.new_end]
        done = hunk.old_end
    assert made + old[done:] == new


@settings(deadline=None)
@given(texts, texts, texts)
def test_whichever_side_is_ours(base, one, other):
    """The same conflicts, or the same text."""
    base, one, other = map(b"".join, (base, one, other))
    here, there = merge_text(base, one, other), merge_text(base, other, one)
    assert (here.conflicts > 0) == (there.conflicts > 0)
    assert here.conflicts or here == there
    assert has_markers([here.data]) == (here.conflicts > 0)


def random_texts(random, alphabet):
    """A base and two edits of it; some with CR LF, some without a last line end."""

    def line():
        return b"%d" % random.randrange(alphabet)

    def edited(lines):
        lines = list(lines)
        for _ in range(random.randint(0, 3)):
            start = random.randint(0, len(lines))
            lines[start : start + random.randint(0, 3)] = [line() for _ in range(random.randint(0, 3))]
        return lines

    def text(lines):
        end = random.choice((b"\n", b"\n", b"\n", b"\r\n"))
        return end.join(lines) + (end if lines and random.random() < 0.8 else b"")

    base = [line() for _ in range(random.randint(0, 25))]
    return text(base), text(edited(base)), text(edited(base))


def git_merge_file(folder, base, ours, theirs, favour):
    for name, data in (("base", base), ("ours", ours), ("theirs", theirs)):
        (folder / name).write_bytes(data)
    labels = ("-L", "ours", "-L", "base", "-L", "theirs")
    words = ("git", "merge-file", "-p", *labels, *([f"--{favour}"] if favour else []))
    done = subprocess.run([*words, "ours", "base", "theirs"], cwd=folder, capture_output=True)
    return done.stdout, done.returncode


def compare(folder, seed, alphabet, cases):
    """In how many cases the text differs, and in how many one has a conflict and the other none."""
    random, texts, outcomes = Random(seed), 0, 0
    for _ in range(cases):
        base, ours, theirs = random_texts(random, alphabet)
        favour = random.choice((None, None, None, "ours", "theirs", "union"))
        expected = git_merge_file(folder, base, ours, theirs, favour)
        found = merge_text(base, ours, theirs, favour=favour)
        texts += found != expected
        outcomes += (found.conflicts > 0) != (expected[1] > 0)
    return texts, outcomes


@needs_git
@pytest.mark.parametrize("alphabet", [1_000, 20])
def test_same_bytes_as_git_merge_file(tmp_path, alphabet):
    assert compare(tmp_path, alphabet, alphabet, 100) == (0, 0)


@needs_git
@pytest.mark.slow
@pytest.mark.parametrize(("alphabet", "most"), [(1_000, (0, 0)), (20, (4, 0)), (4, (20, 4))])
def test_same_bytes_as_git_merge_file_at_length(tmp_path, alphabet, most):
    """Where nearly all lines are alike there are several shortest scripts, and Git may take another one."""
    texts, outcomes = compare(tmp_path, 1, alphabet, 2_000)
    assert texts <= most[0]
    assert outcomes <= most[1]


def test_texts_that_have_little_in_common_do_not_take_for_ever():
    random = Random(3)
    one, other = ([b"%d\n" % random.randrange(300) for _ in range(20_000)] for _ in range(2))
    began = perf_counter()
    hunks = diff_lines(one, other)
    assert perf_counter() - began < 60
    assert hunks


def test_a_search_that_settles_for_less_costs_no_more_where_the_text_is_longer(monkeypatch):
    """Every split of a shuffled text once took memory, and time, by the length of the whole text."""
    taken = []

    def counted(value, times):
        taken.append(times)
        return itertools.repeat(value, times)

    monkeypatch.setattr(linediff, "repeat", counted)
    monkeypatch.setattr(linediff, "_STEPS", 0)
    lines = list(range(4_000))
    hunks = diff_lines(lines, [line * 7 % 4_001 for line in lines])
    assert hunks and len(taken) > 100
    assert max(taken) <= 2 * linediff._COST_AFTER + 3
