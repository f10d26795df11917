"""``undo`` after any command restores refs, HEAD and work tree exactly, also after a collection.

A command that is missing from these tables fails a test, so that a new one cannot forget its undo.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mvc.cli.table import COMMANDS
from tests.engine import assert_sound, tree
from tests.git_pair import Mvc
from tests.make_files import finetuned, random_weights, safetensors_bytes

LOOKING = {
    *("status", "log", "show", "diff", "ls", "cat", "stats", "fsck", "doctor", "completion", "estimate"),
    *("blame", "grep", "merge-base", "rev-parse"),
}
"""Commands that change neither refs nor HEAD nor files."""

NOT_UNDONE = {
    "init": "there is nothing before it",
    "demo": "it plays in a folder of its own",
    "config": "settings are no part of any version; the command says what they were",
    "purge": "it is there so that nothing brings back what it took",
    "gc": "what was thrown away is gone; it throws away nothing that undo needs",
    "push": "the remote keeps what it has; undo says how to move it back there",
    "clone": "it makes a repository, in which what it did is undone",
    "bundle": "it writes a file beside the repository",
    "export": "it writes files beside the repository",
    "repair": "it changes no version and no ref that can be read; what it names anew can be deleted",
}

Act = Callable[[Path], object] | tuple[str, ...]
"""What happens before: something to the files, or a command."""


class Case(NamedTuple):
    """A command whose undo is tested; ``before`` happens first, ``code`` is what the command answers."""

    words: tuple[str, ...]
    before: tuple[Act, ...] = ()
    code: int = 0

    @property
    def command(self) -> str:
        return self.words[0]


def write(path: str, text: str) -> Act:
    return lambda folder: (folder / path).write_text(text)


def delete(path: str) -> Act:
    return lambda folder: (folder / path).unlink()


LINES = [f"line {number}\n" for number in range(9)]


def text(**changed: str) -> str:
    """Nine lines, some of them others: ``l3="new"``."""
    lines = list(LINES)
    for name, value in changed.items():
        lines[int(name[1:])] = value + "\n"
    return "".join(lines)


def checkpoints(folder: Path) -> None:
    """Two of them beside the repository, with a file of its own versions."""
    for number in (1, 2):
        place = folder.parent / "to-import" / f"checkpoint-{number}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.txt").write_text(f"{number}\n")
        (place / "model.bin").write_bytes(bytes([number]) * 5000)


EDIT = write("a.txt", text(l8="edited"))
GONE = delete("d/x")
ADDED = write("added", "new\n")
AGAIN = (write("a.txt", text(l2="again")), ("commit", "-m", "again"))
SHARED = (("remote", "add", "origin", "../hub"), ("push", "origin", "clean:main"))
FORGOTTEN = (*SHARED, ("remote", "remove", "origin"), ("remote", "add", "origin", "../hub"))
"""A store with a version that main lacks, of which nothing is followed."""
DETACHED = ("checkout", "--detach", "main")

CASES: dict[str, Case] = {
    "commit": Case(("commit", "-m", "m"), (EDIT, GONE, ADDED)),
    "commit of a path": Case(("commit", "-m", "m", "--", "a.txt"), (EDIT, GONE)),
    "empty commit": Case(("commit", "-m", "m", "--allow-empty")),
    "commit on no branch": Case(("commit", "-m", "m"), (DETACHED, EDIT)),
    "amend": Case(("commit", "--amend", "-m", "better"), (EDIT,)),
    "branch": Case(("branch", "new", "main~1")),
    "branch --force": Case(("branch", "--force", "side", "main")),
    "branch --delete": Case(("branch", "--delete", "--force", "side")),
    "several branches deleted": Case(("branch", "--delete", "old", "older")),
    "branch --move": Case(("branch", "--move", "side", "renamed")),
    "the current branch renamed": Case(("branch", "--move", "trunk")),
    "tag": Case(("tag", "new")),
    "annotated tag": Case(("tag", "new", "-m", "why")),
    "tag moved": Case(("tag", "--force", "v1", "main")),
    "tag --delete": Case(("tag", "--delete", "v1")),
    "checkout": Case(("checkout", "side")),
    "checkout of a version": Case(("checkout", "v1")),
    "checkout -b": Case(("checkout", "-b", "new", "side")),
    "checkout --force": Case(("checkout", "--force", "side"), (EDIT, GONE, write("b.bin", "mine"))),
    "checkout --force to the same": Case(("checkout", "--force", "main"), (EDIT, GONE)),
    "checkout over an untracked file": Case(("checkout", "--force", "clean"), (write("n.txt", "mine"),)),
    "checkout of a file": Case(("checkout", "side", "--", "a.txt")),
    "checkout of a file over work": Case(("checkout", "--force", "side", "--", "a.txt"), (EDIT,)),
    "checkout of a folder": Case(("checkout", "v1", "--", "d"), (GONE,)),
    "switch": Case(("switch", "side")),
    "switch -c": Case(("switch", "-c", "new", "side")),
    "switch -C": Case(("switch", "-C", "side", "main")),
    "switch --detach": Case(("switch", "--detach", "v1")),
    "switch --orphan": Case(("switch", "--force", "--orphan", "new")),
    "switch back": Case(("switch", "-"), (("switch", "side"), ("switch", "clean"))),
    "switch --discard-changes": Case(("switch", "--discard-changes", "side"), (EDIT, GONE)),
    "restore": Case(("restore", "a.txt", "d"), (EDIT, GONE)),
    "restore --source": Case(("restore", "--source", "side", "a.txt", "b.bin")),
    "restore of all": Case(("restore", "--source", "side", "."), (EDIT,)),
    "reset": Case(("reset", "main~1")),
    "reset --soft": Case(("reset", "--soft", "side"), (EDIT,)),
    "reset --hard": Case(("reset", "--hard", "side"), (EDIT, GONE)),
    "reset --hard to the same": Case(("reset", "--hard"), (EDIT, GONE)),
    "reset --hard on no branch": Case(("reset", "--hard", "side"), (DETACHED,)),
    "merge, fast-forward": Case(("merge", "ahead")),
    "merge --no-ff": Case(("merge", "--no-ff", "-m", "m", "ahead")),
    "merge": Case(("merge", "clean")),
    "merge on no branch": Case(("merge", "clean"), (DETACHED,)),
    "merge --squash": Case(("merge", "--squash", "clean")),
    "merge --no-commit": Case(("merge", "--no-commit", "clean")),
    "merge with conflicts": Case(("merge", "side"), code=4),
    "merge with a strategy": Case(("merge", "--strategy", "ours", "side")),
    "merge --abort": Case(("merge", "--abort"), (("merge", "side"),)),
    "merge --abort of work": Case(("merge", "--abort"), (("merge", "side"), EDIT)),
    "merge --continue": Case(("merge", "--continue"), (("merge", "side"), EDIT)),
    "merge --continue with a strategy": Case(
        ("merge", "--continue", "--strategy", "theirs"), (("merge", "side"),)
    ),
    "a merge concluded by commit": Case(("commit", "-m", "m"), (("merge", "side"), EDIT)),
    "a prepared merge concluded": Case(("merge", "--continue"), (("merge", "--no-commit", "clean"),)),
    "restore --theirs": Case(("restore", "--theirs", "a.txt"), (("merge", "side"),)),
    "restore in a merge": Case(("restore", "a.txt"), (("merge", "side"), EDIT)),
    "reset --hard in a merge": Case(("reset", "--hard"), (("merge", "side"), EDIT)),
    "reset in a merge": Case(("reset",), (("merge", "side"),)),
    "cherry-pick": Case(("cherry-pick", "clean")),
    "cherry-pick of several": Case(("cherry-pick", "clean", "ahead")),
    "cherry-pick --no-commit": Case(("cherry-pick", "--no-commit", "clean")),
    "cherry-pick with conflicts": Case(("cherry-pick", "side"), code=4),
    "cherry-pick that stops midway": Case(("cherry-pick", "clean", "side", "ahead"), code=4),
    "cherry-pick --continue": Case(
        ("cherry-pick", "--continue"), (("cherry-pick", "clean", "side", "ahead"), EDIT)
    ),
    "cherry-pick --skip": Case(("cherry-pick", "--skip"), (("cherry-pick", "clean", "side", "ahead"),)),
    "cherry-pick --abort": Case(("cherry-pick", "--abort"), (("cherry-pick", "clean", "side"),)),
    "revert": Case(("revert", "HEAD")),
    "revert of two": Case(("revert", "HEAD", "HEAD~1"), (("merge", "ahead"),)),
    "revert with conflicts": Case(("revert", "HEAD~1"), AGAIN, code=4),
    "revert --continue": Case(("revert", "--continue"), (*AGAIN, ("revert", "HEAD~1"), EDIT)),
    "revert --skip": Case(("revert", "--skip"), (*AGAIN, ("revert", "HEAD~1", "HEAD"))),
    "revert --abort": Case(("revert", "--abort"), (*AGAIN, ("revert", "HEAD~1"))),
    "notes add": Case(("notes", "add", "v1", "--metric", "acc=0.9")),
    "notes add to others": Case(("notes", "add", "-m", "m"), (("notes", "add", "v1", "-m", "first"),)),
    "notes remove": Case(("notes", "remove", "v1"), (("notes", "add", "v1", "-m", "first"),)),
    "bisect start": Case(("bisect", "start", "ahead", "v1")),
    "bisect start without a word": Case(("bisect", "start")),
    "bisect good": Case(("bisect", "good"), (("bisect", "start", "ahead", "v1"),)),
    "bisect bad": Case(("bisect", "bad"), (("bisect", "start", "ahead", "v1"),)),
    "bisect skip": Case(("bisect", "skip"), (("bisect", "start", "ahead", "v1"),), code=1),
    "bisect run": Case(("bisect", "run", "true"), (("bisect", "start", "ahead", "v1"),)),
    "bisect reset": Case(("bisect", "reset"), (("checkout", "clean"), ("bisect", "start", "ahead", "v1"))),
    "oplog restore into a merge": Case(
        ("oplog", "restore", "OLD"), (("merge", "side"), ("merge", "--abort"), ("tag", "later"))
    ),
    "oplog restore": Case(("oplog", "restore", "OLD")),
    "oplog restore --force": Case(("oplog", "restore", "OLD", "--force"), (EDIT, ADDED)),
    "import": Case(("import", "-b", "imported", "../to-import"), (checkpoints,)),
    "import over work": Case(("import", "../to-import"), (checkpoints, EDIT), code=4),
    "fetch": Case(("fetch",), FORGOTTEN),
    "fetch into a branch": Case(("fetch", "origin", "main:fetched"), FORGOTTEN),
    "pull": Case(("pull",), FORGOTTEN),
    "pull over work elsewhere": Case(("pull", "--no-ff"), (*FORGOTTEN, write("mine", "other\n"))),
    "remote remove": Case(("remote", "remove", "origin"), SHARED),
    "undo of a commit": Case(("undo",), (EDIT, ("commit", "-m", "m"))),
    "undo of a checkout": Case(("undo",), (("checkout", "side"),)),
    "undo --force": Case(("undo", "--force"), (("checkout", "side"), write("a.txt", "mine\n"))),
    "undo of an undo": Case(("undo", "NEWEST"), (EDIT, ("commit", "-m", "m"), ("undo",))),
}

CASES = {name: case for name, case in CASES.items() if case.command in COMMANDS}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Branches that go together with main and such that do not, beside an untracked file."""
    mvc = Mvc(tmp_path_factory.mktemp("base") / "repo")
    folder = mvc.folder
    rng = np.random.default_rng(3)
    weights = random_weights(rng, {"a": (40, 50), "b": (7,)}, "BF16")

    def step(*words: str) -> None:
        mvc.seconds += 1
        assert mvc.run(*words) == 0, mvc.said

    (folder / "d").mkdir()
    (folder / "a.txt").write_text(text())
    (folder / "d" / "x").write_text("x\n")
    (folder / "run.sh").write_text("echo\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "b.bin").write_bytes(bytes(range(256)))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(weights))
    step("commit", "-m", "one")
    step("tag", "v1", "-m", "the first")
    step("branch", "side")
    step("branch", "clean")
    step("branch", "older")
    (folder / "a.txt").write_text(text(l2="ours"))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(finetuned(weights, rng, 0.01)))
    step("commit", "-m", "two")
    step("branch", "old")
    step("checkout", "-b", "ahead")
    (folder / "more").write_text("more\n")
    step("commit", "-m", "ahead of main")
    step("checkout", "side")
    (folder / "a.txt").write_text(text(l2="theirs"))
    (folder / "b.bin").unlink()
    (folder / "d" / "x").unlink()
    (folder / "d").rmdir()
    (folder / "d").write_text("a file\n")
    step("commit", "-m", "in main's way")
    step("checkout", "clean")
    (folder / "a.txt").write_text(text(l6="from clean"))
    (folder / "n.txt").write_text("n\n")
    step("commit", "-m", "goes with main")
    step("checkout", "main")
    (folder / "mine").write_text("untracked\n")
    return folder


