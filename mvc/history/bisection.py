"""Which commit a bisection looks at next: Git's choice, on any graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

from mvc.errors import UserError
from mvc.history.ancestry import Links
from mvc.objectid import CommitId

StepKind = Literal["test", "merge base", "found", "skipped"]

_PSEUDO_RANDOM = 32768
_LOOSE = 1024


@dataclass(frozen=True, slots=True)
class Step:
    """What a bisection does next.

    ``test``: ``commit`` is to be looked at; ``left`` are the commits left to test after it, ``steps`` about
    how many tests they take. ``merge base``: ``commit`` is to be looked at first, as a good commit is no
    ancestor of the bad one. ``found``: ``commit`` is the first bad one. ``skipped``: only skipped commits are
    left; the first bad one is one of ``candidates``.
    """

    kind: StepKind
    commit: CommitId
    left: int = 0
    steps: int = 0
    candidates: tuple[CommitId, ...] = ()


class Graph(Links):
    """What the graph's commits reach."""

    def parents(self, identity: CommitId) -> tuple[CommitId, ...]:
        """A commit's parents."""
        return self[identity].parents

    def time(self, identity: CommitId) -> int:
        """When a commit was made, in microseconds since 1970."""
        return self[identity].time

    def reachable(self, starts: Iterable[CommitId]) -> set[CommitId]:
        """The starts and all their ancestors."""
        # No cut-off by time: clocks run wrong, and what lies behind a good commit must not be tested.
        found = set(starts)
        left = list(found)
        while left:
            for parent in self.parents(left.pop()):
                if parent not in found:
                    found.add(parent)
                    left.append(parent)
        return found

    def without(self, start: CommitId, known: set[CommitId]) -> list[CommitId]:
        """What ``start`` reaches and ``known``, closed under parents, does not hold: newest first, as
        ``git rev-list`` orders it."""
        found: list[CommitId] = []
        if start in known:
            return found
        queue = [(-self.time(start), 0, start)]
        seen = {start}
        while queue:
            identity = heappop(queue)[2]
            found.append(identity)
            for parent in self.parents(identity):
                if parent not in seen and parent not in known:
                    heappush(queue, (-self.time(parent), len(seen), parent))
                    seen.add(parent)
        return found


def next_step(
    graph: Graph,
    bad: CommitId,
    goods: Sequence[CommitId],
    skips: Iterable[CommitId] = (),
    *,
    bases_settled: bool = False,
) -> Step:
    """What to do next when ``bad`` and at least one good commit are known.

    ``bases_settled``: an earlier step of this bisection was no merge base. From then on a good commit's
    ancestors count as good, whichever bad commits are found.

    The commit is the one that ``git bisect`` (2.39) chooses: it splits what is left into the most equal
    halves, counted over ancestors; between equal ones, and among skipped ones, Git's order decides.

    Raises:
        UserError: a commit is good and bad at once, or the bad one is an ancestor of a good one.
    """
    if bad in goods:
        raise UserError(
            f"{bad.short} is both good and bad",
            hint="'mvc undo' takes the last answer back",
        )
    skipped = set(skips)
    known = graph.reachable(goods)
    base = None if bases_settled else _untested_base(graph, bad, goods, known, skipped)
    if base is not None:
        return Step("merge base", base)
    found = graph.without(bad, known)
    if not found:
        raise UserError(
            f"{bad.short} is bad, and an ancestor of a good version",
            hint="'mvc undo' takes the last answer back",
        )
    found.reverse()
    weights = _weights(graph, found)
    if skipped:
        return _around_skipped(found, weights, skipped, bad)
    chosen = _halfway(graph, found, weights)
    return _step(chosen, bad, len(found), weights[chosen])


def _step(chosen: CommitId, bad: CommitId, total: int, reached: int) -> Step:
    if chosen == bad:
        return Step("found", bad)
    return Step("test", chosen, total - reached - 1, _steps(total))


def _steps(total: int) -> int:
    """About how many tests so many candidates take."""
    if total < 3:
        return 0
    whole = total.bit_length() - 1
    power = 1 << whole
    return whole if power < 3 * (total - power) else whole - 1


# --- merge bases ------------------------------------------------------------------------------------------
def _untested_base(
    graph: Graph, bad: CommitId, goods: Sequence[CommitId], known: set[CommitId], skipped: set[CommitId]
) -> CommitId | None:
    """A merge base of the bad commit and good ones that do not lead to it, which must be good as well."""
    behind = graph.reachable([bad])
    if behind.issuperset(goods):
        return None
    common = behind & known
    inner = {parent for identity in common for parent in graph.parents(identity)}
    # newest first, as Git gives them; of one time, by id
    bases = sorted(common - inner, key=lambda identity: (-graph.time(identity), identity))
    if bad in bases:
        raise UserError(
            f"{bad.short} is bad, and a good version was made from it: what was wrong has been mended",
            hint="'mvc undo' takes the last answer back; to find what mended it, call the mended one bad",
        )
    return next((base for base in bases if base not in goods and base not in skipped), None)


