"""One version: what it is, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.errors import DamageError, ObjectPurged, RevisionNotFound, UsageError
from mvc.history.decorations import Decorations, Entry
from mvc.history.reader import ObjectReader, Remembering, read_manifest, read_or_gap, read_tree
from mvc.history.revisions import lookup_path, resolve
from mvc.history.treediff import Change, diff_trees, flatten, pair_renames
from mvc.objectid import ManifestId, TreeId
from mvc.objects import FOLDER, Manifest, Tag
from mvc.registry.card import Card, build_card
from mvc.same_weights import of_changes
from mvc.store import Store
from mvc.view import View
from mvc.weighing import Weigher


@dataclass(frozen=True, slots=True)
class Shown:
    """A version with its names, the annotated tag that led to it, and its changes against the first parent.
    ``objects`` is where more can be read of it."""

    entry: Entry
    tag: Tag | None
    changes: tuple[Change, ...]
    objects: ObjectReader
    parent_tree: TreeId | None
    weigher: Weigher

    @property
    def weights(self) -> str | None:
        """Its weights id; None without tensors, or where damage keeps it from being told."""
        return self.weigher.told(self.entry.commit.tree)

    @property
    def keeps_weights(self) -> bool:
        """Whether it changes files, but not the weights that they hold together."""
        if self.parent_tree is None or not self.changes:
            return False
        found = self.weights
        return found is not None and found == self.weigher.told(self.parent_tree)

    def same_weights(self) -> dict[str, str]:
        """Changed files, each with the old one whose weights it holds in other bytes; none where damage keeps
        that from being told."""
        try:
            parent = self.parent_tree
            return of_changes(
                self.weigher.near,
                self.objects,
                self.changes,
                lambda: {} if parent is None else flatten(self.objects, parent),
            )
        except ObjectPurged:
            return {}
        except DamageError as error:
            self.weigher.monitor.note_damage(f"{error.message}, so weights are not compared")
            return {}


def show(repository: Store, view: View, revision: str = "HEAD") -> Shown:
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
    changes: tuple[Change, ...] = ()
    try:
        changes = tuple(pair_renames(objects, diff_trees(objects, parent, commit.tree)))
    except ObjectPurged as error:
        read_tree(objects, commit.tree)  # of one that is gone itself nothing can be shown
        repository.monitor.warn(f"what it changed cannot be told: {error.message}")
    weigher = Weigher(repository, view.objects)
    tag = None if found.tag is None else Tag.from_bytes(view.objects.get(found.tag))
    return Shown(
        Decorations(view.refs).entry(found.commit, commit),
        tag,
        changes,
        objects,
        parent,
        weigher,
    )


def card(shown: Shown) -> Card:
    """What the version is, holds, comes from and lacks; see :mod:`mvc.registry.card`."""
    return build_card(shown.objects, shown.entry.id, changes=shown.changes, weights_id=shown.weights)


@dataclass(frozen=True, slots=True)
class ShownPath:
    """A file or folder of a version. ``manifest`` is a file's (None for a folder); ``files`` and ``size`` (in
    bytes) count what it holds, ``tensors`` too; ``weights`` is its weights id, None without tensors."""

    path: str
    manifest: Manifest | None
    files: int
    size: int
    tensors: int
    weights: str | None


def show_path(repository: Store, view: View, revision: str) -> ShownPath:
    """Describe what ``REV:PATH`` names.

    Raises:
        RevisionNotFound: no such version or path.
    """
    found = resolve(revision, view.objects, view)
    if found.commit is None:
        raise RevisionNotFound(f"{revision} names no version", hint="'mvc log' lists them")
    if found.tensor is not None:
        raise UsageError("show takes a file, not a tensor in it", hint=f"mvc ls --tensors {revision!r}")
    weigher = Weigher(repository, view.objects)
    tree = view.commit(found.commit).tree
    path = found.path or ""
    entry = lookup_path(view.objects, tree, path) if path else None
    if path and entry is None:
        raise RevisionNotFound(f"that version has no file {path!r}", hint="'mvc ls REV' lists them")
    if entry is not None and entry.mode != FOLDER:
        identity = ManifestId(entry.id)
        manifest = read_manifest(view.objects, identity)
        weights = weigher.file(identity, manifest)
        return ShownPath(path, manifest, 1, manifest.size, len(manifest.tensors), weights)
    folder = tree if entry is None else TreeId(entry.id)
    manifests = [
        read_or_gap(view.objects, ManifestId(entry.id)) for entry in flatten(view.objects, folder).values()
    ]
    return ShownPath(
        path,
        None,
        len(manifests),
        sum(manifest.size for manifest in manifests),
        sum(len(manifest.tensors) for manifest in manifests),
        weigher.folder(folder),
    )
