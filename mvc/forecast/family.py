"""The family of a folder's files: who was made from whom and how, and in which order parents come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from mvc.forecast.copies import copies
from mvc.forecast.derive import Derivations
from mvc.forecast.made import made_files
from mvc.forecast.survey import Surveyed
from mvc.forecast.training import trained_files
from mvc.monitor import Monitor


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file comes from: the relation, and the numbers of the files, the main one first. ``distance``
    is how far weights moved, as a part of their norm; None where they were not trained, or it is unknown."""

    relation: str
    sources: tuple[int, ...]
    distance: float | None = None


@dataclass(slots=True)
class Family:
    """For each file, by number, its origins, the one that says most of its bytes first; and all files so that
    parents come before their children."""

    origins: list[list[Origin]]
    order: list[int] = field(default_factory=list)

    def parent(self, number: int) -> int | None:
        """The file below which a file is drawn."""
        return self.origins[number][0].sources[0] if self.origins[number] else None

    def children(self) -> list[list[int]]:
        """The files that are drawn below each, and last those that stand alone or begin a family."""
        found: list[list[int]] = [[] for _ in range(len(self.origins) + 1)]
        for number in self.order:
            parent = self.parent(number)
            found[len(self.origins) if parent is None else parent].append(number)
        return found


def family(files: Sequence[Surveyed], monitor: Monitor) -> Family:
    """Find the family of files by what they hold; names of files play no part, and times only settle ties."""
    derivations = Derivations({file.identity: file for file in files}, monitor)
    ways = derivations.all()
    made_from = {content: frozenset(way.operands[0] for way in several) for content, several in ways.items()}
    copied = copies(files, made_from)
    originals = [number for number in range(len(files)) if number not in copied]
    made = made_files(files, originals, ways, derivations)
    origins: list[list[Origin]] = [[] for _file in files]
    for number, copy in copied.items():
        origins[number].append(Origin(copy.relation, copy.sources))
    for number, one in made.items():
        origins[number].append(Origin(one.relation, one.sources))
    for edge in trained_files(files, [n for n in originals if files[n].sketches], made):
        distance = None if edge.distance == inf else edge.distance
        if edge.child in _ancestors(edge.parent, origins):
            continue  # what was calculated says the direction, and with more right
        origins[edge.child].append(Origin("trained", (edge.parent,), distance))
    found = Family(origins)
    found.order = _parents_first(origins, [file.path for file in files])
    return found


def _ancestors(number: int, origins: Sequence[Sequence[Origin]]) -> set[int]:
    """A file and all that it comes from."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [source for origin in origins[one] for source in origin.sources]
    return found


def _parents_first(origins: Sequence[Sequence[Origin]], names: Sequence[str]) -> list[int]:
    done: dict[int, None] = {}
    for first in sorted(range(len(origins)), key=names.__getitem__):
        waiting = [first]
        while waiting:
            number = waiting[-1]
            left = [
                source
                for origin in origins[number]
                for source in origin.sources
                if source not in done and source not in waiting
            ]
            if left:
                waiting.append(left[0])
            else:
                waiting.pop()
                done.setdefault(number)
    return list(done)
