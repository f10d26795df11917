"""Completion: what is offered, how each shell is answered, and the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.cli.candidates import FEW, MANY_TENSORS, NEWEST, tensors
from mvc.cli.complete import OFFERS, offers
from mvc.cli.declare import Argument
from mvc.cli.shells import SHELLS, Candidate, Question, answer_bash, ask_bash, harmless, split
from mvc.cli.table import COMMANDS, load
from mvc.context import Context
from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import ObjectId
from mvc.objects import Person, Timestamp
from mvc.odb.database import ObjectDatabase
from mvc.ops.branch import create as create_branch
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.ops.notes import Wording
from mvc.ops.notes import add as add_note
from mvc.ops.tag import create as create_tag
from mvc.repo import Repository
from mvc.spans import Span
from tests.make_files import safetensors_bytes
from tests.terminal import ANSI, TOP, Terminal

ADA = Person("Ada", "ada@example.org")
NOW = Timestamp(1_700_000_000_000_000, 0)
BREAKS = " \t\n\"'@><=;|&(:"
"""COMP_WORDBREAKS as bash sets it."""

Ask = Callable[[str], list[Candidate]]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions with folders, odd names and tensors; main, a branch, a tag; a file deleted on disk."""
    folder = tmp_path / "work"
    folder.mkdir()
    repository = init(FileIO(), folder, Monitor())
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("hello\n")
    (folder / "my file.txt").write_text("spaced\n")
    first = commit(repository, Request("first $(touch pwned) `x`", ADA, NOW)).id
    names = [f"model.layers.{number}.{part}" for number in range(30) for part in ("weight", "bias")]
    data = dict.fromkeys([*names, "lm_head.weight"], ("F32", (2,), b"\x00" * 8))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(data))
    commit(repository, Request("second", ADA, NOW._replace(microseconds=NOW.microseconds + 1)))
    create_branch(repository, "try/lora", first.hex(), ADA, NOW)
    create_tag(repository, "v1.0", first.hex(), ADA, NOW)
    (folder / "notes" / "a.txt").unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.fixture
def ask(work: Path) -> Ask:
    return asked


def asked(line: str) -> list[Candidate]:
    """What is offered at the end of a line, as far as it is known."""
    before, current, _, _ = split(line)
    context = Context(Path.cwd(), {"HOME": os.environ["HOME"]}, False, False)
    found: list[Candidate] = []
    with suppress(MvcError):
        found.extend(offers(context, before[1:], current))
    return harmless(found)


def texts(found: list[Candidate]) -> list[str]:
    return [item.text for item in found]


# --- what is offered ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mvc st", ["status", "stats"]),
        ("mvc help sta", ["status", "stats"]),
        ("mvc --no", ["--no-pager"]),
        ("mvc --color=al", ["--color=always"]),
        ("mvc --color ", ["auto", "always", "never"]),
        ("mvc -q --no-pager branc", ["branch"]),
        ("mvc nosuch ", []),
        ("mvc log --o", ["--oneline"]),
        ("mvc log --oneline --o", []),
        ("mvc commit --metric a=1 --metric", ["--metric"]),
        ("mvc log --color=n", ["--color=never"]),
        ("mvc log --color n", ["never"]),
        ("mvc log -n ", []),
        ("mvc completion ", ["bash", "zsh", "fish"]),
        ("mvc completion bash ", []),
        ("mvc checkout v", ["v1.0"]),
        ("mvc checkout -b new tr", ["try/lora"]),
        ("mvc log H", ["HEAD"]),
        ("mvc log HEAD~", []),
        ("mvc diff main..tr", ["main..try/lora"]),
        ("mvc branch ma", ["main"]),
        ("mvc branch new v", ["v1.0"]),
        ("mvc branch -d ", ["main", "try/lora"]),
        ("mvc branch -d main v", []),
        ("mvc tag -d ", ["v1.0"]),
        ("mvc cat m", ["main:"]),
        ("mvc ls v", ["v1.0"]),
        ("mvc cat HEAD:no", ["HEAD:notes/"]),
        ("mvc cat HEAD:notes/", ["HEAD:notes/a.txt"]),
        ("mvc cat :notes/", [":notes/a.txt"]),
        ("mvc cat HEAD:./n", ["HEAD:./notes/"]),
        ("mvc ls v1.0:m", ["v1.0:my file.txt"]),
        ("mvc cat nosuch:m", []),
        ("mvc cat HEAD:nosuch/", []),
        ("mvc cat HEAD:model.safetensors#l", ["HEAD:model.safetensors#lm_head.weight"]),
        ("mvc cat HEAD:model.safetensors#model.layers.7.", None),
        ("mvc cat HEAD:notes/a.txt#", []),
        ("mvc commit m", ["model.safetensors", "my file.txt"]),
        ("mvc commit notes/", ["notes/a.txt"]),
        ("mvc commit -m ", []),
        ("mvc diff -- notes/", ["notes/a.txt"]),
        ("mvc checkout v1.0 -- m", ["my file.txt"]),
        ("mvc checkout v1.0 m", ["my file.txt"]),
        ("mvc checkout -- my", ["my file.txt"]),
        ("mvc log -- my", ["my file.txt"]),
        ("mvc commit -- m", []),
        ("mvc config us", ["user.name", "user.email"]),
        ("mvc config color.ui ", ["auto", "always", "never"]),
        ("mvc config user.name ", []),
        ("mvc config commit.code ", ["true", "false"]),
        ("mvc commit --data tr", []),
        ("mvc commit --data train=no", ["train=notes/"]),
        ("mvc commit --data=train=my", ["--data=train=my file.txt"]),
        ("mvc -C no", ["notes/"]),
        ("mvc -C notes cat HEAD:./", ["HEAD:./a.txt"]),
        ("mvc -C notes commit ../m", ["../model.safetensors", "../my file.txt"]),
        ("mvc -C notes checkout v1.0 -- ../m", ["../my file.txt"]),
        ("mvc -C notes checkout v1.0 -- ../../", []),
        ("mvc -C nosuch log ", []),
    ],
)
def test_what_is_offered(ask: Ask, line: str, offered: list[str] | None) -> None:
    if offered is None:
        offered = [f"HEAD:model.safetensors#model.layers.7.{part}" for part in ("weight", "bias")]
    assert texts(ask(line)) == offered


