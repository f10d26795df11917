"""Which conflicts of what is under way nobody has resolved yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mvc.errors import ConflictError
from mvc.fileio import FileIO, storage_errors
from mvc.history.merge3 import Conflict
from mvc.history.reader import read_manifest
from mvc.history.text_merge import has_markers
from mvc.objectid import ManifestId
from mvc.objects import TreeEntry
from mvc.paths import shown
from mvc.underway.pending import Pending
from mvc.view import View
from mvc.workspace import Workspace, files_of_tree

_AT_ONCE = 1 << 20


def unresolved(workspace: Workspace, view: View, pending: Pending) -> tuple[Conflict, ...]:
    """Conflicts whose files are as the merge left them, or still have lines that begin with a marker.

    A file counts as resolved when it was changed or removed, or when ``restore`` chose a side. A change back
    and forth is none: to keep what the merge left one chooses the side that it is.
    """
    if not pending.conflicts:
        return ()
    paths = [conflict.path for conflict in pending.conflicts]
    left = files_of_tree(view, pending.tree)
    there = {path: left[path] for path in paths if path in left}
    state = workspace.state(view, there, workspace.scan(paths))
    touched = {*state.added, *state.modified, *state.deleted}
    return tuple(
        conflict
        for conflict in pending.conflicts
        if conflict.path not in touched
        or (
            _may_have_markers(view, conflict, left.get(conflict.path))
            and _has_markers(workspace, conflict.path)
        )
    )


def refuse_unresolved(workspace: Workspace, view: View, pending: Pending) -> None:
    """Refuse to conclude what is not resolved.

    Raises:
        ConflictError: with the list of files.
    """
    found = unresolved(workspace, view, pending)
    if found:
        raise ConflictError(
            f"{len(found)} in conflict: {', '.join(shown(conflict.path) for conflict in found)}",
            hint="edit or replace each, or choose: mvc restore --ours|--theirs PATH; "
            f"mvc {pending.kind} --abort takes all back",
        )


def _may_have_markers(view: View, conflict: Conflict, left: TreeEntry | None) -> bool:
    """Whether the merge made a text of both sides."""
    if left is None or any(
        side is not None and side.id == left.id for side in (conflict.ours, conflict.theirs)
    ):
        return False
    return not read_manifest(view.objects, ManifestId(left.id)).tensors


def _has_markers(workspace: Workspace, path: str) -> bool:
    with storage_errors(f"cannot read {shown(path)}"):
        try:
            return has_markers(_pieces(workspace.io, workspace.root / path))
        except FileNotFoundError:
            return False


def _pieces(io: FileIO, place: Path) -> Iterator[bytes]:
    fd = io.open_read(place)
    try:
        size, at = io.stat_handle(fd).st_size, 0
        while at < size and (data := io.read_at(fd, min(_AT_ONCE, size - at), at)):
            yield data
            at += len(data)
    finally:
        io.close(fd)
