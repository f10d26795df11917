"""The work tree against a version: what was added, modified, deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mvc.errors import ObjectPurged
from mvc.fileio import FileIO
from mvc.objectid import ManifestId
from mvc.objects import EXECUTABLE, FILE, Manifest, TreeEntry
from mvc.paths import is_below
from mvc.worktree.index import IndexEntry, StatCache, StatKey
from mvc.worktree.recheck import same_content
from mvc.worktree.scan import ScanResult, WorkFile

ReadManifest = Callable[[ManifestId], Manifest]


@dataclass(slots=True)
class WorkState:
    """How the work tree differs from a version.

    ``certain`` maps paths to the manifest that they are known to have now; ``fresh`` holds the stat cache
    entries that were found true, to be stored.
    """

    scan: ScanResult
    added: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    certain: dict[str, ManifestId] = field(default_factory=dict)
    fresh: dict[str, IndexEntry] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether a commit would find nothing new."""
        return not (self.added or self.modified or self.deleted)


def mode_of(file: WorkFile) -> int:
    """The mode that a tree entry of this work file has."""
    return EXECUTABLE if file.executable else FILE


def index_entry(file: WorkFile, manifest: ManifestId) -> IndexEntry:
    """What the stat cache is to remember of a work file."""
    return IndexEntry(StatKey.of(file.stat), file.executable, bytes(manifest))


def compare(
    io: FileIO,
    root: Path,
    scan: ScanResult,
    cache: StatCache,
    version: Mapping[str, TreeEntry],
    read_manifest: ReadManifest,
) -> WorkState:
    """Compare scanned files with a version's files (flat, by path).

    What the stat cache is certain of is not read; the rest is compared piece by piece.
    """
    state = WorkState(scan)
    for path, file in scan.files.items():
        entry = version.get(path)
        known = cache.get(path, file.stat)
        identity = None if known is None else ManifestId(known)
        if entry is None:
            state.added.append(path)
        else:
            identity = _current(io, root, file, entry, identity, read_manifest)
            if identity != entry.id or mode_of(file) != entry.mode:
                state.modified.append(path)
        if identity is not None:
            state.certain[path] = identity
            state.fresh[path] = index_entry(file, identity)
    state.deleted = [path for path in version if path not in scan.files and not was_skipped(scan, path)]
    return state


def was_skipped(scan: ScanResult, path: str) -> bool:
    """Whether a path could not be looked at: it, or a folder above it, is unreadable or no plain file."""
    return any(is_below(path, name) for name, _why in scan.skipped)


def _current(
    io: FileIO,
    root: Path,
    file: WorkFile,
    entry: TreeEntry,
    known: ManifestId | None,
    read_manifest: ReadManifest,
) -> ManifestId | None:
    """The manifest of a work file's content now, where that can be told without storing it."""
    committed = ManifestId(entry.id)
    if known == committed:
        return known
    try:
        manifest = read_manifest(committed)
    except ObjectPurged:
        return known  # there is nothing to compare with: another file, as far as anybody can tell
    if manifest.size != file.stat.st_size:
        return known
    if known is not None:
        # scanners differ between versions of mvc: another manifest may describe the same bytes
        return committed if read_manifest(known).same_file(manifest) else known
    return committed if same_content(io, root / file.path, manifest) else None
