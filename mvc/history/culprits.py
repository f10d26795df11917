"""The smallest sets of changes that make a version bad, by testing mixtures: delta debugging.

Single culprits and culprits that work only together are both found by bisection over prefixes, as QuickXplain
finds conflicts (Junker, AAAI 2004); what that gives is then reduced as ddmin does (Zeller and Hildebrandt,
IEEE Transactions on Software Engineering 28, 2002), so that it is 1-minimal whatever the tests say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise


class Verdict(Enum):
    """What a test says of a version."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


Judge = Callable[[frozenset[int]], Verdict]
"""Tests GOOD with these changes made, by number."""


@dataclass(frozen=True, slots=True)
class Culprits:
    """Disjoint sets of changes, each of which alone makes the version bad and none of which can spare a
    member. ``rest`` is what the test says of all other changes together."""

    sets: tuple[tuple[int, ...], ...]
    rest: Verdict


class _Tests:
    """Runs each set once."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[frozenset[int], Verdict] = {}

    def verdict(self, chosen: Iterable[int]) -> Verdict:
        """What the test says, now or earlier."""
        key = frozenset(chosen)
        if key not in self._known:
            self._known[key] = self._judge(key)
        return self._known[key]

    def is_bad(self, chosen: Iterable[int]) -> bool:
        """Whether the test says so; unknown is not bad."""
        return self.verdict(chosen) is Verdict.BAD


def find_culprits(count: int, judge: Judge) -> Culprits | None:
    """The sets among ``count`` changes; None where all of them together are not bad.

    With none of them the version must be good: that is not tested here. Neighbours are tried together, so
    related changes should have numbers that are close. Where a set is as bad as its members (no change hides
    another), k culprits of n take at most k (⌈log₂ n⌉ + 3) tests.
    """
    tests = _Tests(judge)
    pool: Sequence[int] = range(count)
    if not count or not tests.is_bad(pool):
        return None
    sets: list[tuple[int, ...]] = []
    low = 0
    while True:
        found, low = _one_set(pool, low, tests)
        sets.append(tuple(sorted(found)))
        taken = set(found)
        # before the place where the first set ended there was nothing bad, so there is no second one either
        low -= sum(item in taken for item in pool[:low])
        pool = [item for item in pool if item not in taken]
        low = min(low, max(len(pool) - 1, 0))  # where one change hides another, not even that is certain
        rest = tests.verdict(pool) if pool else Verdict.GOOD
        if rest is not Verdict.BAD:
            return Culprits(tuple(sets), rest)


def _one_set(pool: Sequence[int], low: int, tests: _Tests) -> tuple[list[int], int]:
    """One set out of a pool that is bad, whose first ``low`` are not; and how many before it are not."""
    fixed: list[int] = []
    chunks = 0
    first: int | None = None
    high = len(pool)
    while True:
        low, high = _shortest_bad_prefix(pool, low, high, fixed, tests)
        first = low if first is None else first
        fixed += pool[low:high]
        chunks += 1
        if tests.is_bad(fixed):
            return _reduced(fixed, chunks, tests), first
        low, high = 0, low


def _shortest_bad_prefix(
    pool: Sequence[int], low: int, high: int, fixed: Sequence[int], tests: _Tests
) -> tuple[int, int]:
    """Lengths of two prefixes that, beside ``fixed``, are not bad and bad; adjacent unless all tests between
    them say nothing."""
    silent: set[int] = set()
    while high - low > 1:
        for length in _near_middle(low, high):
            if length in silent:
                continue
            verdict = tests.verdict([*fixed, *pool[:length]])
            if verdict is Verdict.UNKNOWN:
                silent.add(length)
                continue
            low, high = (low, length) if verdict is Verdict.BAD else (length, high)
            break
        else:
            return low, high
    return low, high


def _near_middle(low: int, high: int) -> Iterator[int]:
    """Places between two others: the middle, then further and further away from it."""
    middle = (low + high) // 2
    yield middle
    step = 1
    while low < middle - step or middle + step < high:
        for place in (middle - step, middle + step):
            if low < place < high:
                yield place
        step *= 2


def _reduced(items: list[int], parts: int, tests: _Tests) -> list[int]:
    """ddmin from a given granularity on: 1-minimal, as at the end each member has been left out once."""
    while len(items) > 1:
        parts = min(max(parts, 2), len(items))
        borders = [len(items) * part // parts for part in range(parts + 1)]
        pieces = [items[start:end] for start, end in pairwise(borders)]
        # single members were searched for already; larger pieces stand where tests said nothing
        piece = next((p for p in pieces if parts < len(items) and tests.is_bad(p)), None)
        if piece is not None:
            items, parts = piece, 2
            continue
        rests = (items[:start] + items[end:] for start, end in pairwise(borders))
        rest = next(filter(tests.is_bad, rests), None)
        if rest is not None:
            items, parts = rest, parts - 1
        elif parts == len(items):
            break
        else:
            parts *= 2
    return items
