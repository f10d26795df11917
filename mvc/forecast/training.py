"""Which files were trained from which.

Files that were calculated from one count with it as one state. Between states, distances of weights give a
tree: who was trained from another is nearer to it than to anything further along the way. Its direction comes
from what tells one: counted steps, that a run goes on in the direction that it came from while several runs
that begin at one place set out in the same, and that weights grow in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mvc.forecast.counters import steps_of
from mvc.forecast.fresh import ROUNDED, is_beside
from mvc.forecast.geometry import Geometry
from mvc.forecast.made import Made
from mvc.forecast.survey import Surveyed

FAR = 0.9
"""Distance, relative to the weights, from which on files have nothing to do with each other; it is 1.4 where
nothing but chance is in common."""

_ONWARD = 0.25
"""Cosine above which a run goes on, so that it needs not have begun where it was saved."""

_UNDONE = 0.1
"""Part of the way to a file that nobody who began there takes back."""

_GROWN = 0.1
"""Growth, as a part of the way, from which on it says something: adapters begin at zero, while weight decay
makes other weights a little shorter or longer."""

_STEPS, _GROWTH, _HUB, _CHILD, _OLDER = 1.0, 3.0, 0.5, 0.05, 0.01
"""What pieces of evidence weigh beside a cosine: that steps rise along an edge, growth along it, that the
root has several neighbours, that files were calculated from it; and file times, which only settle ties."""

_MOST_PAIRS = 300
_MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Trained:
    """A file, what it was trained from (both by number), and how far it moved, relative to its weights."""

    child: int
    parent: int
    distance: float


def trained_files(
    files: Sequence[Surveyed], originals: Sequence[int], made: Mapping[int, Made]
) -> list[Trained]:
    """Who was trained from whom, among files that are no copies; ``made`` says which were calculated."""
    states = _States(files, originals, made)
    found: list[Trained] = []
    for component in states.components():
        parents = states.tree(component)
        for child, parent in parents.items():
            found += states.edges(child, parent)
    return found


class _States:
    def __init__(self, files: Sequence[Surveyed], originals: Sequence[int], made: Mapping[int, Made]) -> None:
        self._files = files
        self._made = made
        self._places = {number: place for place, number in enumerate(originals)}
        self._geometry = Geometry([files[number] for number in originals])
        self._members: dict[int, list[int]] = {}
        for number in originals:
            self._members.setdefault(self._root(number), []).append(number)
        self.merges = sorted(root for root in self._members if root in made)
        self.roots = sorted(set(self._members) - set(self.merges))
        self._steps = {root: self._counted(root) for root in self._members}
        self._near: dict[tuple[int, int], tuple[float, int, int]] = {}
        self._beside: dict[tuple[int, int, int], bool] = {}

    def _root(self, number: int) -> int:
        while number in self._made and self._made[number].relation != _MERGE:
            number = self._made[number].sources[0]
        return number

    def _counted(self, root: int) -> float | None:
        said = [steps_of(self._files[number]) for number in self._members[root] if self._same_state(number)]
        return max((number for number in said if number is not None), default=None)

    def _same_state(self, number: int) -> bool:
        """Whether a file has the weights of its state, if in another type."""
        while number in self._made:
            if self._made[number].relation != "cast":
                return False
            number = self._made[number].sources[0]
        return True

    # --- distances -----------------------------------------------------------------------------------------
    def apart(self, one: int, other: int) -> tuple[float, int, int]:
        """The distance of two states, and the nearest files of them: in one type if there are such."""
        if (one, other) not in self._near:
            best: tuple[tuple[bool, float], int, int] | None = None
            for first in self._members[one]:
                for second in self._members[other]:
                    distance = self._distance(first, second)
                    key = (_type(self._files[first]) != _type(self._files[second]), distance)
                    if distance < FAR and (best is None or key < best[0]):
                        best = key, first, second
            near = (float("inf"), one, other) if best is None else (best[0][1], best[1], best[2])
            if best is None and self._counts_on(one, other):
                # moments of an optimizer have little in common some steps later, but it counts
                steps = abs((self._steps[one] or 0) - (self._steps[other] or 0))
                near = 1 + steps / (1 + steps), one, other
            self._near[one, other] = near
            self._near[other, one] = near[0], near[2], near[1]
        return self._near[one, other]

    def _distance(self, first: int, second: int) -> float:
        return self._geometry.distance(self._places[first], self._places[second])

    def _counts_on(self, one: int, other: int) -> bool:
        first, second = self._files[one], self._files[other]
        return (
            None not in (self._steps[one], self._steps[other])
            and any("exp_avg" in span.name or "momentum" in span.name for span in first.spans)
            and [(span.name, span.shape) for span in first.spans]
            == [(span.name, span.shape) for span in second.spans]
        )

    def components(self) -> list[list[int]]:
        """States that are related, directly or not."""
        left = set(self.roots)
        found: list[list[int]] = []
        while left:
            group, queue = [], [min(left)]
            left.discard(queue[0])
            while queue:
                one = queue.pop()
                group.append(one)
                for other in sorted(left):
                    if self.apart(one, other)[0] < float("inf"):
                        left.discard(other)
                        queue.append(other)
            found.append(sorted(group))
        return found

    # --- the tree ------------------------------------------------------------------------------------------
    def tree(self, component: Sequence[int]) -> dict[int, int]:
        """The parent of each state but the first."""
        neighbours = self._spanning(component)
        best: tuple[float, dict[int, int]] | None = None
        for root in component:
            parents = _directed(root, neighbours)
            self._mend(root, parents)
            score = self._likely(root, parents)
            if best is None or score > best[0]:
                best = score, parents
        if best is None:
            return {}
        self._adopt(best[1])
        return best[1]

    def _adopt(self, parents: dict[int, int]) -> None:
        """Merged states lie between those that they were merged from, and so are no part of the tree; what
        was trained from one lies nearer to it than to its parent so far."""
        for merged in self.merges:
            before = {self._root(source) for source in self._made[merged].sources}
            while more := {parents[one] for one in before if one in parents} - before:
                before |= more
            for child, parent in parents.items():
                if child not in before and self.apart(merged, child)[0] < self.apart(parent, child)[0]:
                    parents[child] = merged

    def _spanning(self, component: Sequence[int]) -> dict[int, set[int]]:
        """The tree of least distances (Prim)."""
        neighbours: dict[int, set[int]] = {one: set() for one in component}
        inside = [component[0]]
        outside = set(component[1:])
        nearest = {one: (self.apart(inside[0], one)[0], inside[0]) for one in outside}
        while outside:
            new = min(outside, key=lambda one: (*nearest[one], one))
            neighbours[new].add(nearest[new][1])
            neighbours[nearest[new][1]].add(new)
            outside.discard(new)
            for one in outside:
                nearest[one] = min(nearest[one], (self.apart(new, one)[0], new))
        return neighbours

    def _likely(self, root: int, parents: Mapping[int, int]) -> float:
        """How much speaks for a tree."""
        children: dict[int, list[int]] = {}
        for child, parent in sorted(parents.items()):
            children.setdefault(parent, []).append(child)
        score = _HUB * (len(children.get(root, ())) > 2) + _CHILD * (len(self._members[root]) - 1)
        for child, parent in parents.items():
            score += self._edge(parent, child)
        pairs = 0
        for middle, below in children.items():
            for place, one in enumerate(below):
                if middle in parents:
                    score += self._onward(parents[middle], middle, one)
                for other in below[place + 1 :]:
                    if pairs < _MOST_PAIRS:
                        score -= self._onward(one, middle, other)
                        pairs += 1
        return score

    def _edge(self, parent: int, child: int) -> float:
        """How much speaks for the direction of an edge."""
        score = 0.0
        steps = self._steps[parent], self._steps[child]
        if steps[0] is not None and steps[1] is not None and steps[0] != steps[1]:
            score += _STEPS if steps[0] < steps[1] else -_STEPS
        _apart, first, second = self.apart(parent, child)
        growth = self._geometry.growth(self._places[first], self._places[second])
        if abs(growth) > _GROWN:
            score += _GROWTH * growth
        older = self._files[parent].mtime_ns, self._files[child].mtime_ns
        return score + _OLDER * ((older[0] < older[1]) - (older[0] > older[1]))

    def _onward(self, first: int, middle: int, last: int) -> float:
        places = [self._places[number] for number in self._in_one_type(first, middle, last)]
        return self._geometry.onward(*places)

    def _in_one_type(self, *states: int) -> list[int]:
        """A file of each state, of the same type if there is one that all have."""
        types = [
            {
                _type(self._files[number]): number
                for number in self._members[state]
                if self._same_state(number)
            }
            for state in states
        ]
        shared = set.intersection(*(set(one) for one in types))
        chosen = min(shared, key=lambda one: (one not in ROUNDED, one), default=None)
        return [state if chosen is None else one[chosen] for state, one in zip(states, types, strict=True)]

    def _mend(self, root: int, parents: dict[int, int]) -> None:
        """Where a state lies near another without having begun there, it goes to that one's parent."""
        for _round in range(len(parents) + 1):
            changed = False
            for child in _from_above(root, parents):
                parent = parents[child]
                if parent == root or not self._is_beside(parents[parent], parent, child):
                    continue
                parents[child] = parents[parent]
                changed = True
            if not changed:
                return

    def _is_beside(self, ancestor: int, middle: int, last: int) -> bool:
        key = ancestor, middle, last
        if key not in self._beside:
            self._beside[key] = self._looks_beside(*key)
        return self._beside[key]

    def _looks_beside(self, ancestor: int, middle: int, last: int) -> bool:
        if self.apart(ancestor, last)[0] == float("inf") or self._onward(ancestor, middle, last) > _ONWARD:
            return False
        chosen = self._in_one_type(ancestor, middle, last)
        if self._geometry.undone(*(self._places[number] for number in chosen)) > _UNDONE:
            return True
        return is_beside(*(self._files[number] for number in chosen))

    # --- between files -------------------------------------------------------------------------------------
    def edges(self, child: int, parent: int) -> list[Trained]:
        """The edges between two states' files: each cast of a trained file comes from that of its parent."""
        found: list[Trained] = []
        for number in self._members[child]:
            if not self._same_state(number):
                continue
            own = _type(self._files[number])
            near = [
                (self._distance(other, number), other)
                for other in self._members[parent]
                if number == child or (_type(self._files[other]) == own and self._same_state(other))
            ]
            same = [item for item in near if _type(self._files[item[1]]) == own] or near
            distance, nearest = min(same, default=(float("inf"), parent))
            if distance < FAR or (number == child and nearest is not None):
                found.append(Trained(number, nearest, distance))
        return found


def _type(file: Surveyed) -> str:
    """The type of most of a file's weights."""
    sizes: dict[str, int] = {}
    for place in file.sketches:
        span = file.spans[place]
        sizes[span.dtype] = sizes.get(span.dtype, 0) + span.length
    return max(sizes, key=lambda name: (sizes[name], name), default="")


def _directed(root: int, neighbours: Mapping[int, set[int]]) -> dict[int, int]:
    """The parent of each state, seen from a root."""
    parents: dict[int, int] = {}
    queue = [root]
    seen = {root}
    while queue:
        one = queue.pop()
        for other in sorted(neighbours[one] - seen):
            parents[other] = one
            seen.add(other)
            queue.append(other)
    return parents


def _from_above(root: int, parents: Mapping[int, int]) -> list[int]:
    """All states but the root, parents first."""
    children: dict[int, list[int]] = {}
    for child, parent in sorted(parents.items()):
        children.setdefault(parent, []).append(child)
    found = [root]
    for one in found:  # grows while it is gone through
        found += children.get(one, [])
    return found[1:]
