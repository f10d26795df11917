"""A store on a backend where nobody can be asked who reads and writes now: a bucket.

Nothing there needs an announcement. A writer's swap of root fails if anything was condemned since it read
root, and then it looks again; a reader has the time that passes between condemning and deleting, which the
collection of such a store waits out (docs/format.md, the protocol).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from mvc.odb.intents import Role
from mvc.store import Announcement, Store

_NEVER = -1


class _Nobody:
    """An announcement where there is nobody to tell."""

    def announce_epoch(self, _epoch: int, /) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass


class BucketStore(Store):
    """Packs, index and root in a bucket, or in memory."""

    def announce(self, role: Role) -> AbstractContextManager[Announcement]:
        """Nobody is told."""
        return _Nobody()

    def free_epoch(self) -> int | None:
        """Nothing may be deleted but by the bucket's own collection."""
        return _NEVER

    def confirm_root(self) -> None:
        """A conditional put that was answered is durable."""

    def check_alive(self) -> None:
        """Nobody takes anybody for dead."""
