"""Tables: plain in a pipe, cut and coloured on a terminal, and foreign text harmless in both."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mvc.cli.screen import ELLIPSIS, Screen, cells, fit
from mvc.cli.tables import LEAST, Column, Table
from mvc.cli.text import table
from mvc.config import Config
from mvc.context import Context
from mvc.errors import ConfigError
from mvc.text import one_line
from tests.make_files import safetensors_bytes
from tests.terminal import Shown, mvc_words, show

PIPE = Screen()
LINES = st.text(max_size=40).map(one_line)


def names(*rows: tuple[str, ...], columns: tuple[Column, ...] = ()) -> Table:
    found = Table(columns or (Column("name", cut="middle"), Column("size", right=True)))
    for row in rows:
        found.add(*row)
    return found


# --- cells -------------------------------------------------------------------------------------------------
def test_width_is_counted_in_cells() -> None:
    widths = {"abc": 3, "": 0, "表計算": 6, "e\u0301": 1, "ab\u0301c": 3}
    assert {text: cells(text) for text in widths} == widths


@given(LINES, st.integers(1, 45), st.sampled_from(["middle", "end"]))
@example("e\u0301" * 20, 9, "middle")
@example("表" * 20, 8, "middle")
@example("a" + "\u0301" * 30, 1, "end")
def test_what_is_cut_fits_and_says_so(text: str, width: int, cut) -> None:
    shown = fit(text, width, cut)
    assert cells(shown) <= width or cells(text) <= width
    if cells(text) <= width:
        assert shown == text
    else:
        before, _, behind = shown.partition(ELLIPSIS)
        assert ELLIPSIS in shown and text.startswith(before)
        assert cut == "end" or ELLIPSIS in text or text.endswith(behind)


def test_a_name_keeps_both_ends() -> None:
    assert fit("model.layers.17.self_attn.q_proj.weight", 21, "middle") == "model.laye…roj.weight"
    assert fit("a message that goes on", 10, "end") == "a message…"
    assert fit("e\u0301" * 9, 3, "end") == "e\u0301e\u0301…", "what combines stays with its letter"
    assert fit("uncut", 2, "") == "uncut"


# --- layout ------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(LINES, LINES, LINES), max_size=6))
def test_a_pipe_gets_what_it_always_got(rows: list[tuple[str, str, str]]) -> None:
    columns = (Column("one", cut="middle", colour="cyan"), Column("two", right=True), Column("", cut="end"))
    found = names(*rows, columns=columns)
    assert found.lines(PIPE) == table(rows, right=(1,))


def test_a_heading_stands_on_a_terminal_or_where_it_belongs_to_the_data() -> None:
    assert names(("a", "1")).lines(Screen(80)) == ["name  size", "a        1"]
    assert names(("a", "1")).lines(PIPE) == ["a  1"]
    headed = Table([Column("name"), Column("size", right=True)], indent="  ", headed=True)
    headed.add("a", "1")
    assert headed.lines(PIPE) == ["  name  size", "  a        1"]
    assert names().lines(Screen(80)) == []


@given(
    # without blanks at the end, which take room and then go
    st.lists(st.tuples(LINES, st.integers(0, 10**9).map(str), LINES.map(str.rstrip)), min_size=1, max_size=6),
    st.integers(LEAST[1]["middle"] + LEAST[1]["end"] + 10 + 4, 200),
)
def test_lines_fit_the_terminal(rows: list[tuple[str, str, str]], width: int) -> None:
    columns = (Column("name", cut="middle"), Column("size", right=True), Column("what", cut="end"))
    lines = names(*rows, columns=columns).lines(Screen(width))
    assert all(cells(line) <= width for line in lines), lines
    natural = max(cells(line) for line in names(*rows, columns=columns).lines(Screen(10_000)))
    foreign = any(ELLIPSIS in cell for row in rows for cell in row)
    assert natural > width or foreign or not any(ELLIPSIS in line for line in lines)


def test_the_widest_column_gives_first_and_numbers_never() -> None:
    columns = (Column("", cut="middle"), Column("", right=True), Column("", cut="end"))
    found = names(("n" * 60, "1234567", "m" * 30), columns=columns).lines(Screen(60))[0]
    name, number, told = found.split()
    assert number == "1234567" and len(found) == 60
    assert (len(name), len(told)) == (24, 25), "both give, down to one width"
    narrow = names(("n" * 60, "1234567", "m" * 30), columns=columns).lines(Screen(20))[0]
    assert [len(word) for word in narrow.split()] == [12, 7, 4], "what cannot be told apart is wrapped"


def test_spare_columns_go_before_a_line_is_too_long() -> None:
    columns = (
        Column("name", cut="middle"),
        Column("kept"),
        Column("less", spare=True),
        Column("l", spare=True),
    )
    table = names(("n" * 12, "1" * 10, "2" * 10, "3" * 10), columns=columns)
    assert table.lines(Screen(48))[1].split() == ["n" * 12, "1" * 10, "2" * 10, "3" * 10]
    assert table.lines(Screen(47))[1].split() == ["n" * 12, "1" * 10, "2" * 10]
    assert table.lines(Screen(24))[1].split() == ["n" * 12, "1" * 10]
    assert table.lines(PIPE)[0].split()[3] == "3" * 10, "what reads a pipe finds everything"


def test_wide_characters_keep_columns_aligned() -> None:
    lines = names(("表計算", "1"), ("abcdef", "22"), ("e\u0301", "333")).lines(Screen(80))[1:]
    assert [cells(line) for line in lines] == [12, 12, 12]


def test_colour_is_put_on_and_nothing_in_a_name_is_read_as_markup() -> None:
    found = Table([Column(cut="middle", colour="cyan"), Column(right=True)])
    found.add("[bold red]x[/]", "1")
    found.add("[link=http://x]", "2", colour="red")
    assert found.lines(Screen(80, colour=True)) == [
        "\x1b[36m[bold red]x[/]\x1b[m   1",
        "\x1b[31m[link=http://x]  2\x1b[m",
    ]
    assert "\x1b" not in "".join(found.lines(Screen(80)))


# --- who decides -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("environment", "wish", "tty", "coloured"),
    [
        ({}, None, True, True),
        ({}, None, False, False),
        ({"TERM": "dumb"}, None, True, False),
        ({"TERM": ""}, None, True, True),
        ({"NO_COLOR": "1"}, None, True, False),
        ({"NO_COLOR": ""}, None, True, True),
        ({"NO_COLOR": "1"}, "always", False, True),
        ({"NO_COLOR": "1"}, "auto", True, False),
        ({}, "never", True, False),
        ({}, "auto", False, False),
        ({"CLICOLOR_FORCE": "1"}, None, False, True),
        ({"FORCE_COLOR": "1"}, "auto", False, True),
        ({"FORCE_COLOR": "0"}, None, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, None, True, False),
        ({"FORCE_COLOR": "1"}, "never", True, False),
    ],
)
def test_who_decides_about_colours(
    environment: dict[str, str], wish: str | None, tty: bool, coloured: bool
) -> None:
    context = Context(Path("/"), {"TERM": "xterm"} | environment, stdout_is_tty=tty, stderr_is_tty=tty)
    assert context.colour(wish) is coloured


@pytest.mark.parametrize(
    ("columns", "width"), [("120", 120), ("9" * 5000, None), ("0", None), ("-3", None), ("99999", 10_000)]
)
def test_columns_of_the_environment_are_checked(columns: str, width: int | None) -> None:
    given_, none = (Context(Path("/"), {"COLUMNS": text}, True, True).width for text in (columns, ""))
    assert given_ == (none if width is None else width)


def test_settings_that_have_few_values_take_no_others() -> None:
    assert Config("[color]\nui = 'always'", "here").string("color.ui") == "always"
    with pytest.raises(ConfigError, match="here cannot be 'sometimes'"):
        Config("[color]\nui = 'sometimes'", "here").string("color.ui")
    with pytest.raises(ConfigError, match="cannot be 'on'"):
        Config("", "here").with_value("color.ui", "on")
    assert Config("# only this\n\n", "here").get("color.ui") is None


# --- on a terminal -----------------------------------------------------------------------------------------
@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions of a file with a long name, on a terminal's own terms."""
    work = tmp_path / "work"
    folder = work / "a-folder-with-a-long-name" / "and-another-one-in-it"
    folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("MVC_AUTHOR_NAME", "Ada [bold]")
    monkeypatch.setenv("MVC_AUTHOR_EMAIL", "ada@example.org")
    ran("init")
    for fill in (b"\0", b"\1"):
        tensors = {
            f"model.layers.{number}.mlp.down_proj.weight": ("F32", (64, 4), fill * 1024)
            for number in range(3)
        }
        (folder / "weights.safetensors").write_bytes(safetensors_bytes(tensors))
        (work / "odd [red] 表.txt").write_bytes(fill)
        ran("commit", "-m", "a message that is much longer than a narrow terminal is wide " * 2)
    return work


