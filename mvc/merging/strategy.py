"""How tensors that both sides changed become one: which strategy each takes, and its parameters.

Sources of the strategies that calculate: averages, M. Wortsman et al., "Model soups" (2022, arXiv
2203.05482); task arithmetic, G. Ilharco et al., "Editing models with task arithmetic" (2023, arXiv
2212.04089); TIES, P. Yadav et al., "TIES-Merging" (2023, arXiv 2306.01708); slerp, K. Shoemake, "Animating
rotation with quaternion curves" (1985). What they calculate, operation by operation, is in
docs/design/0014-merging.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, Literal

from mvc.errors import UsageError

Side = Literal["ours", "theirs"]

OURS, THEIRS = "ours", "theirs"
AVERAGE, TASK_ARITHMETIC, TIES, SLERP = "average", "task-arithmetic", "ties", "slerp"

STRATEGIES = (OURS, THEIRS, AVERAGE, TASK_ARITHMETIC, TIES, SLERP)
"""Every strategy by name."""

_NEED_BASE = {TASK_ARITHMETIC, TIES}
_USERS = {"weight": {AVERAGE, SLERP}, "scale": {TASK_ARITHMETIC, TIES}, "density": {TIES}}
_RANGES = {
    "weight": (0.0, 1.0, "from 0 to 1"),
    "scale": (0.0, 100.0, "above 0 and at most 100"),
    "density": (0.0, 1.0, "above 0 and at most 1"),
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """What strategies that calculate are told.

    ``weight`` is the share of theirs, 0 to 1, in ``average`` and ``slerp``; ``scale``, above 0 and at most
    100, multiplies the changes in ``task-arithmetic`` and ``ties``; ``density``, above 0 and at most 1, is
    the share of each side's changes that ``ties`` keeps.
    """

    weight: float = 0.5
    scale: float = 1.0
    density: float = 0.2

    def of(self, strategy: str) -> dict[str, float]:
        """Those that a strategy looks at, by name."""
        return {name: getattr(self, name) for name, users in _USERS.items() if strategy in users}


@dataclass(frozen=True, slots=True)
class Strategies:
    """What a merge does with tensors that both sides changed.

    ``default`` is the strategy of those that no pattern names, None to leave them in conflict; ``patterns``
    are pairs of a pattern of tensor names (those of :mod:`fnmatch`, upper and lower case told apart) and a
    strategy, of which the last one that matches counts. A pattern that is a name, letter by letter, matches
    it, whatever brackets it holds.
    """

    default: str | None = None
    patterns: tuple[tuple[str, str], ...] = ()
    parameters: Parameters = field(default_factory=Parameters)

    @classmethod
    def parse(
        cls,
        default: str | None = None,
        per_tensor: Sequence[str] = (),
        *,
        weight: float | None = None,
        scale: float | None = None,
        density: float | None = None,
    ) -> Strategies:
        """From what a user writes: ``per_tensor`` are texts ``PATTERN=STRATEGY``.

        Raises:
            UsageError: an unknown strategy, a text of another form, a parameter out of its range or one that
                no strategy here looks at.
        """
        if default is not None:
            _check_strategy(default)
        patterns = tuple(map(_pattern, per_tensor))
        used = {default, *(strategy for _pattern, strategy in patterns)}
        given = {"weight": weight, "scale": scale, "density": density}
        for name, value in given.items():
            if value is None:
                continue
            if not used & _USERS[name]:
                wanted = " or ".join(sorted(_USERS[name]))
                raise UsageError(f"nothing here takes a {name}", hint=f"it belongs to the strategy {wanted}")
            least, most, words = _RANGES[name]
            if not (isfinite(value) and least <= value <= most and (value or name == "weight")):
                raise UsageError(f"the {name} {value} is out of range", hint=f"give a number {words}")
        chosen = {name: float(value) for name, value in given.items() if value is not None}
        return cls(default, patterns, Parameters(**chosen))

    def of(self, tensor: str) -> str | None:
        """The strategy of a tensor, or None."""
        for pattern, strategy in reversed(self.patterns):
            if tensor == pattern or fnmatchcase(tensor, pattern):
                return strategy
        return self.default

    def fitting(self, tensors: Iterable[str]) -> set[str]:
        """The patterns that fit some of these tensors."""
        names = list(tensors)
        patterns = {pattern for pattern, _strategy in self.patterns}
        return {one for one in patterns if one in names or any(fnmatchcase(name, one) for name in names)}

    @property
    def side(self) -> Side | None:
        """``ours`` or ``theirs`` where the default is one of them: then other files' conflicts go there
        too."""
        return "ours" if self.default == OURS else "theirs" if self.default == THEIRS else None

    @property
    def needs_base(self) -> bool:
        """Whether a strategy here works on changes, so that histories must have a commit in common."""
        return any(strategy in _NEED_BASE for strategy in self._all())

    def to_value(self) -> dict[str, Any]:
        """What a commit records: see *Commit* in docs/format.md. Empty where nothing was chosen."""
        value: dict[str, Any] = {}
        if self.default is not None:
            value["strategy"] = self.default
        if self.patterns:
            value["tensors"] = [list(pattern) for pattern in self.patterns]
        for strategy in self._all():
            value.update(self.parameters.of(strategy))
        return value

    def _all(self) -> Iterator[str]:
        if self.default is not None:
            yield self.default
        yield from (strategy for _pattern, strategy in self.patterns)


def needs_base(strategy: str) -> bool:
    """Whether a strategy works on changes since a common version."""
    return strategy in _NEED_BASE


def _pattern(text: str) -> tuple[str, str]:
    pattern, equals, strategy = text.rpartition("=")
    if not equals or not pattern:
        raise UsageError(f"{text!r} is not PATTERN=STRATEGY", hint="write it as in 'lm_head.*=ours'")
    _check_strategy(strategy)
    return pattern, strategy


def _check_strategy(strategy: str) -> None:
    if strategy not in STRATEGIES:
        raise UsageError(f"no strategy is called {strategy!r}", hint=f"there are {', '.join(STRATEGIES)}")
