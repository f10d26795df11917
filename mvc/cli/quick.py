"""Reads plain command lines without Typer; leaves what is unusual or wrong to Typer, which says so
properly."""

from __future__ import annotations

from typing import Any

from mvc.cli.declare import Command, Parameter


def parse(command: Command, words: list[str]) -> dict[str, Any] | None:
    """The function's arguments; None for a command line that is not plain.

    Whatever is understood here is understood by Typer in the same way (``tests/test_cli_parse.py``).
    """
    options = {name: parameter for parameter in command.parameters for name in parameter.spellings}
    values: dict[str, Any] = {}
    free: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            free.append(word)
            continue
        name, equals, text = word.partition("=")
        parameter = options.get(name)
        if parameter is None or (equals and not name.startswith("--")):
            return None
        if parameter.type is bool:
            if equals:
                return None
            values[parameter.name] = True
            continue
        if not equals:
            text = next(rest, "-")
        if text.startswith("-") or not _add(values, parameter, text):
            return None
    return _with_free(command, values, free)


def _add(values: dict[str, Any], parameter: Parameter, text: str) -> bool:
    if parameter.type is int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            return False
        values[parameter.name] = int(text)
    elif parameter.many:
        values[parameter.name] = (*values.get(parameter.name, ()), text)
    else:
        values[parameter.name] = text
    return True


def _with_free(command: Command, values: dict[str, Any], free: list[str]) -> dict[str, Any] | None:
    """Give the words that are no options to the arguments, in their order."""
    for parameter in command.parameters:
        if parameter.spellings:
            values.setdefault(parameter.name, parameter.default)
        elif parameter.many:
            if parameter.required and not free:
                return None
            values[parameter.name], free = tuple(free), []
        elif free:
            values[parameter.name] = free.pop(0)
        elif parameter.required:
            return None
        else:
            values[parameter.name] = parameter.default
    return None if free else values
