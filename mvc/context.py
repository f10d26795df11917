"""The one reader of environment, current folder, terminal, host and Git's configuration."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mvc.backends import variables
from mvc.config import Config
from mvc.errors import UsageError, UserError
from mvc.objects import Person, Timestamp

VARIABLES = (
    "CLICOLOR_FORCE",
    "COLUMNS",
    "CONDA_PREFIX",
    "FORCE_COLOR",
    "HOME",
    "LOGNAME",
    "MVC_AUTHOR_EMAIL",
    "MVC_AUTHOR_NAME",
    "MVC_PAGER",
    "MVC_TRACEBACK",
    "NO_COLOR",
    "PAGER",
    "TERM",
    "USER",
    "VIRTUAL_ENV",
    "XDG_CONFIG_HOME",
    "_MVC_COMPLETE",
)
"""Environment variables that mvc reads; no other is looked at, but for :data:`STORE_VARIABLES`."""

STORE_VARIABLES = ("HOME", *variables.AWS, *variables.GOOGLE, *variables.AZURE, *variables.PROXY)
"""Where buckets lie and what opens them; handed on to whoever opens one, and shown to nobody."""

GIT_SECONDS = 5
DEFAULT_PAGER = "less"
PAGER_DEFAULTS = {"LESS": "FRX", "LV": "-c"}
"""What the pager's environment says where the user's does not, as in Git: leave at once if all fits on one
screen, let colours through, leave the text on the screen."""
_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""Where OpenBLAS looks for the number of its threads."""
_ONLY_OURS: set[str] = set()
"""Variables that this process set for itself: what it starts gets the user's environment."""
_MOST_COLUMNS = 10_000
_AUTHOR = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<email>[^<>]*)>\s*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Author(NamedTuple):
    """Who acts. ``guessed``: nobody said so, login and host had to do."""

    person: Person
    guessed: bool


