"""Which objects a purge takes: all that its aims name and nothing that stays needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from mvc.errors import ObjectPurged, RevisionNotFound, UserError
from mvc.history.reader import read_tree
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import Manifest
from mvc.purging.aims import Aim, Versions
from mvc.view import View

Ends = frozenset[tuple[str, str | None]]
"""Paths below a folder, each with a tensor or None for all of it."""

_NOTHING: Ends = frozenset()
_MAYBE_TRIVIAL = 1024  # bytes of a record: a piece of one repeated byte takes fewer
_MOST_PLACES = 8


@dataclass(frozen=True, slots=True)
class GoneFile:
    """A file that goes, wholly or (``tensors``) in part, with one version that has it."""

    path: str
    manifest: ManifestId
    version: str
    size: int
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """Pieces of what was asked for that something else has too, which stays: how many, and where (some)."""

    count: int
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """``gone`` are the objects that go. ``whole`` are versions that go as a whole, ``files`` those that go
    from others or with them; ``shared`` is what stays; ``listed`` counts lists (trees, manifests) of
    versions that stay and go on naming what is gone. ``stored_bytes`` are the bytes of its records."""

    gone: frozenset[ObjectId]
    whole: tuple[CommitId, ...]
    files: tuple[GoneFile, ...]
    shared: Shared
    stored_bytes: int
    listed: int
    kept_files: frozenset[ManifestId] = field(repr=False, default=frozenset())


def look(
    view: View, versions: Versions, aims: Collection[Aim], *, everywhere: bool = False, rewrite: bool = False
) -> Survey:
    """What a purge of these aims takes.

    What only the operation log leads to keeps nothing: it goes too, where it has what is purged. With
    ``everywhere`` files and pieces go although something else has them; with ``rewrite`` the lists that name
    them go as well.

    Raises:
        RevisionNotFound: no version has a tensor of that name.
        UserError: a tensor is so small that it stands in the list of its file's pieces.
        DamageError: a version cannot be read.
    """
    walk = _Walk(view, rewrite)
    whole = tuple(dict.fromkeys(aim.commit for aim in aims if aim.whole and aim.commit is not None))
    commits = {**versions.named, **versions.logged}
    for commit in whole:
        walk.take_all(
            commits[commit].tree if commit in commits else view.commit(commit).tree, "", commit.short
        )
    ends = {commit: _ends_of(commit, aims) for commit in commits}
    for commit, value in commits.items():
        if commit not in whole and ends[commit]:
            walk.take(value.tree, ends[commit], "", commit.short)
    for tree in sorted(versions.trees):
        walk.take(tree, _ends_of(None, aims), "", "")
    if not walk.taken:
        names = ", ".join(aim.text for aim in aims)
        raise RevisionNotFound(f"no version has {names}", hint="'mvc ls REV:PATH' lists tensors")
    for commit, value in versions.named.items():
        if commit not in whole:
            walk.keep(value.tree, ends[commit], f"{commit.short}:")
    kept = walk.kept
    if everywhere:
        kept = {one for one in kept if isinstance(one, TreeId) or one not in walk.taken}
    gone = {one for one in walk.taken if one not in kept and one in view.index and not _is_trivial(view, one)}
    shared = [one for one in walk.taken if one in kept and not isinstance(one, TreeId)]
    shared = [one for one in shared if not _is_trivial(view, one)]
    places = dict.fromkeys(walk.places[one] for one in shared if one in walk.places)
    files = [item for item in walk.files.values() if item.manifest in gone or _touched(view, item, gone)]
    return Survey(
        frozenset(gone),
        whole,
        tuple(sorted(files, key=lambda item: (item.path, item.version))),
        Shared(len(shared), tuple(places)[:_MOST_PLACES]),
        sum(entry.length for one in gone for entry in view.objects.entries(one)),
        walk.listed(gone),
        frozenset(one for one in kept if isinstance(one, ManifestId)),
    )


def _ends_of(commit: CommitId | None, aims: Iterable[Aim]) -> Ends:
    return frozenset(
        (aim.path, aim.tensor) for aim in aims if aim.path and (aim.commit is None or aim.commit == commit)
    )


def _touched(view: View, item: GoneFile, gone: Collection[ObjectId]) -> bool:
    try:
        manifest = view.manifests.manifest(item.manifest)
    except ObjectPurged:
        return False
    return any(part.blob in gone for part in manifest.parts if part.blob is not None)


def _is_trivial(view: View, identity: ObjectId) -> bool:
    """Whether an object says nothing: an empty file or folder, a piece of one repeated byte. Other models
    have it too, tomorrow, and must not be refused for it."""
    if isinstance(identity, TreeId):
        return not read_tree(view.objects, identity).entries
    if isinstance(identity, ManifestId):
        return not view.manifests.manifest(identity).size
    entries = view.objects.entries(identity)
    if not isinstance(identity, BlobId) or not entries or entries[0].length > _MAYBE_TRIVIAL:
        return False
    plain = view.objects.get(identity)
    return plain == plain[:1] * len(plain)


def below(ends: Ends, name: str) -> Ends:
    """The ends below one entry of a folder; the entry's own path is empty."""
    if not ends:
        return ends
    found = {
        (path[len(name) :], tensor) for path, tensor in ends if path == name or path.startswith(f"{name}/")
    }
    return frozenset((path.removeprefix("/"), tensor) for path, tensor in found)


