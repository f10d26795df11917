"""What a metric or a setting has to be, as people type it: ``loss<1.9``, ``lr=2e-5``, ``optimizer!=sgd``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mvc.errors import UsageError
from mvc.objects import Scalar

_FORM = re.compile(r"(?P<name>[^<>=!]+?)\s*(?:(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>.*))?", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds for values that have ``name``, and there what ``sign`` and ``value`` say; without a sign it is
    enough that they have it.

    Numbers are compared as numbers, by IEEE 754: NaN is unequal to everything, itself too. Texts, and
    ``true``, ``false`` and ``none``, can be equal or not, and are never smaller or larger.
    """

    name: str
    sign: str | None = None
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read one.

        Raises:
            UsageError: it has no name, or nothing to compare with.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None or (match["sign"] and not match["value"]):
            raise UsageError(f"{text!r} is no condition", hint="for example 'loss<1.9', 'lr=2e-5', or 'loss'")
        sign = match["sign"]
        if sign in ("<", "<=", ">", ">=") and _number(match["value"]) is None:
            raise UsageError(f"{text!r}: {match['value']!r} is not a number", hint="for example 'loss<1.9'")
        return cls(match["name"], sign, match["value"] or "")

    def holds(self, values: Mapping[str, Scalar]) -> bool:
        """Whether it holds for some metrics or settings."""
        if self.name not in values:
            return False
        if self.sign is None:
            return True
        found = values[self.name]
        if isinstance(found, int | float) and not isinstance(found, bool):
            wanted: Scalar = _number(self.value)
            if wanted is None:
                return self.sign == "!="
        else:
            if self.sign not in ("=", "==", "!="):
                return False
            wanted = self.value if isinstance(found, str) else _WORDS.get(self.value.lower(), self.value)
        return _SIGNS[self.sign](found, wanted)


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None
