"""The quick parser understands a command line as Typer does, or leaves it to Typer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.cli import app
from mvc.cli.quick import parse
from mvc.cli.table import COMMANDS, load
from mvc.errors import UsageError

WORDS = [
    "main",
    "HEAD~1",
    "-n",
    "3",
    "-n3",
    "-n=3",
    "--max-count=3",
    "-m",
    "text",
    "--message=a b",
    "-mx",
    "--json",
]
WORDS += [
    "--",
    "-",
    "",
    "--oneline",
    "-q",
    "-v",
    "-qv",
    "-f",
    "--force",
    "-d",
    "--jso",
    "--json=1",
    "a=b",
    "-1",
    "-b",
]


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(COMMANDS)),
    words=st.lists(st.sampled_from(WORDS) | st.text("abc-=3 ", max_size=5), max_size=5),
)
def test_both_parsers_agree(name: str, words: list[str]) -> None:
    command = load(name)
    quick = parse(command, words)
    if quick is not None:
        assert quick == app.parse(command, words)


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("log", ["-n", "3", "main"], {"limit": 3, "revision": ("main",)}),
        ("log", ["--max-count=3", "--json"], {"limit": 3, "json": True, "revision": ()}),
        (
            "commit",
            ["-m", "one", "--message=two", "a", "b"],
            {"message": ("one", "two"), "paths": ("a", "b")},
        ),
        ("tag", ["v1", "-d", "v2"], {"names": ("v1", "v2"), "delete": True, "message": ()}),
        ("config", ["user.name", "Ada L"], {"key": "user.name", "value": "Ada L", "global_": False}),
        ("cat", ["HEAD:x"], {"what": "HEAD:x", "quiet": False}),
    ],
)
def test_plain_lines_need_no_typer(name: str, words: list[str], expected: dict[str, object]) -> None:
    found = parse(load(name), words)
    assert found is not None and expected.items() <= found.items()


@pytest.mark.parametrize(
    "words", [["-n"], ["-n", "x"], ["-n", "-1"], ["--nosuch"], ["-q=1"], ["--json=yes"], ["--max", "3"]]
)
def test_what_is_not_plain_is_left_alone(words: list[str]) -> None:
    assert parse(load("log"), words) is None


def test_typer_names_what_is_wrong() -> None:
    for words, said in ((["--nosuch"], "--nosuch"), (["-n", "x"], "x"), (["-n"], "argument")):
        with pytest.raises(UsageError, match=said):
            app.parse(load("log"), words)
    with pytest.raises(UsageError, match="REV:PATH"):
        app.parse(load("cat"), [])
    with pytest.raises(UsageError):
        app.parse(load("cat"), ["a", "b"])
