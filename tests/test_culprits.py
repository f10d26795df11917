"""The smallest sets of changes that make a version bad, against functions whose answer is known."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.history.culprits import Culprits, Verdict, find_culprits

BUDGET = 40
"""Tests that three culprits among 300 may take, the one of GOOD itself among them."""


class Judge:
    """Bad where some culprit set is complete; counts what it is asked, and refuses to be asked twice."""

    def __init__(self, *sets: set[int], silent=lambda chosen: False) -> None:
        self.sets, self.silent = sets, silent
        self.asked: list[frozenset[int]] = []

    def __call__(self, chosen: frozenset[int]) -> Verdict:
        assert chosen not in self.asked, "asked twice"
        self.asked.append(chosen)
        if self.silent(chosen):
            return Verdict.UNKNOWN
        return Verdict.BAD if any(one <= chosen for one in self.sets) else Verdict.GOOD


def found(count: int, *sets: set[int]) -> tuple[Culprits, int]:
    judge = Judge(*sets)
    culprits = find_culprits(count, judge)
    assert culprits is not None
    return culprits, len(judge.asked)


def test_three_of_three_hundred_each_alone_or_only_together_in_forty_tests():
    rng = random.Random(1)
    placements = [rng.sample(range(300), 3) for _ in range(400)]
    placements += [[0, 1, 2], [297, 298, 299], [0, 150, 299], [0, 1, 299], [149, 150, 151], [0, 298, 299]]
    for planted in placements:
        alone, tests = found(300, *({one} for one in planted))
        assert set(alone.sets) == {(one,) for one in planted}
        assert tests + 1 <= BUDGET
        together, tests = found(300, set(planted))
        assert together.sets == (tuple(sorted(planted)),)
        assert tests + 1 <= BUDGET
        assert together.rest is Verdict.GOOD
        one, *pair = planted
        mixed, tests = found(300, {one}, set(pair))
        assert set(mixed.sets) == {(one,), tuple(sorted(pair))}
        assert tests + 1 <= BUDGET


def test_nothing_is_found_where_all_changes_together_are_not_bad():
    assert find_culprits(5, Judge()) is None
    assert find_culprits(0, Judge(set())) is None


def test_one_change_is_the_culprit_without_a_search():
    culprits, tests = found(1, {0})
    assert culprits.sets == ((0,),)
    assert tests == 1


sets_of_few = st.lists(st.sets(st.integers(0, 19), min_size=1, max_size=4), min_size=1, max_size=3).map(
    lambda sets: [one for one in sets if not any(other < one for other in sets)]
)


@given(sets_of_few)
def test_what_is_found_is_bad_minimal_and_disjoint(sets):
    culprits, _ = found(20, *sets)
    seen: set[int] = set()
    for members in culprits.sets:
        assert any(one <= set(members) for one in sets)
        for member in members:
            assert not any(one <= set(members) - {member} for one in sets)
        assert seen.isdisjoint(members)
        seen.update(members)
    assert not any(one <= set(range(20)) - seen for one in sets)


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_it_is_minimal_whatever_the_tests_say(rng, count):
    verdicts: dict[frozenset[int], Verdict] = {frozenset(range(count)): Verdict.BAD}

    def judge(chosen: frozenset[int]) -> Verdict:
        return verdicts.setdefault(chosen, rng.choice(list(Verdict)))

    culprits = find_culprits(count, judge)
    assert culprits is not None
    for members in culprits.sets:
        assert verdicts[frozenset(members)] is Verdict.BAD
        for member in members if len(members) > 1 else ():
            assert verdicts[frozenset(members) - {member}] is not Verdict.BAD


def test_tests_that_say_nothing_are_worked_around():
    judge = Judge({40}, silent=lambda chosen: len(chosen) in range(30, 60))
    culprits = find_culprits(100, judge)
    assert culprits is not None
    assert culprits.sets == ((40,),)


def test_where_every_mixture_says_nothing_all_changes_stay_suspect():
    judge = Judge(set(range(8)), silent=lambda chosen: 0 < len(chosen) < 8)
    culprits = find_culprits(8, judge)
    assert culprits is not None
    assert culprits.sets == (tuple(range(8)),)
