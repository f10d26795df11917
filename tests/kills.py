"""Kills at every step of every scene: ``python -m tests.kills`` (part of ``make kills``).

A forked child plays the scene and dies of SIGKILL before, or in the middle of, one step that changes
something. What it leaves is looked at; then the command that settles it is killed too, at a step drawn by
lot, and it is looked at again; then life goes on.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys

from tests.faults import CHANGING, run_killed
from tests.scenes import Stage, chosen, look, workshop
from tests.tally import Tally, run_all


def kill(name: str, every: int = 1, *, only: int | None = None) -> Tally:
    """Kill a scene at each so many of its steps, or at the ``only`` one."""
    tally = Tally()
    with workshop() as place:
        stage = Stage(name, place)
        rng = random.Random(name)
        steps = itertools.count(1, every) if only is None else (only, 1_000_000)
        for step in steps:
            folder = stage.copy()
            again = f"python -m tests.kills {name!r} --step {step}"
            if not run_killed(lambda io, folder=folder: stage.act(folder, io), step, CHANGING):
                with tally.judged(again):
                    stage.check(folder, acknowledged=True)
                break
            tally.counts["kills"] += 1
            with tally.judged(again):
                second = place / "second"
                shutil.copytree(folder, second, symlinks=True)
                try:
                    at = rng.randrange(1, 12)
                    if run_killed(lambda io, second=second: look(second, io), at, CHANGING):
                        tally.counts["kills of the next command"] += 1
                    stage.check(second, acknowledged=False)
                finally:
                    shutil.rmtree(second)
                if stage.check(folder, acknowledged=False):
                    tally.counts["found done"] += 1
                stage.go_on(folder)
    tally.counts["scenes"] = 1
    return tally


def main(arguments: list[str]) -> int:
    """The long form; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.kills", description=__doc__)
    parser.add_argument("scenes", nargs="*", help="only these; all if none is named")
    parser.add_argument("--every", type=int, default=1, help="kill at each so many steps")
    parser.add_argument("--step", type=int, help="only at this step")
    parser.add_argument("--jobs", type=int, help="processes; one for each core if not given")
    given = parser.parse_args(arguments)
    names = chosen(given.scenes, sessions=False)
    if given.step is not None:
        tally = Tally()
        for name in names:
            tally.add(kill(name, only=given.step))
        for again, text in tally.failures:
            print(f"{text}\n  again: {again}")
        return 0 if tally.good else 1
    whole = not given.scenes and given.every == 1
    return run_all(
        "kills at every step", kill, [(name, given.every) for name in names], given.jobs, keep=whole
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
