"""Compressors of weights that know of no versions: each file for itself."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers.base import Command, Peer, Tools, worker


class Compressor(Peer):
    """A compressed file for each file, written and read in processes of Python."""

    package: ClassVar[str]

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """pip has it."""
        return tools.lacks(cls.package)

    @classmethod
    def version(cls, tools: Tools) -> str:
        """Of the package."""
        return tools.package_version(cls.package)

    def session(self) -> Command:
        """One process for all versions."""
        return worker(self.tools.python, "compressor_worker.py", self.place, self.package)

    def begin(self) -> list[Command]:
        """Nothing."""
        return []

    def commit(self, number: int) -> list[Command]:
        """A process that compresses."""
        return [[*self.session(), f"commit {number}"]]

    def checkout(self, number: int) -> list[Command]:
        """A process that decompresses."""
        return [[*self.session(), f"checkout {number}"]]


class Zipnn(Compressor):
    """ZipNN, set for bf16."""

    name = "zipnn"
    package = "zipnn"


class Blosc2(Compressor):
    """Blosc2 with byte shuffle and zstd."""

    name = "blosc2"
    package = "blosc2"
