"""Power cuts over all scenes and sessions: ``python -m tests.power`` (``make power``).

Each is recorded once; then folders are made as a power cut at each of its steps may have left them, and
looked at. Equal folders are looked at once. Some are cut again while the next command settles them.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mvc.errors import MvcError
from tests.faults import PowerCut, Recorder, lay_out, snapshot
from tests.scenes import Broken, Stage, chosen, look, one_thread, workshop
from tests.tally import Tally, run_all

PER_CUT = 6  # random states of each round and step
TWICE = 80  # every so many states the power goes again while the next command settles them


class Outage:
    """A stage's commands as a power cut sees them: the steps, and where each command ends."""

    def __init__(self, stage: Stage, forget: Collection[str] = ()) -> None:
        self.stage = stage
        folder = stage.copy()
        before, io = snapshot(folder), Recorder()
        self.ends: list[int] = []
        for number in range(len(stage.acts)):
            stage.act_one(number, folder, io)
            self.ends.append(len(io.trace))
        self._model = PowerCut(folder, before, io.trace, forget)

    @property
    def steps(self) -> int:
        """Number of steps of all commands."""
        return self.ends[-1]

    def at(self, cut: int) -> tuple[int, bool]:
        """Which command is at work at a step, and whether it has been acknowledged."""
        if cut in self.ends:
            return self.ends.index(cut), True
        return next(number for number, end in enumerate(self.ends) if cut < end), False

    def states(self, cut: int, count: int, turn: int) -> Iterator[dict[str, Any]]:
        """Folders as the cut may leave them, the same ones each time."""
        yield from self._model.states(cut, count, random.Random(f"{self.stage.name}/{cut}/{turn}"))

    def judge(self, state: dict[str, Any], cut: int, place: Path) -> None:
        """Make the folder and look at it.

        Raises:
            Broken: it is not what was promised.
        """
        during, acknowledged = self.at(cut)
        lay_out(state, place)
        try:
            self.stage.check(place, acknowledged=acknowledged, during=during)
        finally:
            shutil.rmtree(place)

    def judge_again(self, state: dict[str, Any], cut: int, place: Path, rng: random.Random) -> int:
        """The power goes again while the next command settles the state; how many states that made."""
        lay_out(state, place)
        io = Recorder()
        try:
            look(place, io)
        except MvcError as error:
            raise Broken(f"cannot be settled: {error.message}") from error
        finally:
            shutil.rmtree(place)
        if not any(step.name != "close" for step in io.trace):
            return 0
        second = PowerCut(place, state, io.trace)
        states = list(second.states(rng.randrange(len(io.trace) + 1), 1, rng))
        for left in states:
            self.judge(left, cut, place)
        return len(states)


def fingerprint(state: dict[str, Any]) -> bytes:
    """What tells folders apart: names, bytes and permission bits."""
    digest = hashlib.sha256()
    for path, item in state.items():
        digest.update(f"{path}\0{item and (item[1], len(item[0]))}\0".encode())
        if item is not None:
            digest.update(item[0])
    return digest.digest()[:12]


def cut_power(
    name: str, most: int, *, only: int | None = None, turns: int = 200, forget: Collection[str] = ()
) -> Tally:
    """Look at up to ``most`` different states of a scene, in rounds over all of its steps, or at the ``only``
    one; ``forget``: as if these steps had been left out."""
    tally, seen = Tally(), set[bytes]()
    with workshop() as place, ExitStack() as looking:
        stage = Stage(name, place)
        stage.remember = True
        outage = Outage(stage, forget)
        looking.enter_context(one_thread())  # the commands themselves had as many as they wanted
        rng = random.Random(name)
        # what was acknowledged counts most
        cuts = [*range(outage.steps + 1), *outage.ends * 3] if only is None else [only]
        for turn in range(turns):
            known = len(seen)
            rng.shuffle(cuts)  # so that few states are of all steps
            for cut in cuts:
                for number, state in enumerate(outage.states(cut, PER_CUT, turn)):
                    if len(seen) >= most or (forget and not tally.good):
                        break
                    mark = fingerprint(state)
                    if mark in seen:
                        continue
                    seen.add(mark)
                    again = f"python -m tests.power {name!r} --cut {cut}  # turn {turn}, state {number}"
                    with tally.judged(again):
                        outage.judge(state, cut, place / "state")
                    if outage.at(cut)[1]:
                        tally.counts["after the acknowledgement"] += 1
                    if len(seen) % TWICE == 0:
                        with tally.judged(f"{again}, cut again"):
                            tally.counts["cut twice"] += outage.judge_again(state, cut, place / "again", rng)
            if len(seen) >= most or len(seen) < known + len(cuts) // 20:
                break
        tally.counts["states"] = len(seen)
        tally.counts["stores looked through"] = stage.stores
        tally.counts["scenes"] = 1
    return tally


def main(arguments: list[str]) -> int:
    """The long form; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.power", description=__doc__)
    parser.add_argument("scenes", nargs="*", help="only these; all if none is named")
    parser.add_argument("--states", type=int, default=4000, help="how many at most of each scene")
    parser.add_argument("--cut", type=int, help="only after this step")
    parser.add_argument("--jobs", type=int, help="processes; one for each core if not given")
    given = parser.parse_args(arguments)
    tasks = [(name, given.states) for name in chosen(given.scenes)]
    if given.cut is not None:
        tally = Tally()
        for name, most in tasks:
            tally.add(cut_power(name, most, only=given.cut, turns=3))
        for again, text in itertools.islice(tally.failures, 3):
            print(f"{text}\n  again: {again}")
        return 0 if tally.good else 1
    return run_all("power cuts", cut_power, tasks, given.jobs, keep=not given.scenes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
