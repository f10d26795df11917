"""Bounds of time and memory around one input."""

from __future__ import annotations

import resource
import time
import tracemalloc

from tests.fuzz.target import Target

MOST_SECONDS = 10.0
"""Of processor time; inputs are short."""

ADDRESS_SPACE = 3 << 30
"""Beyond what the process has when it begins: memory that is asked for and not touched counts too."""

FILE_TIMES, MOST_FILE_BYTES = 4, 32 << 20
"""What a file may take of memory for its length: no scanner reads more than a header of 25 MB at once."""

SAMPLED = 16
"""Of so many inputs, one is watched allocation by allocation, which is slow."""


class Finding(Exception):
    """An input that took more than it may."""


def limit_address_space() -> None:
    """Have allocations beyond the bound fail: MemoryError is nothing that a target allows."""
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    most = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class Watch:
    """Runs a target; ``count`` is how many inputs it had."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.count = 0

    def __call__(self, data: bytes) -> None:
        """Run one input.

        Raises:
            Finding: it took too long or too much.
            Exception: whatever the target did not allow.
        """
        file_bytes = min(self.target.stands_for(data), MOST_FILE_BYTES)
        budget = self.target.budget_bytes + self.target.bytes_per_byte * len(data) + FILE_TIMES * file_bytes
        sampled = self.count % SAMPLED == 0
        self.count += 1
        peak_before = _peak_bytes()
        began = time.process_time()
        if sampled:
            tracemalloc.start()
        try:
            self.target.run(data)
            traced = tracemalloc.get_traced_memory()[1] if sampled else 0
        finally:
            if sampled:
                tracemalloc.stop()
        seconds = time.process_time() - began
        if seconds > MOST_SECONDS:
            raise Finding(f"{self.target.name}: {len(data)} bytes took {seconds:.1f} s")
        # The process's own peak sees what C allocates, and says nothing while it stays below an older one.
        grown = max(traced, _peak_bytes() - peak_before if self.count > 1 else 0)
        if grown > budget:
            raise Finding(f"{self.target.name}: {len(data)} bytes took {grown >> 20} MiB of memory")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
