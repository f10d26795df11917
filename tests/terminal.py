"""Runs a command as a terminal does: on a pseudo-terminal of a given width, with keys that a user presses."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parent.parent
SECONDS = 30
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")
NEUTRAL = ("NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "MVC_PAGER", "PAGER", "LESS", "COLUMNS", "LINES")


class Shown(NamedTuple):
    """Exit code and everything that came to the terminal, line ends as ``\\n``."""

    code: int
    text: str

    @property
    def plain(self) -> str:
        return ANSI.sub("", self.text)

    @property
    def lines(self) -> list[str]:
        return self.plain.splitlines()


class Terminal:
    """A child on a pseudo-terminal that is its controlling one."""

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        columns: int = 80,
        lines: int = 24,
        stderr: int | None = None,
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in NEUTRAL}
        self.child = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if stderr is None else stderr,
            env=kept | {"PYTHONPATH": str(TOP), "TERM": "xterm"} | dict(environment or {}),
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._ours = ours
        self._heard = b""

    @property
    def text(self) -> str:
        return self._heard.decode(errors="surrogateescape").replace("\r\n", "\n")

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to all processes in the foreground."""
        os.killpg(os.tcgetpgrp(self._ours), signal.SIGINT)

    def wait_for(self, text: str) -> str:
        """Listen until the text has come; returns all that was heard."""
        deadline = time.monotonic() + SECONDS
        while text not in self.text:
            assert time.monotonic() < deadline, (text, self.text)
            if not self._listen():
                break
        assert text in self.text, (text, self.text)
        return self.text

    def finish(self) -> Shown:
        deadline = time.monotonic() + SECONDS
        while self._listen():
            assert time.monotonic() < deadline, self.text
        code = self.child.wait(SECONDS)
        os.close(self._ours)
        return Shown(code, self.text)

    def close(self) -> None:
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def _listen(self) -> bool:
        """Hear a little; False when the other side has hung up."""
        if not select.select([self._ours], [], [], 0.1)[0]:
            return self.child.poll() is None
        try:
            heard = os.read(self._ours, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self._heard += heard
        return bool(heard)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def mvc_words(*words: str) -> list[str]:
    return [sys.executable, "-m", "mvc", *words]


def show(*words: str, columns: int = 80, keys: str = "", **environment: str) -> Shown:
    """Run a command of mvc on a terminal; without a pager unless the environment names one."""
    terminal = Terminal(mvc_words(*words), {"MVC_PAGER": "cat"} | environment, columns)
    try:
        if keys:
            terminal.press(keys)
        return terminal.finish()
    finally:
        terminal.close()
