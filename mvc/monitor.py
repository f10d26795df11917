"""How the library tells what it does: progress, counters and damage that does not stop the run.

The library never prints. A caller passes a :class:`Monitor`; the default one keeps counters and the list of
what was noticed, and shows nothing.
"""

from __future__ import annotations

import threading
from collections import Counter


class Monitor:
    """Collects what happens during one operation; subclass to show it.

    ``counters`` hold sums by name (names end in their unit: ``read_bytes``, ``written_files``); ``warnings``
    and ``damage`` hold one-line messages in the order in which they came. Safe to call from several threads.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.damage: list[str] = []
        self._lock = threading.Lock()

    def start(self, task: str, total_bytes: int | None = None) -> None:
        """A stage begins; ``total_bytes`` is its size where known."""

    def advance(self, count_bytes: int) -> None:
        """So many bytes of the current stage are done."""

    def finish(self) -> None:
        """The current stage is over."""

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.counters[name] += amount

    def warn(self, message: str) -> None:
        """Something the user should know that stops nothing."""
        with self._lock:
            self.warnings.append(message)

    def note_damage(self, message: str) -> None:
        """Stored bytes were found wrong, and the run went on with another copy."""
        with self._lock:
            self.damage.append(message)
