"""Files that were made from others by calculation, as far as their tensors tell: cast, quantised, pruned,
merged, grown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mvc.forecast.copies import contents_of
from mvc.forecast.derive import Derivation, Derivations
from mvc.forecast.survey import Content, Surveyed

_COMPLETE = 0.95
"""Of a file's bytes in tensors, those that one parent must account for."""

_PART = 0.25
"""Of the bytes that were made from several files, those that one of the further ones has a part in."""

_TIE = 1e-3
_EQUAL, _ROWS = 1.0, 0.8
_CALCULATED = 0.9  # an equal tensor says more than one that could be calculated


class Made(NamedTuple):
    """How a file was made: the relation of most of its bytes, and the files' numbers, the main one first."""

    relation: str
    sources: tuple[int, ...]


def made_files(
    files: Sequence[Surveyed],
    originals: Collection[int],
    ways: Mapping[Content, Sequence[Derivation]],
    derivations: Derivations,
) -> dict[int, Made]:
    """Which of the files that are no copies were calculated from others of them."""
    search = _Search(files, originals, ways, derivations)
    found: dict[int, Made] = {}
    for number in originals:
        made = search.made(number)
        if made is not None:
            found[number] = made
    return _without_circles(found)


class _Account(NamedTuple):
    """What one file accounts for in another: bytes, a score that ranks equals, and bytes by relation."""

    complete: bool
    score: float
    relations: Counter[str]


class _Search:
    def __init__(
        self,
        files: Sequence[Surveyed],
        originals: Collection[int],
        ways: Mapping[Content, Sequence[Derivation]],
        derivations: Derivations,
    ) -> None:
        self._files = files
        self._held = {number: contents_of(files[number]) for number in originals}
        self._ways = ways
        self._derivations = derivations
        self._owners: dict[Content, list[int]] = {}
        for number, contents in self._held.items():
            for content in contents:
                self._owners.setdefault(content, []).append(number)

    def made(self, number: int) -> Made | None:
        """How one file was made; None where it was trained, or stands alone."""
        own = self._held[number]
        candidates = {
            owner
            for content in own
            for given in (content, *(one for way in self._ways.get(content, ()) for one in way.operands))
            for owner in self._owners.get(given, ())
        } - {number}
        best: tuple[float, int] | None = None
        accounts: dict[int, _Account] = {}
        for other in sorted(candidates):
            if self._follows(other, number):
                continue
            account = self._account(number, other)
            if not account.complete or not account.relations:
                continue
            accounts[other] = account
            score = account.score + _TIE * len(self._owners_of(other))
            if best is None or score > best[0]:
                best = score, other
        if best is None:
            return None
        main = best[1]
        relation = accounts[main].relations.most_common(1)[0][0]
        return Made(relation, (main, *self._others(number, main)))

    def _owners_of(self, other: int) -> set[int]:
        """The files that share a tensor with one: the trunk of a family has most."""
        return {owner for content in self._held[other] for owner in self._owners[content]}

    def _account(self, number: int, other: int) -> _Account:
        own, given = self._held[number], self._held[other]
        grown = {
            content: way
            for content, way in self._derivations.grown(self._files[number], self._files[other])
            if content not in given
        }
        total = sum(length for length, _hash in own)
        told = score = 0.0
        relations: Counter[str] = Counter()
        for content in own:
            length = content[0]
            way = self._way(content, given)
            if content in given:
                told += length
                score += length * _EQUAL
            elif way is not None:
                told += length
                score += length * _CALCULATED * way.share
                relations[way.relation] += length
            elif content in grown:
                told += length
                score += length * _ROWS
                relations["rows"] += length
        return _Account(total > 0 and told >= _COMPLETE * total, score / max(total, 1), relations)

    def _way(self, content: Content, given: frozenset[Content]) -> Derivation | None:
        return next((way for way in self._ways.get(content, ()) if way.operands[0] in given), None)

    def _follows(self, other: int, number: int) -> bool:
        """Whether a file has what was calculated from another's tensors, and so came later."""
        own, given = self._held[number], self._held[other]
        return any(
            operand in own and content not in own
            for content in given
            for way in self._ways.get(content, ())
            for operand in way.operands[:1]
        )

    def _others(self, number: int, main: int) -> list[int]:
        """Files that hold further operands of a good part of what needs some."""
        sizes: Counter[int] = Counter()
        total = 0
        for content in self._held[number] - self._held[main]:
            ways = [way for way in self._ways.get(content, ()) if way.operands[0] in self._held[main]]
            way = min(ways, key=lambda way: len(way.operands), default=None)
            if way is None or len(way.operands) < 2:
                continue
            total += content[0]
            further = {owner for one in way.operands[1:] for owner in self._owners.get(one, ())[:1]}
            sizes.update(dict.fromkeys(further - {number, main}, content[0]))
        return [owner for owner, size in sizes.most_common() if size >= _PART * total]


def _without_circles(found: dict[int, Made]) -> dict[int, Made]:
    """Where two files each seem to be made from the other, the later one by number was."""
    kept: dict[int, Made] = {}
    for number, made in sorted(found.items()):
        above, rest = set(made.sources), set(made.sources)
        while rest:
            rest = {source for one in rest if one in kept for source in kept[one].sources} - above
            above |= rest
        if number not in above:
            kept[number] = made
    return kept
