"""Files that hold nothing of their own: all their tensors are those of another file, or of a few others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mvc.forecast.survey import Content, Surveyed

_MOST_SOURCES = 64
_NOTHING: frozenset[Content] = frozenset()
_PLAIN = ("safetensors", "gguf")
"""Formats that a model is more often kept in than copied to."""


class Copy(NamedTuple):
    """What a file's tensors are copied from, by the files' numbers."""

    relation: str
    sources: tuple[int, ...]


def copies(files: Sequence[Surveyed], made_from: Mapping[Content, frozenset[Content]]) -> dict[int, Copy]:
    """Which files are copies. A file that others are copies of is none itself.

    ``made_from`` says what tensors were calculated from: a file with what was made from another's is not what
    that one was put together from.
    """
    held = [contents_of(file) for file in files]
    owners: dict[Content, set[int]] = {}
    for number, contents in enumerate(held):
        for content in contents:
            owners.setdefault(content, set()).add(number)
    found: dict[int, Copy] = {}
    _equal(files, held, found)
    originals = {number for number in range(len(files)) if held[number] and number not in found}
    for number in sorted(originals, key=lambda number: _size(held[number])):
        larger = set.intersection(*(owners[content] for content in held[number])) & originals - {number}
        if larger:
            # of equal ones the one whose tensors are found most often: it is what the others were made from
            source = min(
                larger,
                key=lambda other: (_size(held[other]), -sum(len(owners[c]) for c in held[other]), other),
            )
            found[number] = Copy("part", (source,))
            originals.discard(number)
    for number in sorted(originals, key=lambda number: (len(held[number]), number)):
        free = {
            other
            for other in originals - {number}
            if not any(
                made_from.get(content, _NOTHING) & held[number] for content in held[other] - held[number]
            )
        }
        sources = _cover(number, held, owners, free)
        if sources is not None:
            found[number] = Copy("parts", sources)
            originals.discard(number)
    return found


def contents_of(file: Surveyed) -> frozenset[Content]:
    """What a file's tensors hold: all that are large enough to be told apart; else whatever it has."""
    large = {file.contents[place] for place in file.sketches}
    found = frozenset(content for content in large or set(file.contents) if content is not None)
    if found or any(file.contents) or not file.size:
        return found
    pieces = [(piece.length, bytes(piece.id)) for piece in file.pieces]
    return frozenset(pieces)


def _size(contents: frozenset[Content]) -> int:
    return sum(length for length, _hash in contents)


def _equal(files: Sequence[Surveyed], held: Sequence[frozenset[Content]], found: dict[int, Copy]) -> None:
    """Of files that hold the same, all but one are copies: the one whose form most of the others have."""
    same: dict[frozenset[Content], list[int]] = {}
    for number, contents in enumerate(held):
        if contents:
            same.setdefault(contents, []).append(number)
    forms = Counter(_form(file) for file in files)
    for group in same.values():

        def likely(number: int) -> tuple[int, bool, int, int]:
            file = files[number]
            return -forms[_form(file)], file.format not in _PLAIN, file.mtime_ns, number

        first, *others = sorted(group, key=likely)
        for number in others:
            alike = _form(files[number]) == _form(files[first])
            found[number] = Copy("copy" if alike else "re-saved", (first,))


def _form(file: Surveyed) -> tuple[object, ...]:
    """What files that one program wrote have in common."""
    return file.format, tuple((span.name, span.dtype, span.shape) for span in file.spans)


def _cover(
    number: int,
    held: Sequence[frozenset[Content]],
    owners: dict[Content, set[int]],
    originals: set[int],
) -> tuple[int, ...] | None:
    """Other originals that together hold all that a file does, those with the most of it first."""
    left = set(held[number])
    sources: list[int] = []
    while left and len(sources) < _MOST_SOURCES:
        shares = Counter(other for content in left for other in owners[content] if other in originals)
        if not shares:
            return None
        best = min(shares, key=lambda other: (-shares[other], other))
        sources.append(best)
        left -= held[best]
    return None if left else tuple(sources)
