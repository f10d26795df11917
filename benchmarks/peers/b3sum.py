"""``b3sum``: what reading and hashing alone costs."""

from __future__ import annotations

from benchmarks.peers.base import Command, Peer, Tools, program, told


class B3sum(Peer):
    """Hashes each file, with as many threads as there are cores; keeps nothing."""

    name = "b3sum"
    stores = False

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """Debian and cargo have it."""
        return program("b3sum")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """As it says."""
        return told(["b3sum", "--version"]).rpartition(" ")[2]

    def begin(self) -> list[Command]:
        """Nothing."""
        return []

    def commit(self, number: int) -> list[Command]:
        """Hash."""
        return [["find", "model", "-type", "f", "-exec", "b3sum", "{}", "+"]]

    def checkout(self, number: int) -> list[Command]:
        """It cannot."""
        raise NotImplementedError(self.name)
