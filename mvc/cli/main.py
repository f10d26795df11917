"""Looks at the first words of the command line, imports the one module that they name, runs it and reports
failures."""

from __future__ import annotations

import io
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mvc.cli.afterwards import done_before, told
from mvc.cli.call import Call
from mvc.cli.declare import Command, numbered, optional
from mvc.cli.progress import TerminalMonitor
from mvc.cli.quick import parse
from mvc.cli.table import COMMANDS, NO_STAGING, load
from mvc.config import COLOUR_CHOICES
from mvc.context import Context, keep_blas_to_one_thread
from mvc.errors import MvcError, UsageError, UserError
from mvc.text import one_line

NO_STAGING_TEXT = "mvc has no staging area: 'mvc commit' snapshots what is in the folder and not ignored"
BUG = 70
INTERRUPTED = 130


def main(words: list[str] | None = None) -> int:
    """Run one command line, of this process if none is given; returns the exit code."""
    if words is None:
        words = sys.argv[1:]
        keep_blas_to_one_thread()  # only where the process is ours
    context: Context | None = None
    _prepare_output()
    try:
        context = Context.of_process()
        code = _run(words, context)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_output()  # the reader has seen enough
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except Exception as error:
        return _failed(error, context)


def _prepare_output() -> None:
    """A closed stream, or a name that the terminal's encoding lacks, must not end a command."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(words: list[str], context: Context) -> int:
    if context.completing_shell is not None:
        from mvc.cli.complete import complete  # only a shell asks for this

        complete(context, words)
        return 0
    options, words = _global_options(words)
    for folder in options.folders:
        context = context.inside(folder)
    if options.version:
        from mvc.cli.checkup import version  # only for people

        sys.stdout.write(f"mvc {version()}\n")
        return 0
    if options.help or not words:
        from mvc.cli.overview import overview  # only for people

        sys.stdout.write(overview())
        return 0
    return _command(words, options, context)


class _Options:
    """What stands before the command."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.quiet = self.verbose = self.version = self.help = self.no_pager = False
        self.color: str | None = None
        self.address: str | None = None


_FLAGS = {
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
    "--version": "version",
    "-P": "no_pager",
    "--no-pager": "no_pager",
    "-h": "help",
    "--help": "help",
}


def _global_options(words: list[str]) -> tuple[_Options, list[str]]:
    options = _Options()
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in _FLAGS:
            setattr(options, _FLAGS[word], True)
        elif word == "-C":
            if not rest:
                raise UsageError("-C needs a folder", hint="mvc -C DIR COMMAND")
            options.folders.append(rest.pop(0))
        elif word == "-R":
            if not rest:
                raise UsageError("-R needs an address", hint="mvc -R s3://BUCKET/PREFIX log")
            options.address = rest.pop(0)
        elif word.partition("=")[0] == "--color":
            options.color = _colour_option(word, rest)
        else:
            raise UsageError(f"there is no option {word} before a command", hint="mvc --help")
    return options, rest


def _colour_option(word: str, rest: list[str]) -> str:
    _, equals, value = word.partition("=")
    if not equals:
        value = rest.pop(0) if rest else ""
    if value not in COLOUR_CHOICES:
        raise UsageError(f"--color cannot be {value!r}", hint=f"--color={'|'.join(COLOUR_CHOICES)}")
    return value


