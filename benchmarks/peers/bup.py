"""bup: pieces cut by content, in Git's packs."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, program, told


class Bup(Peer):
    """A branch a version."""

    name = "bup"

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Debian has it."""
        return program("bup")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """As it says."""
        return told(["bup", "--version"])

    def environment(self) -> dict[str, str]:
        """Where its repository lies."""
        return {"HOME": str(self.place), "BUP_DIR": str(self.store)}

    def begin(self) -> list[Command]:
        """A repository."""
        return [["bup", "init"]]

    def commit(self, number: int) -> list[Command]:
        """Index, then save."""
        return [["bup", "index", "model"], ["bup", "save", "-q", "--strip", "-n", f"v{number}", "model"]]

    def checkout(self, number: int) -> list[Command]:
        """Empty the folder, since bup refuses to write over folders, and restore."""
        return [
            ["find", "model", "-mindepth", "1", "-delete"],
            ["bup", "restore", "-q", "-C", "model", f"/v{number}/latest/."],
        ]
