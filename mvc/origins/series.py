"""Which names are checkpoints of one run, in which order, and what a checkpoint's file is called without its
number.

Names that differ only in numbers are a series: ``step-0060.safetensors`` and ``step-0120.safetensors``. The
numbers that differ tell the order; those that are the same everywhere (``llama-7b-step-100``) belong to the
name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

FINAL_WORDS = ("best", "latest", "last", "final", "end")
"""What a checkpoint without a number may be called, in the order in which such ones follow those with one."""

COUNTING_WORDS = ("checkpoint", "ckpt", "step", "steps", "epoch", "epochs", "iter", "iteration", "round", "v")
"""Words before the number of a checkpoint: where one stands there, a single name is a series too."""

NAMELESS = "model"
"""What a file is called of whose name nothing is left."""

# a shard's number says which part of one checkpoint a file is
_TOKENS = re.compile(r"[0-9]+-of-[0-9]+|([0-9]+(?:\.[0-9]+)?)")
_FINAL = re.compile(rf"(?:^|[-_. ])({'|'.join(FINAL_WORDS)})(?:$|[-_. ])", re.IGNORECASE)
_COUNTING = re.compile(rf"(?:^|[-_. ])(?:global[-_]?)?(?:{'|'.join(COUNTING_WORDS)})[-_ =]*$", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,15}$")
_SEPARATORS = re.compile(r"[-_. ]{2,}")
_MOST_CHARACTERS = 1000

Key = tuple[int, tuple[Decimal, ...]]
"""Where a checkpoint stands in its run: those with numbers, by them; then those with a word."""


class Placed(NamedTuple):
    """A name that is a checkpoint, or a file of one. ``path`` is what it is called without what tells
    checkpoints apart; ``series`` is equal for names of one series."""

    name: str
    key: Key
    path: str
    series: str


class _Cut(NamedTuple):
    texts: tuple[str, ...]  # around the numbers, one more than these
    numbers: tuple[str, ...]
    suffix: str


def place(names: Iterable[str]) -> list[Placed]:
    """The names that are checkpoints, in their order; others are left out."""
    cuts = {name: _cut(name) for name in names if len(name) <= _MOST_CHARACTERS}
    groups: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for name, cut in cuts.items():
        if cut.numbers:
            groups.setdefault((cut.texts, cut.suffix), []).append(name)
    found: list[Placed] = []
    for (texts, suffix), members in groups.items():
        if len(members) > 1 or _COUNTING.search(texts[0]):
            found += _series(members, [cuts[name] for name in members], suffix)
    paths = {one.path for one in found}
    placed = {one.name for one in found}
    for name, cut in cuts.items():
        match = None if name in placed else _FINAL.search(_stem(name, cut))
        if match is not None:
            path = _final_path(name, cut, paths)
            found.append(Placed(name, (1 + FINAL_WORDS.index(match[1].lower()), ()), path, path))
    return sorted(found, key=lambda one: (one.key, one.name))


def _cut(name: str) -> _Cut:
    suffix = _SUFFIX.search(name)
    ending = "" if suffix is None or not suffix.start() else suffix[0]
    stem = name.removesuffix(ending)
    texts, numbers, at = [""], [], 0
    for match in _TOKENS.finditer(stem):
        texts[-1] += stem[at : match.start()]
        if match[1] is None:
            texts[-1] += match[0]
        else:
            numbers.append(match[0])
            texts.append("")
        at = match.end()
    texts[-1] += stem[at:]
    return _Cut(tuple(texts), tuple(numbers), ending)


def _stem(name: str, cut: _Cut) -> str:
    return name.removesuffix(cut.suffix)


def _series(names: list[str], cuts: list[_Cut], suffix: str) -> list[Placed]:
    differ = [len({cut.numbers[at] for cut in cuts}) > 1 for at in range(len(cuts[0].numbers))]
    if len(cuts) == 1:
        differ = [True] * len(differ)
    kept = cuts[0].texts[0]
    for at, varies in enumerate(differ):
        kept += ("" if varies else cuts[0].numbers[at]) + cuts[0].texts[at + 1]
    path = _tidy(kept) + suffix
    return [
        Placed(
            name,
            (0, tuple(Decimal(number) for number, varies in zip(cut.numbers, differ, strict=True) if varies)),
            path,
            path,
        )
        for name, cut in zip(names, cuts, strict=True)
    ]


def _tidy(stem: str) -> str:
    """A name whose numbers are gone, without the signs that stood around them."""
    stem = _SEPARATORS.sub(lambda run: "." if "." in run[0] else run[0][0], stem).strip("-_. ")
    stem = re.sub(r"^[vV][-_. ]+", "", stem)
    return NAMELESS if stem in ("", "v", "V") else stem


def _final_path(name: str, cut: _Cut, paths: set[str]) -> str:
    same = [path for path in paths if _cut(path).suffix == cut.suffix]
    if len(same) == 1:
        return same[0]
    return _tidy(_FINAL.sub("-", _stem(name, cut))) + cut.suffix
