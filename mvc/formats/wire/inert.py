"""What a pickle means, as values that do nothing.

Numbers, texts, lists and tuples are Python's own; sets are lists. Everything else is one of the classes
below: a call that the pickle asks for is remembered and never made.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A function or class that a pickle names, as ``module.name``."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """What a pickle names by an identity of its writer's own; torch's storages are such."""

    identity: object


@dataclass(frozen=True, slots=True, eq=False)
class Bytes:
    """Bytes in a pickle.

    ``offset`` is where they stand in the view that the pickle was read from, None where they do not stand
    there as they are. ``data`` is None where they are too many to keep. ``is_text`` marks Python 2's strings,
    which may be text.
    """

    offset: int | None
    length: int
    data: bytes | None
    is_text: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Unread:
    """A text or number too long to be of use, which was passed over."""

    what: str


@dataclass(slots=True, eq=False)
class Dict:
    """A dictionary: its pairs in the order of assignment, so that of two pairs of one key the later holds.
    Nothing is hashed."""

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Call:
    """What a call would have made: an object of the ``function`` and its ``args``.

    ``state``, ``items`` and ``pairs`` are what the pickle gives the object afterwards: attributes in most
    cases, elements of a list and of a dictionary; None where nothing was given.
    """

    function: object
    args: object
    state: object = None
    items: list[object] | None = None
    pairs: list[tuple[object, object]] | None = None


def path_of(value: object) -> str:
    """The path of a global; empty for anything else."""
    return value.path if type(value) is Global else ""


def text_of(value: object) -> str | None:
    """A text, or a string of Python 2 that is valid UTF-8; None for anything else."""
    if type(value) is str:
        return value
    if type(value) is Bytes and value.is_text and value.data is not None:
        try:
            return value.data.decode()
        except UnicodeDecodeError:
            return None
    return None
