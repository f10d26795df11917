"""Answers a shell that asks how a command line goes on."""

from __future__ import annotations

# Typer makes its shells known only where it adds its own options for installing scripts; ours is a command.
from typer.completion import completion_init  # type: ignore[attr-defined]

from mvc.cli.app import application
from mvc.context import Context
from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.refs import BRANCHES, TAGS
from mvc.repo import Repository


def complete(context: Context, words: list[str]) -> None:
    """Answer the question, which stands in the environment, on standard output."""

    def names(begin: str) -> list[str]:
        try:
            with Repository.find(FileIO(), context.cwd, Monitor()).reading() as view:
                return [
                    name.removeprefix(prefix)
                    for prefix in (BRANCHES, TAGS)
                    for name in view.names(prefix + begin)
                ]
        except MvcError:
            return []  # a shell has no place for a message

    completion_init()
    application(names)(args=words, prog_name="mvc")
