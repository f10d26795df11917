"""A version: what is known of it, and its files as a mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from types import MappingProxyType
from typing import Any

from mvc.api.card import Card
from mvc.api.file import File
from mvc.api.html import html_table
from mvc.api.missing import NotThere
from mvc.api.session import Session
from mvc.api.state_dicts import load_state
from mvc.errors import DamageError, ObjectPurged, UnsupportedFeature
from mvc.history.decorations import Entry
from mvc.history.reader import Remembering
from mvc.history.treediff import flatten
from mvc.lineage import Code, Data, Environment
from mvc.objects import Number, Person, Scalar
from mvc.registry.card import build_card
from mvc.registry.notes import Note, Notes
from mvc.text import count, number, one_line, size
from mvc.weighing import Weigher


class Revision(Mapping[str, File]):
    """A version: path → :class:`File`.

    ``id`` is the commit's id in hexadecimal digits, ``parents`` those that it follows; ``tags`` and
    ``branches`` pointed to it when it was read, and ``remotes``, followed branches of remotes.
    """

    def __init__(self, session: Session, entry: Entry) -> None:
        self._session = session
        self._commit = entry.commit
        self._id = entry.id
        self.id: str = entry.id.hex()
        self.tags: tuple[str, ...] = entry.tags
        self.branches: tuple[str, ...] = entry.branches
        self.remotes: tuple[str, ...] = entry.remotes
        self.parents: tuple[str, ...] = tuple(parent.hex() for parent in entry.commit.parents)

    # --- what is known of it ------------------------------------------------------------------------------
    @property
    def short(self) -> str:
        """The first twelve digits of the id."""
        return self._id.short

    @property
    def message(self) -> str:
        """What changed and why."""
        return self._commit.message

    @property
    def subject(self) -> str:
        """The message's first line."""
        return self._commit.subject

    @property
    def author(self) -> Person:
        """Who made it: ``name`` and ``email``."""
        return self._commit.author

    @property
    def time(self) -> datetime:
        """When, in the time zone of its author.

        Raises:
            UnsupportedFeature: the version claims a time that Python's ``datetime`` cannot hold.
        """
        written = self._commit.time
        try:
            zone = timezone(timedelta(minutes=written.offset_minutes))
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=written.microseconds)
            return moment.astimezone(zone)
        except (OverflowError, ValueError):
            raise UnsupportedFeature(f"{self.short} claims a time beyond the year 9999") from None

    @property
    def metrics(self) -> Mapping[str, Number]:
        """Measured numbers by name."""
        return MappingProxyType(dict(self._commit.metrics))

    @property
    def params(self) -> Mapping[str, Scalar]:
        """Settings of the run by name."""
        return MappingProxyType(dict(self._commit.params))

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was added to it later, oldest first; read anew each time."""
        with self._session.reading() as view:
            return Notes(view.objects, view).of(self._id)

    @property
    def data(self) -> Mapping[str, Data]:
        """What it was trained or tested on, by name."""
        return MappingProxyType(dict(self._commit.data))

    @property
    def code(self) -> Code | None:
        """The Git commit of the code that it was committed beside; None where none was recorded."""
        return self._commit.code

    @property
    def environment(self) -> Environment | None:
        """Python, platform and frameworks that it was committed under; None where none were recorded."""
        return self._commit.environment

    @cached_property
    def weights_id(self) -> str | None:
        """``w1:…``, equal for equal weights whatever files hold them; None without tensors.

        Tensors are read for it where no commit here has hashed them.

        Raises:
            DamageError: stored bytes are missing or wrong.
        """
        with self._session.reading() as view:
            return Weigher(self._session.store, view.objects).folder(self._commit.tree)

    def card(self) -> Card:
        """What it is, holds, comes from and lacks, as ``mvc show`` prints it."""
        with self._session.reading() as view:
            found = build_card(Remembering(view.objects), self._id, weights_id=self.weights_id)
        return Card.showing(found)

    # --- its files ----------------------------------------------------------------------------------------
    @cached_property
    def _files(self) -> dict[str, File]:
        with self._session.reading() as view:
            entries = flatten(view.objects, self._commit.tree)
        return {path: File(self._session, path, entry) for path, entry in entries.items()}

    def __getitem__(self, path: str) -> File:
        file = self._files.get(path)
        if file is None:
            raise NotThere.of(f"{self.short} has no file", path, self._files)
        return file

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def state_dict(
        self,
        path: str | None = None,
        *,
        framework: str = "numpy",
        device: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Tensors and what stands beside them: see :meth:`mvc.Repo.load_state_dict`."""
        return load_state(self, path, framework=framework, device=device, threads=threads)

    # --- to look at ---------------------------------------------------------------------------------------
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Revision) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Revision {self.short} {one_line(self.subject)!r}>"

    def _repr_html_(self) -> str:
        names = [f"tag {name}" for name in self.tags] + [f"branch {name}" for name in self.branches]
        known = [("author", str(self.author)), ("time", time_text(self))]
        known += [("names", ", ".join(names))] if names else []
        known += self._weights_told()
        known += [(name, number(value)) for name, value in self.metrics.items()]
        known += [(name, str(value)) for name, value in self.params.items()]
        about = html_table(f"{self.short} {self.subject}", (), known)
        rows = [
            (path, file.format, size(file.size), str(len(file.tensors) or "")) for path, file in self.items()
        ]
        files = html_table(
            count(len(rows), "file"), ("path", "format", "size", "tensors"), rows, right=(2, 3)
        )
        return about + files

    def _weights_told(self) -> list[tuple[str, str]]:
        try:
            return [("weights", self.weights_id)] if self.weights_id else []
        except (DamageError, ObjectPurged) as error:  # a damaged version can be looked at all the same
            return [("weights", f"unknown: {error.message}")]


def time_text(revision: Revision) -> str:
    """A version's time for people; empty where it cannot be told."""
    try:
        return revision.time.isoformat(" ", "seconds")
    except UnsupportedFeature:
        return ""
