"""The pager, on a pseudo-terminal: who gets one, which, and what happens when it leaves or fails."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mvc.context import Context
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from tests.terminal import TOP, Terminal, mvc_words, show

VERSIONS = 200
ADA = Person("Ada", "ada@example.org")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paged")
    repository = init(FileIO(), folder, Monitor())
    for number in range(VERSIONS):
        (folder / "weights.bin").write_bytes(bytes([number]) * 64)
        message = f"step {number}\n\n{'and more ' * 50}"  # together more than a pipe holds
        commit(repository, Request(message, ADA, Timestamp(number * 1_000_000, 0)))
    return folder


@pytest.fixture
def work(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "work"
    shutil.copytree(built, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return copy


@pytest.fixture
def pager(tmp_path: Path) -> str:
    """A pager that marks each line, and writes down what it was told and how it ended."""
    script = tmp_path / "fake pager.py"
    script.write_text(
        "import os, sys\n"
        f"note = open({str(tmp_path / 'note')!r}, 'w')\n"
        "print(os.environ.get('LESS'), os.environ.get('LV'), file=note)\n"
        "for line in sys.stdin: sys.stdout.write('| ' + line)\n"
        "print('end', file=note)\n"
    )
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.close()


@pytest.mark.parametrize(
    "words",
    [["log"], ["log", "--oneline"], ["show"], ["diff", "HEAD~1", "HEAD"], ["ls"], ["oplog"], ["stats"]],
)
def test_what_may_be_long_is_paged(work: Path, tmp_path: Path, pager: str, words: list[str]) -> None:
    shown = show(*words, MVC_PAGER=pager)
    assert shown.code == 0 and shown.lines, shown
    assert all(line.startswith("| ") for line in shown.lines), shown.plain
    assert (tmp_path / "note").read_text() == "FRX -c\nend\n"
    unpaged = show(*words)
    assert [line[2:] for line in shown.lines] == unpaged.lines, "the same colours and the same width"


@pytest.mark.parametrize(
    "words",
    [
        ["--no-pager", "log"],
        ["-P", "log", "--oneline"],
        ["log", "--json"],
        ["ls", "--json"],
        ["status"],
        ["branch"],
        ["tag"],
        ["cat", "HEAD:weights.bin"],
        ["diff"],
        ["diff", "-q", "HEAD~1"],
    ],
)
def test_what_is_short_or_for_machines_is_not(
    work: Path, tmp_path: Path, pager: str, words: list[str]
) -> None:
    show(*words, MVC_PAGER=pager)
    assert not (tmp_path / "note").exists()


def test_a_pipe_has_no_pager(work: Path, tmp_path: Path, pager: str) -> None:
    environment = os.environ | {"MVC_PAGER": pager, "PYTHONPATH": str(TOP)}
    done = subprocess.run(mvc_words("log", "--oneline"), env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("\n") == VERSIONS
    assert not (tmp_path / "note").exists()


@pytest.mark.parametrize(
    ("environment", "setting", "chosen"),
    [
        ({"MVC_PAGER": "a", "PAGER": "c"}, "b", "a"),
        ({"PAGER": "c"}, "b -x", "b -x"),
        ({"PAGER": "c"}, None, "c"),
        ({"MVC_PAGER": "", "PAGER": "c"}, "b", None),
        ({"MVC_PAGER": "cat"}, None, None),
        ({"PAGER": ""}, None, None),
        ({"PAGER": "c"}, "cat", None),
        ({"TERM": "dumb"}, None, None),
        ({"TERM": "dumb", "PAGER": "c"}, None, "c"),
    ],
)
def test_which_pager(environment: dict[str, str], setting: str | None, chosen: str | None) -> None:
    assert Context(Path("/"), {"TERM": "xterm"} | environment, True, True).pager(setting) == chosen


def test_less_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = Context(Path("/"), {"TERM": "xterm"}, True, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert context.pager(None) is None
    (tmp_path / "less").write_text("#!/bin/sh\n")
    (tmp_path / "less").chmod(0o755)
    assert context.pager(None) == "less"


def test_a_repository_cannot_name_a_program(work: Path, tmp_path: Path, pager: str) -> None:
    (work / ".mvc" / "config").write_text(f"[core]\npager = '''{pager}'''\n")
    assert show("log", "-n", "1", PAGER="cat", MVC_PAGER="cat").code == 0
    terminal = Terminal(mvc_words("log", "-n", "1"), {"PAGER": "cat"})
    assert "| " not in terminal.finish().text and not (tmp_path / "note").exists()
    refused = show("config", "core.pager", "evil")
    assert refused.code == 3 and "--global" in refused.plain
    assert show("config", "--global", "core.pager", pager).code == 0
    terminal = Terminal(mvc_words("log", "-n", "1"), {"PAGER": "cat"})
    assert all(line.startswith("| ") for line in terminal.finish().lines)


def test_the_exit_code_is_that_of_the_command(work: Path, pager: str) -> None:
    words = ("diff", "--exit-code", "HEAD~1", "HEAD")
    assert [show(*words, MVC_PAGER=program).code for program in (pager, "cat")] == [1, 1]
    failed = show("log", "nosuch", MVC_PAGER=pager)
    assert failed.code == 3 and failed.lines[0].startswith("error: "), "nothing was printed, so no pager"


def test_a_pager_that_leaves_early_is_no_error(work: Path) -> None:
    shown = show("log", MVC_PAGER="head -n 3")
    assert shown.code == 0 and len(shown.lines) == 3, shown
    shown = show("log", "-n", "2", MVC_PAGER="head -n 0")
    assert shown.code == 0 and shown.lines == []


@pytest.mark.parametrize("program", ["no-such-pager", "no-such-pager -R", "exec /nowhere/pager"])
def test_a_pager_that_is_not_there_is_named(work: Path, program: str) -> None:
    shown = show("log", "-n", "3", MVC_PAGER=program)
    assert "no-such-pager" in shown.plain or "/nowhere/pager" in shown.plain
    assert "Traceback" not in shown.plain and "cannot be run" in shown.plain
    if " " in program:
        assert shown.code == 3 and "--no-pager" in shown.plain
    else:
        assert shown.code == 0 and "step 199" in shown.plain, "the shell is not asked: output goes on without"


def test_control_characters_stay_harmless_under_a_pager_that_passes_them(work: Path) -> None:
    repository_words = (
        "commit",
        "--allow-empty",
        "-m",
        "evil \x1b[2J\x1b]0;x\x07 name",
        "--author",
        "A <a@b>",
    )
    assert show(*repository_words).code == 0
    shown = show("log", "-n", "1", MVC_PAGER="sed s/^/x/")
    assert "\\u001b[2J" in shown.plain and "\x1b[2J" not in shown.text and "\x07" not in shown.text


@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
def test_less_shows_the_first_screen_at_once_and_q_leaves(work: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(mvc_words("log"), lines=10)
    terminals.append(terminal)
    terminal.wait_for("step 199")
    terminal.press("q")
    shown = terminal.finish()
    assert shown.code == 0 and "step 190" not in shown.plain and "Traceback" not in shown.plain


@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
def test_less_leaves_by_itself_where_all_fits(work: Path) -> None:
    shown = Terminal(mvc_words("log", "-n", "1")).finish()
    assert shown.code == 0 and "step 199" in shown.plain


def script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["#!/bin/sh", "trap '' INT", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def test_an_interrupt_when_all_is_written_is_for_the_pager(
    work: Path, tmp_path: Path, terminals: list[Terminal]
) -> None:
    patient = script(
        tmp_path / "patient", "cat >/dev/null", "echo all read", "read key </dev/tty", "echo over"
    )
    terminal = Terminal(mvc_words("log"), {"MVC_PAGER": patient})
    terminals.append(terminal)
    terminal.wait_for("all read")
    terminal.interrupt()
    terminal.press("q\n")
    shown = terminal.finish()
    assert shown.code == 0 and shown.lines[-1] == "over" and "interrupted" not in shown.plain


def test_an_interrupt_while_there_is_more_ends_the_command_behind_the_pager(
    work: Path, tmp_path: Path, terminals: list[Terminal]
) -> None:
    slow = script(tmp_path / "slow", "read line", "echo started", "sleep 1", "cat >/dev/null", "echo over")
    terminal = Terminal(mvc_words("log"), {"MVC_PAGER": slow})
    terminals.append(terminal)
    terminal.wait_for("started")
    terminal.interrupt()
    shown = terminal.finish()
    assert shown.code == 130 and shown.lines[-2:] == ["over", "interrupted"], shown


def test_progress_and_warnings_do_not_draw_over_the_pager(work: Path, pager: str) -> None:
    """What comes to standard error once a pager runs goes through it."""
    (work / ".mvc" / "config").write_text("[color]\nui = 'sometimes'\n")
    shown = show("log", "-v", "-n", "1", MVC_PAGER=pager)
    assert shown.code == 0
    assert [line for line in shown.lines if not line.startswith("| ")] == [
        f"warning: color.ui in {work}/.mvc/config cannot be 'sometimes'"
    ], "settings are read before"
