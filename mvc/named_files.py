"""The files that a revision names, for who asks which of them is like a path of another version."""

from __future__ import annotations

from mvc.history.revisions import resolve
from mvc.objectid import ManifestId, TreeId
from mvc.view import View
from mvc.workspace import files_of, files_of_tree

_FEW = 16


class NamedFiles:
    """The files of the version, folder or file that a revision names.

    Raises:
        RevisionNotFound: it names nothing.
        AmbiguousRevision: a short id fits several objects.
    """

    def __init__(self, view: View, revision: str) -> None:
        found = resolve(revision, view.objects, view)
        self._only: ManifestId | None = None
        self._files: dict[str, ManifestId] = {}
        if isinstance(found.object, ManifestId):
            self._only = found.object
            return
        named = found.object
        files = files_of_tree(view, named) if isinstance(named, TreeId) else files_of(view, found.commit)
        self._files = {path: ManifestId(entry.id) for path, entry in files.items()}

    def like(self, path: str) -> list[ManifestId]:
        """The file at a path; else those of that name; else, where they are few, all."""
        if self._only is not None:
            return [self._only]
        if path in self._files:
            return [self._files[path]]
        name = path.rsplit("/", 1)[-1]
        same = [one for place, one in self._files.items() if place.rsplit("/", 1)[-1] == name]
        return same or (list(self._files.values()) if len(self._files) <= _FEW else [])
