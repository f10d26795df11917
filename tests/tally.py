"""What the long form of a fault test counts, on how many processes it runs, and what it says at its end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.counts import record
from tests.scenes import Lost, Wrong

SHOWN = 10  # failures that are shown whole


@dataclass
class Tally:
    """Counts by name, and the failures, each with the command that brings it back."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @contextmanager
    def judged(self, again: str) -> Iterator[None]:
        """What is wrong in the block is counted; ``again`` is the command that shows it once more."""
        try:
            yield
        except Exception as error:
            kind = "lost" if isinstance(error, Lost) else "wrong" if isinstance(error, Wrong) else "broken"
            self.counts[kind] += 1
            if len(self.failures) < 100:
                text = str(error) if kind != "broken" else "".join(traceback.format_exception(error))
                self.failures.append((again, f"{kind}: {text}"))

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.counts.update(other.counts)
        self.failures += other.failures

    @property
    def good(self) -> bool:
        """Nothing was lost, wrong or broken."""
        return not self.failures


def run_all(
    row: str,
    work: Callable[..., Tally],
    tasks: Iterable[tuple[object, ...]],
    jobs: int | None = None,
    *,
    zero: tuple[str, ...] = ("lost", "wrong", "broken"),
    keep: bool = True,
) -> int:
    """Run ``work`` on each task, in several processes; print and record what they counted; the exit code.

    ``row`` is the name of the row in the file of counts, ``zero`` what is shown there even when there was
    none; without ``keep`` (a part of the run only) nothing is recorded.
    """
    begin, whole = time.monotonic(), Tally()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context) as pool:
        running = [(task, pool.submit(work, *task)) for task in tasks]
        for task, future in running:
            tally = future.result()
            counts = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.counts.items()))
            print(f"{' '.join(map(str, task))}: {counts}", flush=True)
            whole.add(tally)
    for again, text in whole.failures[:SHOWN]:
        print(f"\n{text}\n  again: {again}", file=sys.stderr)
    counts = {**dict.fromkeys(zero, 0), **whole.counts}
    seconds = round(time.monotonic() - begin, 1)
    print(f"{row}: {', '.join(f'{name} {count:,}' for name, count in counts.items())}; {seconds:.0f} s")
    if keep:
        record(row, seconds=seconds, **counts)
    return 0 if whole.good else 1