def _command(words: list[str], options: _Options, context: Context) -> int:
    name, *words = words
    if name == "help":
        name, words = (words[0], ["--help"]) if words else ("", [])
        if not name:
            return _run(["--help"], context)
    if name in NO_STAGING:
        raise UsageError(
            NO_STAGING_TEXT, hint="mvc status shows what it would record; .mvcignore leaves files out"
        )
    if name not in COMMANDS:
        raise _unknown(name)
    command = load(name)
    line = words
    paths: tuple[str, ...] | None = None
    if (at := _before_program(command, words)) is not None:
        words, paths = words[:at], tuple(words[at:])
        paths = paths[1:] if paths[:1] == ("--",) else paths
    elif command.paths and "--" in words:
        at = words.index("--")
        words, paths = words[:at], tuple(words[at + 1 :])
    values = _arguments(command, words)
    if values is None:
        return 0
    quiet = values.pop("quiet") or options.quiet
    verbose = values.pop("verbose") or options.verbose
    monitor = TerminalMonitor(
        sys.stderr, progress=context.stderr_is_tty and not quiet, width=lambda: context.width
    )
    colour = values.pop("color") or options.color
    call = Call(context, monitor, paths, quiet, verbose, colour, paged=command.paged and not options.no_pager)
    if options.address is not None:
        if not command.anywhere:
            raise UsageError(
                f"mvc {name} needs a repository of its own, not a store that others share",
                hint="mvc clone ADDRESS",  # which may have a password in it: nobody has looked at it yet
            )
        call.address = options.address
    try:
        with told(call, name, line), _damage_there(options.address):
            code = 0 if done_before(call, name, line) else command.function(call, **values) or 0
            sys.stdout.flush()  # a full disk must be met while it can be said what was done
    finally:
        monitor.finish()
        call.close()
    for counter, amount in sorted(monitor.counters.items()):
        if amount:
            call.detail(f"{counter}: {amount:,}")
    return code


def _damage_there(address: str | None) -> AbstractContextManager[None]:
    """Says of damage that it is in the store that ``-R`` names, and not in the current folder's."""
    if address is None:
        return nullcontext()
    from mvc.sharing.damage import damage_at  # only who reads far away

    return damage_at(address)


def _before_program(command: Command, words: list[str]) -> int | None:
    """Where a program's command line begins; None where there is none. Options of ours may stand before it
    and before the word that announces it."""
    named = False
    for at, word in enumerate(words):
        if named and (word == "--" or not word.startswith("-")):
            return at
        if not word.startswith("-"):
            named = word in command.program
            if not named:
                return None
    return None


def _arguments(command: Command, words: list[str]) -> dict[str, Any] | None:
    words = optional(command, numbered(command, words))
    values = parse(command, words)
    if values is None:
        from mvc.cli import app  # 40 ms: only for what is not plain

        values = app.parse(command, words)
    for parameter in command.parameters if values else ():
        value = (values or {})[parameter.name]
        if parameter.choices and value is not None and value not in parameter.choices:
            raise UsageError(
                f"{value!r} is none of {', '.join(parameter.choices)}", hint=f"mvc {command.name} --help"
            )
    return values


def _unknown(name: str) -> UsageError:
    from difflib import get_close_matches  # only for a mistake

    from mvc.cli import habits

    near = get_close_matches(name, [*COMMANDS, *NO_STAGING], n=1)
    hint = f"did you mean 'mvc {near[0]}'?" if near else "'mvc --help' lists the commands"
    hint = habits.COMMANDS.get(name, hint)
    return UsageError(f"{name!r} is not a command of mvc", hint=hint)


# --- failures ---------------------------------------------------------------------------------------------
def _failed(error: Exception, context: Context | None) -> int:
    """Say in two lines what went wrong; returns the exit code."""
    traced = context is not None and context.wants_traceback
    if traced:
        import traceback  # only where it is asked for

        traceback.print_exception(error)
    known = _as_known(error)
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()
    sys.stderr.write(f"error: {one_line(known.message)}\n")
    if known.hint and not (traced and known is error):  # a traceback has it already
        sys.stderr.write(f"hint: {one_line(known.hint)}\n")
    return known.exit_code


def _as_known(error: Exception) -> MvcError:
    if isinstance(error, MvcError) and error.exit_code != BUG:
        return error
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return UserError(
            f"{error.strerror}{where}", hint="check the disk and its permissions, then try again"
        )
    if isinstance(error, MemoryError):
        return UserError("out of memory", hint="close other programs, then try again; nothing was lost")
    text = str(error).strip().split("\n", 1)[0]
    return MvcError(
        f"a bug in mvc: {type(error).__name__}: {text}",
        hint="MVC_TRACEBACK=1 in the environment shows where; please report it",
    )


def _forget_output() -> None:
    """Send what is still buffered nowhere, so that Python's exit does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
