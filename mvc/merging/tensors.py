"""Which version each tensor of a merged file comes from, and which ones the two sides disagree about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mvc.dtypes import DTYPES
from mvc.memoryfile import Stretch
from mvc.merging.arithmetic import Made, combine
from mvc.merging.sides import NotMergeable, Side, Sides, same_tensor
from mvc.merging.strategy import OURS, THEIRS, Strategies
from mvc.spans import Span, element_count


class Taken(NamedTuple):
    """A tensor that comes from one side as it is."""

    side: Side
    span: Span

    def stretches(self) -> tuple[Stretch, ...]:
        """Its bytes."""
        return self.side.stretches(self.span.offset, self.span.length)


Source = Taken | Made

_COUNTERS = frozenset(f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64))


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
    same way stays, and about the rest the strategies decide. One that calculates takes the larger of two
    counters, which are single integers."""
    sources: dict[str, Source] = {}
    conflicts: list[str] = []
    for name in dict.fromkeys((*sides.ours.spans, *sides.theirs.spans)):
        side = _changed_side(sides, name)
        if side is None:
            strategy = strategies.of(name)
            counter = None if strategy in (None, OURS, THEIRS) else _further(sides, name)
            if counter is not None:
                sources[name] = Taken(counter, counter.spans[name])
                continue
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


def _further(sides: Sides, name: str) -> Side | None:
    """The side whose counter is further on, where the tensor is one integer on both; None where it is not.

    An average of step counters (``num_batches_tracked``) is a number without a meaning, and the larger one
    is what a run that went on would have.
    """
    spans = [side.spans.get(name) for side in sides[1:]]
    if any(span is None or span.dtype not in _COUNTERS or element_count(span.shape) != 1 for span in spans):
        return None
    ours, theirs = (_integer(side, name) for side in (sides.ours, sides.theirs))
    return sides.ours if ours >= theirs else sides.theirs


def _integer(side: Side, name: str) -> int:
    span = side.spans[name]
    data = b"".join(side.read(span.offset, DTYPES[span.dtype].width))
    return int.from_bytes(data, "little", signed=span.dtype.startswith("I"))


def _combined(strategy: str, strategies: Strategies, sides: Sides, name: str) -> Made:
    if name not in sides.ours.spans or name not in sides.theirs.spans:
        raise NotMergeable("one side took it away, the other one changed it")
    return combine(strategy, strategies.parameters, sides, name)
