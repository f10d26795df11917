"""Which version each tensor of a merged file comes from, and which ones the two sides disagree about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mvc.memoryfile import Stretch
from mvc.merging.arithmetic import Made, combine
from mvc.merging.sides import NotMergeable, Side, Sides, same_tensor
from mvc.merging.strategy import OURS, THEIRS, Strategies
from mvc.spans import Span


class Taken(NamedTuple):
    """A tensor that comes from one side as it is."""

    side: Side
    span: Span

    def stretches(self) -> tuple[Stretch, ...]:
        """Its bytes."""
        return self.side.stretches(self.span.offset, self.span.length)


Source = Taken | Made


@dataclass(frozen=True, slots=True)
class Plan:
    """The tensors of a merged file by name, those of ours first, in their order; and what is in conflict.

    A tensor in conflict is as ours has it, and missing where ours has none. ``conflicts`` are names, with
    the reason behind a colon where a strategy was chosen that cannot be followed.
    """

    sources: dict[str, Source]
    conflicts: tuple[str, ...]


def plan_tensors(sides: Sides, strategies: Strategies) -> Plan:
    """Merge three tables of tensors: what changed on one side takes that side, what changed on both in the
    same way stays, and about the rest the strategies decide."""
    sources: dict[str, Source] = {}
    conflicts: list[str] = []
    for name in dict.fromkeys((*sides.ours.spans, *sides.theirs.spans)):
        side = _changed_side(sides, name)
        if side is None:
            strategy = strategies.of(name)
            if strategy not in (None, OURS, THEIRS):
                try:
                    sources[name] = _combined(strategy, strategies, sides, name)
                    continue
                except NotMergeable as refusal:
                    conflicts.append(f"{name}: {refusal.reason}")
            elif strategy is None:
                conflicts.append(name)
            side = sides.theirs if strategy == THEIRS else sides.ours
        span = side.spans.get(name)
        if span is not None:
            sources[name] = Taken(side, span)
    return Plan(sources, tuple(conflicts))


def _changed_side(sides: Sides, name: str) -> Side | None:
    """The side that a tensor comes from whatever the strategy; None where both changed it."""
    base, ours, theirs = sides
    if same_tensor(ours, theirs, name):
        return ours
    if base is None:
        if name not in theirs.spans:
            return ours
        return theirs if name not in ours.spans else None
    if same_tensor(base, ours, name):
        return theirs
    return ours if same_tensor(base, theirs, name) else None


def _combined(strategy: str, strategies: Strategies, sides: Sides, name: str) -> Made:
    if name not in sides.ours.spans or name not in sides.theirs.spans:
        raise NotMergeable("one side took it away, the other one changed it")
    return combine(strategy, strategies.parameters, sides, name)
