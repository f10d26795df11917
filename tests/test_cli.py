"""The command line from end to end: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mvc.cli import habits
from mvc.cli.app import help_text
from mvc.cli.main import main
from mvc.cli.reference import reference
from mvc.cli.table import COMMANDS, load
from mvc.errors import StorageError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.repo import Repository
from tests.make_files import safetensors_bytes

TOP = Path(__file__).parent.parent


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def raw(self) -> bytes:
        return self.out.encode(errors="surrogateescape")

    @property
    def data(self):
        assert self.code in (0, 1, 3, 5) and "error" not in self.err, self
        return json.loads(self.out, parse_constant=pytest.fail)


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a command line in a fresh folder, as a user whom nobody has told anything."""
    for name in ("NO_COLOR", "MVC_AUTHOR_NAME", "MVC_AUTHOR_EMAIL", "MVC_TRACEBACK", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("TZ", "UTC-1")
    time.tzset()
    monkeypatch.chdir(work)

    def command(*words: str) -> Result:
        capfdbinary.readouterr()
        code = main(list(words))
        out, err = capfdbinary.readouterr()
        return Result(code, out.decode(errors="surrogateescape"), err.decode())

    return command


@pytest.fixture
def two(run: Run) -> Run:
    """A repository of two versions, the first of them tagged, on main."""
    ok(run("init"))
    write_model(Path("model.safetensors"), seed=1)
    Path("config.json").write_text("{}\n")
    ok(run("commit", "-m", "first", "--metric", "loss=2.5", "--param", "lr=3e-4", "--author", "Ada <a@b.c>"))
    ok(run("tag", "v1", "-m", "the first one"))
    write_model(Path("model.safetensors"), seed=1, moved=3, extra=True)
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("hello\n")
    Path("config.json").unlink()
    ok(run("commit", "-m", "second\n\nwith a body"))
    return run


def ok(result: Result) -> Result:
    assert result.code == 0, result
    return result


def fails(result: Result, code: int, *said: str) -> Result:
    """An error is one line, a hint at most one more, and nothing is a traceback."""
    assert result.code == code, result
    lines = result.err.splitlines()
    assert lines and lines[0].startswith("error: "), result
    assert all(line.startswith("hint: ") for line in lines[1:]) and len(lines) <= 2, result
    for text in said:
        assert text in result.err, result
    return result


def write_model(path: Path, seed: int, moved: int = 0, extra: bool = False) -> bytes:
    """Two tensors of 64 elements; the first ``moved`` elements of ``w`` differ from those with no move."""
    values = np.random.default_rng(seed).standard_normal((2, 64)).astype("<f4")
    values[0, :moved] += 1
    tensors = {name: ("F32", (8, 8), values[place].tobytes()) for place, name in enumerate(("w", "b"))}
    if extra:
        tensors["new"] = ("F32", (3,), bytes(12))
    data = safetensors_bytes(tensors)
    path.write_bytes(data)
    return data


# --- start -------------------------------------------------------------------------------------------------
def test_init_makes_a_repository_where_it_is_told(run: Run) -> None:
    ok(run("init", "runs/bert", "--name", "bert", "--branch", "trunk"))
    assert 'name = "bert"' in Path("runs/bert/mvc.toml").read_text()
    assert run("-C", "runs", "-C", "bert", "status", "--json").data["branch"] == "trunk"
    fails(run("init", "runs/bert"), 3, "already")
    fails(run("init", "x", "--branch", "a..b"), 3)
    assert not Path("x/.mvc").exists()


def test_commit_says_what_was_stored(run: Run) -> None:
    ok(run("init"))
    data = write_model(Path("model.safetensors"), seed=1)
    first = ok(run("commit", "-m", "one"))
    assert re.match(r"\[main \(first version\) [0-9a-f]{12}\] one\n1 file, \d+ B read, ", first.out)
    assert f"{len(data)} B read" in first.out
    fails(run("commit", "-m", "again"), 1, "nothing to commit", "--allow-empty")
    assert ok(run("commit", "-m", "again", "--allow-empty", "-q")).out == ""
    made = run("commit", "--amend", "--json", "--metric", "n=3", "--metric", "bad=nan").data
    assert made["message"] == "again" and made["metrics"] == {"n": 3, "bad": None}
    assert made == run("log", "-n", "1", "--json").data[0]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-m", ""),
        ("-m", "x", "--metric", "loss"),
        ("-m", "x", "--metric", "loss=high"),
        ("-m", "x", "--author", "<a@b>"),
        ("-m", "x", "--nosuch"),
    ],
)
def test_commit_refuses_what_makes_no_sense(two: Run, words: tuple[str, ...]) -> None:
    Path("new").write_text("x")
    fails(two("commit", *words), 2)
    assert len(two("log", "--json").data) == 2


