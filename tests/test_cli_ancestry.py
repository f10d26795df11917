"""merge-base and rev-parse: what they print, as JSON and by exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import fails, ok, run  # noqa: F401  run is a fixture


@pytest.fixture
def forked(run):  # noqa: F811
    """one ← two on main, one ← three on side; v1 is an annotated tag at one."""
    ok(run("init"))
    ids = {}
    for name, branch in (("one", "main"), ("two", "main"), ("three", "side")):
        if branch == "side":
            ok(run("checkout", "-b", "side", "v1"))
        Path(name).write_text(name)
        ids[name] = json.loads(ok(run("commit", "-m", name, "--json")).out)["id"]
        if name == "one":
            ok(run("tag", "v1", "-m", "first"))
    return run, ids


def lines(result):
    return ok(result).out.split()


def test_merge_base(forked):
    run, ids = forked  # noqa: F811
    assert lines(run("merge-base", "main", "side")) == [ids["one"]]
    assert run("merge-base", "--all", "--json", "main", "side").data == [ids["one"]]
    assert lines(run("merge-base", "main", "main", "side")) == [ids["two"]]
    assert lines(run("merge-base", "--octopus", "main", "main", "side")) == [ids["one"]]
    fails(run("merge-base", "main"), 2)
    fails(run("merge-base", "main", "nothing"), 3)


def test_is_ancestor_answers_by_exit_code(forked):
    run, _ = forked  # noqa: F811
    assert run("merge-base", "--is-ancestor", "v1", "side")[:2] == (0, "")
    assert run("merge-base", "--is-ancestor", "main", "side")[:2] == (1, "")
    assert run("merge-base", "--is-ancestor", "--json", "main", "side").data == {"is_ancestor": False}
    fails(run("merge-base", "--is-ancestor", "main"), 2)
    fails(run("merge-base", "--is-ancestor", "--all", "main", "side"), 2)


def test_crosswise_merges_have_two_bases_and_all_prints_both(forked):
    run, ids = forked  # noqa: F811
    main, side = ids["two"], ids["three"]
    ok(run("merge", "main", "-m", "side takes main"))
    ok(run("checkout", "main"))
    ok(run("merge", side, "-m", "main takes side"))
    assert set(lines(run("merge-base", "--all", "main", "side"))) == {main, side}
    assert lines(run("merge-base", "main", "side")) == lines(run("merge-base", "--all", "main", "side"))[:1]


def test_rev_parse_prints_ids(forked):
    run, ids = forked  # noqa: F811
    assert lines(run("rev-parse", "HEAD", "main", "main~1")) == [ids["three"], ids["two"], ids["one"]]
    assert lines(run("rev-parse", ids["one"][:10])) == [ids["one"]]
    tag, commit = lines(run("rev-parse", "v1", "v1^{commit}"))
    assert commit == ids["one"] != tag
    assert lines(run("rev-parse", "main..side")) == [ids["three"], "^" + ids["two"]]
    assert lines(run("rev-parse", "main...side")) == [ids["three"], ids["two"], "^" + ids["one"]]
    assert lines(run("rev-parse", "^main")) == ["^" + ids["two"]]
    assert lines(run("rev-parse", "main^@", "main^!")) == [ids["one"], ids["two"], "^" + ids["one"]]
    assert lines(run("rev-parse", "--short", "main")) == [ids["two"][:12]]
    assert lines(run("rev-parse", "--short", "--digits", "5", "^main")) == ["^" + ids["two"][:5]]
    fails(run("rev-parse", "nothing"), 3, "nothing")
    fails(run("rev-parse", "--short", "--digits", "3", "main"), 2)


def test_rev_parse_names_refs(forked):
    run, ids = forked  # noqa: F811
    assert lines(run("rev-parse", "--abbrev-ref", "HEAD", "v1", ids["one"])) == ["side", "v1"]
    assert lines(run("rev-parse", "--symbolic-full-name", "HEAD", "main")) == [
        "refs/heads/side",
        "refs/heads/main",
    ]
    ok(run("tag", "main"))
    assert lines(run("rev-parse", "--abbrev-ref", "heads/main")) == ["heads/main"]
    ok(run("checkout", ids["one"]))
    assert lines(run("rev-parse", "--abbrev-ref", "HEAD")) == ["HEAD"]


def test_rev_parse_as_json_and_verified(forked):
    run, ids = forked  # noqa: F811
    assert run("rev-parse", "--json", "main", "v1:one").data == [
        {
            "revision": "main",
            "id": ids["two"],
            "kind": "commit",
            "ref": "refs/heads/main",
            "excluded": False,
        },
        {
            "revision": "v1:one",
            "id": lines(run("rev-parse", "v1:one"))[0],
            "kind": "manifest",
            "ref": None,
            "excluded": False,
        },
    ]
    assert lines(run("rev-parse", "--verify", "side")) == [ids["three"]]
    for words in ((), ("main", "side"), ("main..side",), ("^main",)):
        fails(run("rev-parse", "--verify", *words), 2)


def test_the_top_is_found_from_any_folder_below(forked, monkeypatch):
    run, _ = forked  # noqa: F811
    top = Path.cwd()
    (top / "deep").mkdir()
    monkeypatch.chdir(top / "deep")
    assert ok(run("rev-parse", "--show-toplevel")).out == f"{top}\n"
    assert run("rev-parse", "--show-toplevel", "--json").data == {"toplevel": str(top)}
    fails(run("rev-parse", "--show-toplevel", "main"), 2)