def ran(*words: str) -> Shown:
    done = show(*words)
    assert done.code == 0, done
    return done


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "--tensors"],
        ["diff", "HEAD~1", "HEAD"],
        ["diff", "--stat", "HEAD~1", "HEAD"],
        ["branch", "-v"],
        ["oplog"],
        ["status"],
    ],
)
def test_no_line_is_wider_than_the_terminal(repository: Path, words: list[str]) -> None:
    wide, narrow = show(*words, columns=500), show(*words, columns=64)
    assert (wide.code, narrow.code) == (0, 0), narrow
    assert all(cells(line) <= 64 for line in narrow.lines), narrow.plain
    assert "[red] 表" in wide.plain or words[0] not in ("ls", "diff") or "--tensors" in words
    assert ELLIPSIS not in wide.text
    assert ELLIPSIS in narrow.text or words == ["status"]


def test_headings_and_colours_are_for_terminals(repository: Path) -> None:
    assert ran("ls").lines[0].split() == ["size", "format", "path"]
    assert "\x1b[1m" in ran("ls").text
    for words in (["--color=never", "ls"], ["ls", "--color", "never"]):
        assert "\x1b" not in ran(*words).text
    assert "\x1b" not in show("ls", NO_COLOR="1").text
    ran("config", "color.ui", "never")
    assert "\x1b" not in ran("log").text and "\x1b[33m" in ran("log", "--color=always").text
    (repository / ".mvc" / "config").write_text("[color]\nui = 7\n")
    told = ran("log")
    assert "warning: color.ui" in told.plain and "\x1b[33m" in told.text


def test_json_is_the_same_on_a_terminal(repository: Path) -> None:
    import json

    shown = ran("ls", "--json", "--color=always")
    assert [row["tensors"] for row in json.loads(shown.text)] == [3, 0]
    assert "\x1b" not in shown.text


def test_a_pipe_is_coloured_on_request_only_and_never_cut(repository: Path) -> None:
    import os
    import subprocess

    def piped(*words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "COLUMNS": "20"}
        for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
            environment.pop(name, None)
        return subprocess.run(
            mvc_words(*words), env=environment, capture_output=True, text=True, check=True
        ).stdout

    plain = piped("ls", "--tensors")
    assert "model.layers.2.mlp.down_proj.weight" in plain and "\x1b" not in plain
    assert "\x1b[36m" in piped("--color=always", "ls", "--tensors")
    assert piped("ls").count("\n") == 2, "no heading"
