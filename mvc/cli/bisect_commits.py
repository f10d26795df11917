"""``mvc bisect start``, ``good``, ``bad``, ``skip``, ``run``, ``reset`` and ``log``."""

from typing import Any

from mvc.bisecting.state import Word
from mvc.cli.bisect_shown import (
    ADJECTIVES,
    NOT_FOUND,
    tell_candidates,
    tell_found,
    tester,
    version_line,
)
from mvc.cli.call import Call
from mvc.errors import UsageError
from mvc.objectid import CommitId
from mvc.ops import bisect as verb
from mvc.ops.bisect import TESTED, Report
from mvc.text import count, one_line


def answer(call: Call, name: str, rest: tuple[str, ...], *, json: bool) -> int | None:
    """Begin, or say something of versions; gives the exit code."""
    if name == "start":
        report = verb.start(call.repository, rest[0] if rest else None, rest[1:], call.who(), call.now())
    else:
        report = verb.mark(call.repository, _word(name), rest, call.who(), call.now())
    return _report(call, report, json=json)


def _word(name: str) -> Word:
    words: dict[str, Word] = {"good": "good", "bad": "bad", "skip": "skip"}
    return words[name]


def run(call: Call, rest: tuple[str, ...], *, json: bool) -> int | None:
    """Let a program say so; gives the exit code."""
    program = (*rest, *(call.paths or ()))
    if not program:
        raise UsageError("which command?", hint="mvc bisect run python eval.py")

    def told(report: Report, commit: CommitId, word: Word) -> None:
        if not json:
            call.report(f"{commit.short} is {ADJECTIVES[word]}")
            if report.step is not None and report.step.kind in TESTED:
                _tell(call, report)

    test = tester(call, program, call.repository.worktree, json=json)
    try:
        if not json:
            with call.repository.reading() as view:
                _tell(call, verb.standing(view))
        report = verb.run(call.repository, test, told, call.who(), call.now)
    except KeyboardInterrupt:
        call.hint("the bisection stays as it is: run the same again to go on, or 'mvc bisect reset'")
        raise
    return _report(call, report, json=json)


def _report(call: Call, report: Report, *, json: bool) -> int | None:
    if json:
        call.data(_report_json(report))
    else:
        _tell(call, report)
    return NOT_FOUND if report.step is not None and report.step.kind == "skipped" else None


def _tell(call: Call, report: Report) -> None:
    step = report.step
    if step is None:
        missing = " and ".join({"bad": "a bad", "good": "a good"}[word] for word in report.bisection.missing)
        call.report(f"waiting for {missing} version: mvc bisect bad [REV], mvc bisect good [REV]")
        return
    with call.repository.reading() as view:
        if step.kind in TESTED:
            first = (
                f"bisecting: {count(step.left, 'version')} left to test after this, "
                f"about {count(step.steps, 'step')}"
                if step.kind == "test"
                else "bisecting: a merge base must be tested"
            )
            call.report(first)
            call.report(version_line(call, view, step.commit))
        elif step.kind == "found":
            tell_found(call, view, step.commit)
        else:
            tell_candidates(call, view, step.candidates)


def _report_json(report: Report) -> dict[str, Any]:
    step, known = report.step, report.bisection
    return {
        "state": "waiting" if step is None else step.kind,
        "commit": None if step is None else step.commit.hex(),
        "left": None if step is None else step.left,
        "steps": None if step is None else step.steps,
        "candidates": [] if step is None else [candidate.hex() for candidate in step.candidates],
        "bad": None if known.bad is None else known.bad.hex(),
        "good": [commit.hex() for commit in known.goods],
        "skipped": [commit.hex() for commit in known.skips],
    }


def reset(call: Call, rest: tuple[str, ...], *, json: bool) -> None:
    """End, and say where HEAD is now."""
    if len(rest) > 1:
        raise UsageError("where to? One revision will do", hint="mvc bisect reset [REV]")
    place = verb.reset(call.repository, rest[0] if rest else None, call.who(), call.now())
    shown = place.short if isinstance(place, CommitId) else place
    if json:
        call.data({"head": place.hex() if isinstance(place, CommitId) else place})
    elif shown is None:
        call.report("no bisection was under way")
    else:
        call.report(f"HEAD is back at {one_line(shown.removeprefix('refs/heads/'))}")


def log(call: Call, rest: tuple[str, ...], *, json: bool) -> None:
    """What was said so far."""
    if rest:
        raise UsageError("'mvc bisect log' takes no revision")
    with call.repository.reading() as view:
        known = verb.standing(view).bisection
        if json:
            call.data(
                {
                    "start": known.head if isinstance(known.head, str) else known.head.hex(),
                    "bad": None if known.bad is None else known.bad.hex(),
                    "good": [commit.hex() for commit in known.goods],
                    "skipped": [commit.hex() for commit in known.skips],
                    "answers": [{"answer": word, "commit": commit.hex()} for word, commit in known.log],
                }
            )
            return
        start = known.head if isinstance(known.head, str) else known.head.short
        call.print(f"# started from {one_line(start.removeprefix('refs/heads/'))}")
        call.print("mvc bisect start")
        for word, commit in known.log:
            call.print(f"# {word}: {commit.short} {one_line(view.commit(commit).subject)}")
            call.print(f"mvc bisect {word} {commit.hex()}")
