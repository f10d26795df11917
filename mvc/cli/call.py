"""One run of a command: what it works on, and how it talks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mvc.cli.pager import Pager
from mvc.cli.progress import TerminalMonitor
from mvc.cli.screen import Screen
from mvc.cli.tables import Table
from mvc.config import Config
from mvc.context import Context
from mvc.errors import ConfigError, InvalidPath, MvcError, UsageError
from mvc.fileio import FileIO, storage_errors, write_durable
from mvc.objects import Person, Timestamp
from mvc.oplog import Operation
from mvc.repo import Repository
from mvc.sharing.settings import is_address, remotes
from mvc.store import FolderStore, Store, read_text
from mvc.text import one_line

HINTS = "hints"
"""File in the store that notes which hints were given, one word per line, so that each is given once."""


@dataclass(slots=True)
class Call:
    """What a command gets. ``paths`` are the words behind ``--``; None when there was none. ``colour`` is
    what ``--color`` says. ``paged`` tells that long output is to go through a pager, which starts with the
    first line."""

    context: Context
    monitor: TerminalMonitor
    paths: tuple[str, ...] | None = None
    quiet: bool = False
    verbose: bool = False
    colour: str | None = None
    paged: bool = False
    pager: Pager | None = None
    io: FileIO = field(default_factory=FileIO)
    address: str | None = None
    """Of a shared store that is looked at where it lies (``mvc -R``)."""
    _repository: Repository | None = None
    _store: Store | None = None
    _screen: Screen | None = None

    # --- the repository and who works on it ---------------------------------------------------------------
    @property
    def repository(self) -> Repository:
        """The repository of the current folder.

        Raises:
            RepositoryNotFound: there is none here or above.
            UsageError: a shared store is looked at instead.
        """
        if self.address is not None:
            raise UsageError(
                "this needs a repository of its own, not a store that others share",
                hint=f"mvc clone {self.address}",
            )
        if self._repository is None:
            self._repository = Repository.find(
                self.io, self.context.cwd, self.monitor, environment=self.context.store_environment
            )
        return self._repository

    def store_named(self, remote: str | None) -> Store:
        """The store of a remote, by its name or address; the repository itself where None is named.

        Raises:
            UserError: there is no such remote.
            RepositoryNotFound: there is no store.
            StorageError: it cannot be reached.
        """
        if remote is None:
            return self.repository
        # what a bucket needs is imported only where one is asked for
        from mvc.sharing.settings import find_remote
        from mvc.sharing.stores import store_of

        named = find_remote(self.repository.config(), remote)
        base = self.repository.worktree if named.name else self.context.cwd
        return store_of(self.repository, named.address, base)

    @contextmanager
    def store_at(self, remote: str | None) -> Iterator[Store]:
        """The store of a remote, as :meth:`store_named`; damage that is met is said to be there."""
        if remote is None:
            yield self.repository
            return
        from mvc.sharing.damage import damage_at

        mending = "mvc remote add NAME ADDRESS, then mvc push --all NAME, make a sound one of what is here"
        with damage_at(remote, mending):
            yield self.store_named(remote)

    @property
    def store(self) -> Store:
        """What is read: the repository of the current folder, or the shared store that ``-R`` names.

        Raises:
            RepositoryNotFound: there is none.
            StorageError: it does not answer.
        """
        if self.address is None:
            return self.repository
        if self._store is None:
            from mvc.sharing.stores import look_at  # which knows every kind of store

            self._store = look_at(
                self.io,
                self.address,
                self.monitor,
                base=self.context.cwd,
                environment=self.context.store_environment,
            )
        return self._store

    @property
    def published(self) -> list[Operation]:
        """What this run has changed so far, oldest first."""
        return [] if self._repository is None else self._repository.published

    def adopt(self, repository: Repository) -> None:
        """Work on this repository, which the command has found by itself."""
        self._repository = repository

    def close(self) -> None:
        """Leave nothing in the store's folder of temporary files, and wait for the pager.

        Raises:
            UserError: there was no such pager.
        """
        for store in (self._repository, self._store):
            if isinstance(store, FolderStore):
                store.temporary.close()
                store.locks.close()
        if self.pager is not None:
            pager, self.pager = self.pager, None
            pager.finish()

    def now(self) -> Timestamp:
        """This moment."""
        return self.context.now()

    def who(self) -> Person:
        """Who acts, for the operation log: who would be a version's author, so that one person has one
        name in it. Git is asked where nothing else says (5 ms)."""
        return self.context.author(self.settings(), ask_git=True).person

    def author(self, given: str | None = None) -> Person:
        """Who wrote a version or a tag. A guess is told once per repository."""
        found = self.context.author(self.settings(), given=given, ask_git=True)
        if found.guessed:
            self._hint_once(
                "author", f"recorded as {found.person}; mvc config user.name 'YOUR NAME' changes it"
            )
        return found.person

    def settings(self) -> list[Config]:
        """The repository's settings, then the user's own."""
        if self.address is not None:
            return [self.global_config()]
        return [self.repository.config(), self.global_config()]

    def global_config(self) -> Config:
        """The user's own settings."""
        return read_global_config(self.context, self.io)

    def _wish(self) -> str | None:
        """When output is to be coloured, as the user said; None where nobody did."""
        if self.colour is not None:
            return self.colour
        try:
            wishes = (config.string("color.ui") for config in self._display_settings())
            return next((wish for wish in wishes if wish is not None), None)
        except ConfigError as error:
            # settings that cannot be read must not keep 'mvc doctor' from saying so
            self.monitor.warn(error.message)
            return None

    def _display_settings(self) -> list[Config]:
        try:
            return self.settings()
        except ConfigError:
            raise
        except MvcError:
            return [self.global_config()]  # what is wrong with the repository the command itself says

    def _hint_once(self, word: str, text: str) -> None:
        path = self.repository.store / HINTS
        given = read_text(self.io, path).split() if path.exists() else []
        if word not in given and not self.quiet:
            self.hint(text)
            content = ("\n".join([*given, word]) + "\n").encode()
            with storage_errors(f"cannot write {HINTS}"):
                write_durable(self.io, self.repository.temporary.new(), path, [content], replace=True)

    # --- other stores -------------------------------------------------------------------------------------
    def remote(self, word: str | None) -> str | None:
        """A remote's name as it was typed; an address in its normal form, for which a path starts in the
        current folder."""
        if word is None or word in remotes(self.repository.config()) or not is_address(word):
            return word
        from mvc.sharing.addresses import settled  # only where one is given

        return settled(word, self.context.cwd)

    # --- paths: those of the command line start in the current folder, those of the library at the top ----
    def inside(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Paths of the command line as the library takes them; none when the repository's top is among
        them, since that is everything.

        Raises:
            InvalidPath: one lies outside of the work tree.
        """
        found = tuple(self._inside(path) for path in paths)
        return () if "." in found else found

    def _inside(self, path: str) -> str:
        if not path:
            raise UsageError("a path is empty", hint=". means the current folder")
        if self.address is not None:
            # there is no folder of it in which we could be: its top is where paths begin
            return os.path.normpath(path).lstrip("/")
        top = self.repository.worktree
        absolute = os.path.normpath(self.context.cwd / path)
        relative = os.path.relpath(absolute, top)
        if relative == ".." or relative.startswith("../"):
            # a symbolic link may have led to the work tree
            resolved = Path(os.path.realpath(Path(absolute).parent)) / Path(absolute).name
            relative = os.path.relpath(resolved, os.path.realpath(top))
        if relative == ".." or relative.startswith("../"):
            raise InvalidPath(f"{path} lies outside of the repository", hint=f"its folder is {top}")
        return relative

    def revision(self, text: str) -> str:
        """A revision in which ``REV:./PATH`` means a path below the current folder, as in Git."""
        name, colon, path = text.partition(":")
        if colon and (path == "." or path.startswith(("./", "../"))):
            inner, sharp, tensor = path.partition("#")
            place = self._inside(inner)
            return f"{name}:{'' if place == '.' else place}{sharp}{tensor}"
        return text

    def shown(self, path: str) -> str:
        """A path of the library as it is called from the current folder."""
        if self.address is not None:
            return one_line(path)
        return one_line(os.path.relpath(self.repository.worktree / path, self.context.cwd))

    # --- output -------------------------------------------------------------------------------------------
    @property
    def screen(self) -> Screen:
        """What output is made for."""
        if self._screen is None:
            width = self.context.width if self.context.stdout_is_tty else None
            self._screen = Screen(width, self.context.colour(self._wish()))
        return self._screen

    def print(self, line: str = "") -> None:
        """A line of what was asked for, on standard output or through the pager."""
        if self.paged:
            self._start_pager()
        sys.stdout.write(line + "\n")

    def table(self, table: Table) -> None:
        """A table, as the terminal or pipe wants it."""
        for line in table.lines(self.screen):
            self.print(line)

    def _start_pager(self) -> None:
        self.paged = False
        if not self.context.stdout_is_tty:
            return
        _ = self.screen  # the width is asked for while standard output is still the terminal
        command = self.context.pager(self._own_pager())
        if command is None:
            return
        self.monitor.draw_no_more()
        self.pager = Pager.start(command, self.context.pager_environment(), self.monitor)

    def _own_pager(self) -> str | None:
        """core.pager of the user's own settings: what a repository brings along must not run programs."""
        try:
            return self.global_config().string("core.pager")
        except ConfigError as error:
            self.monitor.warn(error.message)
            return None

    def report(self, line: str) -> None:
        """A line that says what was done, on standard output; not with ``--quiet``."""
        if not self.quiet:
            self.print(line)

    def detail(self, line: str) -> None:
        """A line for ``--verbose``, on standard error."""
        if self.verbose:
            sys.stderr.write(line + "\n")

    def hint(self, text: str) -> None:
        """Advice on standard error; not with ``--quiet``."""
        if not self.quiet:
            sys.stderr.write(f"hint: {one_line(text)}\n")

    def data(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """One JSON object or array on standard output."""
        import json  # only where it is asked for

        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def paint(self, text: str, colour: str) -> str:
        """Text in a colour, where there may be some."""
        return self.screen.paint(text, colour)


def read_global_config(context: Context, io: FileIO) -> Config:
    """The user's own settings."""
    path = context.global_config
    if path is None or not path.exists():
        return Config("", "your settings")
    return Config(read_text(io, path), str(path))
