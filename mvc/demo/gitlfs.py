"""The same versions in a git-lfs repository, for comparison."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from mvc.demo.shell import COMMAND_SECONDS, Failed

_IDENTITY = ("-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgSign=false")


def installed(environment: Mapping[str, str], folder: Path) -> bool:
    """Whether ``git lfs`` can be run."""
    if shutil.which("git", path=environment.get("PATH")) is None:
        return False
    done = subprocess.run(["git", "lfs", "version"], cwd=folder, env=environment, capture_output=True)
    return done.returncode == 0


class GitLfs:
    """A new repository below ``folder``. ``seconds`` sums what ``git add`` and ``git commit`` took."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.seconds = 0.0
        folder.mkdir()
        # an empty template, so that no sample hooks are counted
        self._git("init", "-q", "--template=")
        self._git("lfs", "install", "--local")
        self._git("lfs", "track", "*.safetensors")

    def commit(self, source: Path, names: Iterable[str], message: str) -> None:
        """Commit copies of these files; copying them is not in the time."""
        for name in names:
            shutil.copyfile(source / name, self._folder / name)
        began = time.perf_counter()
        self._git("add", "-A")
        self._git("commit", "-q", "-m", message)
        self.seconds += time.perf_counter() - began

    def stored_bytes(self) -> int:
        """Bytes of all files that Git and git-lfs keep."""
        return folder_bytes(self._folder / ".git")

    def _git(self, *arguments: str) -> None:
        done = subprocess.run(
            ["git", *_IDENTITY, *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode:
            raise Failed(f"git {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
