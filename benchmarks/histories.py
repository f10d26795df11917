"""Real histories side by side with Git: every version committed, checked out and compared; stored ÷ raw.

    python -m benchmarks.histories WEIGHTS_FOLDER

``WEIGHTS_FOLDER`` holds the folders ``hist_…``; in each, files ``vNN_…`` are the versions of one file, and
subfolders the histories of several. All files of each store are counted: ours after the commits, after
``gc``, ``gc --repack`` and ``gc --best``; Git's after ``gc --aggressive``.
Ends with an error when a version comes back different.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.related import WHO, now
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops import tag
from mvc.ops.checkout import checkout
from mvc.ops.commit import Request, commit
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as Collection
from mvc.ops.gc import gc as collect
from mvc.ops.init import init

SIX = {
    "hist_rfb320_train_epochs": 0.903,
    "hist_facenet_pytorch_mtcnn": 0.237,
    "hist_matgl_megnet_eform": 0.311,
    "hist_silero_vad_onnx": 0.840,
    "hist_akimbo_weights_bin": 0.300,
    "hist_megnet_log10K_hdf5": 0.274,
}
"""The histories with a goal: stored ÷ raw of ``git gc --aggressive`` as it was once measured."""
_VERSION = re.compile(r"v(\d+)_")

Versions = list[dict[str, Path]]
"""For each version the files that it sets, by path in the work tree."""


def versions(source: Path) -> Versions:
    """The versions of a history, oldest first; a file stays until its next version."""
    found: dict[int, dict[str, Path]] = defaultdict(dict)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        match = _VERSION.match(path.name)
        if match:
            folder = path.parent.relative_to(source)
            name = f"model{path.suffix}" if folder == Path() else folder.name
            found[int(match[1])][name] = path
    return [found[number] for number in sorted(found)]


def stored_by_mvc(history: Versions, folder: Path) -> list[int]:
    """Bytes of the store after committing all versions, after ``gc``, ``gc --repack`` and ``gc --best``; then
    each version is checked out and compared."""
    repository = init(FileIO(), folder, Monitor())
    for number, files in enumerate(history):
        for name, path in files.items():
            shutil.copyfile(path, folder / name)
        commit(repository, Request(f"version {number}", WHO, now(), allow_empty=True))
        tag.create(repository, f"v{number}", "HEAD", WHO, now())
    sizes = [_size(folder / ".mvc")]
    for options in ({}, {"repack": True}, {"best": True}):
        collect(repository, Collection(now(), **options))
        sizes.append(_size(folder / ".mvc"))
    for number, files in enumerate(history):
        checkout(repository, f"v{number}", WHO, now())
        for name, path in files.items():
            if (folder / name).read_bytes() != path.read_bytes():
                raise SystemExit(f"{path} came back different")
    damage = fsck(repository, full=True).damage
    if damage:
        raise SystemExit(f"{folder}: {damage}")
    return sizes


def stored_by_git(history: Versions, folder: Path) -> int:
    """Bytes of Git's store after committing all versions and ``gc --aggressive``."""
    folder.mkdir()

    def git(*words: str) -> None:
        person = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0")
        subprocess.run(["git", *person, *words], cwd=folder, check=True, capture_output=True)

    git("init", "--quiet", "--template=")
    for number, files in enumerate(history):
        for name, path in files.items():
            shutil.copyfile(path, folder / name)
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", f"version {number}")
    git("gc", "--aggressive", "--prune=now", "--quiet")
    return _size(folder / ".git")


def stored_by_restic(history: Versions, folder: Path) -> int | None:
    """Bytes of restic's store after a backup of each version; None where there is no restic."""
    if shutil.which("restic") is None:
        return None
    work = folder / "work"
    work.mkdir(parents=True)

    def restic(*words: str) -> None:
        environment = {**os.environ, "RESTIC_PASSWORD": "-", "RESTIC_CACHE_DIR": str(folder / "cache")}
        subprocess.run(
            ["restic", "--quiet", "--repo", str(folder / "store"), *words],
            cwd=work,
            check=True,
            capture_output=True,
            env=environment,
        )

    restic("init", "--repository-version", "2")
    for files in history:
        for name, path in files.items():
            shutil.copyfile(path, work / name)
        restic("backup", "--compression", "max", ".")
    return _size(folder / "store")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--all", action="store_true", help="every hist_ folder, not only the six with a goal")
    parser.add_argument("--only", default="", help="only folders whose names hold this")
    parser.add_argument("--restic", action="store_true", help="restic too")
    arguments = parser.parse_args()
    folders = [
        path
        for path in sorted(arguments.weights.glob("hist_*"))
        if arguments.only in path.name and (arguments.all or arguments.only or path.name in SIX)
    ]
    if not folders:
        raise SystemExit(f"{arguments.weights} holds no hist_ folders")
    columns = ("mvc", "gc", "repack", "best", "git", "restic", "goal")
    print(f"{'history':32s} {'versions':>8s} {'raw MB':>7s}" + "".join(f" {name:>6s}" for name in columns))
    missed = []
    with tempfile.TemporaryDirectory() as name:
        for number, source in enumerate(folders):
            history = versions(source.resolve())
            raw = sum(path.stat().st_size for files in history for path in files.values())
            ours = [size / raw for size in stored_by_mvc(history, Path(name) / f"mvc{number}")]
            theirs = stored_by_git(history, Path(name) / f"git{number}") / raw
            other = stored_by_restic(history, Path(name) / f"restic{number}") if arguments.restic else None
            goal = SIX.get(source.name)
            figures = [*ours, theirs, None if other is None else other / raw, goal]
            told = "".join(" " * 7 if figure is None else f" {figure:6.3f}" for figure in figures)
            print(f"{source.name:32s} {len(history):8d} {raw / 1e6:7.2f}{told}", flush=True)
            if goal is not None and ours[0] > goal:
                missed.append(source.name)
    print("every version came back identical" + (f"; goal missed: {', '.join(missed)}" if missed else ""))


if __name__ == "__main__":
    main()
