"""Three-way merge of trees: which file each path gets, and where the two sides cannot both be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from mvc.objectid import ManifestId
from mvc.objects import TreeEntry

ConflictKind = Literal[
    "content", "add/add", "modify/delete", "rename/rename", "rename/delete", "file/folder", "mode"
]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that the two sides changed in ways that do not go together.

    ``base``, ``ours`` and ``theirs`` are the file on each side, None where that side has none; ``details``
    say within the file what is in conflict: names of tensors, keys of JSON, or nothing.
    """

    path: str
    kind: ConflictKind
    base: TreeEntry | None
    ours: TreeEntry | None
    theirs: TreeEntry | None
    details: tuple[str, ...] = ()


class Content(NamedTuple):
    """One file merged out of three: what it is now, and what in it is still in conflict (see
    :class:`Conflict`); ``clean`` when nothing is."""

    id: ManifestId
    clean: bool
    details: tuple[str, ...] = ()


class ContentMerger(Protocol):
    """Merges the content of one file that both sides changed.

    ``base`` is None where both sides added the file. The three differ in their bytes from each other. What
    cannot be merged is ``ours`` and not clean.
    """

    def __call__(
        self, path: str, base: ManifestId | None, ours: ManifestId, theirs: ManifestId, /
    ) -> Content:
        """The merged file, stored."""
        ...


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged tree as flat ``files``, and what is in conflict, by path."""

    files: Mapping[str, TreeEntry]
    conflicts: tuple[Conflict, ...] = ()
