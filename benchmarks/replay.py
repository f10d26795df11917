"""Replays real histories: commits each file of a folder as a version, checks every one out again, compares.

    python -m benchmarks.replay FOLDER…

The files of a folder (sorted by path, subfolders too) are the versions of one file; prints stored ÷ raw, all
files of the store counted. Ends with an error when a version comes back different.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks.related import WHO, now
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.ops import tag
from mvc.ops.checkout import checkout
from mvc.ops.commit import Request, commit
from mvc.ops.fsck import fsck
from mvc.ops.init import init


def replay(source: Path, folder: Path) -> str:
    """One folder's history in a repository of its own; returns its line of the table."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise SystemExit(f"{source} holds no files")
    repository = init(FileIO(), folder, Monitor())
    work = folder / f"model{files[0].suffix}"
    for number, path in enumerate(files):
        shutil.copyfile(path, work)
        commit(repository, Request(path.name, WHO, now(), {"loss": 10 - number / 10}, allow_empty=True))
        tag.create(repository, f"v{number}", "HEAD", WHO, now())
    for number, path in enumerate(files):
        checkout(repository, f"v{number}", WHO, now())
        if work.read_bytes() != path.read_bytes():
            raise SystemExit(f"{path} came back different")
    damage = fsck(repository, full=True).damage
    if damage:
        raise SystemExit(f"{source}: {damage}")
    raw = sum(path.stat().st_size for path in files)
    stored = sum(path.stat().st_size for path in (folder / ".mvc").rglob("*") if path.is_file())
    return f"{source.name:34s} {len(files):4d} identical  stored {stored / raw:.3f} of {raw / 1e6:7.1f} MB"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    with tempfile.TemporaryDirectory() as name:
        for number, source in enumerate(parser.parse_args().folders):
            print(replay(source.resolve(), Path(name) / str(number)), flush=True)


if __name__ == "__main__":
    main()