def is_all(ends: Ends) -> bool:
    """Whether an entry goes as a whole."""
    return ("", None) in ends


class _Walk:
    """Goes through trees: ``taken`` is what aims name, ``kept`` what stays needs, ``places`` where."""

    def __init__(self, view: View, rewrite: bool) -> None:
        self._view = view
        self._rewrite = rewrite
        self.taken: set[ObjectId] = set()
        self.kept: set[ObjectId] = set()
        self.places: dict[ObjectId, str] = {}
        self.files: dict[tuple[str, ManifestId], GoneFile] = {}
        self._done: set[tuple[TreeId, Ends, str]] = set()
        self._changed: dict[tuple[TreeId, Ends], bool] = {}
        self._whole: set[tuple[TreeId, str]] = set()
        self._kept_names: set[TreeId] = set()

    # --- what aims name ------------------------------------------------------------------------------------
    def take(self, tree: TreeId, ends: Ends, path: str, version: str) -> bool:
        """Take what ``ends`` name below a tree; whether there was something."""
        if not ends or self._view.objects.is_gone(tree):
            return False
        known = self._changed.get((tree, ends))
        if known is not None:
            return known
        found = False
        for entry in read_tree(self._view.objects, tree).entries:
            inner = below(ends, entry.name)
            if not inner:
                continue
            place = f"{path}{entry.name}"
            if is_all(inner):
                self.take_all(entry.id, place, version)
                found = True
            elif isinstance(entry.id, TreeId):
                found |= self.take(entry.id, inner, f"{place}/", version)
            else:
                self._take_tensors(entry.id, inner, place, version)
        self._changed[tree, ends] = found
        if found and self._rewrite:
            self.taken.add(tree)
        return found

    def take_all(self, identity: TreeId | ManifestId, path: str, version: str) -> None:
        """Take a file, or a folder with all that is in it."""
        stack: list[tuple[TreeId | ManifestId, str]] = [(identity, path)]
        while stack:
            one, place = stack.pop()
            self.taken.add(one)
            if self._view.objects.is_gone(one):
                continue
            if isinstance(one, TreeId):
                if (one, place) in self._whole:
                    continue
                self._whole.add((one, place))
                prefix = f"{place}/" if place else ""
                stack += [
                    (entry.id, prefix + entry.name) for entry in read_tree(self._view.objects, one).entries
                ]
                continue
            if (place, one) in self.files:
                continue
            manifest = self._view.manifests.manifest(one)
            self.taken.update(part.blob for part in manifest.parts if part.blob is not None)
            self.files[place, one] = GoneFile(place, one, version, manifest.size)

    def _take_tensors(self, identity: ManifestId, ends: Ends, path: str, version: str) -> None:
        if (path, identity) in self.files or self._view.objects.is_gone(identity):
            return
        manifest = self._view.manifests.manifest(identity)
        names = _tensors(ends)
        there = [span.name for span in manifest.tensors if span.name in names]
        if not there:
            return
        for blob, inline in _pieces(manifest, names):
            if inline:
                raise UserError(
                    f"{path}: a tensor of that size stands in the list of the file's pieces",
                    hint=f"purge the whole file: mvc purge {path}",
                )
            if blob is not None:
                self.taken.add(blob)
        self.files[path, identity] = GoneFile(path, identity, version, manifest.size, tuple(there))

    # --- what stays ----------------------------------------------------------------------------------------
    def keep(self, tree: TreeId, ends: Ends, path: str) -> None:
        """Keep what lies below a tree and no end names. Lists that name what goes stay, unless history is
        rewritten."""
        if self._view.objects.is_gone(tree) or (tree, ends, "") in self._done:
            return
        self._done.add((tree, ends, ""))
        if not (self._rewrite and self._changed.get((tree, ends), False)):
            self.kept.add(tree)
        for entry in read_tree(self._view.objects, tree).entries:
            inner = below(ends, entry.name)
            if is_all(inner):
                if isinstance(entry.id, TreeId) and not self._rewrite:
                    self._keep_names(entry.id)
            elif isinstance(entry.id, TreeId):
                self.keep(entry.id, inner, f"{path}{entry.name}/")
            else:
                self._keep_file(entry.id, inner, path + entry.name)

    def _keep_names(self, tree: TreeId) -> None:
        stack = [tree]
        while stack:
            one = stack.pop()
            if one not in self._kept_names and not self._view.objects.is_gone(one):
                self._kept_names.add(one)
                self.kept.add(one)
                entries = read_tree(self._view.objects, one).entries
                stack += [entry.id for entry in entries if isinstance(entry.id, TreeId)]

    def _keep_file(self, identity: ManifestId, ends: Ends, path: str) -> None:
        names = _tensors(ends)
        if (identity in self.kept and not names) or self._view.objects.is_gone(identity):
            return
        self.kept.add(identity)
        if identity in self.taken:
            self.places.setdefault(identity, path)
        manifest = self._view.manifests.manifest(identity)
        for blob, _inline in _pieces(manifest, names, others=True):
            if blob is not None:  # which may be a piece of another tensor, too, that is to go
                self.kept.add(blob)
                if blob in self.taken:
                    self.places.setdefault(blob, path)

    def listed(self, gone: Collection[ObjectId]) -> int:
        """How many of the lists that stay name something that is gone."""
        count = 0
        for one in self.kept:
            if isinstance(one, TreeId):
                count += any(entry.id in gone for entry in read_tree(self._view.objects, one).entries)
            elif isinstance(one, ManifestId):
                count += any(part.blob in gone for part in self._view.manifests.manifest(one).parts)
        return count


def _tensors(ends: Ends) -> set[str]:
    return {tensor for path, tensor in ends if not path and tensor is not None}


def _pieces(
    manifest: Manifest, names: set[str], *, others: bool = False
) -> Iterable[tuple[BlobId | None, bool]]:
    """The pieces on which tensors lie, or all ``others``: a blob's id, or None and True for bytes in the list
    itself."""
    stretches = [(span.offset, span.offset + span.length) for span in manifest.tensors if span.name in names]
    for offset, part in manifest.placed_parts():
        if any(first < offset + part.length and offset < end for first, end in stretches) != others:
            yield part.blob, part.blob is None
