"""Writes ``docs/cli.md`` out of the declarations: ``python -m mvc.cli.reference > docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mvc.cli.declare import COMMON, Argument, Command, Option
from mvc.cli.main import NO_STAGING_TEXT
from mvc.cli.table import COMMANDS, GROUPS, NO_STAGING, load

HEAD = """\
# The command line

Generated from the code by `make docs` (`python -m mvc.cli.reference > docs/cli.md`); a test compares the two.

`mvc [-C DIR | -R ADDRESS] [-q] [-v] [--color=WHEN] [--no-pager] COMMAND …`: with `-C` mvc works as
if it had been started in that folder, with `-R` commands that only read do so in a shared store where it
lies, by its address. `-q` leaves out progress, reports and hints, `-v` says more, `--color` is `auto`,
`always` or `never`; these may stand before or behind the command. `mvc --version` prints the version,
`mvc COMMAND --help` what stands here.

A revision (`REV`) is what Git understands: a branch, a tag, an id or its first four and more digits,
`HEAD`, `@`, `REV~2`, `REV^2`, `REV^{commit}`, `main@{1}`. `REV:PATH` names a file or folder of a version,
`REV:./PATH` one below the current folder, `REV:PATH#TENSOR` a tensor in a file. Other paths are relative
to the current folder.

With `--json` a command prints one JSON object or array on standard output and nothing else there. Sizes
are in bytes, ids are full, times ISO 8601 with microseconds and offset, paths relative to the
repository's top; what JSON has no number for (NaN, infinities) is null. New fields may be added; none is
renamed or taken away.

Progress (on a terminal), warnings, hints and errors go to standard error.

On a terminal tables get headings and are cut to its width, and the output of `log`, `show`, `diff`, `ls`,
`oplog` and `stats` goes through a pager: the first that is set of `MVC_PAGER`, `core.pager` (in your own
settings only: a repository names no programs) and `PAGER`, else `less`, with `LESS=FRX` unless `LESS` is set.
`cat` or nothing means none; so does `--no-pager` (`-P`) before the command. In a pipe nothing is ever cut.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the answer is no: nothing to commit, a setting is not set, `diff --exit-code` found a difference |
| 2 | the command line makes no sense |
| 3 | you can mend it: no repository, unknown revision, no permission, disk full |
| 4 | a conflict: uncommitted work is in the way, somebody else was faster |
| 5 | damage: stored bytes are missing or wrong |
| 6 | the change is made and recorded, and what follows it failed: it need not be repeated |
| 70 | a bug in mvc; `MVC_TRACEBACK=1` in the environment shows where |
| 130 | interrupted; nothing is left half-written |
"""
FOOT = f"""
## Not there: {", ".join(f"`mvc {name}`" for name in NO_STAGING)}

{NO_STAGING_TEXT[0].upper()}{NO_STAGING_TEXT[1:].replace("'", "`")}.
"""

ENVIRONMENT = """
## Environment and files

| what | meaning |
|---|---|
| `MVC_AUTHOR_NAME`, `MVC_AUTHOR_EMAIL` | who acts; before any setting, after `--author` |
| `.mvc/config` | settings of the repository |
| `$XDG_CONFIG_HOME/mvc/config.toml` or `~/.config/mvc/config.toml` | your own settings |
| `NO_COLOR`, `TERM=dumb` | no colours; `--color` and `color.ui` stand above it |
| `CLICOLOR_FORCE`, `FORCE_COLOR` | colours in a pipe too |
| `MVC_PAGER`, `PAGER` | the pager |
| `COLUMNS` | width of the terminal |
| `MVC_TRACEBACK` | show the traceback of a failure |
| `.mvcignore` | what no commit records; syntax of `.gitignore` |

Who made a version is taken from `--author`, these variables, `user.name` and `user.email` of the
repository and of your own settings, Git's configuration, and at last login and host.
"""


def reference() -> str:
    """The whole page."""
    text = HEAD
    for group, title in GROUPS.items():
        text += f"\n## {title}\n"
        for name, row in COMMANDS.items():
            if row.group == group:
                text += "\n" + "\n".join(_section(load(name))) + "\n"
    return text + ENVIRONMENT + FOOT


def _section(command: Command) -> Iterator[str]:
    yield f"### mvc {command.name}"
    yield ""
    yield f"`{command.synopsis}`"
    yield ""
    yield command.description
    rows = list(_rows(command))
    if rows:
        yield from ("", "| | |", "|---|---|", *rows)
    for line in command.exits:
        code, _, meaning = line.partition(" ")
        yield from ("", f"Exit code {code}: {meaning}.")
    if command.data:
        yield from ("", f"`--json`: {command.data}")
    yield from ("", "```sh", *command.examples, "```")


def _rows(command: Command) -> Iterator[str]:
    for parameter in command.parameters:
        declared = parameter.declared
        if isinstance(declared, Argument):
            name = f"`{declared.value}{'…' if parameter.many else ''}`"
        elif parameter in COMMON:
            continue
        else:
            name = _option(declared)
        yield f"| {_cell(name)} | {_cell(declared.help)} |"


def _option(declared: Option) -> str:
    *others, last = declared.names.split()
    value = f" {declared.value}" if declared.value else ""
    return ", ".join([*(f"`{name}`" for name in others), f"`{last}{value}`"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
