"""``mvc bisect metric``."""

from mvc.cli.bisect_shown import ADJECTIVES, NOT_FOUND, tell_candidates, tell_found
from mvc.cli.call import Call
from mvc.cli.tables import Column, Table
from mvc.cli.versions import finite
from mvc.errors import UsageError
from mvc.objects import Number
from mvc.ops.bisect_metric import bisect_metric
from mvc.text import number, one_line


def metric(
    call: Call,
    rest: tuple[str, ...],
    good: str | None,
    bad: str | None,
    below: float | None,
    above: float | None,
    *,
    json: bool,
) -> int | None:
    """Print where a metric went bad; gives the exit code."""
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
            table.add(one.commit.short, ADJECTIVES[one.word], _value(one.value), subject)
        call.table(table)
        if skipped:
            tell_candidates(call, view, found.step.candidates)
            return NOT_FOUND
        tell_found(call, view, found.step.commit)
    return None


def _value(value: Number | None) -> str:
    return "none" if value is None else number(value)
