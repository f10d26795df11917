"""What a mapping of this package raises for a key that it lacks."""

from __future__ import annotations

from collections.abc import Iterable

from mvc.errors import RevisionNotFound
from mvc.history.names import offer
from mvc.paths import shown


class NotThere(RevisionNotFound, KeyError):
    """No file, or no tensor, has this name. A :class:`KeyError` too, which mappings promise."""

    __str__ = Exception.__str__  # KeyError's would quote the message

    @classmethod
    def of(cls, what: str, name: object, known: Iterable[str]) -> NotThere:
        """``what`` has no ``name``; the hint offers the nearest of those that it has, or the first ones."""
        return cls(f"{what} {shown(str(name))}", hint=offer(str(name), known))
