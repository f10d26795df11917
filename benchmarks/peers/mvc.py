"""mvc itself, measured in the same way."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.base import Command, Peer, Tools, own_python
from benchmarks.timing import ROOT, mvc_command

_command = cache(mvc_command)


class Mvc(Peer):
    """Through its command line; a session commits in one process."""

    name = "mvc"
    has_status = True

    @classmethod
    def missing(cls, tools: Tools) -> str | None:
        """This is it."""
        return None

    @classmethod
    def version(cls, tools: Tools) -> str:
        """Of the package."""
        return version("modelvc")

    def environment(self) -> dict[str, str]:
        """The mvc that lies here."""
        return {"HOME": str(self.place), "PYTHONPATH": str(ROOT)}

    def _mvc(self, *words: str) -> Command:
        return [*_command(), *words]

    def session(self) -> Command:
        """``mvc.ops`` in one process."""
        return [own_python(), "-m", "benchmarks.peers.workers.mvc_worker", str(self.place)]

    def begin(self) -> list[Command]:
        """A repository in the work tree."""
        return [self._mvc("init")]

    def commit(self, number: int) -> list[Command]:
        """A version."""
        return [self._mvc("commit", "-q", "-m", f"version {number}")]

    def label(self, number: int) -> list[Command]:
        """A tag."""
        return [self._mvc("tag", f"v{number}")]

    def checkout(self, number: int) -> list[Command]:
        """The tag."""
        return [self._mvc("checkout", "-q", f"v{number}")]

    def status(self) -> list[Command]:
        """As mvc tells it."""
        return [self._mvc("status")]

    def collect(self) -> list[Command]:
        """Collect garbage and repack, with the newest version alone and older ones against it."""
        return [self._mvc("gc", "--repack")]

    def can_collect(self) -> str | None:
        """Why it cannot, or None."""
        return None if (ROOT / "mvc" / "cli" / "gc.py").exists() else "no gc"

    def store_files(self) -> list[Path]:
        """The store lies in the work tree."""
        return [path for path in (self.work / ".mvc").rglob("*") if path.is_file()]