# --- halves -----------------------------------------------------------------------------------------------
def _weights(graph: Graph, found: Sequence[CommitId]) -> dict[CommitId, int]:
    """For each candidate, how many candidates it reaches, itself included."""
    number = {identity: place for place, identity in enumerate(found)}
    inside = {identity: [p for p in graph.parents(identity) if p in number] for identity in found}
    waiting = dict.fromkeys(found, 0)
    for parents in inside.values():
        for parent in parents:
            waiting[parent] += 1
    reached: dict[CommitId, int] = {}
    weights: dict[CommitId, int] = {}
    for identity in _parents_first(inside):
        bits = 1 << number[identity]
        for parent in inside[identity]:
            bits |= reached[parent]
            waiting[parent] -= 1
            if not waiting[parent]:
                # a set of bits as long as history: kept only until the last child has it
                del reached[parent]
        weights[identity] = bits.bit_count()
        if waiting[identity]:
            reached[identity] = bits
    return weights


def _parents_first(inside: Mapping[CommitId, Sequence[CommitId]]) -> Iterator[CommitId]:
    done: set[CommitId] = set()
    for start in inside:
        stack = [start]
        while stack:
            identity = stack[-1]
            left = [parent for parent in inside[identity] if parent not in done]
            if left:
                stack += left
                continue
            stack.pop()
            if identity not in done:
                done.add(identity)
                yield identity


def _halfway(graph: Graph, found: Sequence[CommitId], weights: Mapping[CommitId, int]) -> CommitId:
    """Git's ``do_find_bisection``: merges first, then along the strands; the first that is about halfway,
    else the one nearest to it."""
    inside = set(found)
    count = {identity: sum(p in inside for p in graph.parents(identity)) for identity in found}
    told = {identity for identity in found if count[identity] == 0}
    for identity in found:
        if count[identity] > 1:
            if _is_halfway(weights[identity], len(found)):
                return identity
            told.add(identity)
    while len(told) < len(found):
        for identity in found:
            if identity not in told and not told.isdisjoint(graph.parents(identity)):
                if _is_halfway(weights[identity], len(found)):
                    return identity
                told.add(identity)
    return max(found, key=lambda identity: _distance(weights[identity], len(found)))


def _is_halfway(weight: int, total: int) -> bool:
    # Git is not strict about long histories: a thousandth more or less costs no test
    off = abs(2 * weight - total)
    return off <= 1 or off < total // _LOOSE


def _distance(weight: int, total: int) -> int:
    return min(weight, total - weight)


# --- skipped commits --------------------------------------------------------------------------------------
def _around_skipped(
    found: Sequence[CommitId], weights: Mapping[CommitId, int], skipped: set[CommitId], bad: CommitId
) -> Step:
    """The best commit; if that was skipped, one some way off, so that a broken stretch is left behind."""
    order = sorted(found, key=lambda identity: (-_distance(weights[identity], len(found)), identity))
    reached = weights[order[0]]
    if order[0] not in skipped:
        return _step(order[0], bad, len(found), reached)
    left = [identity for identity in order if identity not in skipped]
    chosen = _away(left, bad) if left else bad
    if chosen == bad:
        tried = [identity for identity in found if identity in skipped and identity != bad]
        return Step("skipped", bad, candidates=(*tried, bad))
    return _step(chosen, bad, len(found), reached)


def _away(left: Sequence[CommitId], bad: CommitId) -> CommitId:
    """Git's ``skip_away``: further off with a chance that falls with the distance, the same at each run."""
    count = len(left)
    chance = ((count * 1103515245 + 12345) & 0xFFFFFFFF) // 65536 % _PSEUDO_RANDOM
    place = (count * chance // _PSEUDO_RANDOM) * _root(chance) // _root(_PSEUDO_RANDOM)
    if left[place] != bad:
        return left[place]
    return left[place - 1] if place else left[0]


def _root(value: int) -> int:
    """Git's ``sqrti``: Newton's steps from above until one is shorter than a half, then the whole part."""
    if not value:
        return 0
    guess = float(value)
    while True:
        better = (guess + value / guess) / 2
        step = abs(better - guess)
        guess = better
        if step < 0.5:
            return int(guess)
