"""How a command line says what becomes of tensors that both sides changed."""

from __future__ import annotations

from typing import Annotated

from mvc.cli.declare import Option
from mvc.errors import UsageError
from mvc.underway.threeway import Choice

Strategy = Annotated[
    str | None,
    Option(
        "--strategy",
        "What becomes of tensors that both sides changed; ours and theirs settle other conflicts too.",
        "ours|theirs|average|task-arithmetic|ties|slerp",
    ),
]
StrategyFor = Annotated[
    tuple[str, ...],
    Option(
        "--strategy-for", "The same for tensors of such names; the last that fits counts.", "PATTERN=STRATEGY"
    ),
]
Weight = Annotated[
    str | None, Option("--weight", "Share of theirs in average and slerp, 0 to 1; 0.5 if left out.", "W")
]
Scale = Annotated[
    str | None, Option("--scale", "Factor of the changes in task-arithmetic and ties; else 1.", "S")
]
Density = Annotated[
    str | None, Option("--density", "Share of each side's changes that ties keeps; else 0.2.", "D")
]


def choice_of(
    strategy: str | None,
    per_tensor: tuple[str, ...],
    weight: str | None,
    scale: str | None,
    density: str | None,
) -> Choice:
    """What was chosen.

    Raises:
        UsageError: a parameter is no number.
    """
    return Choice(
        strategy, per_tensor, _number("weight", weight), _number("scale", scale), _number("density", density)
    )


def _number(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--{name} is a number, not {text!r}", hint=f"for example --{name} 0.5") from None
