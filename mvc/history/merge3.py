"""Three-way merge of trees: which file each path gets, and where the two sides cannot both be had.

What Git's ``ort`` does with regular files, exact renames and no renames of folders is the measure. Every path
has up to three *stages*: the file in the base, in ours and in theirs. Files that one side moved take the
stages of their old path along; then each path is settled for itself; last, files that stand where a folder
has to be are moved aside, to ``PATH~LABEL``.

Two commits may have several best common ancestors. They are then merged with each other, oldest first, and
the result, the *virtual base*, stands for them. In it a conflict that text can show is left as text with
conflict markers, and any other file in conflict is what it was before, so that neither side looks unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

from mvc.history.ancestry import Links, common_ancestors
from mvc.history.moves import EMPTY_FILE, Contents, find_moves, folders_above
from mvc.history.reader import ObjectReader, read_commit
from mvc.history.treediff import Change, build_tree, diff_trees, flatten
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Tree, TreeEntry
from mvc.paths import path_fault

ConflictKind = Literal[
    "content", "add/add", "modify/delete", "rename/rename", "rename/delete", "file/folder", "mode"
]

MAX_NESTED = 32
"""Virtual bases within virtual bases. Below, the oldest common ancestor stands for all of them."""
MAX_VIRTUAL = 256
"""Merges of common ancestors for one merge; after them a base is made of those merged so far."""

VIRTUAL_LABELS = ("Temporary merge branch 1", "Temporary merge branch 2")
"""What the two sides are called where common ancestors are merged."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that the two sides changed in ways that do not go together.

    ``base``, ``ours`` and ``theirs`` are the file on each side, None where that side has none (the base also
    where a virtual base had two added files); ``details`` say within the file what is in conflict: names of
    tensors, keys of JSON, or nothing.
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
    """A merged tree as flat ``files``, and what is in conflict, by path.

    A path has at most one conflict, so the conflicts are what Git calls the unmerged paths with their
    stages. A file that each side moved elsewhere has three: its old path and both new ones.
    """

    files: Mapping[str, TreeEntry]
    conflicts: tuple[Conflict, ...] = ()


def merge_trees(
    reader: ObjectReader,
    base: TreeId | None,
    ours: TreeId,
    theirs: TreeId,
    content: ContentMerger,
    *,
    labels: tuple[str, str],
    renames: bool = True,
) -> Merged:
    """Merge what changed from ``base`` to ``theirs`` into ``ours``; None is the empty tree.

    ``labels`` are what the two sides are called where a file has to step aside for a folder. Folders that
    are equal on the sides compared are read only to list their files, and of files nothing but the
    manifests of those that both sides changed or that were moved.

    Raises:
        CorruptObject: a tree holds more than a repository may.
        InvalidPath: no path could be found for a file that has to step aside.
    """
    return _TreeMerge(reader, content, labels, renames).merge(base, ours, theirs)


def merge_commits(
    reader: ObjectReader,
    ours: CommitId,
    theirs: CommitId,
    content: ContentMerger,
    *,
    labels: tuple[str, str],
    put_tree: Callable[[Tree], TreeId],
    virtual: ContentMerger | None = None,
    renames: bool = True,
) -> Merged:
    """Merge two commits as :func:`merge_trees` does, from their common ancestors, or from the empty tree.

    Where there are several, trees of virtual bases are handed to ``put_tree``, and ``reader`` must know them
    from then on. ``virtual`` merges files for these; it should know no strategies, because what was settled
    in favour of a side there would look like that side's old version here. Without it ``content`` does.

    Raises:
        ObjectMissing: a commit that one of them reaches is not there.
        CorruptObject, InvalidPath: as :func:`merge_trees`.
    """
    bases = _VirtualBases(reader, virtual or content, put_tree, renames)
    base = bases.between((ours,), (theirs,))
    here, there = (read_commit(reader, commit).tree for commit in (ours, theirs))
    return merge_trees(reader, base, here, there, content, labels=labels, renames=renames)


