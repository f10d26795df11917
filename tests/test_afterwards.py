"""A command that fails behind its swap of root says that its change is made, and tried again it finds it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mvc.cli import main as cli
from mvc.cli.call import Call
from mvc.errors import Unfinished
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops import tag as tag_op
from mvc.repo import Repository
from tests.faults import FaultIO

COMMANDS = {
    "commit": ["commit", "-m", "third"],
    "amend": ["commit", "--amend", "-m", "better"],
    "tag": ["tag", "v1"],
    "annotated": ["tag", "v1", "-m", "first release"],
    "delete": ["tag", "-d", "old"],
    "branch": ["branch", "new"],
    "rename": ["branch", "-m", "side", "other"],
    "merge": ["merge", "side", "-m", "both"],
    "checkout -b": ["checkout", "-b", "new"],
    "reset": ["reset", "--hard", "HEAD~1"],
    "undo": ["undo"],
    "notes": ["notes", "add", "-m", "good one"],
    "cherry-pick": ["cherry-pick", "side"],
    "revert": ["revert", "HEAD"],
}
NEEDS_CHANGE = {"commit", "amend"}
SEVERAL_OPERATIONS = {"notes"}


class AfterSwap(FaultIO):
    """A disk on which one step behind the swap of root goes wrong; step 0 is the swap itself, which took
    place all the same."""

    def __init__(self, step: int, error: BaseException | None = None) -> None:
        super().__init__()
        self.left = step
        self.swapped = self.gone_wrong = False
        self._raised = error or OSError(errno.EIO, os.strerror(errno.EIO))

    def _run(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if not self.swapped:
            result = super()._run(name, args, keywords)
            if name == "replace" and str(args[1]).endswith(".mvc/root"):
                self.swapped = True
                self._count()
            return result
        if name == "close" or self.gone_wrong:
            return super()._run(name, args, keywords)
        self._count()
        return super()._run(name, args, keywords)

    def _count(self) -> None:
        if self.left == 0 and not self.gone_wrong:
            self.gone_wrong = True
            raise self._raised
        self.left -= 1


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(folder: Path, words: list[str], io: FileIO | None = None) -> int:
        def call(*args: Any, **keywords: Any) -> Call:
            made = Call(*args, **keywords)
            made.io = io or FaultIO()
            return made

        monkeypatch.setattr(cli, "Call", call)
        monkeypatch.chdir(folder)
        for name in ("MVC_AUTHOR_NAME", "MVC_AUTHOR_EMAIL"):
            monkeypatch.delenv(name, raising=False)
        return cli.main(words)

    return run


@pytest.fixture
def made(tmp_path: Path, run: Callable[..., int]) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    for number, words in enumerate(
        (["init"], ["config", "user.name", "Ada"], ["config", "user.email", "ada@example.org"])
    ):
        assert run(folder, words) == 0, number
    (folder / "a.txt").write_text("one\n")
    assert run(folder, ["commit", "-m", "first"]) == 0
    assert run(folder, ["checkout", "-b", "side"]) == 0
    (folder / "b.txt").write_text("side\n")
    assert run(folder, ["commit", "-m", "on the side"]) == 0
    assert run(folder, ["checkout", "main"]) == 0
    (folder / "a.txt").write_text("two\n")
    assert run(folder, ["commit", "-m", "second"]) == 0
    assert run(folder, ["tag", "old", "HEAD~1"]) == 0
    return folder


def operations(folder: Path) -> int:
    return sum(1 for _ in Repository.open(FileIO(), folder, Monitor()).read().operations())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_failure_behind_the_swap_says_so_and_a_second_try_finds_it(
    name: str, made: Path, tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words, step, told = COMMANDS[name], 0, 0
    while True:
        folder = tmp_path / str(step)
        shutil.copytree(made, folder)
        if name in NEEDS_CHANGE:
            (folder / "a.txt").write_text("three\n")
        before = operations(folder)
        io = AfterSwap(step)
        capsys.readouterr()
        code = run(folder, words, io)
        errors = capsys.readouterr().err
        assert operations(folder) == before + 1, f"step {step}: {errors}"
        if not io.gone_wrong:
            assert code == 0
            break
        assert code in (0, 6), f"step {step}: {errors}"
        if code == 6:
            told += 1
            assert "committed as" in errors or "recorded as operation" in errors, errors
            again = run(folder, words)
            said = capsys.readouterr()
            assert again == 0, f"step {step}: {said.err}"
            assert operations(folder) == before + 1, f"step {step}: done twice; {said.out}"
            assert run(folder, ["status"]) == 0
            assert run(folder, ["fsck", "-q"]) == 0
        shutil.rmtree(folder)
        step += 1
    assert told, "no step went wrong in a way that is told"


def test_an_interrupt_behind_the_swap_says_that_it_is_committed(
    made: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (made / "a.txt").write_text("three\n")
    assert run(made, ["commit", "-m", "third"], AfterSwap(0, KeyboardInterrupt())) == 130
    assert "committed as" in capsys.readouterr().err
    assert run(made, ["commit", "-m", "third"]) == 0
    assert "already committed as" in capsys.readouterr().out


def test_a_third_try_does_it_again(
    made: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = operations(made)
    assert run(made, ["undo"], AfterSwap(0)) == 6
    assert run(made, ["undo"]) == 0
    assert "already done" in capsys.readouterr().out
    assert operations(made) == before + 1
    assert run(made, ["undo"]) == 0
    assert operations(made) == before + 2


def test_without_a_failure_nothing_to_commit_is_told_as_before(
    made: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made, ["commit", "-m", "second"]) == 1
    assert "nothing to commit" in capsys.readouterr().err


def test_output_that_finds_no_room_does_not_hide_the_commit(
    made: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (made / "a.txt").write_text("three\n")

    def full(self: Call, line: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Call, "report", full)
    assert run(made, ["commit", "-m", "third"]) == 6
    assert "committed as" in capsys.readouterr().err


def test_where_root_cannot_be_read_back_it_is_said_that_nobody_knows(made: Path) -> None:
    class Dead(AfterSwap):
        def _run(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            self.gone_wrong = False
            self.left = min(self.left, 0)
            return super()._run(name, args, keywords)

    who = Person("Ada", "ada@example.org")
    from mvc.errors import StorageError

    with pytest.raises(StorageError, match="whether it was recorded cannot be told") as caught:
        tag_op.create(Repository.open(Dead(0), made, Monitor()), "v1", "HEAD", who, Timestamp(0, 0))
    assert not isinstance(caught.value, Unfinished)


def test_the_error_names_the_operation(made: Path) -> None:
    who = Person("Ada", "ada@example.org")
    repository = Repository.open(AfterSwap(0), made, Monitor())
    with pytest.raises(Unfinished) as caught:
        tag_op.create(repository, "v1", "HEAD", who, Timestamp(0, 0))
    newest = next(iter(Repository.open(FileIO(), made, Monitor()).read().operations()))
    assert caught.value.operation == newest.id.hex()
