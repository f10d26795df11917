"""Imports of real histories, next to what they were imported from: stored ÷ raw, and seconds.

    python -m benchmarks.importing WEIGHTS_FOLDER [CHECKPOINTS_FOLDER]

Each history becomes a git-lfs repository, by git-lfs itself, and a plain one (after ``gc --aggressive``);
the git-lfs one is imported, by ``mvc import`` as a whole process. All bytes of files below ``.git`` and
``.mvc`` are counted. *again* is the same command with nothing new. Ends with an error when a version comes
back different.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.histories import Versions, versions
from benchmarks.timing import mvc_command
from mvc.fileio import FileIO
from mvc.history.ancestry import Links
from mvc.history.reader import read_manifest
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.repo import Repository
from mvc.restore import file_pieces

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@localhost",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@localhost",
}


def checkpoints(folder: Path) -> Versions:
    """The steps of one run as versions of one file."""
    paths = sorted(folder.glob("step-*.safetensors")) + sorted(folder.glob("final.safetensors"))
    return [{"model.safetensors": path} for path in paths if ".optim." not in path.name]


def make(history: Versions, folder: Path, *, lfs: bool) -> None:
    """Commit every version to a new Git repository."""
    folder.mkdir()
    git(folder, "init", "-q", "--template=", "-b", "main")
    if lfs:
        git(folder, "lfs", "install", "--local")
        names = {name for files in history for name in files}
        git(folder, "lfs", "track", *sorted(names))
    for number, files in enumerate(history):
        for name, path in files.items():
            (folder / name).write_bytes(path.read_bytes())
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", f"version {number}")
    if not lfs:
        git(folder, "gc", "-q", "--aggressive", "--prune=now")


def git(folder: Path, *words: str) -> None:
    """Run Git; it must succeed."""
    environment = {**os.environ, **_ENVIRONMENT, "HOME": str(folder)}
    subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True)


def take(source: Path, target: Path) -> float:
    """Import; returns seconds."""
    environment = {**os.environ, "HOME": str(target.parent), "MVC_AUTHOR_NAME": "bench"}
    began = time.perf_counter()
    subprocess.run(
        [*mvc_command(), "import", "-q", str(source), str(target)],
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def compare(history: Versions, target: Path) -> None:
    """Every file of every version must come back as it was."""
    files: dict[str, Path] = {}
    with Repository.open(FileIO(), target, Monitor()).reading() as view:
        links, line = Links(view.objects), [view.head_commit()]
        while line[-1] is not None and links[line[-1]].parents:
            line.append(links[line[-1]].parents[0])
        for commit, changed in zip(reversed(line), history, strict=True):
            files |= changed
            if commit is None:
                raise SystemExit("nothing was imported")
            stored = flatten(view.objects, view.commit(commit).tree)
            for name, path in files.items():
                manifest = read_manifest(view.objects, ManifestId(stored[name].id))
                if b"".join(file_pieces(view.objects, manifest, verify=True)) != path.read_bytes():
                    raise SystemExit(f"{path} came back different")


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="?")
    given = parser.parse_args()
    histories = {folder.name: versions(folder) for folder in sorted(given.weights.glob("hist_*"))}
    if given.checkpoints is not None:
        for name in ("finetune-bf16/lr2e-5", "pretrain-bf16", "pretrain-fp32"):
            histories[name] = checkpoints(given.checkpoints / name)
    columns = ("history", "versions", "raw MB", "git-lfs", "git, gc --aggressive", "mvc", "seconds", "again")
    print("| " + " | ".join(columns) + " |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, history in histories.items():
        with tempfile.TemporaryDirectory() as place:
            raw = sum(path.stat().st_size for files in history for path in files.values())
            lfs, plain, target = Path(place, "lfs"), Path(place, "plain"), Path(place, "mvc")
            make(history, lfs, lfs=True)
            make(history, plain, lfs=False)
            seconds = take(lfs, target)
            again = take(lfs, target)
            compare(history, target)
            ratios = (size(folder) / raw for folder in (lfs / ".git", plain / ".git", target / ".mvc"))
            shown = " | ".join(f"{ratio:.3f}" for ratio in ratios)
            times = f"{seconds:.1f} | {again:.1f}"
            print(f"| {name} | {len(history)} | {raw / 1e6:.1f} | {shown} | {times} |", flush=True)


if __name__ == "__main__":
    main()