def test_params_keep_their_kind(run: Run) -> None:
    ok(run("init"))
    words = [
        "lr=3e-4",
        "n=12",
        "shuffle=true",
        "run=5 # five",
        "big=123456789012345678901234567890",
        "empty=",
    ]
    ok(run("commit", "-m", "x", "--allow-empty", *(word for item in words for word in ("--param", item))))
    expected = {"lr": 3e-4, "n": 12, "shuffle": True, "run": "5 # five"}
    expected |= {"big": "123456789012345678901234567890", "empty": ""}
    assert run("show", "--json").data["params"] == expected


def test_paths_are_relative_to_the_current_folder(two: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("notes/b.txt").write_text("b")
    Path("top.txt").write_text("t")
    monkeypatch.chdir("notes")
    assert "b.txt" in two("status").out and "../top.txt" in two("status").out
    assert two("status", "--json").data["added"] == ["notes/b.txt", "top.txt"]
    fails(two("commit", "-m", "x", "../../elsewhere"), 3, "outside")
    ok(two("commit", "-m", "only b", "b.txt"))
    assert [row["path"] for row in two("show", "--json").data["changes"]] == ["notes/b.txt"]
    assert two("cat", "HEAD:./b.txt").out == "b"
    ok(two("commit", "-m", "all of it", ".."))
    assert two("status", "--json").data["clean"]


@pytest.mark.parametrize("path", [".", "", "notes/", "notes"])
def test_a_path_of_the_library_may_end_in_a_slash_or_be_the_top(two: Run, path: str) -> None:
    Path("notes/b.txt").write_text("b")
    repository = Repository.open(FileIO(), Path.cwd(), Monitor())
    commit(repository, Request("by path", Person("a", ""), Timestamp(0, 0), paths=(path,)))
    assert [row["path"] for row in two("show", "--json").data["changes"]] == ["notes/b.txt"]


# --- who ---------------------------------------------------------------------------------------------------
def test_author_comes_from_the_nearest_that_names_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def author(*words: str) -> tuple[dict[str, str], str]:
        done = ok(run("commit", "-m", "x", "--allow-empty", "--json", *words))
        return done.data["author"], done.err

    ok(run("init"))
    host = os.uname().nodename
    who, told = author()
    assert who == {"name": "ada", "email": f"ada@{host}"} and "hint: " in told and "config user.name" in told
    assert author() == (who, ""), "the hint is given once"
    Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text("[user]\n\tname = Git User\n\temail = git@x\n")
    assert author()[0] == {"name": "Git User", "email": "git@x"}
    ok(run("config", "--global", "user.name", "Global"))
    assert author()[0] == {"name": "Global", "email": "git@x"}
    ok(run("config", "user.name", "Local"))
    assert author()[0] == {"name": "Local", "email": "git@x"}
    monkeypatch.setenv("MVC_AUTHOR_NAME", "Env")
    assert author()[0] == {"name": "Env", "email": "git@x"}
    assert author("--author", "Given Name <g@x>")[0] == {"name": "Given Name", "email": "g@x"}
    ok(run("tag", "t"))
    told = run("oplog", "-n", "1", "--json").data[0]["who"]
    assert told == {"name": "Env", "email": "git@x"}, "one person has one name in the log"


# --- look --------------------------------------------------------------------------------------------------
def test_log_is_newest_first(two: Run) -> None:
    entries = two("log", "--json").data
    assert [entry["message"] for entry in entries] == ["second\n\nwith a body", "first"]
    first = entries[1]
    assert first["metrics"] == {"loss": 2.5} and first["params"] == {"lr": 3e-4} and first["tags"] == ["v1"]
    assert first["author"] == {"name": "Ada", "email": "a@b.c"} and entries[0]["parents"] == [first["id"]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+01:00", first["time"])
    text = two("log").out
    assert text.index("second") < text.index("    with a body") < text.index("first")
    assert f"commit {entries[0]['id']} (HEAD -> main)\n" in text and "(tag: v1)" in text
    assert "Author:  Ada <a@b.c>" in text and "Metrics: loss=2.5" in text and "+0100" in text
    assert two("log", "--oneline", "-n1").out == f"{entries[0]['id'][:12]} (HEAD -> main) second\n"
    assert [entry["id"] for entry in two("log", "v1", "--json").data] == [first["id"]]
    fails(two("log", "nosuch"), 3, "nosuch")


def test_log_of_an_empty_repository(run: Run) -> None:
    ok(run("init"))
    assert run("log", "--json").data == []
    fails(run("log"), 3)
    assert run("branch", "--json").data == [] and run("tag", "--json").data == []
    assert run("status", "--json").data["head"] is None


def test_show_gives_the_same_object_whatever_names_it(two: Run) -> None:
    by_tag, by_id = two("show", "v1", "--json").data, two("show", "HEAD~1", "--json").data
    assert by_tag.pop("tag")["message"] == "the first one"
    assert by_tag == by_id and by_id["tags"] == ["v1"]
    assert {row["path"]: row["kind"] for row in two("show", "--json").data["changes"]} == {
        "config.json": "removed",
        "model.safetensors": "modified",
        "notes/a.txt": "added",
    }
    assert "tag v1" in two("show", "v1").out and "the first one" in two("show", "v1").out
    model = two("show", "HEAD:model.safetensors", "--json").data
    assert model["kind"] == "file" and model["weights"].startswith("w1:") and model["tensors"] > 0
    assert model["weights"] in two("show", "HEAD:model.safetensors").out
    folder = two("show", "HEAD:notes", "--json").data
    assert (folder["kind"], folder["files"], folder["weights"]) == ("folder", 1, None)
    assert two("show", "--json").data["weights"] == model["weights"]
    fails(two("show", "HEAD:config.json"), 3, "config.json")


def test_status_names_every_kind_of_change(two: Run) -> None:
    assert two("status", "--json").data["clean"] is True
    Path("notes/a.txt").unlink()
    Path("fresh").write_text("x")
    write_model(Path("model.safetensors"), seed=2)
    Path("out").symlink_to("/nowhere")
    found = two("status", "--json").data
    assert found["clean"] is False and found["branch"] == "main"
    assert (found["added"], found["modified"], found["deleted"]) == (
        ["fresh"],
        ["model.safetensors"],
        ["notes/a.txt"],
    )
    assert [row["path"] for row in found["refused"]] == ["out"]
    text = two("status").out
    for line in (
        "On branch main",
        "new:       fresh",
        "modified:  model.safetensors",
        "deleted:   notes/a.txt",
    ):
        assert line in text


def test_diff_tells_how_much_of_a_tensor_moved(two: Run) -> None:
    rows = {row["path"]: row for row in two("diff", "HEAD~1", "HEAD", "--json").data}
    assert {path: row["kind"] for path, row in rows.items()} == {
        "config.json": "removed",
        "model.safetensors": "modified",
        "notes/a.txt": "added",
    }
    tensors = {row["name"]: row for row in rows["model.safetensors"]["tensors"]}
    assert tensors["w"]["kind"] == "changed" and tensors["w"]["moved"] == 3 / 64
    assert tensors["new"]["kind"] == "added" and tensors["new"]["new"]["shape"] == [3]
    assert set(tensors) == {"w", "new"}
    assert "4.7 % moved" in two("diff", "v1..main").out
    assert "1 tensor added, 1 tensor changed" in two("diff", "v1", "main", "--stat").out
    assert two("diff", "v1", "main", "--name-only", "--", "notes").out == "notes/a.txt\n"
    assert two("diff", "v1", "--name-status").out.splitlines()[0] == "D\tconfig.json"


def test_diff_answers_with_its_exit_code(two: Run) -> None:
    assert two("diff", "--exit-code") == (0, "", "")
    assert two("diff", "-q", "v1") == (1, "", "")
    Path("notes/a.txt").write_text("changed\n")
    assert two("diff").code == 0 and two("diff", "--exit-code").code == 1
    assert two("diff", "--exit-code", "notes/a.txt").code == 1
    assert two("diff", "--exit-code", "--", "model.safetensors").code == 0
    fails(two("diff", "nosuch"), 3)
    fails(two("diff", "v1", "main", "v1"), 2)


def test_ls_lists_files_and_tensors(two: Run) -> None:
    files = {row["path"]: row for row in two("ls", "v1", "--json").data}
    assert set(files) == {"config.json", "model.safetensors"}
    assert files["model.safetensors"]["tensors"] == 2 and files["config.json"]["bytes"] == 3
    tensors = {row["name"]: row for row in two("ls", "--tensors", "HEAD:model.safetensors", "--json").data}
    assert tensors["w"]["shape"] == [8, 8] and tensors["w"]["dtype"] == "F32" and tensors["w"]["bytes"] == 256
    assert 0 < tensors["w"]["stored_bytes"] < 400 and tensors["w"]["codecs"]
    text = two("ls", "-t").out
    assert re.search(r"^  w +F32 +\[8, 8\] +256 B", text, re.MULTILINE)
    assert "notes/a.txt" in two("ls", "HEAD:notes").out and "model" not in two("ls", "HEAD:notes").out
    fails(two("ls", "HEAD:nosuch"), 3)


def test_cat_gives_bytes_back(two: Run) -> None:
    first = write_model(Path("other"), seed=1)
    assert ok(two("cat", "v1:model.safetensors")).raw == first
    assert ok(two("cat", "v1:model.safetensors#b")).raw == first[-256:]
    fails(two("cat", "HEAD:nosuch"), 3)
    fails(two("cat", "HEAD"), 2)
    fails(two("cat"), 2)


# --- change ------------------------------------------------------------------------------------------------
def test_checkout_whole_versions_and_branches(two: Run) -> None:
    done = two("checkout", "v1", "--json").data
    assert done["branch"] is None and (done["written"], done["removed"]) == (2, 1)
    assert Path("config.json").exists() and not Path("notes/a.txt").exists()
    assert two("status", "--json").data["branch"] is None
    assert "HEAD detached" in two("branch").out
    ok(two("checkout", "-b", "try"))
    assert two("branch", "--show-current").out == "try\n"
    assert "on branch main" in two("checkout", "main").out
    assert two("checkout", "--detach", "main", "--json").data["branch"] is None
    fails(two("checkout"), 2)
    fails(two("checkout", "nosuch"), 3)


@pytest.mark.parametrize(
    "words",
    [("HEAD", "notes/a.txt"), ("HEAD", "--", "notes"), ("--", "notes/a.txt"), ("notes/a.txt",), (".",)],
)
def test_checkout_of_paths_as_in_git(two: Run, words: tuple[str, ...]) -> None:
    Path("notes/a.txt").write_text("mine\n")
    fails(two("checkout", *words), 4, "--force")
    assert Path("notes/a.txt").read_text() == "mine\n"
    ok(two("checkout", "--force", *words))
    assert Path("notes/a.txt").read_text() == "hello\n"
    assert two("branch", "--show-current").out == "main\n"
    ok(two("undo"))
    assert Path("notes/a.txt").read_text() == "mine\n"


def test_branches(two: Run) -> None:
    ok(two("branch", "old", "v1"))
    head, first = (entry["id"] for entry in two("log", "--json").data)
    assert two("branch", "--json").data == [
        {"name": "main", "commit": head, "current": True, "remote": False, "upstream": None},
        {"name": "old", "commit": first, "current": False, "remote": False, "upstream": None},
    ]
    assert two("branch").out == f"*  main  {head[:12]}\n   old   {first[:12]}\n"
    fails(two("branch", "old"), 4, "--force")
    ok(two("branch", "--force", "old", "main"))
    ok(two("branch", "-m", "old", "new"))
    ok(two("branch", "-m", "trunk"))
    assert two("status", "--json").data["branch"] == "trunk"
    fails(two("branch", "-d", "trunk"), 4)
    ok(two("branch", "-d", "new"))
    fails(two("branch", "-d", "new"), 3)
    assert [row["name"] for row in two("branch", "--json").data] == ["trunk"]


def test_tags(two: Run) -> None:
    ok(two("tag", "light", "HEAD~1"))
    rows = {row["name"]: row for row in two("tag", "--json").data}
    assert rows["light"]["tag"] is None and rows["v1"]["tag"]["tagger"]["name"] == "ada"
    assert rows["light"]["commit"] == rows["v1"]["commit"]
    assert two("tag", "-l", "v*").out.split()[0] == "v1" and "light" not in two("tag", "-l", "v*").out
    fails(two("tag", "v1"), 4)
    fails(two("tag", "-a", "x"), 2, "-m")
    ok(two("tag", "--force", "v1"))
    assert two("log", "-n", "1", "--json").data[0]["tags"] == ["v1"]
    ok(two("tag", "-d", "v1"))
    assert [row["name"] for row in two("tag", "--json").data] == ["light"]


def test_undo_takes_back_step_by_step(two: Run) -> None:
    head = two("log", "--json").data[0]["id"]
    ok(two("branch", "-m", "trunk"))
    ok(two("undo"))
    assert two("status", "--json").data["branch"] == "main"
    assert "commit: second" in ok(two("undo")).out
    assert len(two("log", "--json").data) == 1
    newest = two("oplog", "--json").data[0]
    assert newest["command"].startswith("undo") and newest["changes"][0]["before"] == head
    ok(two("undo", newest["id"][:10]))
    assert two("log", "--json").data[0]["id"] == head
    assert len(two("oplog", "-n", "2").out.splitlines()) == 2
    fails(two("undo", "ffffffff"), 3)


# --- care --------------------------------------------------------------------------------------------------
def test_stats_add_up(two: Run) -> None:
    found = two("stats", "--json").data
    assert [version["subject"] for version in found["versions"]] == ["first", "second"]
    assert found["raw_bytes"] == sum(version["new_files_bytes"] for version in found["versions"])
    assert found["stored_bytes"] == found["pack_bytes"] + found["index_bytes"]
    assert found["ratio"] == found["stored_bytes"] / found["raw_bytes"]
    assert {"manifest", "commit"} <= set(found["by_kind"])
    assert "versions" in two("stats").out and "second" in two("stats").out


def test_fsck_finds_a_flipped_bit(two: Run) -> None:
    assert ok(two("fsck")) and two("fsck", "--full", "--json").data["sound"] is True
    pack = max(Path(".mvc/packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    found = two("fsck", "--full", "--json")
    assert found.code == 5 and found.data["sound"] is False and found.data["damage"]
    said = two("fsck", "--full")
    assert said.code == 5 and "hash" in said.out


def test_config_reads_the_nearest_and_keeps_comments(run: Run) -> None:
    fails(run("config", "user.name", "x"), 3)
    ok(run("config", "--global", "user.name", "Global"))
    ok(run("init"))
    assert run("config", "user.name").out == "Global\n"
    Path(".mvc/config").write_text("# mine\n[user]\nname = 'Local' # me\n")
    assert run("config", "user.name").out == "Local\n"
    ok(run("config", "train.steps", "12"))
    assert run("config", "--list", "--json").data == {"user.name": "Local", "train.steps": 12}
    assert "# mine" in Path(".mvc/config").read_text()
    ok(run("config", "--unset", "user.name"))
    assert run("config", "user.name").out == "Global\n"
    fails(run("config", "no.such"), 1)
    fails(run("config", "--unset", "no.such"), 3)
    fails(run("config"), 2)


def test_doctor_works_without_and_with_a_damaged_repository(run: Run) -> None:
    assert ok(run("doctor")).out.count("\nok") > 8
    ok(run("init"))
    assert {row["level"] for row in ok(run("doctor", "--json")).data} == {"ok"}
    Path(".mvc/tmp/leftover").write_text("x")
    assert "warning" in {row["level"] for row in ok(run("doctor", "--json")).data}
    root = Path(".mvc/root")
    root.write_bytes(root.read_bytes()[:-1])
    found = run("doctor", "--json")
    assert found.code == 5 and {row["what"] for row in found.data if row["level"] == "damage"} == {"root"}
    Path(".mvc/format").unlink()
    assert run("doctor").code == 3
    fails(run("log"), 3)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    assert "_MVC_COMPLETE" in ok(run("completion", shell)).out
    fails(run("completion", "tcsh"), 2)


def test_demo_hands_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from mvc.demo import story

    def play(write: Callable[[str], None], *, keep: Path | None = None) -> int:
        write(f"keeps {keep}")
        return 1

    monkeypatch.setattr(story, "run", play)
    assert run("demo", "--keep", "here") == (1, f"keeps {Path.cwd() / 'here'}\n", "")


# --- the frame ---------------------------------------------------------------------------------------------
def test_overview_version_and_help(run: Run) -> None:
    assert run().out == run("--help").out == run("help").out
    assert all(re.search(rf"^  {name} ", run().out, re.MULTILINE) for name in COMMANDS)
    assert re.fullmatch(r"mvc \S+\n", run("--version").out)
    assert "--oneline" in ok(run("log", "--help")).out
    assert run("help", "log").out == run("log", "-h").out


@pytest.mark.parametrize("name", ["add", "rm", "mv"])
def test_there_is_no_staging_area(run: Run, name: str) -> None:
    fails(run(name, "model.bin", "--force"), 2, "no staging area", "mvc commit")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("stash", "mvc switch -c wip"),
        ("reflog", "mvc oplog"),
        ("rebase main", "mvc cherry-pick"),
        ("branch -D side", "--delete --force"),
        ("log -p", "mvc diff"),
        ("commit -am words", "staging"),
        ("merge -X ours side", "--strategy ours"),
        ("status -s", "mvc diff --name-status"),
    ],
)
def test_what_git_has_and_mvc_has_not_is_answered_with_what_does_it(run: Run, line: str, told: str) -> None:
    fails(run(*line.split()), 2, told)


def test_hints_for_those_who_know_git_name_what_there_is(run: Run) -> None:
    """And nothing that there is, is said not to be."""
    for name, hint in habits.COMMANDS.items():
        assert name not in COMMANDS
        _check_hint(hint)
    for spelled, hint in habits.OPTIONS.items():
        name, option = spelled.split()
        assert option not in {spelling for item in load(name).parameters for spelling in item.spellings}
        _check_hint(hint)


def _check_hint(hint: str) -> None:
    for name, rest in re.findall(r"(?<!\.)\bmvc ([a-z][a-z-]*)([^,;:]*)", hint):
        assert name in COMMANDS, hint
        known = {spelling for item in load(name).parameters for spelling in item.spellings}
        assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest)) <= known, hint


