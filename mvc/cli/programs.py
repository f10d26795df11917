"""Runs a program of the user's, as a test of a version."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mvc.context import child_environment
from mvc.errors import UserError
from mvc.text import one_line


def run_program(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], *, output_to_stderr: bool = False
) -> int:
    """Run a program to its end, with our input and output; returns its exit code, negative for a signal.

    No shell is in between. Its output stands between our own where it belongs.

    Raises:
        UserError: there is no such program.
    """
    import subprocess  # a few milliseconds: only where a program is run

    sys.stdout.flush()
    sys.stderr.flush()
    try:
        done = subprocess.run(
            list(words),
            cwd=folder,
            env=child_environment(variables),
            stdout=sys.stderr.fileno() if output_to_stderr else None,
            check=False,
        )
    except OSError as error:
        raise UserError(
            f"{one_line(words[0])} cannot be run: {error.strerror}",
            hint="for what a shell does, write: sh -c 'COMMAND'",
        ) from None
    return done.returncode
