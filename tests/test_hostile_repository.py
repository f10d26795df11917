"""A repository folder that somebody else made, to do harm: nothing outside of it is read or written, nothing
of it runs, nothing hangs, memory stays bounded, and every command ends with an exit code that says so."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from mvc import canonical
from mvc.fileio import TemporaryNames
from mvc.worktree.journal import MAGIC as JOURNAL_MAGIC
from tests.engine import make_repository, snapshot, weights_versions

COMMANDS = [
    ["status"],
    ["log", "--stat"],
    ["ls", "--tensors"],
    ["show"],
    ["diff", "HEAD~1", "HEAD"],
    ["stats"],
    ["config", "--list"],
    ["oplog"],
    ["fsck", "--full"],
    ["commit", "--allow-empty", "-m", "x", "--author", "Ada <a@b.c>"],
    ["checkout", "HEAD~1", "--force"],
    ["tag", "v1"],
    ["gc"],
]
MOST_KIB = 300 << 10

RUN = """
import json, sys
from mvc.cli.main import main
for words in json.loads(sys.argv[1]):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    sys.stdout.flush()
    code = main(words)
    sys.stdout.flush()
    with open("/proc/self/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM")).split()[1]
    print(f"\\n@@ {code} {peak}", file=sys.stderr, flush=True)
"""

SECRET = b"secret of somebody else"


def files_below(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file() and not path.is_symlink())


def one(store: Path, pattern: str) -> Path:
    return sorted(store.glob(pattern))[0]


PLACES = {
    "root": "root",
    "settings": "config",
    "stat cache": "index",
    "journal": "journal",
    "format": "format",
    "hints": "hints",
    "a pack": "packs/*/*.pack",
    "a segment": "segments/*.seg",
    "a locator": "locators/*/*.loc",
    "an intent": "intents/reader-1-0123456789abcdef",
    "root's lock": "root.lock",
    "work tree's lock": "worktree.lock",
    "gc's lock": "gc.lock",
    "a temporary file": "tmp/1-0123456789abcdef-0",
    "weights": "weights/manifest-" + "0" * 64,
    "sketches": "sketches/0",
}


def place(store: Path, pattern: str) -> Path:
    """The file that a pattern names, gone."""
    path = one(store, pattern) if "*" in pattern else store / pattern
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    return path


def fifo(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret")


def folder(path: Path, _outside: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"x")


def sparse(path: Path, _outside: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def noise(path: Path, _outside: Path) -> None:
    path.write_bytes(b"\xff\0" * 5000)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "a pipe": fifo,
    "a link": link,
    "a folder": folder,
    "a terabyte of nothing": sparse,
    "noise": noise,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound repository of two versions, to be copied."""
    work = tmp_path_factory.mktemp("made") / "work"
    repository = make_repository(work)
    for data in weights_versions(2):
        (work / "model.safetensors").write_bytes(data)
        snapshot(repository)
    return work


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def run(work: Path, commands: list[list[str]] = COMMANDS) -> list[int]:
    """Exit codes of commands, after what holds for all of them."""
    outside = work.parent / "outside"
    before = {path: path.read_bytes() for path in files_below(outside)}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(work.parent / "home"),
        "PYTHONPATH": ":".join(sys.path),
    }
    ended = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=work,
        env=environment,
        capture_output=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    said = ended.stderr.decode()
    assert ended.returncode == 0 and "Traceback" not in said, said[-3000:]
    ends = [line.split()[1:] for line in said.splitlines() if line.startswith("@@ ")]
    assert len(ends) == len(commands), said
    for words, (code, peak) in zip(commands, ends, strict=True):
        assert int(code) in (0, 1, 3, 4, 5), (words, code, said)
        assert int(peak) < MOST_KIB, (words, peak)
    assert SECRET not in ended.stdout + ended.stderr
    assert {path: path.read_bytes() for path in files_below(outside)} == before
    assert sorted(path.name for path in work.parent.iterdir()) == ["outside", "work"]
    return [int(code) for code, _peak in ends]


needs_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' /proc")


def spoil(work: Path, what: str, kind: str) -> None:
    try:
        KINDS[kind](place(work / ".mvc", PLACES[what]), work.parent / "outside")
    except OSError as error:
        pytest.skip(f"this file system does not take {kind}: {error}")


@needs_linux
@pytest.mark.parametrize(
    ("what", "kind"),
    [("root", "a terabyte of nothing"), ("settings", "a link"), ("journal", "a pipe"), ("a pack", "noise")],
)
def test_a_file_of_the_store_may_be_anything(work: Path, what: str, kind: str) -> None:
    spoil(work, what, kind)
    run(work)


