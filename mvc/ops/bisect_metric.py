"""Find the commit at which a recorded metric went bad: nothing is checked out and nothing is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mvc.bisecting.state import Word
from mvc.errors import RevisionNotFound, UsageError, UserError
from mvc.history.bisection import Graph, Step, next_step
from mvc.history.names import offer
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Number
from mvc.registry.notes import Notes, lay_over
from mvc.view import View


@dataclass(frozen=True, slots=True)
class Side:
    """Which values are bad: those ``above`` a threshold, or else those below it. What is no number is bad: a
    training that diverged."""

    threshold: float
    above: bool

    def is_bad(self, value: Number) -> bool:
        """Whether a value lies on the bad side."""
        if math.isnan(value):
            return True
        return value > self.threshold if self.above else value < self.threshold


@dataclass(frozen=True, slots=True)
class Measured:
    """A version that was looked at; ``value`` is None where it has no such metric."""

    commit: CommitId
    value: Number | None
    word: Word


@dataclass(frozen=True, slots=True)
class Found:
    """The last step, how it was come to, and what counted as bad."""

    step: Step
    path: tuple[Measured, ...]
    side: Side


def bisect_metric(
    view: View, metric: str, good: str, bad: str, *, below: float | None = None, above: float | None = None
) -> Found:
    """The first version whose metric is on the bad side: ``below`` or ``above`` a threshold, or beyond the
    middle between the two versions' values.

    Metrics of notes stand over those of the version itself; versions without the metric are skipped. Which
    version is looked at next, ``git bisect`` would choose.

    Raises:
        UsageError: two thresholds.
        UserError: a version lacks the metric or lies on the wrong side; or both have the same value.
    """
    if below is not None and above is not None:
        raise UsageError("--below and --above do not go together")
    first, last = (resolve_commit(text, view.objects, view) for text in (good, bad))

    notes = Notes(view.objects, view)

    def metrics_of(identity: CommitId) -> dict[str, Number]:
        found = lay_over(view.commit(identity).metrics, notes.of(identity))
        return {name: measured.value for name, measured in found.items()}

    ends = [_known(identity, metrics_of(identity), metric) for identity in (first, last)]
    side = _side(metric, ends[0], ends[1], below, above)
    for identity, value, word in zip((first, last), ends, ("good", "bad"), strict=True):
        if side.is_bad(value) != (word == "bad"):
            raise UserError(
                f"{metric} of {identity.short} is {value:.6g}, which is not {word}: {_told(side)} is bad",
                hint="swap --good and --bad, or give another threshold",
            )
    start = (Measured(first, ends[0], "good"), Measured(last, ends[1], "bad"))
    return _search(view, lambda identity: metrics_of(identity).get(metric), side, start)


def _search(
    view: View,
    value_of: Callable[[CommitId], Number | None],
    side: Side,
    start: tuple[Measured, Measured],
) -> Found:
    graph = Graph(view.objects)
    path = list(start)
    bad, goods, skips = start[1].commit, [start[0].commit], list[CommitId]()
    settled = False
    while True:
        step = next_step(graph, bad, goods, skips, bases_settled=settled)
        settled = settled or step.kind != "merge base"
        if step.kind in ("found", "skipped"):
            return Found(step, tuple(path), side)
        value = value_of(step.commit)
        if value is None:
            skips.append(step.commit)
            path.append(Measured(step.commit, None, "skip"))
        elif side.is_bad(value):
            bad = step.commit
            path.append(Measured(bad, value, "bad"))
        else:
            goods.append(step.commit)
            path.append(Measured(step.commit, value, "good"))


def _known(identity: CommitId, metrics: Mapping[str, Number], metric: str) -> Number:
    if metric not in metrics:
        raise RevisionNotFound(
            f"{identity.short} has no metric {metric!r}",
            hint=offer(metric, metrics) or "mvc commit --metric NAME=VALUE records one",
        )
    return metrics[metric]


def _side(metric: str, good: Number, bad: Number, below: float | None, above: float | None) -> Side:
    if above is not None:
        return Side(above, above=True)
    if below is not None:
        return Side(below, above=False)
    middle = good / 2 + bad / 2
    if not math.isfinite(middle) or not min(good, bad) < max(good, bad):
        raise UserError(
            f"{metric} went from {good:.6g} to {bad:.6g}: there is no middle to tell good from bad",
            hint="give --above or --below",
        )
    return Side(middle, above=bad > good)


def _told(side: Side) -> str:
    return f"{'above' if side.above else 'below'} {side.threshold:.6g}"
