"""Nobody leads mvc out of the work tree: a folder becomes a link before a command runs, and at each of its
steps, and nothing outside is created, changed, deleted or read into the store."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mvc.beneath import Beneath
from mvc.cli import main as cli
from mvc.cli.call import Call
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, TagId, TreeId
from mvc.repo import Repository
from tests.faults import FaultIO, snapshot

SECRET = b"not for the store: "
COMMANDS = {
    "commit": [["commit", "-m", "more"]],
    "checkout": [["checkout", "other"]],
    "switch back": [["switch", "empty"]],
    "restore": [["restore", "--source", "other", "."]],
    "merge": [["merge", "other", "-m", "both"]],
    "undo": [["undo"]],
    "forced": [["checkout", "--force", "other"]],
}
KINDS = {kind.kind: kind for kind in (BlobId, CommitId, ManifestId, TagId, TreeId)}
FEW, MANY = 3, 60
"""Steps of a command at which the link appears."""


class Swapping(FaultIO):
    """A disk on which a folder becomes a link before a step, as if somebody had waited for it."""

    def __init__(self, folder: Path, outside: Path, step: int, *, one_call: bool) -> None:
        super().__init__()
        self.beneath = Beneath(one_call=one_call)
        self.at = step
        self.swapped = False
        self.folder, self.outside = folder, outside
        self._swapping = threading.Lock()

    def _run(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        with self._swapping:
            if self.steps + 1 >= self.at > 0 and not self.swapped and self.folder.is_dir():
                self.swapped = True
                self.folder.rename(self.folder.with_name("moved away"))
                self.folder.symlink_to(self.outside)
        return super()._run(name, args, keywords)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, words: list[str], io: FileIO | None = None) -> int:
    def call(*args: Any, **keywords: Any) -> Call:
        made = Call(*args, **keywords)
        made.io = io or FaultIO()
        return made

    monkeypatch.setattr(cli, "Call", call)
    monkeypatch.chdir(folder)
    return cli.main(words)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``main`` and ``other`` differ in all files of ``deep/er``, ``empty`` has none of them."""
    folder = tmp_path / "made"
    (folder / "deep" / "er").mkdir(parents=True)

    def do(*words: str) -> None:
        assert run(monkeypatch, folder, list(words)) == 0, words

    do("init")
    (folder / "top.txt").write_text("top\n")
    do("commit", "-m", "empty")
    do("branch", "empty")
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / "deep" / "er" / name).write_text(f"{name}\n" * 9)
    do("commit", "-m", "first")
    do("checkout", "-b", "other")
    for name in ("a.txt", "b.txt", "d.txt"):
        (folder / "deep" / "er" / name).write_text(f"other {name}\n" * 9)
    do("commit", "-m", "other")
    do("checkout", "main")
    (folder / "top.txt").write_text("top of main\n")
    (folder / "deep" / "er" / "c.txt").write_text("changed\n")
    do("commit", "-m", "main")
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The same names, other content."""
    folder = tmp_path / "outside"
    (folder / "er").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (folder / "er" / name).write_bytes(SECRET + name.encode())
    return folder


def holds_secret(folder: Path) -> bool:
    """Whether any object of the store has the bytes from outside; small files lie in their manifests."""
    view = Repository.open(FileIO(), folder, Monitor()).read()
    return any(SECRET in view.objects.get(KINDS[entry.kind](entry.id)) for entry in view.index.entries())


@pytest.mark.parametrize("samples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("one_call", [True, False], ids=["openat2", "name by name"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_link_that_appears_while_a_command_runs(
    name: str,
    one_call: bool,
    samples: int,
    made: Path,
    outside: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = snapshot(outside)

    def attempt(step: int) -> Swapping:
        folder = tmp_path / f"work-{step}"
        shutil.copytree(made, folder, symlinks=True)
        if name in ("commit", "forced"):
            (folder / "deep" / "er" / "a.txt").write_text("new\n")
        io = Swapping(folder / "deep", outside, step, one_call=one_call)
        for words in COMMANDS[name]:
            run(monkeypatch, folder, words, io)
        assert snapshot(outside) == before, f"step {step}"
        assert not holds_secret(folder), f"step {step}"
        # and what the next command makes of it
        run(monkeypatch, folder, ["status"], io)
        run(monkeypatch, folder, ["commit", "-m", "as it is"], io)
        assert snapshot(outside) == before, f"after step {step}"
        assert not holds_secret(folder), f"after step {step}"
        shutil.rmtree(folder)
        return io

    counting = Swapping(made / "deep", outside, 0, one_call=one_call)
    probe = tmp_path / "probe"
    shutil.copytree(made, probe)
    if name in ("commit", "forced"):
        (probe / "deep" / "er" / "a.txt").write_text("new\n")
    for words in COMMANDS[name]:
        assert run(monkeypatch, probe, words, counting) == 0
    swapped = 0
    for step in range(counting.steps // samples // 2 + 1, counting.steps, max(1, counting.steps // samples)):
        swapped += attempt(step).swapped
    assert swapped, "the link never came"


@pytest.mark.parametrize("one_call", [True, False], ids=["openat2", "name by name"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_link_that_is_there_before(
    name: str, one_call: bool, made: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(outside)
    io = Swapping(made / "deep", outside, 1, one_call=one_call)
    for words in COMMANDS[name]:
        run(monkeypatch, made, words, io)
    assert io.swapped
    assert snapshot(outside) == before
    assert not holds_secret(made)


# --- opening -----------------------------------------------------------------------------------------------
@pytest.fixture(params=[True, False], ids=["openat2", "name by name"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., int]:
    io = FileIO()
    io.beneath = Beneath(one_call=request.param)

    def opening(path: str, *, folder: bool = False) -> int:
        handle = io.open_beneath(tmp_path, path, folder=folder)
        if request.param and not io.beneath.one_call:
            pytest.skip("this kernel has no openat2")
        return handle

    return opening


def test_opening_follows_no_link(opening: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"inside")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "b" / "last").symlink_to("file")
    handle = opening("a/b/file")
    assert os.read(handle, 10) == b"inside"
    os.close(handle)
    for path in ("link/b/file", "a/up/a/b/file", "a/b/last", "link", "a/b/file/more"):
        with pytest.raises(NotADirectoryError):
            opening(path)
    for path in ("link/b", "a/up", "link", "a/b/file"):
        with pytest.raises(NotADirectoryError):
            opening(path, folder=True)
    for path in ("none", "a/none", "none/b"):
        with pytest.raises(FileNotFoundError):
            opening(path)
    handle = opening("a/b", folder=True)
    assert os.listdir(handle)
    os.close(handle)


def test_opening_never_waits_for_a_pipe(opening: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    os.close(opening("a/pipe"))


def test_no_handle_is_left_open(opening: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = len(os.listdir("/dev/fd"))
    for path in ("a/b/none", "a/none/b", "none/a/b"):
        with pytest.raises(FileNotFoundError):
            opening(path)
    os.close(opening("a/b", folder=True))
    assert len(os.listdir("/dev/fd")) == before


def test_a_kernel_without_openat2_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mvc.beneath as module

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    monkeypatch.setattr(module, "_NUMBER", 100_000)
    io = FileIO()
    io.beneath = Beneath()
    os.close(io.open_beneath(tmp_path, "a/file"))
    assert not io.beneath.one_call
    os.close(io.open_beneath(tmp_path, "a/file"))
