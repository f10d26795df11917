"""What is to be imported, whatever tool it comes from: versions with their files, and the names they have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from mvc.lineage import Code
from mvc.objects import Number, Person, Timestamp
from mvc.source import Source


class Digest(NamedTuple):
    """What the source says of a file's bytes: ``sha256``, ``md5``, ``md5-dos2unix`` or ``git`` (the id that
    Git gives a blob), in hexadecimal."""

    kind: str
    hex: str


class Content(Protocol):
    """The bytes of a file, wherever the source keeps them."""

    @property
    def key(self) -> Hashable:
        """Equal for equal bytes."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def digest(self) -> Digest | None:
        """What the bytes must be; None where the source does not say."""

    def missing(self) -> str | None:
        """What is not there, in words; None where all is."""

    def opened(self, name: str) -> AbstractContextManager[Source]:
        """The bytes, to be read as a file of that name."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a version. ``instead`` is what stands for it where its bytes are missing and that is fine:
    None leaves the file out."""

    content: Content
    executable: bool = False
    instead: Content | None = None


@dataclass(slots=True)
class Listing:
    """A version's files by path, and what no version may hold, as (path, why)."""

    files: dict[str, Item] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Version:
    """A version to be made. ``name`` is what the source calls it. ``parents`` are names; None puts it on top
    of the version before it. ``stamp`` changes where the source lets a version change and it did."""

    name: str
    parents: tuple[str, ...] | None
    author: Person
    time: Timestamp
    message: str
    listing: Callable[[], Listing]
    metrics: Mapping[str, Number] = field(default_factory=dict)
    code: Code | None = None
    stamp: bytes | None = None
    root: Path | None = None
    """The folder in which the files lie under their own names, where there is one."""


class TagText(NamedTuple):
    """What an annotated tag says."""

    tagger: Person
    time: Timestamp
    message: str


class Name(NamedTuple):
    """A branch or tag (its full name) and the version that it names."""

    ref: str
    version: str
    tag: TagText | None = None


class Origin(Protocol):
    """Where versions come from."""

    @property
    def kind(self) -> str:
        """What kind of source it is, as ``--from`` calls it."""

    @property
    def line(self) -> str | None:
        """The branch on which its versions follow each other; None where each has parents of its own."""

    @property
    def head(self) -> str | None:
        """The short name of the branch that a new repository is to be on."""

    @property
    def passed_over(self) -> int:
        """How many known versions the last :meth:`versions` left out."""

    def versions(self, known: Collection[str]) -> Iterator[Version]:
        """The versions, each behind its parents. Those that are ``known`` may be left out, where the source
        lets no version change."""

    def listing_of(self, name: str) -> Listing | None:
        """The files of a known version, where that is told without reading them; else None."""

    def names(self) -> list[Name]:
        """The branches and tags."""

    def notes(self) -> list[str]:
        """What the user should know of what is not taken."""

    def close(self) -> None:
        """Let go of what was opened."""
