"""``clone``, ``remote``, ``fetch``, ``pull`` and ``push`` as people type them: words, JSON, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mvc
from mvc.errors import RepositoryNotFound
from tests.test_cli import run  # noqa: F401  # a fixture


@pytest.fixture
def two(run, tmp_path):  # noqa: F811
    """Ada with a version pushed, Bob with a clone of it; a command line of either."""
    work = tmp_path / "work"

    def ada(*words, code=0):
        return _checked(run("-C", "ada", *words), code)

    def bob(*words, code=0):
        return _checked(run("-C", "bob", *words), code)

    run("init", "ada")
    (work / "ada" / "a.txt").write_text("one\ntwo\nthree\n")
    (work / "ada" / "b.txt").write_text("b\n")
    ada("commit", "-m", "first")
    ada("remote", "add", "origin", "../store")
    ada("push", "-u")
    _checked(run("clone", "store", "bob"), 0)
    return ada, bob, work


def _checked(result, code):
    assert result.code == code, result
    assert "Traceback" not in result.err
    return result


def _commit(person, place: Path, text: str, message: str) -> None:
    place.write_text(text)
    person("commit", "-m", message)


def test_what_a_first_exchange_prints(run, tmp_path):  # noqa: F811
    work = tmp_path / "work"
    run("init", "ada")
    (work / "ada" / "x").write_text("x")
    run("-C", "ada", "commit", "-m", "first")
    added = run("-C", "ada", "remote", "add", "origin", "../store")
    assert added.out == f"origin is {work / 'store'}, where an empty store was made\n"
    told = run("-C", "ada", "push", "--dry-run")
    assert told.out.startswith("would push to origin: 1 version, ") and "[new branch]  main" in told.out
    pushed = run("-C", "ada", "push", "-u")
    assert pushed.out.splitlines()[-1] == "main follows origin/main"
    assert run("-C", "ada", "push").out == "origin has it all already\n"
    cloned = run("clone", "store")
    assert cloned.code == 3 and "not empty" in cloned.err
    cloned = run("clone", "store", "copy")
    assert cloned.out.startswith("cloned into copy: 1 version, ")
    assert "up to date with origin/main" in run("-C", "copy", "status").out
    assert run("-C", "copy", "remote").out == "origin\n"
    assert run("-C", "copy", "remote", "-v").out.split() == ["origin", str(work / "store")]


def test_an_empty_store_is_said_to_be_empty(run, tmp_path):  # noqa: F811
    run("init", "ada")
    run("-C", "ada", "remote", "add", "origin", "../store")
    cloned = run("clone", "store", "bob")
    assert cloned.code == 0 and "empty store" in cloned.out


def test_a_push_that_is_too_late_ends_with_4_and_a_pull_brings_both_together(two):
    ada, bob, work = two
    _commit(bob, work / "bob" / "b.txt", "from bob\n", "from bob")
    bob("push")
    _commit(ada, work / "ada" / "a.txt", "ONE\ntwo\nthree\n", "from ada")
    late = ada("push", code=4)
    assert "origin has versions that are not here" in late.err and "hint: mvc pull" in late.err
    ada("fetch")
    assert "ahead 1, behind 1 of origin/main" in ada("status").out
    pulled = ada("pull")
    assert "Merge branch 'main' of origin" in pulled.out and "1 file changed" in pulled.out
    ada("push")
    assert "fast-forward" in bob("pull").out
    assert (work / "bob" / "a.txt").read_text() == "ONE\ntwo\nthree\n"


def test_a_conflict_says_what_to_do(two):
    ada, bob, work = two
    _commit(bob, work / "bob" / "a.txt", "one\nBOB\nthree\n", "from bob")
    bob("push")
    _commit(ada, work / "ada" / "a.txt", "one\nADA\nthree\n", "from ada")
    result = ada("pull", code=4)
    assert "a.txt" in result.out and "mvc merge --continue" in result.err
    assert ">>>>>>> origin/main" in (work / "ada" / "a.txt").read_text()
    (work / "ada" / "a.txt").write_text("one\nboth\nthree\n")
    ada("merge", "--continue")
    ada("push")
    bob("pull")
    assert (work / "bob" / "a.txt").read_text() == "one\nboth\nthree\n"


def test_a_pull_with_work_in_the_way_says_what_came_and_offers_no_force(two):
    ada, bob, work = two
    _commit(bob, work / "bob" / "b.txt", "from bob\n", "from bob")
    bob("push")
    (work / "ada" / "b.txt").write_text("mine\n")
    stopped = ada("pull", code=4)
    assert "came from origin: 1 version" in stopped.out and "main -> origin/main" in stopped.out
    assert "would be lost: b.txt" in stopped.err and "force" not in stopped.err
    assert (work / "ada" / "b.txt").read_text() == "mine\n"
    (work / "ada" / "b.txt").write_text("b\n")
    assert "fast-forward" in ada("pull").out


def test_where_only_refs_move_nothing_is_counted(two):
    ada, _bob, _work = two
    ada("tag", "v1")
    assert ada("push", "origin", "v1").out.splitlines() == ["pushed to origin:", " *  [new tag]  v1"]


def test_wrong_words_and_addresses_get_a_line_that_can_be_typed(two, run):  # noqa: F811
    ada, _bob, _work = two
    assert "hint: mvc remote add NAME ADDRESS" in ada("remote", "add", "x", code=2).err
    assert "hint: mvc remote show NAME" in ada("remote", "show", code=2).err
    missing = _checked(run("clone", "nowhere"), 3).err
    assert "no store in " in missing and "check the address" in missing
    assert (
        "hint: mvc push REMOTE HEAD:BRANCH" in [ada("switch", "--detach", "HEAD"), ada("push", code=3)][1].err
    )


def test_a_shared_store_that_is_taken_for_a_repository_is_told_from_one(two, run):  # noqa: F811
    _ada, _bob, work = two
    assert "mvc -R ADDRESS" in _checked(run("-C", "store", "log"), 3).err
    with pytest.raises(RepositoryNotFound) as found:
        mvc.Repo.open(work / "store")
    assert "mvc.Repo.open('file://" in found.value.hint
    assert "mvc init" in _checked(run("log"), 3).err


def test_json_of_every_command(two):
    ada, bob, work = two
    _commit(bob, work / "bob" / "b.txt", "from bob\n", "from bob")
    pushed = bob("push", "--json").data
    assert (pushed["remote"], pushed["url"], pushed["commits"]) == ("origin", str(work / "store"), 1)
    assert pushed["dry_run"] is False and pushed["bytes"] > 0
    [update] = pushed["updates"]
    assert (update["ref"], update["source"], update["kind"]) == ("refs/heads/main",) * 2 + ("fast-forward",)
    [fetched] = ada("fetch", "--json").data
    assert fetched["updates"][0]["ref"] == "refs/remotes/origin/main"
    assert fetched["updates"][0]["after"] == update["after"]
    status = ada("status", "--json").data["upstream"]
    assert status == {"name": "origin/main", "commit": update["after"], "ahead": 0, "behind": 1}
    pulled = ada("pull", "--json").data
    assert pulled["fetched"]["updates"] == [] and pulled["merged"]["kind"] == "fast-forward"
    cloned = ada("clone", "../store", "../third", "--json").data
    assert (cloned["branch"], cloned["commit"], cloned["resumed"]) == ("main", update["after"], False)
    assert ada("remote", "--json").data == [{"name": "origin", "url": str(work / "store")}]
    shown = ada("remote", "show", "origin", "--json").data
    assert shown["default"] == "main" and shown["branches"][0]["followers"] == [
        {"branch": "main", "ahead": 0, "behind": 0}
    ]
    added = ada("remote", "add", "second", "../second", "--json").data
    assert added == {"name": "second", "url": str(work / "second"), "created": True}
    rows = ada("branch", "--all", "--json").data
    assert [(row["name"], row["remote"]) for row in rows] == [("main", False), ("origin/main", True)]
    assert rows[0]["upstream"]["name"] == "origin/main"
    assert ada("log", "--json").data[0]["remotes"] == ["origin/main"]
    assert ada("remote", "prune", "origin", "--json").data["updates"] == []


def test_a_rewound_branch_is_told_with_where_it_was(two):
    ada, bob, work = two
    _commit(ada, work / "ada" / "a.txt", "lost\n", "to be lost")
    ada("push")
    bob("fetch")
    lost = ada("rev-parse", "HEAD").out.strip()
    ada("reset", "--hard", "HEAD~1")
    assert f"it would lose versions up to {lost[:12]}" in ada("push", code=4).err
    assert "forced update" in ada("push", "--force-with-lease").out
    told = bob("fetch").out
    assert "forced update" in told and lost in told
    bob("branch", "kept", lost)
    (work / "bob" / "b.txt").write_text("of bob\n")
    bob("commit", "-m", "of bob")
    assert "it is not where it was" in bob("push", "--force-with-lease=main:kept", code=4).err


def test_undo_of_a_push_names_the_command_that_takes_it_back(two):
    ada, _bob, work = two
    old = ada("rev-parse", "HEAD").out.strip()
    _commit(ada, work / "ada" / "a.txt", "oops\n", "oops")
    ada("push")
    refused = ada("undo", code=3)
    assert "the remote keeps" in refused.err
    command = refused.err.partition("hint: mvc ")[2].partition(" moves it")[0].split()
    assert command == ["push", "origin", f"+{old}:main"]
    ada(*command)
    assert ada("rev-parse", "origin/main").out.strip() == old


def test_branches_that_follow(two):
    ada, bob, _work = two
    ada("switch", "-c", "try")
    ada("push", "-u", "origin", "try")
    bob("fetch")
    assert bob("branch", "-r").out.split()[0::2] == ["origin/main", "origin/try"]
    bob("switch", "try")
    assert "[origin/try]" in bob("branch", "-v").out
    bob("branch", "-u", "origin/main", "try")
    assert bob("rev-parse", "try@{u}").out == bob("rev-parse", "origin/main").out
    bob("branch", "--unset-upstream", "try")
    assert "[origin/try]" in bob("branch", "-v").out, "by its name"
    assert bob("branch", "-u", "main", code=3).err.startswith("error: main is no branch of a remote")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("push", "nowhere"), 3, "no remote 'nowhere'"),
        (("fetch", "--all", "origin"), 2, "--all takes no remote"),
        (("fetch", "--tags", "--no-tags"), 2, "do not go together"),
        (("fetch", "origin", "nothing"), 3, "origin has no 'nothing'"),
        (("pull", "--ff-only", "--no-ff"), 2, "do not go together"),
        (("pull", "origin", "nothing"), 3, "no branch 'nothing'"),
        (("push", "--delete"), 2, "which refs"),
        (("push", "origin", "a:b:c"), 2, "no refspec"),
        (("push", "origin", "nothing"), 3, "nothing"),
        (("push", "origin", "--force-with-lease=side"), 2, "not pushed"),
        (("push", "origin", "main:refs/remotes/x/y"), 3, "never leaves"),
        (("remote", "frobnicate"), 2, "'frobnicate' is none of add"),
        (("remote", "add", "origin"), 2, "NAME ADDRESS"),
        (("remote", "add", "origin", "../other"), 4, "a remote 'origin' already"),
        (("remote", "add", "x", "s3://user:secret@bucket"), 3, "must not have"),
        (("remote", "add", "x", "ftp://host/path"), 3, "no ftp:// stores"),
        (("remote", "remove", "x"), 3, "x"),
        (("clone", "../nowhere", "copy"), 3, "no store"),
        (("clone", "../store", "../ada"), 3, "not empty"),
        (("clone", "../store", "../new", "--depth", "0"), 2, "depth"),
    ],
)
def test_mistakes_are_told_in_one_line(two, words, code, said):
    ada, _bob, _work = two
    result = ada(*words, code=code)
    assert said in result.err and "secret" not in result.err
    lines = result.err.splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= 2


def test_a_force_with_lease_takes_a_value_only_behind_an_equals_sign(two):
    ada, _bob, work = two
    _commit(ada, work / "ada" / "a.txt", "x\n", "x")
    ada("push", "--force-with-lease", "origin", "main")
    ada("push", "origin", "main", "--force-with-lease=main")


def test_completion_offers_remotes_and_their_branches(two, monkeypatch):
    from mvc.cli.complete import offers
    from mvc.context import Context

    ada, _bob, work = two
    ada("push", "origin", "main:side")
    ada("fetch")
    context = Context.of_process().inside(str(work / "ada"))

    def offered(*before, current=""):
        return {item.text for item in offers(context, list(before), current)}

    assert offered("push") == {"origin"} == offered("remote", "show") == offered("pull")
    assert offered("pull", "origin") == {"main", "side"}
    assert {"main"} <= offered("push", "origin")
    assert "origin/side" in offered("log", current="ori")
    assert {"add", "show", "set-url"} <= offered("remote")


@pytest.mark.parametrize(
    "address",
    [
        "user:secret@host:/models",
        "user:secret@host/models",
        "user:secret@host",
        "//user:secret@host/models",
        "https://user:secret@host/models",
        "s3://user:sec/secret@bucket/x",
        "s3://bucket/x?key=secret",
    ],
)
def test_a_password_in_an_address_is_neither_printed_nor_kept(two, address):
    ada, _bob, work = two
    lines = [
        ("clone", address, "../x"),
        ("remote", "add", "x", address),
        ("remote", "set-url", "origin", address),
    ]
    lines += [("push", address, "main"), ("fetch", address), ("pull", address, "main")]
    lines += [("-R", address, "log")]
    for words in lines:
        result = ada(*words, code=3)
        assert "secret" not in result.err + result.out
    assert not any(b"secret" in path.read_bytes() for path in work.rglob("*") if path.is_file())


def test_damage_at_a_remote_is_not_taken_for_damage_here(two):
    ada, bob, work = two
    _commit(ada, work / "ada" / "a.txt", "more\n", "second")
    ada("push")
    root = work / "store" / "root"
    root.write_bytes(bytes(len(root.read_bytes())))
    for words, said in [
        (("fetch",), "fetching from origin: root is damaged"),
        (("pull",), "fetching from origin: root is damaged"),
        (("push", "origin", "main:other"), "pushing to origin: root is damaged"),
        (("remote", "show", "origin"), "origin: root is damaged"),
        (("remote", "prune", "origin"), "origin: root is damaged"),
        (("fsck", "--remote", "origin"), "origin: root is damaged"),
        (("gc", "--remote", "origin"), "origin: root is damaged"),
        (("stats", "--remote", "origin"), "origin: root is damaged"),
        (("clone", "../store", "../third"), "store: root is damaged"),
        (("-R", str(work / "store"), "log"), "store: root is damaged"),
    ]:
        result = bob(*words, code=5)
        assert said in result.err and "mvc repair" not in result.err
    assert bob("fsck").code == 0
    assert not (work / "third").exists()


def test_what_a_clone_was_called_for_is_looked_at_before_a_folder_is_made(two):
    ada, _bob, work = two
    assert "no branch or tag 'nope'" in ada("clone", "-b", "nope", "../store", "../third", code=3).err
    assert ada("clone", "../store", "", code=2).err.startswith("error: the folder's name is empty")
    os.mkfifo(work / "pipe")
    assert "no store" in ada("clone", "../pipe", "../third", code=3).err
    assert not (work / "third").exists()


def test_a_clone_that_was_killed_before_its_note_goes_on(two):
    ada, _bob, work = two
    begun = work / "third" / ".mvc"
    begun.mkdir(parents=True)
    (begun / "cloning.new").write_text("half of an addr")
    assert "cloned into" in ada("clone", "../store", "../third").out
    (work / "fourth" / ".mvc" / "packs").mkdir(parents=True)
    assert "not empty" in ada("clone", "../store", "../fourth", code=3).err


def test_a_ctrl_c_while_mvc_is_still_starting_is_no_traceback(tmp_path):
    """The imports of a command take a tenth of a second, in which somebody may think better of it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mvc.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
    )
    package = str(Path(mvc.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), package])}
    done = subprocess.run(
        [sys.executable, "-m", "mvc", "status"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_password_that_somebody_wrote_into_the_settings_is_not_shown(two):
    _ada, bob, work = two
    config = work / "bob" / ".mvc" / "config"
    for address in ("s3://user:secret@bucket/x", "https://user:secret@host/x", "user:secret@host:/x"):
        config.write_text(f'[remote.origin]\nurl = "{address}"\n')
        assert "secret" not in bob("remote", "-v").out and "…@" in bob("remote", "-v").out
        assert "secret" not in bob("remote", "--json").out
        for words in (
            ("fetch",),
            ("push",),
            ("pull",),
            ("remote", "show", "origin"),
            ("remote", "prune", "origin"),
        ):
            assert "secret" not in bob(*words, code=3).err