def test_revisions_have_their_subject_and_newest_ids(ask: Ask) -> None:
    found = {item.text: item.help for item in ask("mvc log ")}
    names = list(found)
    assert names[:4] == ["HEAD", "main", "try/lora", "v1.0"] and found["HEAD"] == "second"
    newest, first = names[4:]
    assert found[newest] == "second" and found[first].startswith("first ")
    assert ask(f"mvc log {first[:5]}") == [Candidate(first, found[first])]
    assert len(texts(ask(f"mvc log {first}0"))) <= 1, "beyond twelve digits the full id is offered"


def test_a_long_history_costs_no_more(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository.open(FileIO(), work, Monitor())
    for number in range(NEWEST + 12):
        later = NOW._replace(microseconds=NOW.microseconds + 10 + number)
        commit(repository, Request(f"step {number}", ADA, later, allow_empty=True))
    reads = 0
    get = ObjectDatabase.get

    def counted(self: ObjectDatabase, identity: ObjectId) -> bytes:
        nonlocal reads
        reads += 1
        return get(self, identity)

    monkeypatch.setattr(ObjectDatabase, "get", counted)
    for line, most in [
        ("mvc log ", FEW + 3),
        ("mvc log a", NEWEST + 3),
        ("mvc undo ", 0),
        ("mvc tag -d ", 0),
    ]:
        reads = 0
        assert asked(line) or line.endswith("a")
        assert reads <= most, line


def test_what_goes_on_gets_no_space(ask: Ask) -> None:
    more = {item.text: item.more for line in ("mvc cat HEAD:", "mvc cat m") for item in ask(line)}
    assert more == {
        "HEAD:model.safetensors": False,
        "HEAD:my file.txt": False,
        "HEAD:notes/": True,
        "main:": True,
    }
    assert ask("mvc cat HEAD:mod") == [Candidate("HEAD:model.safetensors", more=True)], "'#' may follow"
    assert [item.more for item in ask("mvc cat HEAD:my")] == [False]


def test_operations_and_settings(ask: Ask, work: Path) -> None:
    found = ask("mvc undo ")
    assert [item.help.split()[0].rstrip(":") for item in found] == ["tag", "branch", "commit", "commit"]
    assert ask(f"mvc undo {found[1].text[:6]}") == [found[1]]
    (work / ".mvc" / "config").write_text("[train]\nsteps = 3\n")
    assert texts(ask("mvc config trai")) == ["train.steps"]


def test_notes_and_tensors_of_the_last_version(ask: Ask, work: Path) -> None:
    repository = Repository.open(FileIO(), work, Monitor())
    noted = add_note(repository, "v1.0", Wording({"acc": 0.5}, {}), ADA, NOW)[1]
    assert texts(ask("mvc notes ")) == ["add", "list", "show", "remove"]
    assert texts(ask("mvc notes remove ma")) == ["main"]
    assert ask("mvc notes remove v1.0 ") == [Candidate(noted.id, "acc=0.5")]
    assert ask("mvc notes remove main ") == []
    assert texts(ask("mvc blame mod")) == ["model.safetensors"]
    assert texts(ask("mvc blame model.safetensors#lm")) == ["model.safetensors#lm_head.weight"]


def test_without_a_repository_only_what_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    assert texts(asked("mvc log ")) == [] and texts(asked("mvc cat HEAD:")) == []
    assert texts(asked("mvc commit f")) == ["file.txt"] and texts(asked("mvc log --j")) == ["--json"]
    assert "user.name" in texts(asked("mvc config "))


def test_many_tensors_come_segment_by_segment() -> None:
    def span(name: str) -> Span:
        return Span(0, 8, name, "F32", (2,), None)

    few = [span(f"a.{number}") for number in range(MANY_TENSORS)]
    assert len(tensors(few, "")) == MANY_TENSORS and tensors(few, "")[0].help == "F32 [2]"
    many = [span(f"model.layers.{number}.{part}") for number in range(30) for part in ("w", "b")]
    assert texts(tensors(many, "")) == [f"model.layers.{number}." for number in range(30)]
    assert all(item.more for item in tensors(many, "mod"))
    assert texts(tensors(many, "model.layers.7.")) == ["model.layers.7.w", "model.layers.7.b"]
    alone = [*many, span("lm_head")]
    assert texts(tensors(alone, "")) == ["model.", "lm_head"]


def test_what_help_calls_a_value_is_known(work: Path) -> None:
    """A new command whose arguments have the usual names is completed without another line of code."""
    free = {"TEXT", "N", "PATTERN", "MODEL", "NEW", "NAME=NUMBER", "NAME=VALUE", "'NAME <EMAIL>'", "FOLDER"}
    called = {
        parameter.declared.value
        for name in COMMANDS
        for parameter in load(name).parameters
        if not parameter.choices and isinstance(parameter.declared, Argument)
    }
    assert called - free <= set(OFFERS), "offer something for it in mvc/cli/complete.py, or list it here"


# --- foreign text ------------------------------------------------------------------------------------------
def test_what_could_drive_a_terminal_is_not_offered() -> None:
    found = [
        Candidate("a\x1b[2J"),
        Candidate("b\nc"),
        Candidate("ok", "help\x1b\n" * 30),
        Candidate("ok", "again"),
    ]
    (only,) = harmless(found)
    assert only.text == "ok" and "\x1b" not in only.help and "\n" not in only.help and len(only.help) <= 60


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_what_is_put_on_a_line_means_itself_to_bash() -> None:
    names = [
        "a b",
        "$(touch x)",
        "`id`",
        "it's",
        'say "hi"',
        "a;b|c&d",
        "*?[x]{a,b}",
        "~me",
        "!!",
        "表",
        "\\",
        "-x",
    ]
    line = " ".join(answer_bash(Question([], ""), [Candidate(name)])[0].strip(" ") for name in names)
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == names


# --- bash cuts words ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "words", "current", "quote"),
    [
        ("mvc log ", ["mvc", "log"], "", ""),
        ("mvc  log", ["mvc"], "log", ""),
        ("mvc cat HEAD:a\\ b", ["mvc", "cat"], "HEAD:a b", ""),
        ("mvc cat 'HEAD:a b", ["mvc", "cat"], "HEAD:a b", "'"),
        ('mvc cat "HEAD:a \\" b', ["mvc", "cat"], 'HEAD:a " b', '"'),
        ('mvc "a b"c d', ["mvc", "a bc"], "d", ""),
        ("mvc '' ", ["mvc", ""], "", ""),
        ("mvc a\\", ["mvc"], "a", ""),
    ],
)
def test_a_line_is_split_as_bash_does(line: str, words: list[str], current: str, quote: str) -> None:
    assert (split(line)[:2], split(line)[3]) == ((words, current), quote)


