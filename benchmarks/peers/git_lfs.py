"""Git with git-lfs: whole files, by SHA-256."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, program, told

PERSON = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Bench",
    "GIT_AUTHOR_EMAIL": "bench@example.org",
    "GIT_COMMITTER_NAME": "Bench",
    "GIT_COMMITTER_EMAIL": "bench@example.org",
}


class GitLfs(Peer):
    """``git add`` and ``git commit``, everything below ``model`` in git-lfs."""

    name = "git-lfs"
    has_status = True

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Needs Git too."""
        return program("git") or program("git-lfs")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """That of git-lfs."""
        return told(["git-lfs", "version"]).split("/")[1].split()[0]

    def environment(self) -> dict[str, str]:
        """Nobody's settings, and an author."""
        return {"HOME": str(self.place), **PERSON}

    def begin(self) -> list[Command]:
        """A repository whose store lies outside of the work tree."""
        return [
            ["git", "init", "-q", "-b", "main", "--separate-git-dir", "../store"],
            ["git", "lfs", "install", "--local"],
            ["git", "lfs", "track", "model/**"],
        ]

    def commit(self, number: int) -> list[Command]:
        """Add everything and commit."""
        return [["git", "add", "-A"], ["git", "commit", "-qm", f"version {number}"]]

    def label(self, number: int) -> list[Command]:
        """A tag."""
        return [["git", "tag", f"v{number}"]]

    def checkout(self, number: int) -> list[Command]:
        """The tag."""
        return [["git", "checkout", "-q", f"v{number}"]]

    def status(self) -> list[Command]:
        """As Git tells it."""
        return [["git", "status", "--porcelain"]]