def test_so_many_versions_as_in_git(two: Run) -> None:
    assert len(ok(two("log", "-1", "--oneline")).out.splitlines()) == 1
    assert two("log", "--oneline", "-2").out == two("log", "--oneline", "-n", "2").out
    fails(two("log", "--skip", "-2"), 2, "skip")
    assert two("log", "-n", "9" * 20).out == two("log").out
    assert two("log", "--skip", "9" * 20).out == ""
    assert two("oplog", "-n", "9" * 20).out == two("oplog").out


def test_what_mvc_keeps_for_itself_is_not_offered_as_a_revision(two: Run) -> None:
    ok(two("notes", "add", "-m", "words"))
    told = fails(two("log", "nosuch"), 3, "'main'")
    assert "notes" not in told.err


def test_who_deleted_a_file_in_conflict_is_told(run: Run) -> None:
    ok(run("init"))
    Path("a.txt").write_text("one\n")
    Path("keep").write_text("")
    ok(run("commit", "-m", "base"))
    ok(run("switch", "-c", "side"))
    Path("a.txt").write_text("two\n")
    ok(run("commit", "-m", "change"))
    ok(run("switch", "main"))
    Path("a.txt").unlink()
    ok(run("commit", "-m", "delete"))
    fails(run("merge", "side"), 4, "1 file in conflict")
    assert "ours deleted it" in run("status").out
    ok(run("merge", "--abort"))
    ok(run("switch", "side"))
    assert "theirs deleted it" in run("merge", "main").out


