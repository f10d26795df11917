"""BorgBackup: pieces cut by content, compressed; without encryption."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, program, told


class Borg(Peer):
    """An archive a version, with lz4, its default."""

    name = "borg"

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Debian has it."""
        return program("borg")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """As it says."""
        return told(["borg", "--version"]).split()[1]

    def environment(self) -> dict[str, str]:
        """Caches and keys in the place, no questions."""
        return {
            "HOME": str(self.place),
            "BORG_BASE_DIR": str(self.place / "home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def begin(self) -> list[Command]:
        """A repository."""
        return [["borg", "init", "-e", "none", str(self.store / "repo")]]

    def commit(self, number: int) -> list[Command]:
        """An archive."""
        return [["borg", "create", f"{self.store / 'repo'}::v{number}", "model"]]

    def checkout(self, number: int) -> list[Command]:
        """Extract it."""
        return [["borg", "extract", f"{self.store / 'repo'}::v{number}"]]
