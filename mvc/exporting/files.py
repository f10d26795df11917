"""The files that an export is of, whatever it makes of them."""

from __future__ import annotations

from typing import NamedTuple

from mvc.errors import RevisionNotFound
from mvc.history.revisions import lookup_path, resolve
from mvc.objectid import ManifestId, TreeId
from mvc.objects import EXECUTABLE, FOLDER, Manifest, Timestamp
from mvc.view import View
from mvc.workspace import files_of_tree


class Exported(NamedTuple):
    """What a revision names: a version, or a folder or file of it, and its files by their paths in there."""

    revision: str
    time: Timestamp
    files: dict[str, File]


class File(NamedTuple):
    """A file of it."""

    path: str
    manifest: ManifestId
    executable: bool

    def read(self, view: View) -> Manifest:
        """What the file is made of."""
        return view.manifests.manifest(self.manifest)


def exported(view: View, revision: str) -> Exported:
    """What ``REV`` or ``REV:PATH`` is; paths are those below ``PATH``, of a single file its name.

    Raises:
        RevisionNotFound: no such version, folder or file.
        ObjectPurged: it was purged.
    """
    found = resolve(revision, view.objects, view)
    if found.commit is None:
        raise RevisionNotFound(f"{revision} names no version", hint="'mvc log' lists them")
    commit = view.commit(found.commit)
    files: dict[str, File] = {}
    tree: TreeId = commit.tree
    if found.path:
        entry = lookup_path(view.objects, commit.tree, found.path)
        if entry is None:
            raise RevisionNotFound(f"that version has no file {found.path!r}", hint="'mvc ls REV' lists them")
        if entry.mode != FOLDER:
            name = found.path.rpartition("/")[2]
            files[name] = File(name, ManifestId(entry.id), entry.mode == EXECUTABLE)
            return Exported(revision, commit.time, files)
        tree = TreeId(entry.id)
    for path, entry in sorted(files_of_tree(view, tree).items()):
        files[path] = File(path, ManifestId(entry.id), entry.mode == EXECUTABLE)
    return Exported(revision, commit.time, files)
