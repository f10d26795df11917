"""``mvc bisect``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.errors import UsageError

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
        from mvc.cli.bisect_metric import metric

        return metric(call, rest, good, bad, _number("--below", below), _number("--above", above), json=json)
    if name == "tensors":
        from mvc.cli.bisect_tensors import tensors

        tensors(call, rest, file, folder, json=json)
        return None
    from mvc.cli import bisect_commits as commits  # each of the three needs other parts of the library

    if name == "run":
        return commits.run(call, rest, json=json)
    if name in ("reset", "log"):
        (commits.reset if name == "reset" else commits.log)(call, rest, json=json)
        return None
    return commits.answer(call, name, rest, json=json)


def _number(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option} takes a number, not {text!r}") from None
