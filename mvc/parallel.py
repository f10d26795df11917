"""The one place where work is spread over threads: an ordered map with a bounded window.

numpy, zstandard, blake3 and hashlib release the interpreter lock on large buffers, so threads use the cores
without copying data between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def worker_count() -> int:
    """Threads to use: one per core that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[_In], _Out],
    items: Iterable[_In],
    *,
    workers: int | None = None,
    window: int | None = None,
) -> Iterator[_Out]:
    """Results of ``function`` in the order of ``items``, computed by several threads.

    At most ``window`` items (default: workers + 2) are taken from the iterable and not yet handed on, so
    memory stays bounded. The iterable is consumed in the caller's thread. The first exception is raised in
    its turn; work that has begun is finished before it leaves.
    """
    # 3 ms to import, with logging: only where threads are started
    from concurrent.futures import ThreadPoolExecutor

    workers = workers or worker_count()
    window = window or workers + 2
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="mvc") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(items: Iterable[_In], size: Callable[[_In], int], least: int) -> Iterator[list[_In]]:
    """Consecutive items in lists whose sizes together reach ``least``, so that handing work to a thread costs
    little against the work; the last list may be smaller."""
    batch: list[_In] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= least:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
