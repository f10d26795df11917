"""Files of the work tree that were only moved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mvc.errors import ObjectPurged
from mvc.fileio import FileIO
from mvc.objectid import ManifestId
from mvc.objects import Manifest, TreeEntry
from mvc.worktree.compare import ReadManifest, WorkState
from mvc.worktree.recheck import same_content


def renames(
    io: FileIO,
    root: Path,
    state: WorkState,
    version: Mapping[str, TreeEntry],
    read_manifest: ReadManifest,
) -> dict[str, str]:
    """New path to old path, for each new file whose bytes are those of a deleted one; of several equal ones
    that of the same name in another folder goes first. Only files of a deleted one's size are read.

    Raises:
        OSError: a file cannot be read.
    """
    if not (state.added and state.deleted):
        return {}
    gone: dict[int, dict[str, Manifest]] = {}
    for path in state.deleted:
        try:
            manifest = read_manifest(ManifestId(version[path].id))
        except ObjectPurged:
            continue  # there is nothing to compare with
        if manifest.size:
            gone.setdefault(manifest.size, {})[path] = manifest
    found: dict[str, str] = {}
    for path in state.added:
        among = gone.get(state.scan.files[path].stat.st_size, {})
        name = path.rpartition("/")[2]
        for old in sorted(among, key=lambda other: other.rpartition("/")[2] != name):
            if same_content(io, root / path, among[old]):
                found[path] = old
                del among[old]
                break
    return found