# --- several common ancestors ------------------------------------------------------------------------------
class _VirtualBases:
    """Makes the tree that stands for all best common ancestors of two groups of commits."""

    def __init__(
        self,
        reader: ObjectReader,
        content: ContentMerger,
        put_tree: Callable[[Tree], TreeId],
        renames: bool,
    ) -> None:
        self._reader = reader
        self._links = Links(reader)
        self._put_tree = put_tree
        self._left = MAX_VIRTUAL
        self._merge = _TreeMerge(reader, content, VIRTUAL_LABELS, renames, virtual=True)

    def between(
        self, ours: tuple[CommitId, ...], theirs: tuple[CommitId, ...], nested: int = 0
    ) -> TreeId | None:
        """That tree; None where there is no common ancestor."""
        oldest_first = common_ancestors(self._links, ours, theirs)[::-1]
        if not oldest_first:
            return None
        merged = oldest_first[:1]
        tree = read_commit(self._reader, merged[0]).tree
        for commit in oldest_first[1:]:
            if nested == MAX_NESTED or not self._left:
                break
            self._left -= 1
            base = self.between(tuple(merged), (commit,), nested + 1)
            found = self._merge.merge(base, tree, read_commit(self._reader, commit).tree)
            tree = build_tree(found.files, self._put_tree)
            merged.append(commit)
        return tree


# --- one merge ---------------------------------------------------------------------------------------------
_BASE, _OURS, _THEIRS = 0, 1, 2


@dataclass(slots=True)
class _Path:
    """A path on its way: its stages (base, ours, theirs), and the conflict that moving files made of it."""

    stages: list[TreeEntry | None] = field(default_factory=lambda: [None, None, None])
    torn: ConflictKind | None = None


@dataclass(frozen=True, slots=True)
class _Settled:
    """What a path gets; ``kind`` is None where that is no conflict."""

    entry: TreeEntry | None
    kind: ConflictKind | None = None
    details: tuple[str, ...] = ()


