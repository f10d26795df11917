"""What stands at a place, a file, a folder or a tensor, in many versions, and whether it is the same."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.errors import ObjectPurged
from mvc.history.reader import ObjectReader, read_tree
from mvc.history.rows import OpenManifests, kept_rows
from mvc.history.treediff import diff_trees
from mvc.history.wanted import Place
from mvc.objectid import ManifestId, TreeId
from mvc.objects import FOLDER, TreeEntry


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
            try:
                entries = read_tree(self._reader, folder).entries
            except ObjectPurged:
                entries = ()  # history goes on behind a version that was purged
            self._known[depth, folder] = next((entry for entry in entries if entry.name == name), None)
        return self._known[depth, folder]


class Comparison:
    """Whether two trees have the same at some places.

    A file is the same while its bytes and its mode are; a tensor while its dtype, shape and bits are, however
    the file was cut into parts. Of trees only those on the way are read, each once, and manifests only where
    their ids differ; tensors where ids cannot tell whether equal bytes were cut differently.
    """

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
        try:
            return self._files[old].same_file(self._files[new])
        except ObjectPurged:
            return False  # nobody can tell any more, and ids differ

    def _is_same_tensor(self, old: ManifestId | None, new: ManifestId | None, name: str) -> bool:
        if old is None or new is None or old == new:
            only = old or new
            return old == new or only is None or not self._files.tensors(only, name)
        before, after = self._files.tensors(old, name), self._files.tensors(new, name)
        return before == after and kept_rows(self._reader, self._files[old], self._files[new], after) == after


def _file_of(entry: TreeEntry | None) -> ManifestId | None:
    return entry.id if entry is not None and isinstance(entry.id, ManifestId) else None
