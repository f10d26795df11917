"""How long somebody who talks to a server waits, tries again, and gives up."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits of one operation on a server, in seconds.

    ``connect``: until a connection stands. ``stall``: without a single byte, after which a request is given
    up. ``total``: from the first failure on, after which an operation is not tried again. ``slowest``: bytes
    a second that an upload is expected to make at least; how long it takes cannot be seen otherwise.
    """

    connect: float = 10.0
    stall: float = 30.0
    total: float = 60.0
    slowest: int = 64 << 10


SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds, at most, before the first repetition and before any."""


class Attempts:
    """The tries of one operation. Each repetition waits a random part of twice as long as the one before
    ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that many
    who were refused at once do not come back at once.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failed_since: float | None = None
        self.failures = 0

    def again(self, part: float = 1.0) -> bool:
        """After a failure that may pass: wait, and True; False where this part of the patience is over."""
        now = time.monotonic()
        if self._failed_since is None:
            self._failed_since = now
        pause = random.uniform(0, min(SHORTEST_PAUSE * 2**self.failures, LONGEST_PAUSE))
        if now + pause - self._failed_since > self._patience.total * part:
            return False
        self.failures += 1
        time.sleep(pause)
        return True

    def progressed(self) -> None:
        """Something came: patience begins anew."""
        self._failed_since = None
        self.failures = 0