class _TreeMerge:
    """Merges trees with one way to merge contents. ``virtual``: for a base that nobody sees."""

    def __init__(
        self,
        reader: ObjectReader,
        content: ContentMerger,
        labels: tuple[str, str],
        renames: bool,
        *,
        virtual: bool = False,
    ) -> None:
        self._reader = reader
        self._content = content
        self._contents = Contents(reader)
        self._labels = labels
        self._renames = renames
        self._virtual = virtual

    def merge(self, base: TreeId | None, ours: TreeId, theirs: TreeId) -> Merged:
        """As :func:`merge_trees`."""
        changes = [
            {change.path: change for change in diff_trees(self._reader, base, side, by_id=True)}
            for side in (ours, theirs)
        ]
        paths = _staged(*changes)
        if self._renames:
            self._follow_moves(paths, *changes)
        settled = {path: self._settle(path, at) for path, at in paths.items()}
        files = flatten(self._reader, ours)
        folders = _folders(files)
        for path, found in settled.items():
            files.pop(path, None)
            if found.entry is not None:
                files[path] = found.entry._replace(name=path.rpartition("/")[2])
        conflicts = {
            path: _conflict(path, found.kind, paths[path].stages, found.details)
            for path, found in settled.items()
            if found.kind is not None
        }
        self._step_aside(files, conflicts, paths, folders)
        gone = [path for path, found in conflicts.items() if found.ours is None and found.theirs is None]
        if gone:  # a path that is a folder now cannot be told of as a file
            folders = _folders(files)
            conflicts = {
                path: conflicts[path] for path in conflicts if not (path in gone and path in folders)
            }
        return Merged(files, tuple(conflicts[path] for path in sorted(conflicts, key=str.encode)))

    # --- files that were moved
    # ---------------------------------------------------------------------------------
    def _follow_moves(
        self, paths: dict[str, _Path], ours: Mapping[str, Change], theirs: Mapping[str, Change]
    ) -> None:
        moves = {
            _OURS: find_moves(self._contents, ours.values(), theirs),
            _THEIRS: find_moves(self._contents, theirs.values(), ours),
        }
        for old in sorted(moves[_OURS].keys() | moves[_THEIRS].keys(), key=str.encode):
            targets = {side: new[old] for side, new in moves.items() if old in new}
            if len(targets) == 1:
                ((side, new),) = targets.items()
                self._follow(paths, old, new, side)
            elif targets[_OURS] == targets[_THEIRS]:
                paths[targets[_OURS]].stages[_BASE] = paths[old].stages[_BASE]
                paths[old] = _Path()
            else:
                self._part(paths, old, targets[_OURS], targets[_THEIRS])

    def _follow(self, paths: dict[str, _Path], old: str, new: str, side: int) -> None:
        """One side moved a file: what the other one did to it happens at its new path."""
        other = _OURS + _THEIRS - side
        source, target = paths[old], paths[new]
        there = target.stages[other]
        if there is not None and source.stages[other] is not None and self._same(there, target.stages[side]):
            # Both have the same file there: it is none that moved. Git 2.39 loses what became of the old one.
            return
        if source.stages[other] is None:
            target.torn = "rename/delete"
        if there is None:
            target.stages[_BASE], target.stages[other] = source.stages[_BASE], source.stages[other]
        elif source.stages[other] is not None:
            # The other side has a file of its own there, which meets the moved one with both sides' changes.
            stages = list(source.stages)
            stages[side] = target.stages[side]
            target.stages[side] = self._merge_file(new, stages).entry
        paths[old] = _Path()

    def _part(self, paths: dict[str, _Path], old: str, ours: str, theirs: str) -> None:
        """Each side moved a file elsewhere: both new paths are left, with what both did to its mode."""
        stages = [paths[old].stages[_BASE], paths[ours].stages[_OURS], paths[theirs].stages[_THEIRS]]
        merged = self._merge_file(old, stages).entry
        paths[ours].stages[_OURS] = paths[theirs].stages[_THEIRS] = merged
        paths[old].stages[_OURS] = paths[old].stages[_THEIRS] = None
        for path in (old, ours, theirs):
            paths[path].torn = "rename/rename"

    # --- one path
    # ----------------------------------------------------------------------------------------------
    def _settle(self, path: str, at: _Path) -> _Settled:
        base, ours, theirs = at.stages
        one = ours or theirs
        if one is None:
            return _Settled(None, at.torn)
        if ours is not None and theirs is not None:
            found = self._merge_file(path, at.stages)
            return found if at.torn is None else replace(found, kind=at.torn)
        if base is None:
            return _Settled(one, at.torn)
        if at.torn is None and self._same(base, one):
            return _Settled(None)
        return _Settled(base if self._virtual else one, at.torn or "modify/delete")

    def _merge_file(self, path: str, stages: Iterable[TreeEntry | None]) -> _Settled:
        """Mode and content of a file that both sides have."""
        base, ours, theirs = stages
        if ours is None or theirs is None:
            raise AssertionError("a side has no file to merge")
        mode, modes_agree = ours.mode, True
        if base is not None and ours.mode == base.mode:
            mode = theirs.mode
        elif ours.mode != theirs.mode:
            modes_agree = base is not None and theirs.mode == base.mode
        merged = self._merge_content(path, base, ours, theirs)
        kind: ConflictKind | None = None
        if not (merged.clean and modes_agree):
            kind = "add/add" if base is None else "mode" if merged.clean else "content"
        return _Settled(TreeEntry(ours.name, mode, merged.id), kind, merged.details)

    def _merge_content(
        self, path: str, base: TreeEntry | None, ours: TreeEntry, theirs: TreeEntry
    ) -> Content:
        tests: tuple[Callable[[TreeEntry, TreeEntry], bool], ...]
        tests = (lambda one, other: one.id == other.id, self._contents.same)  # the second one reads manifests
        for same in tests:
            if same(ours, theirs) or (base is not None and same(base, theirs)):
                return Content(_manifest(ours), True)
            if base is not None and same(base, ours):
                return Content(_manifest(theirs), True)
        # An empty base says no more than none, and that of a virtual base is not even stored.
        known = None if base is None or self._contents.is_empty(base) else _manifest(base)
        found = self._content(path, known, _manifest(ours), _manifest(theirs))
        if found.clean or not self._virtual or (not found.details and found.id != ours.id):
            return found
        return Content(EMPTY_FILE if base is None else _manifest(base), False)

    def _same(self, one: TreeEntry, other: TreeEntry | None) -> bool:
        return other is not None and one.mode == other.mode and self._contents.same(one, other)

    # --- files where folders have to be
    # ------------------------------------------------------------------------
    def _step_aside(
        self,
        files: dict[str, TreeEntry],
        conflicts: dict[str, Conflict],
        paths: Mapping[str, _Path],
        ours: frozenset[str],
    ) -> None:
        """Move files out of the way of folders. ``ours`` are the folders of our side."""
        settled = [path for path in paths if path in files]
        in_the_way = {above for path in settled for above in folders_above(path) if above in files}
        in_the_way.update(path for path in settled if path in ours)
        if not in_the_way:
            return
        folders = _folders(files)
        taken = folders | files.keys() | paths.keys()
        for path in sorted(in_the_way & folders, key=str.encode, reverse=True):
            side = _THEIRS if path in ours else _OURS
            aside = _beside(path, self._labels[side - _OURS], side, taken)
            taken |= {aside}
            entry = files[aside] = files.pop(path)._replace(name=aside.rpartition("/")[2])
            found = conflicts.pop(path, None)
            if found is None:
                stages: list[TreeEntry | None] = [None, None, None]
                stages[side] = entry
                conflicts[aside] = _conflict(aside, "file/folder", stages)
            else:
                conflicts[aside] = replace(found, path=aside, kind="file/folder")


