"""What differs between two sequences of lines: a shortest edit script, by Myers' algorithm in linear space.

E. W. Myers, *An O(ND) Difference Algorithm and Its Variations* (1986), with what makes it fast and its hunks
pleasant to read in practice: lines that the other side does not have at all are left out of the search, a
search that gets too expensive settles for the furthest point it has reached, and hunks that may stand in
several places stand beside a change of the other side, or else as low as they can.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

_COST = 256
"""Edits from either end after which a search settles for less than the shortest script."""
_STEPS = 20_000_000
"""Steps of all searches together, seconds' work, after which searches settle almost at once."""
_COST_AFTER = 8


class Hunk(NamedTuple):
    """Lines ``old_start`` to ``old_end`` gave way to lines ``new_start`` to ``new_end``; ends are exclusive.

    Between two hunks lies at least one line that both sides have.
    """

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def diff_lines(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[Hunk]:
    """The hunks that make ``new`` of ``old``, in order."""
    numbers: dict[Hashable, int] = {}
    one = [numbers.setdefault(line, len(numbers)) for line in old]
    other = [numbers.setdefault(line, len(numbers)) for line in new]
    gone, come = _changed(one, other)
    # Both sides keep the same lines; a gap lies before each of them and behind the last one.
    gaps, new_gaps = _gaps(gone), _gaps(come)
    _slide(one, gaps, new_gaps)
    _slide(other, new_gaps, gaps)
    return list(_hunks(gaps, new_gaps))


def _changed(one: list[int], other: list[int]) -> tuple[bytearray, bytearray]:
    """For each line of both sides whether the script takes it out or puts it in."""
    start, shorter = 0, min(len(one), len(other))
    while start < shorter and one[start] == other[start]:
        start += 1
    end = 0
    while end < shorter - start and one[-1 - end] == other[-1 - end]:
        end += 1
    gone = bytearray(b"\1" * len(one))
    come = bytearray(b"\1" * len(other))
    for marks in (gone, come):
        marks[:start] = bytes(start)
        marks[len(marks) - end :] = bytes(end)
    here, there = set(one[start : len(one) - end]), set(other[start : len(other) - end])
    left = [n for n in range(start, len(one) - end) if one[n] in there]
    right = [n for n in range(start, len(other) - end) if other[n] in here]
    for a, b in _Search([one[n] for n in left], [other[n] for n in right]).common():
        gone[left[a]] = come[right[b]] = 0
    return gone, come


class _Search:
    """Finds a longest common subsequence by middle snakes, the work split until nothing is left."""

    def __init__(self, a: list[int], b: list[int]) -> None:
        self._a, self._b = a, b
        self._steps = _STEPS

    def common(self) -> Iterator[tuple[int, int]]:
        """Pairs of positions of equal lines, ascending on both sides."""
        a, b = self._a, self._b
        todo = [(0, len(a), 0, len(b))]
        while todo:
            low, high, left, right = todo.pop()
            while low < high and left < right and a[low] == b[left]:
                yield low, left
                low, left = low + 1, left + 1
            tail = 0
            while low < high and left < right and a[high - 1] == b[right - 1]:
                high, right, tail = high - 1, right - 1, tail + 1
            if tail:
                todo.append((high, high + tail, right, right + tail))
            if low < high and left < right:
                x, y = self._split(low, high, left, right)
                todo += ((x, high, y, right), (low, x, left, y))

    def _split(self, low: int, high: int, left: int, right: int) -> tuple[int, int]:
        """A point on a shortest path through a box whose first lines differ, and its last ones."""
        a, b = self._a, self._b
        down, up = low - left, high - right  # the diagonals x - y of the two corners
        odd = (down - up) & 1
        least, most = low - right, high - left
        rounds = _COST if self._steps > 0 else _COST_AFTER
        # only the diagonals that so many rounds reach: a box may be a million lines, and split very often
        shift, size = _window(down, rounds, least, most)
        forward = list(repeat(low - 1, size))
        forward[down + shift] = low
        shift_up, size = _window(up, rounds, least, most)
        backward = list(repeat(high + 1, size))
        backward[up + shift_up] = high
        first, last, first_up, last_up = down, down, up, up
        for _ in range(rounds):
            first, last = _widen(first, last, least, most, forward, shift, low - 1)
            for k in range(last, first - 1, -2):
                before, after = forward[k - 1 + shift], forward[k + 1 + shift]
                x = before + 1 if before >= after else after
                y = x - k
                while x < high and y < right and a[x] == b[y]:
                    x, y = x + 1, y + 1
                forward[k + shift] = x
                if odd and first_up <= k <= last_up and backward[k + shift_up] <= x:
                    return x, y
            first_up, last_up = _widen(first_up, last_up, least, most, backward, shift_up, high + 1)
            for k in range(last_up, first_up - 1, -2):
                before, after = backward[k - 1 + shift_up], backward[k + 1 + shift_up]
                x = before if before < after else after - 1
                y = x - k
                while x > low and y > left and a[x - 1] == b[y - 1]:
                    x, y = x - 1, y - 1
                backward[k + shift_up] = x
                if not odd and first <= k <= last and x <= forward[k + shift]:
                    return x, y
            self._steps -= (last - first + last_up - first_up) // 2 + 2
        return self._furthest(forward, shift, range(last, first - 1, -2), (low, high, left, right))

    @staticmethod
    def _furthest(
        forward: list[int], shift: int, diagonals: range, box: tuple[int, int, int, int]
    ) -> tuple[int, int]:
        """The point that is furthest from the start of all that were reached."""
        low, high, left, right = box
        reached = ((min(forward[k + shift], high), k) for k in diagonals)
        x, y = max(((x, x - k) for x, k in reached if left <= x - k <= right), key=sum)
        return (x, y) if (x, y) != (low, left) else (low + 1, left)


def _window(start: int, rounds: int, least: int, most: int) -> tuple[int, int]:
    """What to add to a diagonal for its place in an array of those that are reached from ``start``, and the
    array's length; one more stands on either side."""
    first, last = max(least, start - rounds), min(most, start + rounds)
    return 1 - first, last - first + 3


def _widen(
    first: int, last: int, least: int, most: int, reached: list[int], shift: int, never: int
) -> tuple[int, int]:
    """The diagonals of the next round: one more on either side, or one fewer where the box ends."""
    if first > least:
        first -= 1
        reached[first - 1 + shift] = never
    else:
        first += 1
    if last < most:
        last += 1
        reached[last + 1 + shift] = never
    else:
        last -= 1
    return first, last


# --- where hunks stand -------------------------------------------------------------------------------------
def _gaps(changed: bytearray) -> list[int]:
    """How many changed lines stand before each kept line, and behind the last one."""
    found = [0]
    for mark in changed:
        if mark:
            found[-1] += 1
        else:
            found.append(0)
    return found


def _slide(lines: Sequence[int], gaps: list[int], others: Sequence[int]) -> None:
    """Move groups of changed lines along lines equal to their own, which joins those that meet.

    A group may move down past a line that equals its first one, and up past one that equals its last one.
    It stands in the lowest gap that the other side has changes in too, or else as low as it can.
    """
    gap = start = 0
    while gap < len(gaps):
        if not gaps[gap]:
            gap, start = gap + 1, start + 1
            continue
        count = 0
        while count != gaps[gap]:  # what it met may let it move further
            count = gaps[gap]
            while gap and lines[start - 1] == lines[start + gaps[gap] - 1]:
                gap, start = _move(gaps, gap, start, -1)
            top = gap
            beside = gap if others[gap] else None
            while gap + 1 < len(gaps) and lines[start] == lines[start + gaps[gap]]:
                gap, start = _move(gaps, gap, start, 1)
                if others[gap]:
                    beside = gap
        if gap != top and beside is not None:
            while gap != beside:
                gap, start = _move(gaps, gap, start, -1)
        start += gaps[gap] + 1
        gap += 1


def _move(gaps: list[int], gap: int, start: int, step: int) -> tuple[int, int]:
    """Put a group into the next gap up or down; the gap and the line where it starts then."""
    count, gaps[gap] = gaps[gap], 0
    met, gaps[gap + step] = gaps[gap + step], gaps[gap + step] + count
    return gap + step, start + 1 if step > 0 else start - 1 - met


def _hunks(gaps: Sequence[int], new_gaps: Sequence[int]) -> Iterator[Hunk]:
    old = new = 0
    for removed, added in zip(gaps, new_gaps, strict=True):
        if removed or added:
            yield Hunk(old, old + removed, new, new + added)
        old += removed + 1
        new += added + 1
