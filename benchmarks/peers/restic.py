"""restic: pieces cut by content, compressed; always encrypted."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, program, told


class Restic(Peer):
    """A snapshot a version, found by its tag."""

    name = "restic"

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Debian has it."""
        return program("restic")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """As it says."""
        return told(["restic", "version"]).split()[1]

    def environment(self) -> dict[str, str]:
        """It insists on a password."""
        return {
            "HOME": str(self.place),
            "RESTIC_REPOSITORY": str(self.store),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.place / "cache"),
        }

    def begin(self) -> list[Command]:
        """A repository of the format that compresses."""
        return [["restic", "init", "-q", "--repository-version", "2"]]

    def commit(self, number: int) -> list[Command]:
        """A snapshot."""
        return [["restic", "backup", "-q", "--tag", f"v{number}", "model"]]

    def checkout(self, number: int) -> list[Command]:
        """The newest snapshot with that tag."""
        return [["restic", "restore", "-q", "latest", "--tag", f"v{number}", "--target", "."]]