@needs_linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", PLACES)
def test_every_file_of_the_store_may_be_anything(work: Path, what: str, kind: str) -> None:
    spoil(work, what, kind)
    run(work)


@needs_linux
def test_a_socket_in_the_place_of_root_is_no_root(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work / ".mvc")
    Path("root").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("root")
        assert set(run(work, [["status"], ["log"]])) <= {3, 5}


# --- what a store's files may say --------------------------------------------------------------------------
def journal(**parts: object) -> bytes:
    value = {"made": [], "moves": [], "removed": [], "token": bytes(16), **parts}
    body = JOURNAL_MAGIC + canonical.pack(value)
    return body + blake3(body).digest()


TEMPORARY = "1-0123456789abcdef-00"

JOURNALS = {
    "moves out": {"moves": [["../outside/secret", None, TEMPORARY, 0, 0, [1, 2, 3]]]},
    "moves in": {"moves": [["a", "../../outside/secret", None, 5, 5, None]]},
    "an absolute path": {"moves": [["/etc/x", TEMPORARY, None, 5, 5, None]]},
    "the store itself": {"moves": [[".mvc/root", None, TEMPORARY, 0, 0, [1, 2, 3]]]},
    "a folder outside": {"made": ["../outside/made"]},
    "to remove a folder outside": {"removed": [["../outside", 0o777]]},
    "no names": {"moves": [[5, 5, 5, 5, 5, 5]]},
}


@needs_linux
@pytest.mark.parametrize("what", JOURNALS)
def test_a_journal_leads_nowhere_else(work: Path, what: str) -> None:
    (work / ".mvc" / "journal").write_bytes(journal(**JOURNALS[what]))
    root = (work / ".mvc" / "root").read_bytes()
    commands = [["checkout", "HEAD~1", "--force"], ["status"]]
    assert run(work, commands)[0] == 5
    assert (work / ".mvc" / "root").read_bytes() == root


@needs_linux
def test_a_sound_journal_does_not_move_files_through_a_link(work: Path) -> None:
    (work / "folder").symlink_to(work.parent / "outside")
    name = TemporaryNames.owner_of(TEMPORARY)
    assert name is not None, "the name would be refused for itself"
    (work / ".mvc" / "tmp" / TEMPORARY).write_bytes(b"planted")
    moves = [
        ["folder/secret", TEMPORARY, None, 7, (work / ".mvc" / "tmp" / TEMPORARY).stat().st_mtime_ns, None]
    ]
    (work / ".mvc" / "journal").write_bytes(journal(moves=moves))
    run(work, [["status"], ["checkout", "HEAD~1", "--force"]])


@needs_linux
@pytest.mark.parametrize("where", ["packs", "segments", "pieces", "locators", "intents", "tmp", "weights"])
def test_folders_that_are_links_lead_nowhere(work: Path, where: str) -> None:
    target = work.parent / "outside" / "moved"
    path = work / ".mvc" / where
    if path.exists():
        shutil.move(path, target)
    else:
        target.mkdir()
    path.symlink_to(target)
    before = sorted(target.rglob("*"))
    run(work, [["status"], ["log"], ["ls"], ["fsck"]])
    assert sorted(target.rglob("*")) == before


# --- settings ----------------------------------------------------------------------------------------------
SETTINGS = {
    "programs": 'core.pager = "touch MARKER"\ncore.editor = "touch MARKER"\npager = "touch MARKER"\n',
    "hooks": '[hooks]\npost-commit = "touch MARKER"\n[alias]\nstatus = "!touch MARKER"\n',
    "folders": '[core]\nworktree = "../outside"\nhookspath = "../outside"\n',
    "nested": "x = " + "[" * 5000,
    "digits": "x = " + "9" * 100_000,
    "dots": "a." * 20_000 + "b = 1\n",
    "keys": "".join(f"k{n} = 1\n" for n in range(20_000)),
    "escapes": '[user]\nname = "\\u001b[2J\\u001b]0;x\\u0007"\nemail = "\\u009b"\n',
}


@needs_linux
@pytest.mark.parametrize("what", SETTINGS)
def test_settings_run_nothing_and_lead_nowhere(work: Path, what: str) -> None:
    marker = work.parent / "outside" / "marker"
    (work / ".mvc" / "config").write_text(SETTINGS[what].replace("MARKER", str(marker)))
    run(work, [["status"], ["log"], ["config", "--list"], ["commit", "--allow-empty", "-m", "x"], ["stats"]])
    assert not marker.exists()