class Place:
    """A copy of the base, and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.mvc = Mvc.__new__(Mvc)
        self.mvc.folder, self.mvc.seconds, self.mvc.said = folder, 1_800_000_000, ""

    def run(self, *words: str) -> int:
        self.mvc.seconds += 1
        return self.mvc.run(*[self.operation(word) for word in words])

    def operation(self, word: str) -> str:
        """``NEWEST`` and ``OLD`` are operations' ids."""
        if word not in ("NEWEST", "OLD"):
            return word
        return self.operations()[0 if word == "NEWEST" else -3]["id"]

    def operations(self) -> list[dict]:
        assert self.mvc.run("oplog", "--json") == 0
        return json.loads(self.mvc.said)

    def act(self, act: Act) -> None:
        if callable(act):
            act(self.mvc.folder)
        else:
            assert self.run(*act) in (0, 4), self.mvc.said  # 4: a merge that has stopped

    def collect(self, words: tuple[str, ...]) -> None:
        if words:
            assert self.run(*words) == 0, self.mvc.said

    def state(self) -> tuple:
        """All refs, whatever they are for, HEAD, and every file."""
        with self.mvc.reading() as view:
            return dict(view.refs.values()), view.root.head, tree(self.mvc.folder)


@pytest.fixture
def place(base: Path, tmp_path: Path) -> Place:
    shutil.copytree(base, tmp_path / "repo")
    return Place(tmp_path / "repo")


