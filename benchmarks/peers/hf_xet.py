"""hf_xet, the client of the Hugging Face Hub's storage, without a server.

Its Rust core takes an endpoint ``local://FOLDER`` and keeps there what it would upload: the same cutting,
deduplication and compression (xorbs and shards) as with the Hub, without the network.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.base import Command, Peer, Tools, worker


class HfXet(Peer):
    """Through its Python interface; there is no command line, so a process of Python takes its place."""

    name = "hf_xet"

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """pip has it."""
        return tools.lacks("hf_xet")

    @classmethod
    def version(cls, tools: Tools) -> str:
        """Of the package."""
        return tools.package_version("hf_xet")

    def environment(self) -> dict[str, str]:
        """Caches in the place; nothing is sent."""
        return {
            "HOME": str(self.place),
            "HF_XET_CACHE": str(self.place / "cache"),
            "HF_XET_TELEMETRY_ENABLED": "0",
        }

    def session(self) -> Command:
        """One session of the library for all versions."""
        return worker(self.tools.python, "xet_worker.py", self.place)

    def begin(self) -> list[Command]:
        """Nothing."""
        return []

    def commit(self, number: int) -> list[Command]:
        """A process that uploads."""
        return [[*self.session(), f"commit {number}"]]

    def checkout(self, number: int) -> list[Command]:
        """A process that downloads."""
        return [[*self.session(), f"checkout {number}"]]

    def store_files(self) -> list[Path]:
        """What a server would keep: xorbs and shards, no look-up tables."""
        core = self.store / "xet" / "xet" / "xorbs"
        folders = (core / "xorbs", core / "shards")
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
