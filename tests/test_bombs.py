"""Files that are cheap to make and dear to read cost a second and 300 MB at most, and come back as they were.

The short form looks at the dearest of each format; ``make bombs`` at all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mvc.formats import FORMATS
from tests import bombs
from tests.engine import assert_sound, make_repository, snapshot, switch_to
from tests.measure import slowness
from tests.test_hostile_set import elsewhere

MOST_BYTES = 300 << 20
MOST_SECONDS = 1.0
"""Of processor time, on a machine that is not busy (see :func:`tests.measure.slowness`)."""

MOST_SECONDS_PER_TENSOR = 20e-6
"""What is understood after all, and not stored as opaque bytes, may take so much longer for each tensor."""

DEAREST = {
    "safetensors": ["a million keys", "nested"],
    "gguf": ["most texts", "deep arrays"],
    "pickle": ["many dictionaries", "laughs of dictionaries"],
    "torch": ["deflated laughs", "names without end"],
    "torch-legacy": ["nothing, often"],
    "torch-tar": ["many storages"],
    "zip": ["inner pickles of values", "overlapping"],
    "npz": ["long headers"],
    "npy": ["nested", "sums"],
    "onnx": ["most attributes", "graphs in graphs"],
    "onnx-tensor": ["extents one by one"],
    "tf-graph": ["extents"],
    "tf-index": ["one block again and again"],
    "tflite": ["one table, often", "graphs of each other"],
    "hdf5": ["groups in groups", "signature and noise"],
    "keras": ["deflated configuration"],
}
"""By format: those that the short form looks at."""


def test_each_format_has_its_bombs() -> None:
    assert bombs.BOMBS.keys() == DEAREST.keys() == {format.name for format in FORMATS}
    assert all(set(names) <= bombs.BOMBS[kind].keys() for kind, names in DEAREST.items())


def within_budget(kind: str, names: list[str], folder: Path) -> None:
    for what in names:
        (folder / bombs.file_name(kind, what)).write_bytes(bombs.BOMBS[kind][what]())
    slow = max(1.0, slowness())
    command = [sys.executable, "-m", "tests.measure", str(folder)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    found = {row["name"]: row for row in map(json.loads, ended.stdout.splitlines())}
    assert found.keys() == {bombs.file_name(kind, what) for what in names}
    for name, row in found.items():
        assert "error" not in row, row["error"]
        assert row["bytes"] < MOST_BYTES, (name, row)
        most = MOST_SECONDS + MOST_SECONDS_PER_TENSOR * row["tensors"]
        assert row["seconds"] < most * max(slow, row["slowness"]), (name, row)
        assert row["reason"] or row["format"] != "opaque", name  # a file that is claimed and refused says why


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are known on Linux")
@pytest.mark.parametrize("kind", bombs.BOMBS)
def test_the_dearest_bombs_cost_little(tmp_path: Path, kind: str) -> None:
    if kind in ("hdf5", "keras"):
        pytest.importorskip("h5py")
    within_budget(kind, DEAREST[kind], tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are known on Linux")
@pytest.mark.parametrize("kind", bombs.BOMBS)
def test_every_bomb_costs_little(tmp_path: Path, kind: str) -> None:
    if kind in ("hdf5", "keras"):
        pytest.importorskip("h5py")
    within_budget(kind, list(bombs.BOMBS[kind]), tmp_path)


def test_what_costs_too_much_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEAREST, "npy", ["nested"])
    monkeypatch.setattr(sys.modules[__name__], "MOST_BYTES", -1)
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks of memory are known on Linux")
    with pytest.raises(AssertionError, match="nested"):
        within_budget("npy", ["nested"], tmp_path)


# --- whole commands ----------------------------------------------------------------------------------------
SMALL = [
    ("safetensors", "nested"),
    ("safetensors", "empty lists"),
    ("gguf", "2^60 tensors"),
    ("gguf", "deep arrays"),
    ("pickle", "laughs of dictionaries"),
    ("pickle", "tuples in tuples"),
    ("torch", "deflated spaces"),
    ("torch", "names without end"),
    ("torch-tar", "2^60 storages"),
    ("zip", "zips of zips"),
    ("zip", "overlapping"),
    ("npy", "sums"),
    ("onnx", "graphs in graphs"),
    ("tflite", "graphs of each other"),
    ("tf-graph", "extents"),
    ("tf-index", "one block again and again"),
]
"""Those that a folder full of bombs holds in the short form."""

COMMANDS = [
    ["estimate", "."],
    ["commit", "-m", "bombs", "--author", "Ada <a@b.c>"],
    ["status"],
    ["ls", "--tensors"],
    ["show", "--json"],
    ["diff", "HEAD~1", "HEAD"],
    ["grep", "a"],
    ["log", "--stat"],
    ["fsck", "--full"],
]

MEASURED = """
import resource, sys
from mvc.cli.main import main
code = main(sys.argv[1:])
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open("/proc/self/status") as file:
    own = int(next(line for line in file if line.startswith("VmHWM")).split()[1])
sys.stderr.write(f"\\nKIB {own} {children}\\n")
sys.exit(code)
"""


def commands_survive(work: Path, listed: list[tuple[str, str]]) -> None:
    """Every command on a folder of bombs: 300 MB over all processes, no crash; and all comes back."""
    repository = make_repository(work)
    (work / "first").write_bytes(b"first")
    snapshot(repository)
    for kind, what in listed:
        (work / bombs.file_name(kind, what)).write_bytes(bombs.BOMBS[kind][what]())
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(work.parent), "PYTHONPATH": ":".join(sys.path)}
    for words in COMMANDS:
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, *words],
            cwd=work,
            env=environment,
            capture_output=True,
            timeout=600,
        )
        said, _, measured = ended.stderr.rpartition(b"KIB ")
        assert ended.returncode in (0, 1), (words, ended.stderr[-2000:])
        assert b"Traceback" not in said, (words, said)
        assert sum(map(int, measured.split())) < MOST_BYTES >> 10, (words, measured)
    copy = work.parent / "copy"
    switch_to(elsewhere(work, copy), "main", force=True)
    for kind, what in listed:
        name = bombs.file_name(kind, what)
        assert (copy / name).read_bytes() == (work / name).read_bytes(), name
    assert_sound(copy)


def test_commands_on_a_folder_of_bombs_stay_small(tmp_path: Path) -> None:
    commands_survive(tmp_path / "work", SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("kind", bombs.BOMBS)
def test_commands_on_all_bombs_stay_small(tmp_path: Path, kind: str) -> None:
    if kind in ("hdf5", "keras"):
        pytest.importorskip("h5py")
    commands_survive(tmp_path / "work", [(kind, what) for what in bombs.BOMBS[kind]])
