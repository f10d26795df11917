"""Bytes by which a repository grows when files are committed, the way a user commits them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mvc.errors import AnswerIsNo
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.ops.stats import stats

_WHO = Person("Bench", "bench@example.org")
Placed = tuple[str, Path]
"""A file's path in the work tree, and where its bytes are."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One commit, all in bytes: ``raw`` of the files it brought; ``records`` that it added, of tensors,
    manifests, trees and the commit itself; ``blobs`` of these for the files' contents; ``store`` is
    everything below ``.mvc``: packs, index, log, caches."""

    raw: int
    records: int
    blobs: int
    store: int


class Store:
    """A fresh repository in a temporary folder."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="mvc-ratios-")
        self._folder = Path(self._place.name) / "work"
        self._repository = init(FileIO(), self._folder, Monitor())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.cleanup()

    def commit(self, files: Sequence[Placed]) -> Growth:
        """Put these files into the work tree and commit it."""
        store, blobs = self.bytes(), self._blobs()
        for path, source in files:
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        now = Timestamp(int(time.time() * 1e6), 0)
        raw = sum(source.stat().st_size for _, source in files)
        try:
            done = commit(self._repository, Request("benchmark", _WHO, now))
        except AnswerIsNo:  # the same bytes at the same place
            return Growth(raw, 0, 0, 0)
        return Growth(raw, done.stored_bytes, self._blobs() - blobs, self.bytes() - store)

    def bytes(self) -> int:
        """Everything below ``.mvc``."""
        store = self._folder / ".mvc"
        return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())

    def _blobs(self) -> int:
        with self._repository.reading() as view:
            share = stats(self._repository, view).by_kind.get("blob")
        return 0 if share is None else share.stored_bytes

    def collect(self, *options: str) -> int | str:
        """Bytes of the store after ``mvc gc``; or, in words, why there is no such command."""
        words = [sys.executable, "-m", "mvc", "gc", *options]
        done = subprocess.run(words, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            return lines[0] if lines else f"exit code {done.returncode}"
        return self.bytes()
