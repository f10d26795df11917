"""An opened repository as the Python API holds it: its session, and who acts in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mvc.api.revision import Revision
from mvc.api.session import Session
from mvc.config import Config, enabled
from mvc.context import Context, parse_author
from mvc.errors import UsageError
from mvc.history.decorations import Decorations
from mvc.history.revisions import resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.repo import Repository
from mvc.store import Store, read_text
from mvc.view import View

Place = str | os.PathLike[str]


class Opened:
    """What :class:`mvc.Repo` does everything with."""

    def __init__(self, store: Store, context: Context, *, keep: bool = False) -> None:
        self._session = Session(store, keep=keep)
        self._context = context
        self._author: Person | None = None

    @property
    def _repository(self) -> Repository:
        return self._session.repository

    def _revision(self, view: View, identity: CommitId) -> Revision:
        return Revision(self._session, Decorations(view.refs).entry(identity, view.commit(identity)))

    def _resolve(self, view: View, revision: object) -> CommitId:
        if not isinstance(revision, str):
            raise UsageError(f"a revision is text, not a {type(revision).__name__}", hint="repo['HEAD']")
        return resolve_commit(revision, view.objects, view)

    @contextmanager
    def _acting(self) -> Iterator[tuple[Person, Timestamp]]:
        """Who acts, and when."""
        self._session.check_open()
        yield self._person(None), self._context.now()

    def _person(self, given: object) -> Person:
        if given is not None:
            if not isinstance(given, str):
                raise UsageError(f"an author is text, not a {type(given).__name__}", hint="Name <address>")
            return Person(*parse_author(given))
        if self._author is None:  # once: asking Git takes a process
            self._author = self._context.author(self._settings(), ask_git=True).person
        return self._author

    def _settings(self) -> list[Config]:
        """The repository's settings, then the user's own."""
        path = self._context.global_config
        known = path is not None and path.exists()
        own = Config(read_text(self._repository.io, path) if known and path else "", str(path))
        return [self._repository.config(), own]

    def _records(self, setting: str) -> bool:
        """Whether the settings let this be recorded."""
        return enabled(self._settings(), setting)

    def _moment(self, time: object) -> Timestamp:
        if time is None:
            return self._context.now()
        if not isinstance(time, datetime):
            raise UsageError(f"time is a datetime, not a {type(time).__name__}")
        offset = time.utcoffset()
        if offset is None:
            raise UsageError("time needs a time zone", hint="datetime.now().astimezone() has one")
        return Timestamp(round(time.timestamp() * 1e6), int(offset.total_seconds() // 60))


def name_of(revision: object) -> str:
    """A revision as verbs take it, from text or a :class:`Revision`.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(revision, Revision):
        return revision.id
    if not isinstance(revision, str):
        raise UsageError(f"a revision is text, not a {type(revision).__name__}", hint="for example 'main~2'")
    return revision


def place_of(context: Context, path: object) -> Path:
    """A folder that a program names; relative ones start in the current folder.

    Raises:
        UsageError: it is no path.
    """
    try:
        named = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        named = None
    if not isinstance(named, str) or "\0" in named:
        raise UsageError(f"a folder is text or a path, not {path!r}", hint="mvc.Repo.open('.')")
    return Path(os.path.normpath(context.cwd / named))
