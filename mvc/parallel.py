"""The one place where work is spread over threads: an ordered map with a bounded window, calls that run
behind their caller, one after the other, and a call that is repeated every few seconds.

numpy, zstandard, blake3 and hashlib release the interpreter lock on large buffers, so threads use the cores
without copying data between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

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
    size: Callable[[_In], int] = lambda _item: 0,
    room: Callable[[], int] = lambda: 0,
) -> Iterator[_Out]:
    """Results of ``function`` in the order of ``items``, computed by several threads.

    At most ``window`` items (default: workers + 2) are taken from the iterable and not yet handed on, so
    memory stays bounded; nor more than one whose sizes by ``size`` exceed what ``room`` gives then. The
    iterable is consumed in the caller's thread. The first exception is raised in its turn; work that has
    begun is finished before it leaves.
    """
    # 3 ms to import, with logging: only where threads are started
    from concurrent.futures import ThreadPoolExecutor

    workers = workers or worker_count()
    window = window or workers + 2
    waiting: deque[Future[_Out]] = deque()
    sizes: deque[int] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="mvc") as pool:
        try:
            for item in items:
                sizes.append(size(item))
                while waiting and sum(sizes) > room():
                    sizes.popleft()
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
                if len(waiting) >= window:
                    sizes.popleft()
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Behind:
    """Runs calls one after the other in a thread of its own, while the caller goes on; in several
    ``workers``, so many beside each other.

    At most ``window`` calls wait or run, so memory stays bounded. After one has failed no later one begins,
    and its error is raised by every :meth:`run` and :meth:`wait` that follows. Threads start with the first
    call.
    """

    def __init__(self, window: int, workers: int = 1) -> None:
        self._window = window
        self._workers = workers
        self._waiting: deque[Future[None]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._error: BaseException | None = None
        self._stopped = False

    def run(self, call: Callable[[], object]) -> None:
        """Have a call run; waits while too many do.

        Raises:
            Exception: that of an earlier call.
        """
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # here: as above

            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="mvc")
        self._waiting.append(self._pool.submit(self._step, call))
        while len(self._waiting) > self._window:
            self._waiting.popleft().result()
        self._refuse_failed()

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return all(future.done() for future in self._waiting)

    def wait(self) -> None:
        """All calls have run when this returns.

        Raises:
            Exception: that of the first call that failed.
        """
        while self._waiting:
            self._waiting.popleft().result()
        self._refuse_failed()

    def stop(self) -> None:
        """End the thread; calls that wait are left out, and what one raised is not told any more."""
        self._stopped = True
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        self._stopped = False

    def _step(self, call: Callable[[], object]) -> None:
        if self._stopped or self._error is not None:
            return
        try:
            call()
        except BaseException as error:
            self._error = error

    def _refuse_failed(self) -> None:
        if self._error is not None:
            raise self._error


class Repeating:
    """Runs a call every so many seconds, in a thread of its own that does not keep the process alive."""

    def __init__(self, call: Callable[[], object], seconds: float) -> None:
        import threading  # only where one is started

        self._over = threading.Event()
        self._process = os.getpid()

        def run() -> None:
            while not self._over.wait(seconds):
                call()

        self._thread = threading.Thread(target=run, name="mvc-repeating", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; a call that runs is finished first. In a forked child there is nothing to end."""
        import threading

        self._over.set()
        if self._process == os.getpid() and threading.current_thread() is not self._thread:
            self._thread.join()


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
