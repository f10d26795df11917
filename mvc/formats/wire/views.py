"""Views of other things than whole files: a stretch of one, bytes in memory, one that may cost so much."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.formats.base import NotThisFormat, View
from mvc.spans import shown


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a view, as a view of its own."""

    view: View
    offset: int
    size: int
    name: str

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes of the stretch."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat(f"truncated at byte {self.size} of {shown(self.name)}")
        return self.view.read(self.offset + offset, length)


class Metered:
    """A view that may cost so much and no more, however many scanners share it.

    ``left`` counts the bytes that are read, and what :func:`spend` adds: about 30 nanoseconds each.
    """

    def __init__(self, view: View, most: int) -> None:
        self._view = view
        self.left = most
        self.name = view.name
        self.size = view.size

    def read(self, offset: int, length: int) -> bytes:
        """As the view; refuses once it was read too much."""
        self.spend(length)
        return self._view.read(offset, length)

    def spend(self, work: int) -> None:
        """Take from what it may cost.

        Raises:
            NotThisFormat: there is less left.
        """
        self.left -= work
        if self.left < 0:
            raise NotThisFormat("looking into its members takes too much time")


def left_of(view: View, most: int) -> int:
    """What reading a view may cost, in the unit of :class:`Metered`: ``most``, or less where it is part of
    one that may cost less."""
    meter = _meter(view)
    return most if meter is None else min(most, max(0, meter.left))


def spend(view: View, work: int) -> None:
    """Say what was spent on a view beside the bytes that were read of it.

    Raises:
        NotThisFormat: it is part of one that may not cost so much.
    """
    meter = _meter(view)
    if meter is not None:
        meter.spend(work)


def _meter(view: View) -> Metered | None:
    while isinstance(view, Part | Plain):
        inner = view.view if isinstance(view, Part) else view.source
        if inner is None:
            return None
        view = inner
    return view if isinstance(view, Metered) else None


@dataclass(frozen=True, slots=True)
class Plain:
    """Bytes in memory, as a view; ``source`` is what they were made of, which pays for what they cost."""

    name: str
    data: bytes
    source: View | None = None

    @property
    def size(self) -> int:
        """Their number."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` of the bytes."""
        if offset < 0 or length < 0 or offset + length > len(self.data):
            raise NotThisFormat(f"truncated at byte {len(self.data)} of {shown(self.name)}")
        return self.data[offset : offset + length]
