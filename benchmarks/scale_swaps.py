"""Many writers, one root: how often a second it can be replaced, and what that costs those who lose.

A small simulation of events on a clock of its own. Each writer reads root, merges, writes its segment, and
replaces root if it still is what he read; else he waits a random time, as :mod:`mvc.transaction` does, and
tries again. A request takes a latency drawn from a log-normal distribution and the time that its bytes need.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import NamedTuple

from mvc.transaction import LONGEST_PAUSE, SHORTEST_PAUSE

SPREAD = 0.3
"""Standard deviation of the logarithm of a latency."""

BYTES_PER_SECOND = 100e6
"""Of one client's connection."""


class Swaps(NamedTuple):
    """What came of it: commits a second, tries that a commit took in the mean and at most, seconds from its
    first try to its end in the median and for the slowest of a hundred, and commits that gave up."""

    per_second: float
    tries: float
    most: int
    median: float
    slowest: float
    gave_up: int


def simulate(
    arrivals: float, seconds: float, latency: float, root_bytes: int, requests: int, attempts: int
) -> Swaps:
    """Writers arrive at random, so many a second in the mean.

    ``latency`` is a request's in the median; a try is ``requests`` requests one after the other, of which the
    first reads root and the last replaces it; after ``attempts`` tries a writer gives up.
    """
    rng = random.Random(2026)
    clock: list[tuple[float, int, str, int, int, float]] = []
    now, number = 0.0, 0
    while now < seconds:
        now += rng.expovariate(arrivals)
        heapq.heappush(clock, (now, number, "read", 0, 0, now))
        number += 1
    version, done, tries, spent, gave_up, last = 0, 0, [], [], 0, 0.0

    def request(count: int) -> float:
        return latency * math.exp(rng.gauss(0, SPREAD)) + count / BYTES_PER_SECOND

    while clock:
        at, writer, step, seen, attempt, since = heapq.heappop(clock)
        if step == "read":
            # the answer is the state at about the middle of the request; here, at its beginning
            work = request(root_bytes) + sum(request(0) for _ in range(requests - 2))
            heapq.heappush(clock, (at + work, writer, "swap", version, attempt + 1, since))
        elif step == "swap":
            # the store decides when the request has arrived
            heapq.heappush(clock, (at + request(root_bytes) / 2, writer, "decide", seen, attempt, since))
        elif seen == version:
            version += 1
            done += 1
            tries.append(attempt)
            spent.append(at - since)
            last = at
        elif attempt == attempts:
            gave_up += 1
        else:
            pause = rng.uniform(0, min(SHORTEST_PAUSE * 1.5 ** (attempt - 1), LONGEST_PAUSE))
            heapq.heappush(clock, (at + latency / 2 + pause, writer, "read", 0, attempt, since))
    spent.sort()
    return Swaps(
        done / max(last, 1e-9),
        sum(tries) / max(1, len(tries)),
        max(tries, default=0),
        spent[len(spent) // 2] if spent else math.nan,
        spent[int(len(spent) * 0.99)] if spent else math.nan,
        gave_up,
    )
