"""What a format is: it says where tensors lie in a file, and never writes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from mvc.spans import Layout

HEAD_BYTES = 64
"""Bytes from a file's start that :meth:`Format.claims` gets to see."""

MAX_VALUES = 10_000
"""Values that :meth:`Format.values` gives at most."""

MAX_VALUE_CHARACTERS = 1 << 16
"""Characters of a text among them; a longer one is left out."""

MAX_VALUES_CHARACTERS = 4 << 20
"""Characters of all values and their names together."""

MAX_LISTED = 16
"""A longer list is given by its length alone, under its name followed by ``.#``."""

Value = str | int | float | bool | None
"""A plain value that a file holds beside its tensors."""


class NotThisFormat(Exception):
    """A file that is not, or not soundly, of the format; ``reason`` says why in one line.

    No failure: such a file is stored as opaque bytes, and the reason goes into its manifest.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class View(Protocol):
    """Random access to one file, read-only. ``name`` is its name in its folder, ``size`` its bytes."""

    @property
    def name(self) -> str:
        """The file's name in its folder."""

    @property
    def size(self) -> int:
        """The file's length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset``; raises :class:`NotThisFormat` where the file has fewer."""


Sibling = Callable[[str], View | None]
"""Opens a file of the same folder by its bare name; None where there is none."""


def limited(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """What :meth:`Format.values` may give of some names and values: the first of each name, until there are
    :data:`MAX_VALUES` or :data:`MAX_VALUES_CHARACTERS`."""
    found: dict[str, Value] = {}
    left = MAX_VALUES_CHARACTERS
    for name, value in pairs:
        left -= characters(name, value)
        if left < 0:
            break
        found.setdefault(name, value)
        if len(found) == MAX_VALUES:
            break
    return found


def characters(name: str, value: Value) -> int:
    """What a value takes of :data:`MAX_VALUES_CHARACTERS`."""
    return len(name) + (len(value) if isinstance(value, str) else 1)


class Format(Protocol):
    """One file format. No method may raise for any bytes whatsoever, but for :class:`NotThisFormat`.

    What :meth:`scan` says need not be trusted: :func:`mvc.formats.describe` checks every span, so a scanner
    checks only what spans do not show (a truncated header, bytes that nothing accounts for).
    """

    @property
    def name(self) -> str:
        """The format's name in manifests."""

    def claims(self, name: str, head: bytes) -> bool:
        """Whether the file may be of this format, by its name and its first :data:`HEAD_BYTES` bytes."""

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """Where the tensors lie: file name to layout, for this file and for siblings that it describes.

        Raises:
            NotThisFormat: the file is malformed, or beyond what this scanner knows or is ready to spend on
            it.
        """

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """What the file says beside its tensors: hyperparameters, an epoch, metadata; by dotted names.

        Bounded by :data:`MAX_VALUES`, :data:`MAX_VALUE_CHARACTERS`, :data:`MAX_VALUES_CHARACTERS` and
        :data:`MAX_LISTED`; nothing is executed. Empty for a format that has no such thing.

        Raises:
            NotThisFormat: as for :meth:`scan`.
        """
