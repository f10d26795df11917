"""What differs between two versions, or a version and the work tree: files, and the tensors in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mvc.describing import Describer
from mvc.errors import UnsupportedFeature
from mvc.fileio import storage_errors
from mvc.history.reader import ObjectReader, PartTable, Remembering, read_manifest
from mvc.history.revisions import resolve_commit
from mvc.history.tensordiff import SpanPair, diff_tensors, pair_moved_share
from mvc.history.treediff import Change, diff_trees, pair_renames
from mvc.ingest import measure_file
from mvc.objectid import ManifestId
from mvc.objects import Manifest, TreeEntry
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.paths import is_below
from mvc.repo import Repository, View
from mvc.spans import Span
from mvc.weighing import Weigher
from mvc.workspace import Workspace, files_of, locked
from mvc.worktree.compare import mode_of
from mvc.worktree.overlay import WorkFileReader

_AHEAD_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor that differs. ``kind`` is added, removed, reshaped or changed; ``moved`` the share, 0 to 1,
    of a changed tensor's elements whose bits differ (None for a strided view of more than 256 MiB)."""

    kind: str
    name: str
    old: Span | None
    new: Span | None
    moved: float | None = None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that differs. ``kind`` is added, removed, modified, mode or renamed; sizes are in bytes.
    ``same_weights`` is the old file (its own, or a removed one) whose tensors it holds in other bytes."""

    path: str
    kind: str
    old_path: str | None
    old: Manifest | None
    new: Manifest | None
    tensors: tuple[TensorChange, ...] = ()
    same_weights: str | None = None


def diff_versions(
    repository: Repository, view: View, old: str, new: str, paths: Sequence[str] = (), *, tensors: bool = True
) -> Iterator[FileChange]:
    """From one version to another, by path."""
    before = view.commit(resolve_commit(old, view.objects, view)).tree
    after = view.commit(resolve_commit(new, view.objects, view)).tree
    objects = Remembering(view.objects)
    changes = pair_renames(objects, diff_trees(objects, before, after))
    removed = {change.path: change.old for change in changes if change.old and not change.new}
    weigher = Weigher(repository, objects)
    for change in changes:
        if _wanted(change.path, paths) or (change.old_path is not None and _wanted(change.old_path, paths)):
            found = _file_change(view, objects, change, tensors)
            yield replace(found, same_weights=same_weights(weigher, change, removed)) if tensors else found


def diff_worktree(
    repository: Repository, old: str | None, paths: Sequence[str] = (), *, tensors: bool = True
) -> Iterator[FileChange]:
    """From a version (None: HEAD, or nothing before the first commit) to the work tree, by path."""
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        commit = view.head_commit() if old is None else resolve_commit(old, view.objects, view)
        before = files_of(view, commit)
        state = workspace.state(view, before, workspace.scan())
        workspace.remember(state.fresh)
        deleted = {path: before[path] for path in state.deleted}
        describer = Describer(workspace.io, workspace.root)
        for path in sorted({*state.added, *state.modified, *state.deleted}):
            if _wanted(path, paths):
                yield _work_change(workspace, view, describer, path, before.get(path), deleted, tensors)


def _wanted(path: str, paths: Sequence[str]) -> bool:
    return not paths or any(is_below(path, name) for name in paths)


def same_weights(weigher: Weigher, change: Change, removed: Mapping[str, TreeEntry]) -> str | None:
    """The old file whose weights a changed or added one holds in other bytes; None when there is none."""
    if change.new is None or change.same_content:
        return None
    return weigher.same_as(change.new, removed if change.old is None else {change.path: change.old})


def _file_change(view: View, objects: ObjectReader, change: Change, tensors: bool) -> FileChange:
    old, new = _manifest(objects, change.old), _manifest(objects, change.new)
    same = change.same_content
    rows = () if same or not tensors else tuple(_tensor_changes(objects, view.objects, old, new))
    return FileChange(change.path, change.kind, change.old_path, old, new, rows)


def _work_change(
    workspace: Workspace,
    view: View,
    describer: Describer,
    path: str,
    entry: TreeEntry | None,
    deleted: Mapping[str, TreeEntry],
    tensors: bool,
) -> FileChange:
    old = _manifest(view.objects, entry)
    file = workspace.scan((path,)).files.get(path)
    if file is None:
        rows = tuple(_tensor_changes(view.objects, view.objects, old, None)) if tensors else ()
        return FileChange(path, "removed", None, old, None, rows)
    place = workspace.root / path
    with storage_errors(f"cannot read {path}"):
        new = measure_file(workspace.io, place, path, workspace.monitor, describer=describer)
        if entry is not None and old is not None and old.same_file(new) and mode_of(file) != entry.mode:
            return FileChange(path, "mode", None, old, new)
        reader = WorkFileReader(workspace.io, place, new, view.objects)
        rows = tuple(_tensor_changes(reader, view.objects, old, new)) if tensors else ()
        alike = None
        if tensors:
            weigher = Weigher(workspace.repository, view.objects)
            candidates = deleted if entry is None else {path: entry}
            alike = weigher.work_file_same_as(describer, workspace.io, workspace.root, path, candidates)
    return FileChange(path, "added" if old is None else "modified", None, old, new, rows, alike)


def _manifest(objects: ObjectReader, entry: TreeEntry | None) -> Manifest | None:
    return None if entry is None else read_manifest(objects, ManifestId(entry.id))


def _moved(reader: ObjectReader, old: PartTable, new: PartTable, pair: SpanPair) -> float | None:
    """Share of elements that moved; None where a strided view is too large to compare."""
    try:
        return pair_moved_share(reader, old, new, pair)
    except UnsupportedFeature:
        return None


def _read_ahead(
    database: ObjectDatabase, old: PartTable, new: PartTable, pairs: Sequence[SpanPair]
) -> Iterator[SpanPair]:
    """The pairs. Small tensors are in the database's cache when their turn comes, read together: to look for
    each would take longer than to compare it."""
    batch: list[SpanPair] = []
    size = 0
    for pair in pairs:
        batch.append(pair)
        size += pair.old.length + pair.new.length
        if size >= _AHEAD_BYTES or pair is pairs[-1]:
            places = [(old, span.old) for span in batch] + [(new, span.new) for span in batch]
            parts = (piece.part for table, span in places for piece in table.pieces(span.offset, span.length))
            database.get_small(
                (part.blob for part in parts if part.blob and part.length <= SMALL_BYTES), keep=True
            )
            yield from batch
            batch, size = [], 0


def _tensor_changes(
    reader: ObjectReader, database: ObjectDatabase, old: Manifest | None, new: Manifest | None
) -> Iterator[TensorChange]:
    if old is None or new is None:
        for span in () if new is None else new.tensors:
            yield TensorChange("added", span.name, None, span)
        for span in () if old is None else old.tensors:
            yield TensorChange("removed", span.name, span, None)
        return
    found = diff_tensors(old, new)
    for span in found.removed:
        yield TensorChange("removed", span.name, span, None)
    for span in found.added:
        yield TensorChange("added", span.name, None, span)
    for pair in found.reshaped:
        yield TensorChange("reshaped", pair.new.name, pair.old, pair.new)
    before, after = PartTable(old), PartTable(new)
    for pair in _read_ahead(database, before, after, found.maybe_changed):
        moved = _moved(reader, before, after, pair)
        if moved != 0:
            yield TensorChange("changed", pair.new.name, pair.old, pair.new, moved)
