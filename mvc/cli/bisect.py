"""``mvc bisect``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from mvc.bisecting import Word
from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.programs import run_program
from mvc.cli.tables import Column, Table
from mvc.cli.versions import Names, entry_lines, finite
from mvc.errors import UsageError, UserError
from mvc.history.decorations import Decorations
from mvc.objectid import CommitId
from mvc.objects import Number
from mvc.ops import bisect as verb
from mvc.ops.bisect import TESTED, Report
from mvc.repo import View
from mvc.text import count, number, one_line

VERBS = {
    "start": "Begin, with a bad and good versions if they are known.",
    "bad": "Say that a version is bad.",
    "good": "Say that versions are good.",
    "skip": "Say that versions cannot be tested.",
    "run": "Let a program say so, until the first bad version is known.",
    "metric": "Let a recorded metric say so.",
    "tensors": "Find the tensors that make a version bad.",
    "log": "Show what was said so far.",
    "reset": "End, and go back to where HEAD was.",
}
VARIABLE = "MVC_BISECT_REV"
NOT_FOUND = 1

_OPTIONS_OF = {"metric": {"--good", "--bad", "--below", "--above"}, "tensors": {"--file", "--dir"}}


@command(
    "mvc bisect start main v1.0",
    "mvc bisect good",
    "mvc bisect run python eval.py --quick",
    "mvc bisect metric loss --good v1.0 --bad main",
    "mvc bisect tensors v1.0 main -- python eval.py",
    "mvc bisect reset",
    exits=(
        "1 the first bad version cannot be told, as the versions around it were skipped; or tensors do not "
        "make the difference",
        "4 uncommitted work is in the way",
    ),
    data="start, bad, good, skip, run: an object: state (waiting, test, merge base, found, skipped), commit "
    "(to be tested, or the first bad one; null while waiting), left, steps, candidates (where all were "
    "skipped), bad, good, skipped. log: an object: start, bad, good, skipped, answers (answer, commit). "
    "reset: head. metric: state, commit, candidates, threshold, side (above or below is bad), path (commit, "
    "value, answer). tensors: sets (tensors: path, names; commit), rest, differing, apart, tests (commit, "
    "tensors, answer, stored_bytes).",
    paths=True,
    program=("run",),
)
def bisect(
    call: Call,
    words: Annotated[
        tuple[str, ...],
        Argument(
            "VERB|REV", "start, bad, good, skip, run, metric, tensors, log or reset; behind it, revisions."
        ),
    ] = (),
    good: Annotated[str | None, Option("--good", "metric: a good version.", "REV")] = None,
    bad: Annotated[str | None, Option("--bad", "metric: a bad version.", "REV")] = None,
    below: Annotated[str | None, Option("--below", "metric: values below this are bad.", "X")] = None,
    above: Annotated[str | None, Option("--above", "metric: values above this are bad.", "X")] = None,
    file: Annotated[
        tuple[str, ...], Option("--file", "tensors: only those of this file or folder.", "PATH")
    ] = (),
    folder: Annotated[
        str | None, Option("--dir", "tensors: test here, and leave the work tree alone.", "DIR")
    ] = None,
    json: Annotated[bool, Option("--json", "Print where it stands, or what was found, as JSON.")] = False,
) -> int | None:
    """Find the version, or the tensors, that made things worse.

    start BAD GOOD… checks out a version in the middle; say good or bad of it, or skip, until the first bad
    one is known. run COMMAND… lets a program say so: exit code 0 is good, 125 cannot be tested, 1 to 127 bad,
    anything else stops. It needs no '--' before it, and finds the version's id in MVC_BISECT_REV. reset goes
    back to where you were.

    metric NAME --good REV --bad REV needs no checkout: bad is what lies beyond the middle of the two values,
    or below or above the value given. Versions without the metric are skipped.

    tensors GOOD BAD -- COMMAND… puts ever other tensors of BAD into GOOD's files and tests them in the work
    tree, which it brings back at the end. It finds the smallest sets that make GOOD bad.
    """
    if not words:
        raise UsageError(f"one of {', '.join(VERBS)}", hint="mvc bisect start BAD GOOD")
    name, rest = words[0], words[1:]
    if name not in VERBS:
        raise UsageError(f"'mvc bisect' has no {name!r}", hint=f"it has {', '.join(VERBS)}")
    given = {
        "--good": good,
        "--bad": bad,
        "--below": below,
        "--above": above,
        "--file": file,
        "--dir": folder,
    }
    for option, value in given.items():
        if value and option not in _OPTIONS_OF.get(name, ()):
            raise UsageError(f"'mvc bisect {name}' takes no {option}", hint="mvc bisect --help")
    if call.paths is not None and name not in ("run", "tensors"):
        raise UsageError(
            f"'mvc bisect {name}' takes no paths", hint="whole versions are tested; tensors has --file PATH"
        )
    if name == "metric":
        return _metric(call, rest, good, bad, _number("--below", below), _number("--above", above), json=json)
    if name == "tensors":
        _tensors(call, rest, file, folder, json=json)
    elif name == "reset":
        _reset(call, rest, json=json)
    elif name == "log":
        _log(call, rest, json=json)
    elif name == "run":
        return _run(call, rest, json=json)
    else:
        return _answer(call, name, rest, json=json)
    return None


# --- commits ----------------------------------------------------------------------------------------------
def _answer(call: Call, name: str, rest: tuple[str, ...], *, json: bool) -> int | None:
    if name == "start":
        report = verb.start(call.repository, rest[0] if rest else None, rest[1:], call.who(), call.now())
    else:
        report = verb.mark(call.repository, _word(name), rest, call.who(), call.now())
    return _report(call, report, json=json)


def _word(name: str) -> Word:
    words: dict[str, Word] = {"good": "good", "bad": "bad", "skip": "skip"}
    return words[name]


def _run(call: Call, rest: tuple[str, ...], *, json: bool) -> int | None:
    program = (*rest, *(call.paths or ()))
    if not program:
        raise UsageError("which command?", hint="mvc bisect run python eval.py")

    def told(report: Report, commit: CommitId, word: Word) -> None:
        if not json:
            call.report(f"{commit.short} is {_ADJECTIVES[word]}")
            if report.step is not None and report.step.kind in TESTED:
                _tell(call, report)

    test = _tester(call, program, call.repository.worktree, json=json)
    try:
        if not json:
            with call.repository.reading() as view:
                _tell(call, verb.standing(view))
        report = verb.run(call.repository, test, told, call.who(), call.now)
    except KeyboardInterrupt:
        call.hint("the bisection stays as it is: run the same again to go on, or 'mvc bisect reset'")
        raise
    return _report(call, report, json=json)


def _tester(call: Call, program: tuple[str, ...], folder: Path, *, json: bool) -> Callable[[CommitId], int]:
    def test(commit: CommitId) -> int:
        call.detail(f"running {' '.join(map(one_line, program))}")
        return run_program(program, folder, {VARIABLE: commit.hex()}, output_to_stderr=json)

    return test


_ADJECTIVES: dict[Word, str] = {"good": "good", "bad": "bad", "skip": "skipped"}


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
            call.report(_line(call, view, step.commit))
        elif step.kind == "found":
            _tell_found(call, view, step.commit)
        else:
            _tell_candidates(call, view, step.candidates)


def _tell_found(call: Call, view: View, commit: CommitId) -> None:
    call.print(f"{commit.hex()} is the first bad version")
    for line in entry_lines(
        call, Decorations(view.refs).entry(commit, view.commit(commit)), Names(call, view)
    ):
        call.print(line)


def _tell_candidates(call: Call, view: View, candidates: tuple[CommitId, ...]) -> None:
    call.print("only skipped versions are left; the first bad one is one of")
    for candidate in candidates:
        call.print(_line(call, view, candidate))


def _line(call: Call, view: View, commit: CommitId) -> str:
    return f"{call.paint(commit.short, 'yellow')} {one_line(view.commit(commit).subject)}"


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


def _reset(call: Call, rest: tuple[str, ...], *, json: bool) -> None:
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


def _log(call: Call, rest: tuple[str, ...], *, json: bool) -> None:
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


# --- a metric ---------------------------------------------------------------------------------------------
def _metric(
    call: Call,
    rest: tuple[str, ...],
    good: str | None,
    bad: str | None,
    below: float | None,
    above: float | None,
    *,
    json: bool,
) -> int | None:
    from mvc.ops.bisect_metric import bisect_metric

    if len(rest) != 1 or good is None or bad is None:
        raise UsageError(
            "a metric, a good and a bad version are needed",
            hint="mvc bisect metric loss --good v1.0 --bad main",
        )
    with call.repository.reading() as view:
        found = bisect_metric(view, rest[0], good, bad, below=below, above=above)
        skipped = found.step.kind == "skipped"
        side = "above" if found.side.above else "below"
        if json:
            call.data(
                {
                    "state": found.step.kind,
                    "commit": None if skipped else found.step.commit.hex(),
                    "candidates": [commit.hex() for commit in found.step.candidates],
                    **finite({"threshold": found.side.threshold}),
                    "side": side,
                    "path": [
                        {"commit": one.commit.hex(), **finite({"value": one.value}), "answer": one.word}
                        for one in found.path
                    ],
                }
            )
            return NOT_FOUND if skipped else None
        call.report(f"{one_line(rest[0])} {side} {number(found.side.threshold)} is bad")
        table = Table([Column(colour="yellow"), Column(), Column(right=True), Column(cut="end")])
        for one in found.path:
            subject = one_line(view.commit(one.commit).subject)
            table.add(one.commit.short, _ADJECTIVES[one.word], _value(one.value), subject)
        call.table(table)
        if skipped:
            _tell_candidates(call, view, found.step.candidates)
            return NOT_FOUND
        _tell_found(call, view, found.step.commit)
    return None


def _value(value: Number | None) -> str:
    return "none" if value is None else number(value)


def _number(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} takes a number, not {text!r}") from None


# --- tensors ----------------------------------------------------------------------------------------------
def _tensors(
    call: Call, rest: tuple[str, ...], file: tuple[str, ...], folder: str | None, *, json: bool
) -> None:
    from mvc.ops.bisect_tensors import Tried, bisect_tensors

    program = call.paths or ()
    if len(rest) != 2 or not program:
        raise UsageError(
            "a good version, a bad one and a command are needed",
            hint="mvc bisect tensors v1.0 main -- python eval.py",
        )
    place = None if folder is None else call.context.cwd / folder
    if place is not None and (place == call.repository.worktree or call.repository.store in place.parents):
        raise UserError("--dir cannot be the work tree or its store", hint="name a folder that is empty")
    test = _tester(call, program, place or call.repository.worktree, json=json)

    def told(tried: Tried, differing: int) -> None:
        if not json:
            call.report(
                f"{tried.commit.short} with {tried.tensors:,} of {differing:,} tensors is "
                f"{_ADJECTIVES[tried.word]}"
            )

    try:
        found = bisect_tensors(
            call.repository,
            call.revision(rest[0]),
            call.revision(rest[1]),
            test,
            told,
            call.who(),
            call.now,
            paths=call.inside(file),
            folder=place,
        )
    except KeyboardInterrupt:
        call.hint("the work tree is what it was; what was tested is listed by 'mvc oplog'")
        raise
    if json:
        call.data(
            {
                "sets": [
                    {
                        "tensors": [
                            {"path": one.path, "names": list(one.names)} for one in found_set.tensors
                        ],
                        "commit": found_set.commit.hex(),
                    }
                    for found_set in found.sets
                ],
                "rest": found.rest,
                "differing": found.differing,
                "apart": list(found.apart),
                "tests": [
                    {
                        "commit": tried.commit.hex(),
                        "tensors": tried.tensors,
                        "answer": tried.word,
                        "stored_bytes": tried.stored_bytes,
                    }
                    for tried in found.tried
                ],
            }
        )
        return
    for found_set in found.sets:
        several = len(found_set.tensors) > 1
        what = f"these {len(found_set.tensors)} tensors together make" if several else "this tensor makes"
        call.print(f"{what} it bad, as in {found_set.commit.short}:")
        for one in found_set.tensors:
            call.print(f"  {call.shown(one.path)}#{' = '.join(map(one_line, one.names))}")
    words = {"good": "it is good", "bad": "it is bad", "skip": "nobody can tell"}
    call.report(f"without them {words[found.rest]} ({count(len(found.tried), 'test')})")
