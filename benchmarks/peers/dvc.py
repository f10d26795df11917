"""DVC with its cache on the same disk, in a Git repository; no remote."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, program
from benchmarks.peers.git_lfs import PERSON


class Dvc(Peer):
    """``dvc add`` of the folder, and a Git commit of the small file that names it."""

    name = "dvc"
    has_status = True

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Needs Git too."""
        return program("git") or tools.lacks("dvc")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """Of the package."""
        return tools.package_version("dvc")

    def environment(self) -> dict[str, str]:
        """Nobody's settings, nothing sent anywhere."""
        return {
            "HOME": str(self.place),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.place / "site-cache"),
            **PERSON,
        }

    def _dvc(self, *words: str) -> Command:
        return [str(self.tools.venv / "bin" / "dvc"), *words]

    def begin(self) -> list[Command]:
        """A Git repository, and a cache outside of the work tree."""
        return [
            ["git", "init", "-q", "-b", "main", "--separate-git-dir", "../store/git"],
            self._dvc("init", "-q"),
            self._dvc("config", "core.analytics", "false"),
            self._dvc("config", "core.check_update", "false"),
            self._dvc("cache", "dir", "--local", str(self.store / "cache")),
        ]

    def commit(self, number: int) -> list[Command]:
        """Add the folder, commit its name."""
        return [
            self._dvc("add", "-q", "model"),
            ["git", "add", "-A"],
            ["git", "commit", "-qm", f"version {number}"],
        ]

    def label(self, number: int) -> list[Command]:
        """A tag."""
        return [["git", "tag", f"v{number}"]]

    def checkout(self, number: int) -> list[Command]:
        """The tag, then what it names."""
        return [["git", "checkout", "-q", f"v{number}"], self._dvc("checkout", "-q")]

    def status(self) -> list[Command]:
        """As DVC tells it."""
        return [self._dvc("status")]
