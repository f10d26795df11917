"""Real Git as the measure: many commits made at once, then asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple

import pytest

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

Files = Mapping[str, tuple[bytes, bool]]
"""A tree: content and executable bit by path."""


class Git:
    """A bare repository, and one process at a time that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        self.run("init", "--quiet", "--bare", "--template=", ".")
        self._marks = 0

    def run(self, *words: str, input: bytes = b"", codes: Sequence[int] = (0,)) -> bytes:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=self._environment, input=input, capture_output=True
        )
        assert done.returncode in codes, (words, done.stdout, done.stderr)
        return done.stdout

    def commits(self, rows: Iterable[tuple[int, Sequence[int], Files]]) -> list[str]:
        """Make commits of (time in seconds, numbers of parents in this list, tree); their ids."""
        stream, first = bytearray(), self._marks + 1
        for time, parents, files in rows:
            self._marks += 1
            stream += b"reset refs/heads/made\n"  # without it a commit continues the branch
            stream += f"commit refs/heads/made\nmark :{self._marks}\n".encode()
            stream += f"committer A <a@b> {time} +0000\ndata 0\n".encode()
            for number, parent in enumerate(parents):
                stream += f"{'merge' if number else 'from'} :{first + parent}\n".encode()
            stream += b"deleteall\n"
            for path, (data, executable) in files.items():
                mode = "100755" if executable else "100644"
                stream += f"M {mode} inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
            stream += b"\n"
        marks = self.folder / "marks"
        self.run("fast-import", "--quiet", "--force", f"--export-marks={marks}", input=bytes(stream))
        lines = dict(line.split() for line in marks.read_text().splitlines())
        return [lines[f":{mark}"] for mark in range(first, self._marks + 1)]

    def merges(self, pairs: Iterable[tuple[str, str]], *config: str) -> list[Merge]:
        """``git merge-tree`` of pairs of commits."""
        options = [word for setting in config for word in ("-c", setting)]
        words = (*options, "merge-tree", "--write-tree", "--no-messages", "--allow-unrelated-histories")
        text = "".join(f"{one} {other}\n" for one, other in pairs)
        out = self.run(*words, "--stdin", input=text.encode())
        fields = iter(out.split(b"\0"))
        found = []
        for status in fields:
            if not status.strip():
                continue
            tree, conflicts = next(fields).decode(), {}
            while entry := next(fields):
                about, path = entry.split(b"\t", 1)
                mode, blob, stage = about.decode().split()
                stages = conflicts.setdefault(path.decode(), [None, None, None])
                if stage != "1" or blob != EMPTY:
                    stages[int(stage) - 1] = (blob, mode == "100755")
            assert (status == b"1") == (not conflicts)
            found.append(Merge(tree, conflicts))
        return found


EMPTY = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


class Merge(NamedTuple):
    """A merged tree's id; for each unmerged path its stages, each a blob's id and the executable bit.

    An empty file as base, which stands for "none" in virtual bases, is left out.
    """

    tree: str
    conflicts: dict[str, list[tuple[str, bool] | None]]


def blob_id(data: bytes) -> str:
    """What Git calls these bytes."""
    return _hash(b"blob", data).hex()


def tree_id(files: Files) -> str:
    """What Git calls this tree."""
    folders: dict[str, dict[bytes, bytes]] = {"": {}}
    for path, (data, executable) in files.items():
        folder, _, name = path.rpartition("/")
        mode = b"100755 " if executable else b"100644 "
        row = mode + name.encode() + b"\0" + _hash(b"blob", data)
        folders.setdefault(folder, {})[name.encode()] = row
        while folder:
            folder = folder.rpartition("/")[0]
            folders.setdefault(folder, {})
    for folder in sorted(folders, key=lambda name: (name != "", name.count("/")), reverse=True):
        rows = folders[folder]
        raw = _hash(b"tree", b"".join(rows[key] for key in sorted(rows)))
        above, _, name = folder.rpartition("/")
        if folder:
            folders[above][name.encode() + b"/"] = b"40000 " + name.encode() + b"\0" + raw
    return raw.hex()


def _hash(kind: bytes, data: bytes) -> bytes:
    return sha1(kind + b" %d\0" % len(data) + data).digest()
