"""``NAME=VALUE`` on the command line: metrics and params; for the commands that record some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from mvc.cli.declare import Option
from mvc.config import parse_value
from mvc.errors import UsageError
from mvc.objects import Number, Scalar

_MOST = 1 << 63

Metrics = Annotated[tuple[str, ...], Option("--metric", "A measured number; may be repeated.", "NAME=NUMBER")]
Params = Annotated[tuple[str, ...], Option("--param", "A setting of the run; may be repeated.", "NAME=VALUE")]


def metrics(items: Iterable[str]) -> Iterable[tuple[str, Number]]:
    """Names and numbers of ``--metric``.

    Raises:
        UsageError: one is no name and number.
    """
    for item in items:
        name, text = pair(item, "--metric loss=1.93")
        yield name, _number(item, text)


def params(items: Iterable[str]) -> Iterable[tuple[str, Scalar]]:
    """Names and values of ``--param``.

    Raises:
        UsageError: one is no name and value.
    """
    for item in items:
        name, text = pair(item, "--param lr=3e-4")
        value = parse_value(text)
        # a number that the format cannot hold is kept as it was written
        yield name, text if isinstance(value, int) and not -_MOST <= value < _MOST else value


def pair(item: str, example: str) -> tuple[str, str]:
    """Name and value, without spaces around them.

    Raises:
        UsageError: it is not both.
    """
    name, equals, text = item.partition("=")
    name = name.strip()
    if not equals or not name or not name.isprintable():
        raise UsageError(f"{item!r} is not a name and a value", hint=f"for example {example}")
    return name, text.strip()


def _number(item: str, text: str) -> Number:
    try:
        whole = int(text)
        if -_MOST <= whole < _MOST:
            return whole
    except ValueError:
        pass  # no whole number, so it is tried as another one
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"{item!r}: {text!r} is not a number", hint="for example --metric loss=1.93"
        ) from None
