"""The commands as a Typer application: for help and command lines that are not plain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from typer.main import get_command

from mvc.cli import habits
from mvc.cli.declare import Command, Option, Parameter
from mvc.errors import UsageError

SETTINGS = {"help_option_names": ["-h", "--help"]}


def parse(command: Command, words: list[str]) -> dict[str, Any] | None:
    """The function's arguments; None when help was asked for, and shown.

    Raises:
        UsageError: the command line makes no sense.
    """
    caught: dict[str, Any] = {}
    app = _typer()
    _register(app, command, caught.update)
    try:
        get_command(app).main(args=words, prog_name=f"mvc {command.name}", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        option = getattr(error, "option_name", None)
        hint = habits.OPTIONS.get(f"{command.name} {option}", f"mvc {command.name} --help")
        raise UsageError(message, hint=hint) from None
    return caught or None


def help_text(command: Command) -> str:
    """What ``mvc COMMAND --help`` prints."""
    app = _typer()
    _register(app, command, _ignore)
    click_command = get_command(app)
    context = click_command.make_context(f"mvc {command.name}", [], resilient_parsing=True)
    return str(click_command.get_help(context))


def _ignore(values: dict[str, Any]) -> None:
    """Help never runs a command."""


def _typer() -> typer.Typer:
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=SETTINGS
    )


def _register(
    app: typer.Typer,
    command: Command,
    heard: Callable[[dict[str, Any]], object],
) -> None:
    def callback(**values: Any) -> None:
        heard({p.name: tuple(values[p.name] or ()) if p.many else values[p.name] for p in command.parameters})

    # Typer reads the signature, so it gets one that fits the declaration.
    parameters = [_typed(parameter) for parameter in command.parameters]
    parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    text = "\n\n".join([command.description, *_epilogue(command)])
    app.command(command.name, help=text, context_settings=SETTINGS)(callback)


def _epilogue(command: Command) -> Iterable[str]:
    if command.paths:
        yield "Paths follow a '--'."
    if command.examples:
        # \b keeps click from joining the lines
        yield "\b\nExamples:\n" + "\n".join(f"  {line}" for line in command.examples)


def _typed(parameter: Parameter) -> inspect.Parameter:
    declared = parameter.declared
    inner: Any = list[parameter.type] if parameter.many else parameter.type  # type: ignore[name-defined]
    info: Any
    if isinstance(declared, Option):
        info = typer.Option(*parameter.spellings, help=declared.help, metavar=declared.value or None)
    else:
        name = f"{declared.value}…" if parameter.many else declared.value
        info = typer.Argument(
            metavar=name if parameter.required else f"[{name}]",
            help=declared.help,
        )
    default: Any = inspect.Parameter.empty
    if not parameter.required:
        default = None if parameter.many else parameter.default
        if parameter.type is not bool:
            inner = inner | None
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[inner, info],
    )