def _staged(ours: Mapping[str, Change], theirs: Mapping[str, Change]) -> dict[str, _Path]:
    """Every path that a side changed, with its stages."""
    paths = {}
    for path in sorted(ours.keys() | theirs.keys(), key=str.encode):
        here, there = ours.get(path), theirs.get(path)
        base = here.old if here is not None else there.old if there is not None else None
        paths[path] = _Path([base, base if here is None else here.new, base if there is None else there.new])
    return paths


def _conflict(
    path: str, kind: ConflictKind, stages: Iterable[TreeEntry | None], details: tuple[str, ...] = ()
) -> Conflict:
    base, ours, theirs = stages
    if base is not None and base.id == EMPTY_FILE:  # in a virtual base, for files that were never stored
        base = None
    return Conflict(path, kind, base, ours, theirs, details)


def _manifest(entry: TreeEntry) -> ManifestId:
    if not isinstance(entry.id, ManifestId):
        raise AssertionError("a folder's entry among files")
    return entry.id


def _folders(files: Iterable[str]) -> frozenset[str]:
    """The folders that hold files."""
    lowest = {path.rpartition("/")[0] for path in files} - {""}
    return frozenset(lowest.union(*map(folders_above, lowest)))


def _beside(path: str, label: str, side: int, taken: frozenset[str]) -> str:
    """A free path beside one, with the side's label; its number where the label makes no good name."""
    stem = f"{path}~{label.replace('/', '_')}"
    if path_fault(stem):
        stem = f"{path}~{'ours' if side == _OURS else 'theirs'}"
    candidate, number = stem, 0
    while candidate in taken:
        candidate, number = f"{stem}_{number}", number + 1
    return candidate
