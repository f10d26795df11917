"""From the work tree as it is to a version: what must be written and removed, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR

from mvc.errors import WouldOverwrite
from mvc.fileio import FileIO
from mvc.objectid import ManifestId
from mvc.objects import EXECUTABLE, Manifest, TreeEntry
from mvc.worktree.apply import Placement
from mvc.worktree.compare import ReadManifest, WorkState
from mvc.worktree.journal import Seen
from mvc.worktree.placements import folders_above
from mvc.worktree.recheck import same_content

Fill = Callable[[int, Path, str, Manifest], None]
"""Gives an open, empty file (handle, its path, the path that it is to get) a manifest's bytes."""


@dataclass(slots=True)
class Plan:
    """``write`` maps paths to what they become, ``remove`` lists files that go; ``lost`` are paths whose
    uncommitted content either of them would destroy. ``seen`` has the files that were at these paths, and
    ``old`` the manifests of those among them that are known."""

    write: dict[str, TreeEntry] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    old: dict[str, ManifestId] = field(default_factory=dict)


def plan(
    io: FileIO,
    root: Path,
    state: WorkState,
    current: Mapping[str, TreeEntry],
    target: Mapping[str, TreeEntry],
    read_manifest: ReadManifest,
    *,
    everything: bool,
    partial: bool = False,
) -> Plan:
    """What leads from the work tree to ``target``.

    ``state`` compares the work tree with ``current``. A path that is equal in both versions is left alone,
    with what the user did to it, unless ``everything`` is set. Files that neither version has are never
    touched. If ``partial``, only the paths of ``target`` are, and whatever ``current`` has there, they are
    compared with the work tree itself.
    """
    result = Plan()
    dirty = {*state.added, *state.modified}
    for path in sorted(target if partial else {*current, *target}):
        old, new = current.get(path), target.get(path)
        wanted = partial or (everything and (path in dirty or path in state.deleted))
        if old == new and not wanted:
            continue
        there = _look(io, root, path, state)
        if new is not None and there is not None and _is(io, root, path, new, state, read_manifest):
            continue
        if new is None and there is None:
            continue
        if there is not None:
            result.seen[path] = there
            if path in dirty or path not in state.scan.files:
                result.lost.append(path)
        if new is None:
            result.remove.append(path)
        else:
            result.write[path] = new
            if there is not None and path in state.certain:
                result.old[path] = state.certain[path]
    _clear_the_way(state, result)
    return result


def _clear_the_way(state: WorkState, result: Plan) -> None:
    """Files that nobody tracks and that stand where a folder must be, or in a folder that must be a file,
    have to go: they are lost, unless they are stored first."""
    if not result.write:
        return
    gone = set(result.remove)
    folders = {name for path in result.write for name in folders_above(path)}
    for path in state.added:
        blocks = path in folders or not result.write.keys().isdisjoint(folders_above(path))
        if blocks and path not in gone and path not in result.write:
            result.remove.append(path)
            result.lost.append(path)
            result.seen[path] = state.scan.files[path].seen


def _look(io: FileIO, root: Path, path: str, state: WorkState) -> Seen | None:
    """The file at a path, as it was before its content was compared; None if there is none."""
    if path in state.scan.files:
        return state.scan.files[path].seen
    try:
        # an ignored file is not in the scan, yet it must not be overwritten unseen
        status = io.stat(root / path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if S_ISDIR(status.st_mode) else Seen.of(status)


def _is(
    io: FileIO, root: Path, path: str, entry: TreeEntry, state: WorkState, read_manifest: ReadManifest
) -> bool:
    file = state.scan.files.get(path)
    if file is None or file.link_target is not None or file.executable != (entry.mode == EXECUTABLE):
        return False
    known = state.certain.get(path)
    if known is not None:
        return known == entry.id
    return same_content(io, root / path, read_manifest(ManifestId(entry.id)))


def refuse_losses(lost: list[str], *, force: bool | None) -> None:
    """Refuse to destroy uncommitted work. ``force`` is None where there is nothing to force it with.

    Raises:
        WouldOverwrite: there is some, and ``force`` is not set.
    """
    if lost and not force:
        names = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        forced = "use force (--force, force=True): 'mvc undo' still brings it back"
        raise WouldOverwrite(
            f"uncommitted work would be lost: {names}",
            hint=f"commit it first, or {'move it out of the way' if force is None else forced}",
        )


def write_files(
    io: FileIO,
    new_temporary: Callable[[], Path],
    result: Plan,
    read_manifest: ReadManifest,
    fill: Fill,
) -> list[Placement]:
    """Write every new file under a temporary name, durable; all of them go again if one fails."""
    placements = [Placement(path, None, False, result.seen.get(path)) for path in result.remove]
    try:
        for path, entry in result.write.items():
            temporary = new_temporary()
            executable = entry.mode == EXECUTABLE
            fd = io.create(temporary, 0o777 if executable else 0o666)
            placements.append(Placement(path, temporary, executable, result.seen.get(path)))
            try:
                fill(fd, temporary, path, read_manifest(ManifestId(entry.id)))
                io.sync(fd)
            finally:
                io.close(fd)
    except BaseException:
        discard(io, placements)
        raise
    return placements


def discard(io: FileIO, placements: list[Placement]) -> None:
    """Remove temporary files that are not going to be used."""
    for placement in placements:
        if placement.temporary is not None:
            try:
                io.unlink(placement.temporary)
            except OSError:
                continue  # what cannot be removed now is swept later; the first failure is the one to report