@given(st.text("ab \\'\":", max_size=20))
def test_any_line_is_split(line: str) -> None:
    words, current, raw, _quote = split(line)
    assert line.endswith(raw) and all(isinstance(word, str) for word in [*words, current])


@pytest.mark.parametrize(
    ("line", "text", "answer"),
    [
        ("mvc cat HEAD:mo", "HEAD:model", "model "),
        ("mvc cat HEAD:", "HEAD:model", "model "),
        ("mvc log --color=al", "--color=always", "always "),
        ("mvc log fix@ho", "fix@home", "home "),
        ("mvc cat HEAD:my\\ f", "HEAD:my file", "my\\ file "),
        ('mvc cat "HEAD:my f', "HEAD:my file", "HEAD:my file"),
        ('mvc cat HEAD:"my f', "HEAD:my file", "my file"),
        ("mvc cat 'HEAD:it", "HEAD:it's", "HEAD:it'\\''s"),
    ],
)
def test_bash_keeps_what_it_cut_off(line: str, text: str, answer: str) -> None:
    assert answer_bash(ask_bash([line, "9", BREAKS]), [Candidate(text)]) == [answer]


def test_bash_lists_help_only_where_candidates_are_listed() -> None:
    found = [Candidate("status", "what"), Candidate("stats", "how"), Candidate("x")]
    assert answer_bash(ask_bash(["mvc st", "9", BREAKS]), found) == ["status  (what)", "stats   (how)", "x "]
    assert answer_bash(ask_bash(["mvc st", "37", BREAKS]), found) == ["status ", "stats ", "x "]


