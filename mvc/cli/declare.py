"""How a command says what it takes: annotations on its function, read by two parsers.

:mod:`mvc.cli.quick` understands plain command lines at once; :mod:`mvc.cli.app` makes a Typer command of
the same declaration, for everything else: help, and exact messages about what is wrong. Typer
alone costs 40 ms to import, which is more than the whole of ``mvc log``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, get_args, get_origin


class Option(NamedTuple):
    """An option: its spellings, separated by spaces (``-n --max-count``), its help, and what its value is
    called."""

    names: str
    help: str
    value: str = ""


class Argument(NamedTuple):
    """A word that is no option: what it is called, and its help."""

    value: str
    help: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command's function. ``type`` is ``bool``, ``int`` or ``str``."""

    name: str
    type: type
    many: bool
    required: bool
    declared: Option | Argument

    @property
    def spellings(self) -> list[str]:
        """An option's names; none for an argument."""
        return self.declared.names.split() if isinstance(self.declared, Option) else []

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that the value is one of, where its name lists them in small letters
        (``auto|always|never``); none where it may be anything."""
        words = tuple(self.declared.value.split("|"))
        return words if len(words) > 1 and self.declared.value.islower() else ()

    @property
    def default(self) -> Any:
        """What the function gets when the command line does not say."""
        if self.many:
            return ()
        return False if self.type is bool else None


COMMON = (
    Parameter(
        "quiet", bool, False, False, Option("-q --quiet", "Print nothing but what was asked for and errors.")
    ),
    Parameter("verbose", bool, False, False, Option("-v --verbose", "Say more.")),
    Parameter("color", str, False, False, Option("--color", "When output is coloured.", "auto|always|never")),
)
"""Options of every command."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its function takes a :class:`mvc.cli.call.Call` and the declared parameters, and returns
    the exit code (None: 0). ``exits`` say what its exit codes mean beyond the usual, ``data`` what
    ``--json`` prints; ``paths`` tells that paths may follow a ``--``, which the function finds in
    ``call.paths``; ``paged``, that on a terminal its lines go through a pager. Behind one of the words of
    ``program``, if it stands first, comes a program's command line as it is, which ``call.paths`` has too.
    ``anywhere`` tells that a shared store will do, read where it lies (``mvc -R``)."""

    name: str
    function: Callable[..., int | None]
    parameters: tuple[Parameter, ...]
    examples: tuple[str, ...]
    exits: tuple[str, ...]
    data: str
    paths: bool
    paged: bool
    program: tuple[str, ...] = ()
    anywhere: bool = False

    @property
    def description(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def synopsis(self) -> str:
        """The command line in one line."""
        words = [f"mvc {self.name}", "[OPTIONS]"]
        for parameter in self.parameters:
            if isinstance(parameter.declared, Argument):
                word = parameter.declared.value + ("…" if parameter.many else "")
                words.append(word if parameter.required else f"[{word}]")
        return " ".join([*words, "[-- PATH…]"] if self.paths else words)


def numbered(command: Command, words: list[str]) -> list[str]:
    """``-5`` as ``-n 5``, as in ``git log -5``, where ``-n`` takes a number."""
    if not any(parameter.type is int and "-n" in parameter.spellings for parameter in command.parameters):
        return words
    valued = {
        name for parameter in command.parameters if parameter.type is not bool for name in parameter.spellings
    }
    found: list[str] = []
    for before, word in pairwise(("", *words)):
        digits = word[1:] if word.startswith("-") and before not in valued else ""
        found += ["-n", digits] if digits.isascii() and digits.isdecimal() else [word]
    return found


def optional(command: Command, words: list[str]) -> list[str]:
    """``--force-with-lease`` as ``--force-with-lease=``, where what the value is called says by its brackets
    that there may be none, as in Git: it never is the next word."""
    free = {
        name
        for parameter in command.parameters
        if parameter.declared.value.startswith("[")
        for name in parameter.spellings
        if name.startswith("--")
    }
    return [f"{word}=" if word in free else word for word in words]


def command(
    *examples: str,
    exits: tuple[str, ...] = (),
    data: str = "",
    paths: bool = False,
    paged: bool = False,
    program: tuple[str, ...] = (),
    anywhere: bool = False,
) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function, which must be called as the command is; see :class:`Command` for the
    rest."""

    def wrap(function: Callable[..., int | None]) -> Command:
        name = function.__name__.rstrip("_").replace("_", "-")
        parameters = (*_parameters(function), *COMMON)
        return Command(name, function, parameters, examples, exits, data, paths, paged, program, anywhere)

    return wrap


def _parameters(function: Callable[..., int | None]) -> tuple[Parameter, ...]:
    found = []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if get_origin(parameter.annotation) is not Annotated:
            raise TypeError(f"{function.__name__}: {name} is not declared")
        inner, declared = get_args(parameter.annotation)
        many = get_origin(inner) is tuple
        choices = [item for item in get_args(inner) if item not in (type(None), ...)]
        kind = choices[0] if choices else inner
        required = parameter.default is inspect.Parameter.empty
        found.append(Parameter(name, kind, many, required, declared))
    return tuple(found)