def test_mistakes_are_named(run: Run) -> None:
    fails(run("comit"), 2, "'mvc commit'")
    fails(run("--frob", "log"), 2)
    fails(run("-C"), 2)
    fails(run("-C", "nosuch", "log"), 3)
    fails(run("status"), 3, "mvc init")
    fails(run("log", "-n", "many"), 2, "many")
    fails(run("log", "-n", "-1"), 2, "-n")
    fails(run("log", "--skip", "-1"), 2, "--skip")


def test_counts_may_be_larger_than_any_history(two: Run) -> None:
    huge = str(10**30)
    assert two("log", "--oneline", "-n", huge).out == two("log", "--oneline").out
    assert two("log", "--skip", huge).out == ""
    assert two("log", "--skip", huge, "-n", huge).out == ""
    assert two("oplog", "-n", huge).out == two("oplog").out


def test_a_bug_is_one_line(two: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvc.repo.Repository.read", lambda self: 1 / 0)
    fails(two("log"), 70, "bug", "ZeroDivisionError", "MVC_TRACEBACK")
    monkeypatch.setenv("MVC_TRACEBACK", "1")
    assert "Traceback" in two("log").err


def test_foreign_text_cannot_drive_the_terminal(run: Run) -> None:
    ok(run("init"))
    ok(run("commit", "--allow-empty", "-m", "evil \x1b[2Jname \u202etxt", "--param", "k=\x1b]0;x\x07"))
    for words in (("log",), ("log", "--oneline"), ("show",), ("oplog",), ("stats",)):
        text = run(*words).out
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text and "evil" in text


def test_every_command_has_help_and_the_reference_is_up_to_date() -> None:
    assert all(load(name).description and "Options:" in help_text(load(name)) for name in COMMANDS)
    page = TOP / "docs" / "cli.md"
    assert page.read_text() == reference(), "python -m mvc.cli.reference > docs/cli.md"


def test_a_commit_is_made_even_if_packs_cannot_be_joined(two: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_repository: object) -> int:
        raise StorageError("disk full")

    monkeypatch.setattr("mvc.committing.consolidate", fail)
    done = ok(two("commit", "-m", "third", "--allow-empty"))
    assert (
        "third" in done.out and done.err.splitlines()[0] == "warning: small packs were not joined: disk full"
    )
    monkeypatch.setattr("mvc.committing.consolidate", lambda _repository: 3)
    assert "joined_packs: 3" in two("commit", "-m", "x", "--allow-empty", "-v").err


# --- as a process ------------------------------------------------------------------------------------------
HEAVY = {
    *("numpy", "rich", "tomlkit", "pyfastcdc", "pathspec", "typer", "click", "json"),
    *("subprocess", "difflib", "unittest", "logging", "tempfile", "shutil", "socket", "tomllib"),
}


@pytest.mark.parametrize(
    "words",
    [
        ["log"],
        ["log", "--oneline", "-n", "1"],
        ["log", "--graph", "HEAD~1.."],
        ["status"],
        ["branch"],
        ["tag"],
        ["merge-base", "HEAD", "HEAD~1"],
        ["rev-parse", "HEAD~1"],
    ],
)
def test_light_commands_import_nothing_heavy(two: Run, words: list[str]) -> None:
    code = "import sys; from mvc.cli.main import main; code = main(sys.argv[1:]); print(code, *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=os.environ | {"PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0" and "mvc.repo" in modules
    assert not HEAVY & set(modules)


def test_a_fast_forward_needs_no_numpy(two: Run) -> None:
    ok(two("switch", "-c", "older"))
    ok(two("reset", "--hard", "HEAD~1"))
    code = "import sys; from mvc.cli.main import main; main(['merge', 'main']); print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("fast-forward to") and last == "False"


@pytest.fixture
def process(two: Run) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "mvc", *words],
                env=os.environ | {"PYTHONPATH": str(TOP)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_reader_that_leaves_is_no_error(two: Run, process: Callable[..., subprocess.Popen[bytes]]) -> None:
    Path("big").write_bytes(os.urandom(3 << 20))
    ok(two("commit", "-m", "big"))
    child = process("cat", "HEAD:big")
    assert child.stdout is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.wait(30) == 0 and child.stderr is not None and child.stderr.read() == b""


def test_an_interrupt_leaves_nothing_half_written(
    two: Run, process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    Path("big").write_bytes(os.urandom(1 << 20) * 200)
    before = two("log", "--json").data
    child = process("commit", "-m", "big")
    deadline = time.monotonic() + 30
    while not list(Path(".mvc/intents").glob("writer-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _out, err = child.communicate(timeout=60)
    # where the interrupt meets an exec of source text, as dataclasses do, Python ends by the signal itself
    assert child.returncode in (130, -signal.SIGINT), err
    assert err.decode() == "interrupted\n"
    assert two("log", "--json").data == before
    ok(two("fsck", "--full"))
    assert not list(Path(".mvc/intents").iterdir())


def test_a_full_disk_behind_the_output_is_told(two: Run) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mvc", "log"],
            env=os.environ | {"PYTHONPATH": str(TOP)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    fails(Result(done.returncode, "", done.stderr), 3, "No space")
