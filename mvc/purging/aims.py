"""What the words of a purge name: a version, a file in one version or in all, a tensor of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mvc.collection.needs import starting_points
from mvc.errors import AmbiguousRevision, ObjectPurged, RevisionNotFound, UsageError
from mvc.history.names import peel
from mvc.history.pathlog import EntryAt
from mvc.history.revisions import resolve
from mvc.objectid import CommitId, ObjectId, TreeId
from mvc.objects import Commit
from mvc.refs import decode_target
from mvc.view import View


@dataclass(frozen=True, slots=True)
class Aim:
    """What is to go: ``commit`` None means every version, an empty ``path`` the version as a whole. ``text``
    is what was asked for."""

    commit: CommitId | None
    path: str
    tensor: str | None
    text: str

    @property
    def whole(self) -> bool:
        """Whether a version is to go as a whole."""
        return not self.path


class Versions:
    """All versions of a repository.

    ``named`` are those that refs and HEAD lead to; ``logged`` those that only the operation log does, and
    ``trees`` what it remembers of work trees.
    """

    def __init__(self, view: View) -> None:
        self.named = _reached(view, _refs(view))
        every = _reached(view, starting_points(view, None), dict(self.named))
        self.logged = {one: commit for one, commit in every.items() if one not in self.named}
        self.trees = {start for start in starting_points(view, None) if isinstance(start, TreeId)}

    def all_trees(self) -> Iterator[TreeId]:
        """The folder of each version, and those of the log."""
        for commit in (*self.named.values(), *self.logged.values()):
            yield commit.tree
        yield from self.trees


def _refs(view: View) -> Iterator[ObjectId]:
    for _name, value in view.refs.values():
        yield decode_target(value)
    if isinstance(view.root.head, CommitId):
        yield view.root.head


def _reached(
    view: View, starts: Iterable[ObjectId], found: dict[CommitId, Commit] | None = None
) -> dict[CommitId, Commit]:
    """The commits that some objects lead to, children before parents where clocks do not matter."""
    found = {} if found is None else found
    stack = [start for start in starts if not isinstance(start, TreeId)]
    while stack:
        identity = peel(stack.pop(), view.objects)
        if isinstance(identity, CommitId) and identity not in found and not view.objects.is_gone(identity):
            commit = found[identity] = view.commit(identity)
            stack += commit.parents
    return found


def find_aim(view: View, versions: Versions, text: str) -> Aim:
    """What one word of a purge names: ``REV``, ``REV:PATH``, ``REV:PATH#TENSOR``, ``PATH`` or
    ``PATH#TENSOR``; the last two, which ``./`` may begin, in every version.

    Raises:
        RevisionNotFound: nothing is called so.
        UsageError: it may be a version or a path, or it names no version's.
    """
    if text.startswith("./"):
        found = _everywhere(view, versions, text[2:], text)
        if found is None:
            raise RevisionNotFound(f"no version has a file {text[2:]!r}", hint="'mvc ls REV' lists files")
        return found
    place = None if ":" in text else _everywhere(view, versions, text, text)
    try:
        named = resolve(text, view.objects, view)
    except (RevisionNotFound, AmbiguousRevision):
        if place is None:
            raise
        return place
    if place is not None:
        raise UsageError(
            f"{text!r} is a version and a path",
            hint=f"./{text} is the path in every version, {text}^{{commit}} the version",
        )
    if named.commit is None:
        raise UsageError(f"{text!r} names no version, nor a file of one", hint="REV, PATH or REV:PATH does")
    return Aim(named.commit, named.path or "", named.tensor, text)


def _everywhere(view: View, versions: Versions, place: str, text: str) -> Aim | None:
    """A path, or a tensor at one, that some version has."""
    place = place.removesuffix("/")
    if place and _is_there(view, versions, place):
        return Aim(None, place, None, text)
    path, sharp, tensor = place.rpartition("#")
    if sharp and path and _is_there(view, versions, path):
        return Aim(None, path, tensor, text)
    return None


def _is_there(view: View, versions: Versions, path: str) -> bool:
    entry_at = EntryAt(view.objects, path)
    for tree in versions.all_trees():
        try:
            if entry_at(tree) is not None:
                return True
        except ObjectPurged:
            continue
    return False
