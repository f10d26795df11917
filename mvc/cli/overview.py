"""What ``mvc`` alone prints."""

from __future__ import annotations

from mvc.cli.table import COMMANDS, GROUPS
from mvc.cli.text import table

HEAD = """\
mvc versions AI models: every checkpoint kept, bit for bit, each one cheap.

usage: mvc [-C DIR | -R ADDRESS] [-q] [-v] [--color=WHEN] [--no-pager] COMMAND …
"""
FOOT = """
'mvc COMMAND --help' explains one. 'mvc --version' prints the version.
"""


def overview() -> str:
    """All commands by group."""
    lines = table([(name, row.summary) for name, row in COMMANDS.items()], indent="  ")
    text = HEAD
    for group, title in GROUPS.items():
        text += f"\n{title}\n"
        for line, row in zip(lines, COMMANDS.values(), strict=True):
            if row.group == group:
                text += line + "\n"
    return text + FOOT
