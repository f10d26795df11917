"""A disk that refuses, is full, or writes short, at every step of every scene: ``python -m tests.refusals``
(part of ``make full-disk``)."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from mvc.errors import MvcError, Unfinished
from tests.faults import NEEDS_SPACE, READING, WRITING, FaultIO
from tests.scenes import Broken, Stage, chosen, one_thread, workshop
from tests.tally import Tally, run_all

MODES: dict[str, dict[str, Any]] = {
    "EIO": {"error": errno.EIO, "counted": READING + WRITING},
    "EIO after the fact": {"error": errno.EIO, "late": True, "counted": WRITING},
    "EIO from then on": {"error": errno.EIO, "for_ever": True, "failing": WRITING, "counted": WRITING},
    "ENOSPC": {"error": errno.ENOSPC, "counted": tuple(NEEDS_SPACE)},
    "ENOSPC from then on": {"error": errno.ENOSPC, "for_ever": True, "counted": tuple(NEEDS_SPACE)},
    "EDQUOT from then on": {"error": errno.EDQUOT, "for_ever": True, "counted": tuple(NEEDS_SPACE)},
}
"""How a disk refuses."""


def refuse(name: str, every: int = 1, *, only: tuple[str, int] | None = None, threads: bool = False) -> Tally:
    """Refuse each so many steps of a scene in each way, or only one of them; and write short.

    The command must say so with an exit code of 3, 4 or 5 and a hint, or have done all of it; files are as
    before or after; nothing is damaged, and the next command works. Without ``threads`` all of it is done in
    one.
    """
    tally = Tally()
    with workshop() as place:
        stage = Stage(name, place)
        with nullcontext() if threads else one_thread():
            for mode, step in _plan(tally, stage, every) if only is None else [only]:
                with tally.judged(f"python -m tests.refusals {name!r} --mode {mode!r} --step {step}"):
                    _refuse_at(stage, mode, step, tally)
            for step in range(1, _writes(stage) + 1, every):
                with tally.judged(f"a short write of {name!r}, number {step}"):
                    folder = stage.copy()
                    stage.act(folder, FaultIO(short_at=step, counted=("write", "write_at")))
                    stage.check(folder, acknowledged=True)
                    tally.counts["short writes"] += 1
    tally.counts["scenes"] = 1
    return tally


def _plan(tally: Tally, stage: Stage, every: int) -> Iterator[tuple[str, int]]:
    for number, (mode, fault) in enumerate(MODES.items()):
        io = FaultIO(counted=fault["counted"])
        stage.act(stage.copy(), io)
        tally.counts["steps"] += io.steps
        for step in range(1 + number % every, io.steps + 1, every):
            yield mode, step


def _writes(stage: Stage) -> int:
    io = FaultIO(counted=("write", "write_at"))
    stage.act(stage.copy(), io)
    return io.steps


def _refuse_at(stage: Stage, mode: str, step: int, tally: Tally) -> None:
    folder = stage.copy()
    io = FaultIO(fail_at=step, **MODES[mode])
    acknowledged, unfinished = True, False
    try:
        stage.act(folder, io)
    except MvcError as error:
        acknowledged = unfinished = isinstance(error, Unfinished)  # which says that the change is made
        if error.exit_code not in (3, 4, 5, 6) or not error.hint:
            raise Broken(f"exit code {error.exit_code}, hint {error.hint!r}: {error.message}") from error
        tally.counts["refused commands"] += 1
    if not io.failed and not acknowledged:
        raise Broken(f"the disk was to refuse step {step}, and something else did")
    # a run may take a step less than the one that was counted
    tally.counts["refusals" if io.failed else "came to their end"] += 1
    stage.check(folder, acknowledged=acknowledged, unfinished=unfinished)
    stage.go_on(folder)


def main(arguments: list[str]) -> int:
    """The long form; the exit code."""
    parser = argparse.ArgumentParser(prog="tests.refusals", description=__doc__)
    parser.add_argument("scenes", nargs="*", help="only these; all if none is named")
    parser.add_argument("--every", type=int, default=1, help="refuse each so many steps")
    parser.add_argument("--mode", choices=list(MODES), help="with --step: in which way")
    parser.add_argument("--step", type=int, help="only this step")
    parser.add_argument("--jobs", type=int, help="processes; one for each core if not given")
    given = parser.parse_args(arguments)
    names = chosen(given.scenes, sessions=False)
    if given.step is not None:
        tally = Tally()
        for name in names:
            tally.add(refuse(name, 1_000_000, only=(given.mode or "EIO", given.step)))
        for again, text in tally.failures:
            print(f"{text}\n  again: {again}")
        return 0 if tally.good else 1
    whole = not given.scenes and given.every == 1
    tasks = [(name, given.every) for name in names]
    return run_all("refusals at every step", refuse, tasks, given.jobs, keep=whole)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
