"""All targets as one, for runs too short to give each a process: an input's first byte says which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch

TOGETHER = "together"
"""What it is called where a target's name is asked for."""

QUICK = [target for target in TARGETS.values() if not target.is_slow]


def seeds(files: list[Path]) -> list[bytes]:
    """The seeds of all, each with its target in front."""
    return [
        bytes([number]) + data
        for number, target in enumerate(QUICK)
        for data in (*target.seeds(), *target.adapted(files))
    ]


def dispatch() -> Callable[[bytes], None]:
    """A function that hands an input to the target that it is for."""
    watches = list(map(Watch, QUICK))

    def run(data: bytes) -> None:
        if data:
            watches[data[0] % len(watches)](data[1:])

    return run
