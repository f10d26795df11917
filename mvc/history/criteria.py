"""Which versions are wanted: by who made them and when, by their messages, metrics, settings and parents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mvc.errors import UsageError
from mvc.history.conditions import Condition
from mvc.objectid import CommitId
from mvc.objects import Commit, Number

MAX_LINE = 4096
"""Characters of a line that an expression is tried on. Python's ``re`` knows no time-out, and what an
expression such as ``(a+)+$`` takes grows with the line, at worst exponentially: that is the user's own."""

Pattern = re.Pattern[str]


def compile_pattern(text: str, *, ignore_case: bool = False, fixed: bool = False) -> Pattern:
    """An expression of Python's ``re``, or with ``fixed`` a text to be found as it is.

    Raises:
        UsageError: it is no expression.
    """
    try:
        return re.compile(re.escape(text) if fixed else text, re.IGNORECASE if ignore_case else 0)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is no regular expression: {error}", hint="-F takes the text as it is"
        ) from None


def matches_line(pattern: Pattern, text: str) -> bool:
    """Whether an expression is found in a line of a text."""
    return any(pattern.search(line[:MAX_LINE]) for line in text.splitlines() or ("",))


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a version must be. As in Git: one of the ``authors``, one of the ``messages`` or with
    ``all_match`` all of them, with ``invert`` none of them; and every condition. ``since`` and ``until`` are
    seconds since 1970, both included. ``measured`` gives the metrics of a version where not only its own
    count."""

    authors: Sequence[Pattern] = ()
    messages: Sequence[Pattern] = ()
    all_match: bool = False
    invert: bool = False
    metrics: Sequence[Condition] = ()
    params: Sequence[Condition] = ()
    since: int | None = None
    until: int | None = None
    least_parents: int = 0
    most_parents: int | None = None
    measured: Callable[[CommitId, Commit], Mapping[str, Number]] | None = None

    def __call__(self, identity: CommitId, commit: Commit) -> bool:
        """Whether a version is wanted."""
        return (
            self._is_in_time(commit)
            and self.least_parents <= len(commit.parents)
            and (self.most_parents is None or len(commit.parents) <= self.most_parents)
            and (not self.metrics or self._is_measured(identity, commit))
            and all(condition.holds(commit.params) for condition in self.params)
            and (not self.authors or self._has_author(commit))
            and (not self.messages or self._has_message(commit))
        )

    def _is_in_time(self, commit: Commit) -> bool:
        seconds = commit.time.microseconds // 1_000_000
        return (self.since is None or seconds >= self.since) and (self.until is None or seconds <= self.until)

    def _is_measured(self, identity: CommitId, commit: Commit) -> bool:
        metrics = commit.metrics if self.measured is None else self.measured(identity, commit)
        return all(condition.holds(metrics) for condition in self.metrics)

    def _has_author(self, commit: Commit) -> bool:
        author = f"{commit.author.name} <{commit.author.email}>"
        return any(matches_line(pattern, author) for pattern in self.authors)

    def _has_message(self, commit: Commit) -> bool:
        found = (matches_line(pattern, commit.message) for pattern in self.messages)
        return (all(found) if self.all_match else any(found)) != self.invert
