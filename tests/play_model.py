"""Plays sequences of commands against the model for long: ``make model``.

``python -m tests.play_model --examples 2000 --steps 60 --jobs 2`` plays that many in each of two processes,
each from a seed of its own, and keeps what it counted (:mod:`tests.counts`). The first difference ends it,
with the shortest sequence that shows it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.counts import record
from tests.test_model import Commands


class Counted(Commands):
    """The same machine; what it did is added up."""

    done: ClassVar[Counter[str]] = Counter()

    def teardown(self) -> None:
        self.done["sequences"] += 1
        self.done["steps"] += self.steps
        self.done["operations"] += self.model.number
        super().teardown()


def play(examples: int, steps: int, seed: int) -> dict[str, int]:
    """Play so many sequences of at most so many steps; what was done.

    Raises:
        AssertionError: mvc did something else than the model.
    """
    Counted.done.clear()
    options: dict[str, Any] = {"suppress_health_check": list(HealthCheck), "database": None, "deadline": None}
    run_state_machine_as_test(
        hypothesis.seed(seed)(Counted),
        settings=settings(max_examples=examples, stateful_step_count=steps, print_blob=True, **options),
    )
    return dict(Counted.done)


def main() -> None:
    """Read the arguments, play, record."""
    parser = argparse.ArgumentParser(description="Sequences of commands against a model of dicts of bytes.")
    parser.add_argument("--examples", type=int, default=2000, help="sequences in each process")
    parser.add_argument("--steps", type=int, default=60, help="steps in each sequence, at most")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=None, help="of the first process; the time by default")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        asked = [(given.examples, given.steps, seed + job) for job in range(given.jobs)]
        total: Counter[str] = Counter()
        for done in pool.starmap(play, asked):
            total.update(done)
    seconds = round(time.monotonic() - began)
    record("sequences of commands against the model", **total, differences=0, seed=seed, seconds=seconds)
    print(", ".join(f"{count:,} {name}" for name, count in sorted(total.items())), f"in {seconds} s")


if __name__ == "__main__":
    main()
