"""What is fuzzed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def no_files(_files: list[Path]) -> list[bytes]:
    """Of a corpus of files: nothing."""
    return []


@dataclass(frozen=True)
class Target:
    """One reader of bytes.

    ``run`` raises only where something is wrong. ``seeds`` are inputs of our own making that it understands;
    ``adapted`` makes further ones of a corpus of files. ``bytes_per_byte`` bounds the memory that an input
    may take, beside ``budget_bytes`` and a few times the file that it ``stands_for``, which may be longer.
    ``is_slow``: each input takes a process, so that there are few.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    adapted: Callable[[list[Path]], list[bytes]] = no_files
    budget_bytes: int = 32 << 20
    bytes_per_byte: int = 1024
    stands_for: Callable[[bytes], int] = len
    is_slow: bool = False
