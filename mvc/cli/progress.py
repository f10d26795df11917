"""Shows what the library is doing: one line on a terminal, warnings and damage everywhere."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TextIO

from mvc.cli.text import duration, share
from mvc.monitor import Monitor
from mvc.text import one_line, size

INTERVAL = 0.1
"""Seconds between two drawings; more often nobody can read it."""
PATIENCE = 0.4
"""Seconds that a stage may take before it is shown at all."""
WINDOW = 3.0
"""Seconds that the rate is taken over: of late, not since the beginning."""
_CLEAR = "\r\x1b[K"


class TerminalMonitor(Monitor):
    """Writes to ``stream``; the progress line only where ``progress`` is set, cut to ``width()`` columns."""

    def __init__(self, stream: TextIO, *, progress: bool, width: Callable[[], int]) -> None:
        super().__init__()
        self._stream = stream
        self._progress = progress
        self._width = width
        self._drawing = threading.RLock()
        self._task: str | None = None
        self._total = 0
        self._done = 0
        self._next = 0.0
        self._marks: deque[tuple[float, int]] = deque()
        self._drawn = False

    def start(self, task: str, total_bytes: int | None = None) -> None:
        """A stage begins."""
        with self._drawing:
            self._task, self._total, self._done = task, total_bytes or 0, 0
            now = monotonic()
            self._next = now + PATIENCE
            self._marks = deque([(now, 0)])

    def advance(self, count_bytes: int) -> None:
        """So many bytes of it are done."""
        if not self._progress:
            return
        with self._drawing:
            self._done += count_bytes
            now = monotonic()
            if self._task is not None and now >= self._next:
                self._next = now + INTERVAL
                self._draw(now)

    def finish(self) -> None:
        """The stage is over; its line goes."""
        with self._drawing:
            self._erase()
            self._task = None

    def draw_no_more(self) -> None:
        """From here on the terminal belongs to somebody else."""
        with self._drawing:
            self._erase()
            self._progress = False

    def warn(self, message: str) -> None:
        """Say what the user should know."""
        super().warn(message)
        self._say(f"warning: {message}")

    def note_damage(self, message: str) -> None:
        """Say that stored bytes are wrong."""
        super().note_damage(message)
        self._say(f"damage: {message}")

    def _say(self, line: str) -> None:
        with self._drawing:
            self._erase()
            self._stream.write(one_line(line) + "\n")
            self._stream.flush()

    def _draw(self, now: float) -> None:
        while len(self._marks) > 1 and now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        since, done_then = self._marks[0]
        self._marks.append((now, self._done))
        rate = (self._done - done_then) / max(now - since, 1e-9)
        counted = self.counters
        line = progress_line(
            self._task or "", self._done, self._total, rate, counted["stored_bytes"], counted["encoded_bytes"]
        )
        self._stream.write(_CLEAR + line[: self._width() - 1])
        self._stream.flush()
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._drawn = False


def progress_line(task: str, done: int, total: int, rate: float, stored: int, encoded: int) -> str:
    """``commit  45 %  1.2 of 2.7 GB  310 MB/s  5 s left  stored at 33 %``, as far as it is known.

    ``rate`` is in bytes a second; ``encoded`` are the plain bytes of what was written so far, ``stored`` what
    it takes.
    """
    words = [task]
    if total:
        words.append(f"{min(done, total) * 100 // total} %")
        words.append(f"{size(done)} of {size(total)}")
    else:
        words.append(size(done))
    words.append(f"{size(int(rate))}/s")
    if total > done and rate >= 1:
        words.append(f"{duration((total - done) / rate)} left")
    if encoded:
        words.append(f"stored at {share(stored / encoded)}")
    return "  ".join(words)
