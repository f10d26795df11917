"""``cp`` and ``fsync``: what copying alone costs."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, told


class Copy(Peer):
    """A folder per version."""

    name = "cp + fsync"

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Every machine has it."""
        return None

    @classmethod
    def version(cls, tools: Tools) -> str:
        """That of coreutils."""
        return told(["cp", "--version"]).split("\n")[0].rpartition(" ")[2]

    def begin(self) -> list[Command]:
        """Nothing."""
        return []

    def commit(self, number: int) -> list[Command]:
        """Copy, then sync each file."""
        return [["cp", "-r", "model", f"../store/{number}"], _sync(f"../store/{number}")]

    def checkout(self, number: int) -> list[Command]:
        """Copy back, then sync each file."""
        return [["cp", "-rT", f"../store/{number}", "model"], _sync("model")]


def _sync(folder: str) -> Command:
    return ["find", folder, "-type", "f", "-exec", "sync", "{}", "+"]
