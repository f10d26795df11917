"""The hostile set: stored, looked at by every command that reads files, and checked out elsewhere. All of it
comes back byte for byte or is refused by its name, and nothing of it runs."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.cli.main import main
from mvc.errors import InvalidPath
from mvc.ops.ls import files
from mvc.repo import Repository
from tests import hostile
from tests.engine import assert_sound, make_repository, open_repository, snapshot, switch_to
from tests.make_files import BytesView, no_sibling

Files = dict[str, bytes]

MOST_SEEN = 160 << 20
"""Bytes of Python's memory that looking at any file of the set may take: a pickle may inflate to 64 MiB,
which zlib joins from two halves; all other budgets are smaller."""


def command(tmp_path: Path) -> str:
    return f"touch '{tmp_path / 'marker'}'"


SETS: dict[str, Callable[[Path], Files]] = {
    "safetensors": lambda _: {f"{n}.safetensors": d for n, d in hostile.malformed_safetensors().items()},
    "gguf": lambda _: {f"{name}.gguf": data for name, data in hostile.malformed_gguf().items()},
    "onnx": lambda _: {f"{name}.onnx": data for name, data in hostile.malformed_onnx().items()},
    "torch": lambda _: hostile.malformed_torch(),
    "arrays": lambda tmp_path: hostile.malformed_arrays(command(tmp_path)),
    "others": lambda _: hostile.malformed_others(),
    "executing": lambda tmp_path: hostile.executing(command(tmp_path)),
    "archives": lambda _: hostile.archives(),
}


def elsewhere(repository: Path, folder: Path) -> Repository:
    """Another work tree of a copy of the repository, with nothing in it."""
    folder.mkdir()
    shutil.copytree(repository / ".mvc", folder / ".mvc")
    return open_repository(folder)


def come_back(work: Path, copy: Path, made: Files) -> None:
    """Commit everything and check it out elsewhere."""
    for name, data in made.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(data)
    repository = open_repository(work)
    version = snapshot(repository).id
    with repository.reading() as view:
        assert {row.path for row in files(view)} == made.keys()
    switch_to(elsewhere(work, copy), version.hex(), force=True)
    for name, data in made.items():
        assert (copy / name).read_bytes() == data, name
    assert_sound(copy)


@pytest.mark.parametrize("kind", SETS)
def test_a_hostile_file_comes_back_and_nothing_of_it_runs(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    make_repository(work)
    come_back(work, tmp_path / "copy", SETS[kind](tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "work"]


def test_the_marker_would_appear(tmp_path: Path) -> None:
    import pickle

    pickle.loads(hostile.executing(command(tmp_path))["protocol 4.pkl"])
    assert (tmp_path / "marker").exists()


def test_hdf5_that_leads_elsewhere_comes_back_and_is_not_followed(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    secret = tmp_path / "secret.h5"
    secret.write_bytes(b"secret" * 100)
    (tmp_path / "made").mkdir()
    made = hostile.linked_hdf5(tmp_path / "made", secret)
    work = tmp_path / "work"
    repository = make_repository(work)
    come_back(work, tmp_path / "copy", made)
    with repository.reading() as view:
        tensors = {row.path: [span.name for span in row.manifest.tensors] for row in files(view)}
    assert tensors == {"external.h5": [], "link.h5": ["here"], "virtual.h5": []}


@pytest.mark.parametrize("kind", SETS)
def test_describing_takes_little_memory(tmp_path: Path, kind: str) -> None:
    from mvc.formats import describe, read_values

    for name, data in SETS[kind](tmp_path).items():
        tracemalloc.start()
        found = describe(BytesView(name, data), no_sibling)
        read_values(found.layout.format, BytesView(name, data), no_sibling)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_SEEN, name


# --- every command that reads files ------------------------------------------------------------------------
LOOKS = (
    ("status",),
    ("ls", "--tensors"),
    ("ls", "--json"),
    ("log", "--stat"),
    ("diff", "HEAD~1", "HEAD"),
    ("diff", "HEAD~1", "HEAD", "--json"),
    ("show",),
    ("stats",),
    ("show", "--json"),
    ("diff", "HEAD~1", "HEAD", "--explain"),
    ("estimate",),
    ("grep", "a"),
    ("fsck",),
    ("gc",),
)


def test_no_command_stumbles_over_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    work = tmp_path / "work"
    repository = make_repository(work)
    (work / "first").write_bytes(b"first")
    snapshot(repository)
    for kind, make in SETS.items():
        (work / kind).mkdir()
        for name, data in make(tmp_path).items():
            (work / kind / name).write_bytes(data)
    snapshot(repository)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in LOOKS:
        capfdbinary.readouterr()
        code = main(list(words))
        out, err = capfdbinary.readouterr()
        assert code in (0, 1), (words, code, err)
        assert b"Traceback" not in err and not err.startswith(b"error"), (words, err)
        assert b"\x1b" not in out and b"\0" not in out, words
    assert not (tmp_path / "marker").exists()


# --- large, or many ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_very_many_tensors_come_back(tmp_path: Path, count: int) -> None:
    work = tmp_path / "work"
    repository = make_repository(work)
    come_back(work, tmp_path / "copy", {"many.safetensors": hostile.many_tensors(count)})
    with repository.reading() as view:
        (row,) = files(view)
    assert row.manifest.format == "safetensors" and len(row.manifest.tensors) == count


@pytest.mark.slow
def test_a_sparse_gibibyte_comes_back_and_takes_little_room(tmp_path: Path) -> None:
    work, copy = tmp_path / "work", tmp_path / "copy"
    repository = make_repository(work)
    hostile.write_sparse(work / "sparse.bin", 1 << 30)
    version = snapshot(repository).id
    stored = sum(path.stat().st_size for path in (work / ".mvc").rglob("*") if path.is_file())
    assert stored < 1 << 20
    switch_to(elsewhere(work, copy), version.hex(), force=True)
    with (work / "sparse.bin").open("rb") as one, (copy / "sparse.bin").open("rb") as two:
        while piece := one.read(1 << 24):
            assert two.read(1 << 24) == piece
        assert not two.read(1)


# --- names -------------------------------------------------------------------------------------------------
def test_odd_names_come_back(tmp_path: Path) -> None:
    work = tmp_path / "work"
    make_repository(work)
    made = {f"{folder}{name}": name.encode() for name in hostile.ALLOWED for folder in ("", "folder/")}
    come_back(work, tmp_path / "copy", made)
    assert not list(tmp_path.rglob("marker"))


@pytest.mark.parametrize("name", hostile.REFUSED)
def test_a_name_that_no_version_may_hold_is_refused_by_name_with_exit_3(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    name: bytes,
) -> None:
    work = tmp_path / "work"
    make_repository(work)
    (work / "good").write_bytes(b"good")
    try:
        (work / os.fsdecode(name)).write_bytes(b"bad")
    except OSError:
        pytest.skip("this file system does not take such a name")
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    capfdbinary.readouterr()
    assert main(["commit", "-m", "all", "--author", "Ada <a@b.c>"]) == 3
    out, err = capfdbinary.readouterr()
    lines = err.decode().splitlines()
    assert not out and lines[0].startswith("error: ") and len(lines) <= 2, err
    readable = name.decode("ascii", "ignore")
    start = "".join(c for c in readable if c.isprintable())[:3].strip(" .\\:")
    assert start in lines[0], (start, lines)
    assert err.decode().replace("\n", "").isprintable()
    with pytest.raises(InvalidPath):
        snapshot(open_repository(work))


@pytest.mark.parametrize("names", hostile.COLLIDING)
def test_colliding_names_come_back_where_both_can_be(tmp_path: Path, names: tuple[str, str]) -> None:
    work = tmp_path / "work"
    make_repository(work)
    (work / names[0]).write_bytes(b"probe")
    if (work / names[1]).exists():
        pytest.skip("this file system takes them for one")
    come_back(work, tmp_path / "copy", {name: name.encode() for name in names})