# --- the shells themselves ---------------------------------------------------------------------------------
@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which ``mvc`` is this one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shim = folder / "mvc"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH={TOP} exec {sys.executable} -m mvc "$@"\n')
    shim.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, Path]:
    for name, shell in SHELLS.items():
        (tmp_path / f"completion.{name}").write_text(shell.script)
    return {name: tmp_path / f"completion.{name}" for name in SHELLS}


@pytest.fixture
def started() -> Iterator[list[Terminal]]:
    found: list[Terminal] = []
    yield found
    for terminal in found:
        terminal.close()


PREPARE = {
    "bash": "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'",
    "zsh": "autoload -Uz compinit; compinit -u -D; unsetopt zle_bracketed_paste beep",
}
START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_in_a_shell(
    work: Path, path: str, scripts: dict[str, Path], started: list[Terminal], shell: str
) -> None:
    """Each line is typed with tabs and run; what it prints shows that the whole of it was right."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = {"PATH": path, "HISTFILE": "", "MVC_PAGER": "cat", "TERM": "dumb", "PS1": ""}
    terminal = Terminal(START[shell], environment, columns=200)
    started.append(terminal)
    terminal.press(f"{PREPARE[shell]}; source {scripts[shell]}; PS1='rea''dy> '\n")
    terminal.wait_for("ready> ")
    for keys, printed in [
        ("mvc cat HEAD:no\t\t\n", "hello"),  # the folder, then the only file in it
        ("mvc cat HEAD:my\t\n", "spaced"),
        ("mvc ls --t\tHEAD:mod\t#lm\t\n", "lm_head.weight  F32"),
        ("mvc log --oneline try/l\t\n", "first $(touch pwned)"),
        ("mvc --col\t\x08=nev\tbranch --show-c\t\n", "main"),
    ]:
        heard = len(terminal.text)
        terminal.press(keys)  # a shell reads them one after the other, however long each tab takes it
        listen(terminal, heard, printed)
    assert not (work / "pwned").exists()
    terminal.press("exit\n")


def listen(terminal: Terminal, since: int, printed: str) -> None:
    deadline = time.monotonic() + 20
    while printed not in ANSI.sub("", terminal.text[since:]):
        assert terminal._listen() and time.monotonic() < deadline, terminal.text[since:]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_is_answered(work: Path, path: str, scripts: dict[str, Path]) -> None:
    def offered(line: str) -> list[list[str]]:
        program = f"source {scripts['fish']}; complete --do-complete $argv[1]"
        words = ["fish", "--no-config", "-c", program, line]
        done = subprocess.run(
            words, env=os.environ | {"PATH": path, "TERM": "dumb"}, capture_output=True, text=True, check=True
        )
        return [row.split("\t") for row in done.stdout.splitlines()]

    assert ["status", "Show what a commit would record"] in offered("mvc sta")
    assert offered("mvc cat HEAD:no") == [["HEAD:notes/"]]
    assert offered("mvc cat HEAD:model.safetensors#lm") == [
        ["HEAD:model.safetensors#lm_head.weight", "F32 [2]"]
    ]
    assert offered("mvc log --color=al") == [["--color=always"]]
    assert [row[0] for row in offered("mvc ls v1.0:m")] == ["v1.0:my file.txt"]
    assert not (work / "pwned").exists()


def test_a_process_answers_and_imports_nothing_heavy(work: Path) -> None:
    code = "import sys; from mvc.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(TOP), "_MVC_COMPLETE": "bash"}
    done = subprocess.run(
        [sys.executable, "-c", code, "mvc cat HEAD:no", "9", BREAKS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer, modules = done.stdout.splitlines()
    assert answer == "notes/" and done.stderr == ""
    assert not {"typer", "numpy", "rich", "subprocess"} & set(modules.split())


def test_a_script_of_another_version_hears_nothing(work: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(TOP), "_MVC_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-m", "mvc"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