COLLECTIONS = [
    pytest.param((), None, id="as it is"),
    pytest.param(("gc", "--repack"), "run.sh", id="work lies about, all is stored anew"),
    pytest.param(("gc", "--expire", "30"), None, id="what is old goes", marks=pytest.mark.slow),
]
"""Each with what collects and a file that is edited before."""


@pytest.mark.parametrize(("collection", "dirty"), COLLECTIONS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_undo_restores_everything(place: Place, case: Case, collection: tuple[str, ...], dirty: str | None):
    if dirty is not None:
        (place.mvc.folder / dirty).write_text("uncommitted\n")  # in nobody's way
        (place.mvc.folder / dirty).chmod(0o644)
    for act in case.before:
        place.act(act)
    before, count = place.state(), len(place.operations())
    place.mvc.seconds += 60 * 86_400  # what was done until here is older than what a collection may keep
    assert place.run(*case.words) == case.code, place.mvc.said
    made, after = len(place.operations()) - count, place.state()
    assert made >= 1
    assert after != before
    place.collect(collection)
    for number in range(made):  # what a command does one after the other is undone one by one
        # an undo is taken back by its name: without one, undo goes further back
        name = (place.operations()[2 * number]["id"],) if case.command == "undo" else ()
        assert place.run("undo", *name) == 0, place.mvc.said
    assert place.state() == before
    place.collect(collection)
    for number in range(made):
        assert place.run("undo", place.operations()[2 * number]["id"]) == 0, place.mvc.said
    assert place.state() == after
    assert_sound(place.mvc.folder)


def test_everything_after_each_other_and_back(place: Place):
    """Each command after the one before it, where it can be; then back through all states."""
    for act in (EDIT, ("commit", "-m", "begin")):
        place.act(act)
    states = []
    for name, case in CASES.items():
        if case.command in ("undo", "oplog"):
            continue
        for act in case.before:
            if callable(act):
                with contextlib.suppress(OSError):
                    act(place.mvc.folder)
        before, count = place.state(), len(place.operations())
        place.run(*case.words)
        made = len(place.operations()) - count
        if made:
            states.append((name, made, before, place.state()))
    assert len(states) > 8
    place.collect(("gc", "--repack"))
    for name, made, before, after in reversed(states):
        # files were written between two commands: refs and HEAD are what can be compared
        assert place.state()[:2] == after[:2], name
        for _ in range(made):
            assert place.run("undo", "--force") == 0, place.mvc.said
        assert place.state()[:2] == before[:2], name
    assert_sound(place.mvc.folder)


def test_an_ignored_program_that_was_overwritten_is_one_again(place: Place):
    folder = place.mvc.folder
    (folder / ".mvcignore").write_text("n.txt\n")
    (folder / "n.txt").write_text("#!/bin/sh\n")
    (folder / "n.txt").chmod(0o755)
    before = place.state()
    assert place.run("checkout", "--force", "clean") == 0, place.mvc.said
    assert (folder / "n.txt").read_text() == "n\n"
    assert place.run("undo") == 4  # what is ignored is never overwritten unasked, even where it is known
    assert place.run("undo", "--force") == 0, place.mvc.said
    assert place.state() == before


def test_every_command_is_here():
    tested = {case.command for case in CASES.values()}
    missing = set(COMMANDS) - tested - LOOKING - set(NOT_UNDONE)
    assert not missing, f"give {missing} a case in CASES, or say in LOOKING or NOT_UNDONE why it has none"


def test_what_only_looks_changes_nothing(place: Place):
    (place.mvc.folder / "a.txt").write_text("edited")
    before, count = place.state(), len(place.operations())
    words = {
        "cat": ("cat", "main:a.txt"),
        "completion": ("completion", "bash"),
        "estimate": ("estimate", "."),
        "blame": ("blame", "a.txt"),
        "grep": ("grep", "weight"),
        "merge-base": ("merge-base", "main", "side"),
        "rev-parse": ("rev-parse", "main"),
    }
    for command in sorted(LOOKING & set(COMMANDS)):
        place.run(*words.get(command, (command,)))
        assert place.state() == before, command
    assert len(place.operations()) == count
