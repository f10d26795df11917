"""``make seeded``: put every fault in, one by one, and see that it is caught; prints a table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.counts import record
from tests.seeded import PASSED, PATIENCE, Fault, Outcome, attempt, copy_of_all, listed, run_tests
from tests.seeded.faults import FAULTS


def main() -> int:
    """1 if one was not caught, or if a test that is to catch one fails without it."""
    parser = argparse.ArgumentParser(prog="python -m tests.seeded", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this fault; may be given several times"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the list for docs/reliability.md, run nothing"
    )
    parser.add_argument("--trust", action="store_true", help="do not run the tests without any fault first")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    chosen = [item for item in FAULTS if not given.only or item.name in given.only]
    if given.list:
        print(listed(FAULTS))
        return 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(given.jobs) as pool:
        copies = [copy_of_all(Path(place) / str(number)) for number in range(given.jobs)]
        tests = tuple(dict.fromkeys(test for item in chosen for test in item.tests))
        without = (
            Outcome(False, "", PASSED) if given.trust else run_tests(copies[0], tests, PATIENCE * len(tests))
        )
        if without.why != PASSED:
            print(f"without any fault: {without.by} {without.why}", file=sys.stderr)
            return 1

        def lane(number: int) -> int:
            return sum(not told(item, attempt(copies[number], item)) for item in chosen[number :: given.jobs])

        missed = sum(pool.map(lane, range(given.jobs)))
    seconds = round(time.monotonic() - started, 1)
    print(f"{len(chosen) - missed} of {len(chosen)} caught in {seconds} s")
    if not given.only:
        record(
            "seeded faults", faults=len(chosen), caught=len(chosen) - missed, missed=missed, seconds=seconds
        )
    return 1 if missed else 0


def told(item: Fault, outcome: Outcome) -> bool:
    """Print how a fault fared; whether it was caught."""
    by = outcome.by.rpartition("::")[2]
    word = "caught" if outcome.caught else "MISSED"
    print(f"{word:7} {item.name:50} {by:70} {outcome.why[:80]}", flush=True)
    return outcome.caught


if __name__ == "__main__":
    sys.exit(main())
