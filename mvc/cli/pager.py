"""Shows long output through the user's pager, as Git does."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from typing import Self

from mvc.errors import UserError
from mvc.monitor import Monitor
from mvc.text import one_line

SHELL = "/bin/sh"
_ONE_WORD = re.compile(r"[A-Za-z0-9_./+-]+")
_CANNOT_RUN = (126, 127)
"""Exit codes of a shell that could not start a program (POSIX, Shell Command Language, 2.8.2)."""


class Pager:
    """A pager that runs: what this process writes to standard output, and to standard error if that is a
    terminal, goes to it until :meth:`finish`."""

    def __init__(self, command: str, process: int, saved: Mapping[int, int]) -> None:
        self._command = command
        self._process = process
        self._saved = saved

    @classmethod
    def start(cls, command: str, environment: Mapping[str, str], monitor: Monitor) -> Self | None:
        """Start it and lead output there. A single word is run as it is, anything else by the shell.

        None, after a warning, when there is no such program: output stays where it was.
        """
        words = [command] if _ONE_WORD.fullmatch(command) else [SHELL, "-c", command]
        reading, writing = os.pipe()
        try:
            process = os.posix_spawnp(
                words[0],
                words,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)],
                setsigdef=[signal.SIGPIPE],  # Python ignores it, and a child would too
            )
        except OSError as error:
            os.close(writing)
            monitor.warn(f"the pager {one_line(command)} cannot be run: {error.strerror}")
            return None
        finally:
            os.close(reading)
        sys.stdout.flush()
        sys.stderr.flush()
        saved = {}
        for fd in (1, 2):
            if os.isatty(fd):
                saved[fd] = os.dup(fd)
                os.dup2(writing, fd)
        os.close(writing)
        return cls(command, process, saved)

    def finish(self) -> None:
        """No more output comes: let the user read to the end, then go on with the terminal.

        Raises:
            UserError: the shell found no such program.
        """
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # now Ctrl-C is meant for the pager alone
        try:
            self._flush()
            for fd, terminal in self._saved.items():
                os.dup2(terminal, fd)
                os.close(terminal)
            _, status = os.waitpid(self._process, 0)
        finally:
            signal.signal(signal.SIGINT, before)
        if os.waitstatus_to_exitcode(status) in _CANNOT_RUN:
            raise UserError(
                f"the pager {self._command!r} cannot be run",
                hint="mvc config --global core.pager less, or mvc --no-pager COMMAND",
            )

    def _flush(self) -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            # the reader has seen enough; what is still buffered goes nowhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for fd in self._saved:
                os.dup2(nowhere, fd)
            os.close(nowhere)
            sys.stdout.flush()
