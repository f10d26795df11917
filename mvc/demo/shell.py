"""Commands as a user types them: shown, run in child processes, their output shown below them."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import site
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMAND_SECONDS = 120
LINE = 96
_PLAIN = re.compile(r"[\w./=:@+-][\w./=:@+~-]*")


class Failed(Exception):
    """A step of the story did not go as it must; the message says which and how."""


def isolated(home: Path) -> dict[str, str]:
    """This process's environment, so changed that children find no user settings and no other repository.

    Linear algebra runs on one thread, because the order of a sum decides its last bits.
    """
    # no settings of mvc, which only context reads, but what a child needs to run: PATH, PYTHONPATH, TMPDIR …
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MVC_", "XDG_"))
    }
    return kept | {
        "HOME": str(home),
        # packages that were installed for the user alone are looked for below HOME
        "PYTHONUSERBASE": site.getuserbase(),
        "MVC_AUTHOR_NAME": "mvc demo",
        "MVC_AUTHOR_EMAIL": "demo@localhost",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "VECLIB_MAXIMUM_THREADS": "1",
    }


def typed(words: Iterable[str]) -> str:
    """A command line as a user types it. Unlike :func:`shlex.join` it leaves ``HEAD~1`` without quotes."""
    return " ".join(word if _PLAIN.fullmatch(word) else shlex.quote(word) for word in words)


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run, and who is shown them. ``write`` gets one line at a time, without its end."""

    folder: Path
    environment: Mapping[str, str]
    write: Callable[[str], None]

    def say(self, text: str) -> None:
        """A paragraph between commands."""
        self.write("")
        for line in textwrap.wrap(text, LINE, break_on_hyphens=False):
            self.write(line)
        self.write("")

    def show(self, output: str) -> None:
        """Output of a command, indented below it."""
        for line in output.splitlines():
            self.write(f"  {line}".rstrip())

    def mvc(self, *arguments: str) -> None:
        """Run ``mvc`` and show the command and what it says.

        Raises:
            Failed: its exit code is not 0.
        """
        self.write(f"$ {typed(('mvc', *arguments))}")
        done = self.call("mvc", arguments)
        self.show(done.stdout + done.stderr)
        _check(done, arguments)

    def quietly(self, *arguments: str) -> str:
        """Run ``mvc`` and return its output.

        Raises:
            Failed: its exit code is not 0.
        """
        done = self.call("mvc", arguments)
        _check(done, arguments)
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        """What ``mvc … --json`` answers.

        Raises:
            Failed: its exit code is not 0, or it is no JSON.
        """
        text = self.quietly(*arguments, "--json")
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise Failed(f"mvc {typed(arguments)} --json printed no JSON: {error}") from None

    def call(self, module: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a Python module to its end."""
        command = [sys.executable, "-m", module, *arguments]
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{module} {typed(arguments)} took over {COMMAND_SECONDS} s") from None

    def start(self, module: str, *arguments: str) -> Child:
        """Start a Python module as a process group of its own; the command is shown."""
        self.write(f"$ {typed(('python', '-m', module, *arguments))}")
        return Child([sys.executable, "-m", module, *arguments], self.folder, self.environment)


def _check(done: subprocess.CompletedProcess[str], arguments: Sequence[str]) -> None:
    if done.returncode:
        words = (done.stderr or done.stdout).strip() or "nothing"
        raise Failed(f"mvc {typed(arguments)} ended with {done.returncode} and said: {words}")


class Child:
    """A running program and all that it starts, in one process group that can be killed as a whole.

    A context manager: whoever is still alive when the block ends is killed.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # PIPE above; for the type checker
        self._pipe = self._process.stdout
        self._rest = b""

    def read(self, wait: float) -> list[str] | None:
        """Lines that came within ``wait`` seconds; None when all processes that could write are gone."""
        if not select.select([self._pipe], [], [], wait)[0]:
            return []
        data = os.read(self._pipe.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def kill(self) -> int:
        """SIGKILL to the whole group; returns the program's status when none of it can write any more.

        Raises:
            Failed: something survived.
        """
        # the leader has not been waited for, so its number still means this group
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._drain()
        return self._process.wait(COMMAND_SECONDS)

    def wait(self) -> int:
        """The program's exit status, after its last line was read."""
        return self._process.wait(COMMAND_SECONDS)

    def _drain(self) -> None:
        # children inherited the pipe: its end means that none of them lives
        deadline = time.monotonic() + COMMAND_SECONDS
        while self.read(0.1) is not None:
            if time.monotonic() > deadline:
                raise Failed("a killed process is still writing")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process.returncode is None:
                self.kill()
        finally:
            self._pipe.close()
