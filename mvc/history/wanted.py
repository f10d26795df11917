"""What is to be listed of history, and how a version of it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mvc.history.selection import Selection
from mvc.objectid import CommitId
from mvc.objects import Commit


class Place(NamedTuple):
    """A file or folder (the empty path is the root folder), or a tensor of a file."""

    path: str
    tensor: str | None = None


Order = Literal["time", "topo", "date"]
"""Newest first as the walk meets them; no parent before a child, lines kept together; the same, newest first
(``--topo-order``, ``--date-order``)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is to be listed. ``since`` (seconds since 1970) leaves out what is older, and all before it;
    ``connected`` gives each version the nearest listed ones as its parents, which is what a drawing needs.
    With ``follow`` the one place is a file, whose earlier names are found where it was renamed and not
    changed."""

    selection: Selection
    order: Order = "time"
    first_parent: bool = False
    since: int | None = None
    places: tuple[Place, ...] = ()
    connected: bool = False
    follow: bool = False


class Listed(NamedTuple):
    """A version of a listing; ``parents`` are those of a connected listing, else the commit's own; ``path``
    is what a followed file is called there."""

    id: CommitId
    commit: Commit
    parents: Sequence[CommitId]
    path: str | None = None