@dataclass(frozen=True, slots=True)
class Context:
    """Where and for whom a command runs; ``environment`` holds only :data:`VARIABLES`."""

    cwd: Path
    environment: Mapping[str, str]
    stdout_is_tty: bool
    stderr_is_tty: bool
    store_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """:data:`STORE_VARIABLES`, secrets among them."""

    @classmethod
    def of_process(cls) -> Context:
        """What this process was started with.

        Raises:
            UserError: the current folder is gone.
        """
        try:
            cwd = Path.cwd()
        except FileNotFoundError:
            raise UserError(
                "the current folder does not exist any more", hint="cd to one that does"
            ) from None
        environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        stores = {name: os.environ[name] for name in STORE_VARIABLES if name in os.environ}
        return cls(cwd, environment, sys.stdout.isatty(), sys.stderr.isatty(), stores)

    def inside(self, folder: str) -> Context:
        """The same, in another folder (``mvc -C``).

        Raises:
            UserError: it is not a folder.
        """
        path = (self.cwd / folder).resolve()
        if not path.is_dir():
            raise UserError(f"{folder} is not a folder", hint="-C takes the folder to work in")
        return replace(self, cwd=path)

    def colour(self, wish: str | None = None) -> bool:
        """Whether output is coloured. ``wish`` is what the user said (``--color``, or else ``color.ui``):
        ``always`` and ``never`` stand above the environment, as https://no-color.org has it; ``auto`` and
        None leave it to the environment and the terminal (https://bixense.com/clicolors)."""
        if wish in ("always", "never"):
            return wish == "always"
        if self.environment.get("NO_COLOR"):
            return False
        if any(
            self.environment.get(name, "0") not in ("", "0") for name in ("CLICOLOR_FORCE", "FORCE_COLOR")
        ):
            return True
        return self.stdout_is_tty and not self._is_dumb

    @property
    def _is_dumb(self) -> bool:
        return self.environment.get("TERM", "dumb") == "dumb"

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 where nobody knows."""
        columns = self.environment.get("COLUMNS", "")
        if columns.isdecimal() and len(columns) <= len(str(_MOST_COLUMNS)) and int(columns):
            return min(int(columns), _MOST_COLUMNS)
        for stream in (sys.stderr, sys.stdout, sys.stdin):
            try:
                found = os.get_terminal_size(stream.fileno()).columns
            except (AttributeError, OSError, ValueError):
                continue  # closed, or no terminal: perhaps the next one
            if found:
                return found
        return 80

    def pager(self, setting: str | None) -> str | None:
        """The command that shows long output, as in Git: ``MVC_PAGER``, the ``setting`` core.pager,
        ``PAGER``, ``less`` where it is installed. None: output goes straight to standard output."""
        named = (self.environment.get("MVC_PAGER"), setting, self.environment.get("PAGER"))
        command = next((text for text in named if text is not None), None)
        if command is None:
            from shutil import which  # only on a terminal

            # less waits for a key before it works on a terminal that can do nothing
            return None if self._is_dumb or which(DEFAULT_PAGER) is None else DEFAULT_PAGER
        return None if command.strip() in ("", "cat") else command

    def pager_environment(self) -> dict[str, str]:
        """The environment that a pager gets: this process's, and behind it :data:`PAGER_DEFAULTS`."""
        return PAGER_DEFAULTS | child_environment({})

    @property
    def wants_traceback(self) -> bool:
        """Whether a failure is to be shown with its traceback."""
        return bool(self.environment.get("MVC_TRACEBACK"))

    @property
    def completing_shell(self) -> str | None:
        """The shell that asks how a command line could go on; None for a command."""
        return self.environment.get("_MVC_COMPLETE")

    @property
    def global_config(self) -> Path | None:
        """The user's own settings, which hold in every repository; None for a user without a home."""
        base = self.environment.get("XDG_CONFIG_HOME", "")
        if base.startswith("/"):
            return Path(base) / "mvc" / "config.toml"
        home = self.environment.get("HOME")
        return Path(home) / ".config" / "mvc" / "config.toml" if home else None

    def now(self) -> Timestamp:
        """This moment, with the local offset from UTC."""
        moment = time.time_ns() // 1000
        return Timestamp(moment, (time.localtime(moment // 1_000_000).tm_gmtoff or 0) // 60)

    def author(
        self, settings: Sequence[Config], *, given: str | None = None, ask_git: bool = False
    ) -> Author:
        """Who acts: ``given`` (``--author``), environment, settings in their order, Git's (a process, so
        only where asked), login and host. Name and address are looked for separately.

        Raises:
            UsageError: ``given`` is no name.
        """
        name, email = (None, None) if given is None else parse_author(given)
        name = name or self._variable("MVC_AUTHOR_NAME") or _setting(settings, "user.name")
        if given is None:
            email = self._variable("MVC_AUTHOR_EMAIL") or _setting(settings, "user.email")
        if ask_git and given is None and not (name and email):
            git_name, git_email = git_user(self.cwd)
            name, email = name or git_name, email or git_email
        login = self._login()
        person = Person(name or login, f"{login}@{os.uname().nodename}" if email is None else email)
        return Author(person, guessed=not name)

    def _variable(self, name: str) -> str | None:
        return _clean(self.environment.get(name, "")) or None

    def _login(self) -> str:
        name = self.environment.get("LOGNAME") or self.environment.get("USER")
        if not name:
            import pwd  # only where the environment does not say

            try:
                name = pwd.getpwuid(os.getuid()).pw_name
            except KeyError:
                name = f"user{os.getuid()}"
        return _clean(name)


def keep_blas_to_one_thread() -> None:
    """Have OpenBLAS, which numpy brings, start no threads of its own in this process, unless the user said
    how many. To be called before numpy is imported.

    Our matrices have 256 rows, several of them at once in our own threads: OpenBLAS' threads would wait for
    each other, turning in circles (design/0017). Programs that are started do not inherit it.
    """
    if not any(name in os.environ for name in _BLAS_VARIABLES):
        os.environ[_BLAS_VARIABLES[0]] = "1"
        _ONLY_OURS.add(_BLAS_VARIABLES[0])


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process's user with some variables changed, for a program that it starts."""
    inherited = {name: text for name, text in os.environ.items() if name not in _ONLY_OURS}
    return inherited | dict(changes)


def parse_author(text: str) -> tuple[str, str]:
    """Name and address out of ``Name <address>``; the address may be missing.

    Raises:
        UsageError: there is no name in it.
    """
    match = _AUTHOR.fullmatch(text)
    name, email = (match["name"], match["email"]) if match else (text.strip(), "")
    if not name or "<" in name or ">" in name or _CONTROL.search(name + email):
        raise UsageError(f"{text!r} is not an author", hint="for example 'Ada Lovelace <ada@example.org>'")
    return name, email.strip()


def git_user(folder: Path) -> tuple[str | None, str | None]:
    """Name and address from Git's configuration; None where Git, or the setting, is missing."""
    import subprocess  # a few milliseconds: only where it is used

    command = ["git", "config", "--null", "--get-regexp", r"^user\.(name|email)$"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    found: dict[str, str] = {}
    for item in done.stdout.decode(errors="replace").split("\0"):
        key, _, value = item.partition("\n")
        found[key] = _clean(value)
    return found.get("user.name") or None, found.get("user.email") or None


def _setting(settings: Sequence[Config], key: str) -> str | None:
    for config in settings:
        value = config.string(key)
        if value is not None and _clean(value):
            return _clean(value)
    return None


def _clean(text: str) -> str:
    """One line without the brackets that set name and address apart."""
    return re.sub(r"[<>]", "", _CONTROL.sub(" ", text)).strip()
