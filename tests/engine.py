"""A small repository of known content that many tests start from."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np

from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.ops.checkout import checkout
from mvc.ops.commit import Committed, Request, commit
from mvc.ops.fsck import fsck
from mvc.ops.init import init
from mvc.ops.log import log
from mvc.repo import Repository
from tests.make_files import finetuned, random_weights, safetensors_bytes

ME = Person("Ada", "ada@example.org")
_clock = itertools.count(1_700_000_000_000_000, 1_000_000)


def now() -> Timestamp:
    """A time later than any before."""
    return Timestamp(next(_clock), 0)


def open_repository(folder: Path, io: FileIO | None = None) -> Repository:
    return Repository.open(io or FileIO(), folder, Monitor())


def make_repository(folder: Path) -> Repository:
    return init(FileIO(), folder, Monitor())


def snapshot(repository: Repository, message: str = "version", **options) -> Committed:
    return commit(repository, Request(message, ME, now(), **options))


def switch_to(repository: Repository, revision: str, **options):
    return checkout(repository, revision, ME, now(), **options)


def tree(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file of a work tree: content and executable bit."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".mvc" not in path.parts
    }


def history(repository: Repository) -> list[CommitId]:
    with repository.reading() as view:
        return [entry.id for entry in log(view)] if view.head_commit() else []


def assert_sound(folder: Path) -> None:
    report = fsck(open_repository(folder), full=True)
    assert report.damage == [], report.damage


def weights_versions(count: int, elements: int = 3000, seed: int = 5) -> list[bytes]:
    """safetensors files of one model as it trains."""
    rng = np.random.default_rng(seed)
    weights = random_weights(
        rng, {"a.weight": (elements // 10, 10), "b.bias": (7,), "c": (elements,)}, "BF16"
    )
    out = []
    for _ in range(count):
        out.append(safetensors_bytes(weights))
        weights = finetuned(weights, rng, 0.01)
    return out


def two_versions(folder: Path) -> tuple[Repository, CommitId, CommitId]:
    """Two commits that differ in every way a file can: changed, added, removed, mode, file against folder."""
    repository = make_repository(folder)
    first, second = weights_versions(2)
    (folder / "model.safetensors").write_bytes(first)
    (folder / "run.sh").write_text("echo\n")
    (folder / "kept.txt").write_text("kept\n")
    (folder / "gone").mkdir()
    (folder / "gone" / "old.txt").write_text("old\n")
    (folder / "was_file").write_text("file\n")
    one = snapshot(repository, "one").id
    (folder / "model.safetensors").write_bytes(second)
    (folder / "run.sh").chmod(0o755)
    shutil.rmtree(folder / "gone")
    (folder / "was_file").unlink()
    (folder / "was_file").mkdir()
    (folder / "was_file" / "now.txt").write_text("folder\n")
    (folder / "new.bin").write_bytes(bytes(range(256)) * 300)
    two = snapshot(repository, "two").id
    return repository, one, two
