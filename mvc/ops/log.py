"""History, newest first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from mvc.errors import UsageError
from mvc.history.decorations import Decorations, Entry
from mvc.history.listing import Listing, Order, Place, list_commits
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.revisions import lookup_path
from mvc.history.selection import commits_of_refs, select
from mvc.objectid import CommitId, ManifestId
from mvc.objects import Commit
from mvc.paths import is_wanted
from mvc.view import View

if TYPE_CHECKING:
    from mvc.history.treediff import Change


@dataclass(frozen=True, slots=True)
class Query:
    """Which versions, and in which order.

    ``refs`` are prefixes of names whose commits are starts too (``refs/`` means all, and HEAD). ``wanted``
    chooses among what is reached; ``since`` (seconds since 1970) ends the walk at what is older. ``paths``
    are files, folders or ``PATH#TENSOR``; with ``follow`` one file, under earlier names too. ``skip`` and
    ``limit`` count what was chosen, before ``reverse`` turns it round. ``connected``: see
    :class:`mvc.history.listing.Listing`.
    """

    refs: tuple[str, ...] = ()
    wanted: Callable[[CommitId, Commit], bool] | None = None
    order: Order = "time"
    first_parent: bool = False
    since: int | None = None
    paths: tuple[str, ...] = ()
    follow: bool = False
    skip: int = 0
    limit: int | None = None
    reverse: bool = False
    connected: bool = False


class Found(NamedTuple):
    """A version of a query. ``parents`` are the nearest that were found too where the query is connected;
    ``path`` is what the followed file is called in it."""

    entry: Entry
    parents: Sequence[CommitId]
    path: str | None = None


def log(view: View, revisions: Sequence[str] = (), *, limit: int | None = None) -> Iterator[Entry]:
    """Versions that the revisions (default: HEAD) reach, newest first. ``A..B``, ``A...B`` and ``^A`` mean
    what they mean in Git.

    Raises:
        RevisionNotFound: no such revision, or no commit yet.
    """
    return (found.entry for found in find(view, revisions, Query(limit=limit)))


def find(view: View, revisions: Sequence[str], query: Query) -> Iterator[Found]:
    """The versions of a query.

    Raises:
        RevisionNotFound: no such revision, or no commit yet.
        UsageError: not one file is to be followed.
    """
    also = tuple(commits_of_refs(view.objects, view, query.refs))
    if query.refs and not also and not revisions:
        return iter(())
    selection = select(revisions, view.objects, view, also)
    places = tuple(_place(view, selection.starts, path) for path in query.paths)
    if query.follow and (len(places) != 1 or places[0].tensor is not None):
        raise UsageError("--follow takes one file", hint="mvc log --follow -- PATH")
    listing = Listing(
        selection, query.order, query.first_parent, query.since, places, query.connected, query.follow
    )
    decorations = Decorations(view.refs)
    listed = list_commits(view.objects, listing, query.wanted or (lambda _identity, _commit: True))
    # no history is longer, and islice takes no larger numbers
    skip = min(query.skip, sys.maxsize)
    end = None if query.limit is None else min(skip + query.limit, sys.maxsize)
    found = (
        Found(decorations.entry(item.id, item.commit), item.parents, item.path)
        for item in islice(listed, skip, end)
    )
    return reversed(list(found)) if query.reverse else found


def changes(
    reader: ObjectReader, commit: Commit, paths: Sequence[str] = (), *, merges: bool = False
) -> list[Change]:
    """What a version changed against its first parent, at or below the paths; nothing for a merge but with
    ``merges``, as in Git."""
    from mvc.history.treediff import diff_trees, pair_renames  # only where it is asked for

    if len(commit.parents) > 1 and not merges:
        return []
    parent = None
    if commit.parents:
        parent = read_commit(reader, commit.parents[0]).tree
    found = pair_renames(reader, diff_trees(reader, parent, commit.tree))
    if not paths:
        return found
    places = [*paths, *(path.partition("#")[0] for path in paths if "#" in path)]

    return [
        change
        for change in found
        if any(is_wanted(path, places) for path in (change.path, change.old_path) if path is not None)
    ]


def _place(view: View, starts: Sequence[CommitId], path: str) -> Place:
    """``PATH#TENSOR`` taken apart, where it is not the name of a file: the longest name wins."""
    if "#" not in path:
        return Place(path)
    trees = [view.commit(start).tree for start in starts]

    def is_file(name: str) -> bool:
        entries = (lookup_path(view.objects, tree, name) for tree in trees)
        return any(entry is not None and isinstance(entry.id, ManifestId) for entry in entries)

    if is_file(path):
        return Place(path)
    cuts = [at for at, character in enumerate(path) if character == "#" and at]
    at = next((at for at in reversed(cuts) if is_file(path[:at])), None)
    if at is None:  # a file of the past
        at = cuts[0] if cuts else len(path)
    return Place(path[:at], path[at + 1 :] or None)
