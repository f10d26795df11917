"""One version: what it is, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.errors import RevisionNotFound
from mvc.history.decorations import Decorations, Entry
from mvc.history.reader import ObjectReader, Remembering
from mvc.history.revisions import resolve
from mvc.history.treediff import Change, diff_trees, pair_renames
from mvc.objects import Tag
from mvc.registry.card import Card, build_card
from mvc.repo import View


@dataclass(frozen=True, slots=True)
class Shown:
    """A version with its names, the annotated tag that led to it, and its changes against the first parent.
    ``objects`` is where more can be read of it."""

    entry: Entry
    tag: Tag | None
    changes: tuple[Change, ...]
    objects: ObjectReader


def show(view: View, revision: str = "HEAD") -> Shown:
    """Read one version.

    Raises:
        RevisionNotFound: no such version.
    """
    found = resolve(revision, view.objects, view)
    if found.commit is None:
        raise RevisionNotFound(f"{revision} names no version", hint="'mvc log' lists them")
    commit = view.commit(found.commit)
    parent = view.commit(commit.parents[0]).tree if commit.parents else None
    objects = Remembering(view.objects)
    changes = tuple(pair_renames(objects, diff_trees(objects, parent, commit.tree)))
    tag = None if found.tag is None else Tag.from_bytes(view.objects.get(found.tag))
    return Shown(Decorations(view.refs).entry(found.commit, commit), tag, changes, objects)


def card(shown: Shown, weights_id: str | None = None) -> Card:
    """What the version is, holds, comes from and lacks; see :mod:`mvc.registry.card`."""
    return build_card(shown.objects, shown.entry.id, changes=shown.changes, weights_id=weights_id)
