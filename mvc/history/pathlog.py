"""The versions that changed a file, a folder or a tensor: ``git log -- PATH``, one level deeper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mvc.history.graph import walk
from mvc.history.reader import ObjectReader, read_commit, read_tree
from mvc.history.rows import OpenManifests, kept_rows
from mvc.history.treediff import diff_trees
from mvc.history.wanted import Place
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import FOLDER, Commit, TreeEntry


@dataclass(frozen=True, slots=True)
class Touching:
    """A version on the way through a place's history.

    ``parents`` are those whose history goes on: the first one that has the same there, else all. ``touches``
    tells whether the version changed the place; one that does not has at most one of ``parents``.
    """

    id: CommitId
    commit: Commit
    parents: tuple[CommitId, ...]
    touches: bool


def commits_touching(
    reader: ObjectReader, starts: Iterable[CommitId], path: str, tensor: str | None = None
) -> Iterator[tuple[CommitId, Commit]]:
    """The versions that changed a file, a folder, or one tensor of a file, newest first.

    As ``git log -- PATH`` simplifies: a merge that has the same there as one of its parents goes on with the
    first such parent alone and is not given itself. A file has changed when its bytes or its mode did; a
    tensor when its dtype, shape or bits did, however the file was cut into parts.

    Of trees only those on the path are read, each once, and manifests only where their ids differ; tensors
    where ids cannot tell whether equal bytes were cut differently. The walk streams.

    Raises:
        ObjectMissing: something that a version names is not there.
    """
    for step in simplified(reader, starts, [Place(path, tensor)]):
        if step.touches:
            yield step.id, step.commit


def simplified(
    reader: ObjectReader, starts: Iterable[CommitId], places: Sequence[Place], *, first_parent: bool = False
) -> Iterator[Touching]:
    """The history of several places together, newest first, with the versions in between that changed
    nothing there: what is needed to draw its graph. With ``first_parent`` merges are compared with their
    first parent only.

    Raises:
        ObjectMissing: something that a version names is not there.
    """
    comparison = Comparison(reader, places)
    # What is met but not given yet; the walk asks for parents when it meets a commit.
    met: dict[CommitId, Touching] = {}

    def follow(identity: CommitId, commit: Commit) -> Sequence[CommitId]:
        parents = commit.parents[:1] if first_parent else commit.parents
        same = next(
            (one for one in parents if comparison.is_same(read_commit(reader, one).tree, commit.tree)), None
        )
        if same is not None:
            parents = (same,)
        touches = same is None and (bool(parents) or not comparison.is_same(None, commit.tree))
        met[identity] = Touching(identity, commit, parents, touches)
        return parents

    for identity, _commit in walk(reader, starts, follow=follow):
        yield met.pop(identity)


class EntryAt:
    """What stands at one path in many trees; each tree on the way is read once."""

    def __init__(self, reader: ObjectReader, path: str) -> None:
        self._reader = reader
        self._components = path.split("/") if path else []
        # By depth too: a folder may hold itself's equal further down.
        self._known: dict[tuple[int, TreeId], TreeEntry | None] = {}

    def __call__(self, tree: TreeId | None) -> TreeEntry | None:
        """The entry, or None where there is none; the root folder's has no name."""
        if tree is None:
            return None
        entry: TreeEntry | None = TreeEntry("", FOLDER, tree)
        for depth, component in enumerate(self._components):
            if entry is None or not isinstance(entry.id, TreeId):
                return None
            entry = self._inside(depth, entry.id, component)
        return entry

    def _inside(self, depth: int, folder: TreeId, name: str) -> TreeEntry | None:
        if (depth, folder) not in self._known:
            entries = read_tree(self._reader, folder).entries
            self._known[depth, folder] = next((entry for entry in entries if entry.name == name), None)
        return self._known[depth, folder]


class Comparison:
    """Whether two trees have the same at some places."""

    def __init__(self, reader: ObjectReader, places: Sequence[Place]) -> None:
        self._reader = reader
        self._places = [(EntryAt(reader, place.path), place.tensor) for place in places]
        self._files = OpenManifests(reader)

    def is_same(self, old: TreeId | None, new: TreeId | None) -> bool:
        """Whether they have; None is the empty tree."""
        return old == new or all(
            self._is_same_there(entry_at(old), entry_at(new), tensor) for entry_at, tensor in self._places
        )

    def _is_same_there(self, old: TreeEntry | None, new: TreeEntry | None, tensor: str | None) -> bool:
        if tensor is not None:
            return self._is_same_tensor(_file_of(old), _file_of(new), tensor)
        if old is not None and new is not None and old.mode != new.mode:
            return False
        folders = [entry.id for entry in (old, new) if entry is not None and isinstance(entry.id, TreeId)]
        if folders:  # an empty folder is as good as none
            return next(diff_trees(self._reader, folders[0], (*folders, None)[1]), None) is None
        return self._is_same_file(_file_of(old), _file_of(new))

    def _is_same_file(self, old: ManifestId | None, new: ManifestId | None) -> bool:
        if old is None or new is None or old == new:
            return old == new
        return self._files[old].same_file(self._files[new])

    def _is_same_tensor(self, old: ManifestId | None, new: ManifestId | None, name: str) -> bool:
        if old is None or new is None or old == new:
            only = old or new
            return old == new or only is None or not self._files.tensors(only, name)
        before, after = self._files.tensors(old, name), self._files.tensors(new, name)
        return before == after and kept_rows(self._reader, self._files[old], self._files[new], after) == after


def _file_of(entry: TreeEntry | None) -> ManifestId | None:
    return entry.id if entry is not None and isinstance(entry.id, ManifestId) else None
