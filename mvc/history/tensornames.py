"""What a tensor's name says: which layer of a model it belongs to, and which kind of tensor it is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_STATE = re.compile(
    r"(^|[./])(optimizer|optimizer_states|exp_avg|exp_avg_sq|max_exp_avg_sq|momentum_buffer|square_avg|step|rng)"
    r"([./]|$)"
)
_PARTS = re.compile(r"[^./]+")


class Place(NamedTuple):
    """``layer`` is the first component of the name that is a number (None: there is none), ``kind`` the name
    with ``*`` for each such component: tensors of one kind do the same in each layer."""

    layer: int | None
    kind: str


def place_of(name: str) -> Place:
    """``model.layers.12.self_attn.q_proj.weight`` → 12, ``model.layers.*.self_attn.q_proj.weight``."""
    layer: int | None = None

    def blank(match: re.Match[str]) -> str:
        nonlocal layer
        word = match[0]
        if not (word.isascii() and word.isdigit() and len(word) < 7):
            return word
        if layer is None:
            layer = int(word)
        return "*"

    kind = _PARTS.sub(blank, name)
    return Place(layer, kind)


def is_state(name: str) -> bool:
    """Whether a name is one that training gives to what it keeps beside weights: an optimizer's moments,
    steps, the state of random generators."""
    return _STATE.search(name) is not None


def shortened(kinds: Iterable[str]) -> dict[str, str]:
    """Kinds without the components that all of them begin with, nor a last ``weight`` that tells nothing:
    as short as they stay different."""
    listed = list(dict.fromkeys(kinds))
    split = [kind.split(".") for kind in listed]
    common = 0
    if len(split) > 1:
        while all(len(parts) > common + 1 and parts[common] == split[0][common] for parts in split):
            common += 1
    short = [".".join(parts[common:]) for parts in split]
    bare = [name.removesuffix(".weight") or name for name in short]
    return dict(zip(listed, bare if len(set(bare)) == len(bare) else short, strict=True))


def numbers_text(numbers: Iterable[int]) -> str:
    """``0–3, 7``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)
