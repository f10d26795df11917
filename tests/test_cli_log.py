"""``mvc log`` from end to end: what is selected, how it is shown, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvc.cli.dates import parse_moment
from mvc.cli.datestyles import relative, styles
from mvc.errors import UsageError
from mvc.history.conditions import Condition
from mvc.objects import Timestamp
from tests.test_cli import Run, fails, ok, run, two, write_model  # noqa: F401  fixtures

NOW = Timestamp(1_774_951_230_000_000, 120)
"""2026-03-31 12:00:30 +0200."""


@pytest.fixture
def merged(run: Run) -> Run:  # noqa: F811
    """Two lines of history, merged: a, then b and c side by side, then m."""
    ok(run("init"))
    Path("f").write_text("1")
    ok(run("commit", "-m", "a", "--metric", "loss=3", "--param", "lr=2e-5", "--author", "Ada <ada@x.org>"))
    ok(run("branch", "side"))
    Path("f").write_text("2")
    ok(run("commit", "-m", "b\n\nthe body\nof b", "--metric", "loss=1.5", "--author", "Bob <bob@x.org>"))
    ok(run("checkout", "side"))
    Path("g").write_text("1")
    ok(run("commit", "-m", "c", "--metric", "loss=nan", "--metric", "acc=0.5", "--param", "opt=sgd"))
    ok(run("merge", "main", "-m", "m"))
    return run


def subjects(run: Run, *words: str) -> str:  # noqa: F811
    return "".join(ok(run("log", "--format=%s", *words)).out.split())


# --- what is selected --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "mcba"),
        (["main"], "ba"),
        (["main..side"], "mc"),
        (["^main", "side"], "mc"),
        (["main...side~1"], "cb"),
        (["--all"], "mcba"),
        (["--branches", "-n", "2"], "mc"),
        (["--first-parent"], "mca"),
        (["--merges"], "m"),
        (["--no-merges"], "cba"),
        (["--reverse"], "abcm"),
        (["-n", "2", "--reverse"], "cm"),
        (["--skip", "1", "-n", "2"], "cb"),
        (["--author", "bob@"], "b"),
        (["--author", "ADA@X", "-i"], "a"),
        (["--grep", "^the b"], "b"),
        (["--grep", "a", "--grep", "c"], "ca"),
        (["--grep", "body", "--grep", "of", "--all-match"], "b"),
        (["--grep", "body", "--invert-grep"], "mca"),
        (["--grep", ".", "-F"], ""),
        (["--metric", "loss<2"], "b"),
        (["--metric", "loss"], "cba"),
        (["--metric", "loss", "--metric", "acc>=0.5"], "c"),
        (["--metric", "loss!=3"], "cb"),
        (["--param", "lr=2e-5"], "a"),
        (["--param", "lr=0.00002"], "a"),
        (["--param", "opt!=adam"], "c"),
        (["--since", "yesterday"], "mcba"),
        (["--until", "yesterday"], ""),
        (["--since", "1 hour ago", "--until", "now", "--topo-order"], "mbca"),
        (["--", "g"], "c"),
        (["--", "f"], "ba"),
        (["side", "f"], "ba"),
        (["--", "nosuch"], ""),
        (["--tags"], ""),
    ],
)
def test_selects(merged: Run, words: list[str], expected: str) -> None:
    assert subjects(merged, *words) == expected


def test_a_tensor_has_its_own_history(two: Run) -> None:  # noqa: F811
    write_model(Path("model.safetensors"), seed=1, moved=3)
    ok(two("commit", "-m", "third"))
    assert subjects(two, "--", "model.safetensors") == "thirdsecondfirst"
    assert subjects(two, "--", "model.safetensors#w") == "secondfirst"
    assert subjects(two, "model.safetensors#b") == "first"
    assert subjects(two, "--", "model.safetensors#new") == "thirdsecond"
    assert subjects(two, "--", "model.safetensors#nosuch") == ""


def test_a_file_with_a_sharp_in_its_name_is_no_tensor(run: Run) -> None:  # noqa: F811
    ok(run("init"))
    Path("a#b").write_text("1")
    ok(run("commit", "-m", "one"))
    Path("a").write_text("1")
    ok(run("commit", "-m", "two"))
    assert subjects(run, "--", "a#b") == "one"


def test_a_renamed_file_is_followed(merged: Run) -> None:
    Path("f").rename("new")
    ok(merged("commit", "-m", "r"))
    assert subjects(merged, "--", "new") == "r"
    assert subjects(merged, "--follow", "--", "new") == "rba"
    rows = merged("log", "--follow", "--name-status", "--json", "--", "new").data
    assert [row["path"] for row in rows] == ["new", "f", "f"]
    assert [row["changes"][0]["kind"] for row in rows] == ["renamed", "modified", "added"]
    fails(merged("log", "--follow"), 2, "one file")
    fails(merged("log", "--follow", "--", "new", "g"), 2, "one file")


def test_notes_count_as_metrics(merged: Run) -> None:
    ok(merged("notes", "add", "main", "--metric", "acc=0.9"))
    assert subjects(merged, "--metric", "acc>0.8") == "b"
    assert ok(merged("log", "-n", "1", "main", "--format=%(metric:acc)")).out == "0.9\n"


# --- how it is shown ---------------------------------------------------------------------------------------
def test_templates(merged: Run) -> None:
    row = merged("log", "main", "-n", "1", "--json").data[0]
    shown = ok(merged("log", "main", "-n", "1", "--format=%H|%T|%P|%an|%ae|%al|%s|%f|%D|%%%x41%n%b")).out
    assert (
        shown
        == f"{row['id']}|{row['tree']}|{row['parents'][0]}|Bob|bob@x.org|bob|b|b|main|%A\nthe body\nof b\n"
    )
    assert ok(merged("log", "main", "--format=%h%d")).out.splitlines()[0] == f"{row['id'][:12]} (main)"
    assert ok(merged("log", "side~1", "-n", "1", "--format=[%(metrics)] [%(params)] [%(metric:no)]")).out == (
        "[acc=0.5 loss=nan] [opt=sgd] []\n"
    )
    assert ok(merged("log", "-n", "1", "--pretty=format:%C(red)%s%Creset")).out == "m\n"


@pytest.mark.parametrize("form", ["%q", "%", "%(loss)", "%(metric:)", "%C(mauve)", "%x4", "nosuch", ""])
def test_unknown_formats_are_refused(merged: Run, form: str) -> None:
    fails(merged("log", f"--format={form}"), 2)


def test_presets(merged: Run) -> None:
    row = merged("log", "-n", "1", "--json").data[0]
    short = ok(merged("log", "-n", "1", "--format=short")).out
    assert "Date:" not in short and "\n    m\n" in short
    full = ok(merged("log", "-n", "1", "--format=full")).out
    assert (
        all(f"Parent:  {parent}" in full for parent in row["parents"]) and f"Tree:    {row['tree']}" in full
    )
    assert ok(merged("log", "--format=medium")).out == ok(merged("log")).out
    assert ok(merged("log", "--oneline")).out == ok(merged("log", "--format=oneline")).out
    assert " (" not in ok(merged("log", "--oneline", "--no-decorate")).out


def test_the_graph(merged: Run) -> None:
    assert ok(merged("log", "--graph", "--format=%s")).out == "*   m\n|\\\n| * b\n* | c\n|/\n* a\n"
    lines = ok(merged("log", "--graph", "--name-only")).out.splitlines()
    assert lines[0].startswith("*   commit ") and "|   g" in lines and lines[-1] == "  f"
    assert ok(merged("log", "--graph", "--oneline", "-n", "1")).out.splitlines()[1:] == ["|\\"]


def test_changes_beside_versions(merged: Run) -> None:
    assert ok(merged("log", "--format=%s", "--name-status")).out == "m\nc\nA\tg\nb\nM\tf\na\nA\tf\n"
    assert ok(merged("log", "--format=%s", "--name-only", "--first-parent", "-n", "1")).out == "m\nf\n"
    assert "1 B" in ok(merged("log", "--oneline", "--stat")).out
    assert merged("log", "main", "-n", "1", "--stat", "--json").data[0]["changes"][0]["new_bytes"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--oneline", "--format=%s"],
        ["--json", "--graph"],
        ["--graph", "--reverse"],
        ["--merges", "--no-merges"],
        ["--stat", "--name-only"],
        ["--topo-order", "--date-order"],
        ["--since", "soon"],
        ["--until", "2026-02-30"],
        ["--grep", "("],
        ["--metric", "<3"],
        ["--metric", "loss<much"],
        ["--date", "sometime"],
    ],
)
def test_what_makes_no_sense_is_refused(merged: Run, words: list[str]) -> None:
    fails(merged("log", *words), 2)


# --- dates -------------------------------------------------------------------------------------------------
MIDNIGHT = 1_774_908_000


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("now", 1_774_951_230, 1_774_951_230),
        ("today", MIDNIGHT, MIDNIGHT + 86_399),
        ("yesterday", MIDNIGHT - 86_400, MIDNIGHT - 1),
        ("2026-03-31", MIDNIGHT, MIDNIGHT + 86_399),
        ("2026-03-31 12:00", MIDNIGHT + 43_200, MIDNIGHT + 43_200),
        ("2026-03-31T12:00:05Z", MIDNIGHT + 50_405, MIDNIGHT + 50_405),
        ("2026-03-31 12:00 -01:00", MIDNIGHT + 54_000, MIDNIGHT + 54_000),
        ("@5", 5, 5),
        ("1700000000", 1_700_000_000, 1_700_000_000),
        ("2 weeks ago", 1_774_951_230 - 14 * 86_400, None),
        ("2.weeks.ago", 1_774_951_230 - 14 * 86_400, None),
        ("1 day 2 hours ago", 1_774_951_230 - 26 * 3600, None),
        ("an hour ago", 1_774_951_230 - 3600, None),
        # 28 February 2026 is 31 days before 31 March
        ("1 month ago", 1_774_951_230 - 31 * 86_400, None),
        ("last year", 1_774_951_230 - 365 * 86_400, None),
    ],
)
def test_moments(text: str, begin: int, end: int | None) -> None:
    assert parse_moment(text, NOW) == begin
    assert parse_moment(text, NOW, end=True) == (begin if end is None else end)


@pytest.mark.parametrize(
    "text", ["", "ago", "2026-02-29", "2026-13-01", "2 fortnights ago", "12:00", "5", "weeks"]
)
def test_no_moments(text: str) -> None:
    with pytest.raises(UsageError, match="no moment") as caught:
        parse_moment(text, NOW)
    assert "2 weeks ago" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "in the future"),
        (1, "1 second ago"),
        (89, "89 seconds ago"),
        (120, "2 minutes ago"),
        (3 * 3600, "3 hours ago"),
        (5 * 86_400, "5 days ago"),
        (21 * 86_400, "3 weeks ago"),
        (150 * 86_400, "5 months ago"),
        (400 * 86_400, "1 year, 1 month ago"),
        (3650 * 86_400, "10 years ago"),
    ],
)
def test_relative_dates(seconds: int, expected: str) -> None:
    # the words of 'git log --date=relative' for the same distances
    assert relative(Timestamp(NOW.microseconds - seconds * 1_000_000, 0), NOW) == expected


def test_styles_of_dates() -> None:
    shown = {name: style(NOW) for name, style in styles(NOW).items()}
    assert shown == {
        "default": "Tue Mar 31 12:00:30 2026 +0200",
        "iso": "2026-03-31 12:00:30 +0200",
        "iso-strict": "2026-03-31T12:00:30.000000+02:00",
        "relative": "0 seconds ago",
        "rfc": "Tue, 31 Mar 2026 12:00:30 +0200",
        "short": "2026-03-31",
        "unix": "1774951230",
    }


# --- conditions --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("x<2", 1, True),
        ("x<=1", 1.0, True),
        ("x>1", 1, False),
        ("x=1e0", 1, True),
        ("x==1", 1, True),
        ("x != 1", 1, False),
        ("x=nan", float("nan"), False),
        ("x!=1", float("nan"), True),
        ("x<inf", 5, True),
        ("x=adam", "adam", True),
        ("x=adam", 3, False),
        ("x!=adam", 3, True),
        ("x<3", "adam", False),
        ("x=true", True, True),
        ("x=1", True, False),
        ("x=none", None, True),
        ("x", 0, True),
        ("y", 0, False),
        ("y!=0", 0, False),
    ],
)
def test_conditions(text: str, value: object, holds: bool) -> None:
    assert Condition.parse(text).holds({"x": value}) is holds


@pytest.mark.parametrize("text", ["", "<3", "x<", "x<y", "x>=", "="])
def test_no_conditions(text: str) -> None:
    with pytest.raises(UsageError):
        Condition.parse(text)
