"""Writes a plan's files and puts them in place, and remembers what was written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mvc.errors import DamageError, ObjectPurged, StorageError, damage_in
from mvc.fileio import storage_errors
from mvc.filling import Filler
from mvc.objectid import ManifestId, ObjectId
from mvc.objects import Manifest
from mvc.odb.database import AHEAD_BYTES
from mvc.paths import collisions, shown
from mvc.reuse import open_old
from mvc.store import exists
from mvc.view import View
from mvc.workspace import Workspace
from mvc.worktree.apply import Applied, apply
from mvc.worktree.compare import index_entry
from mvc.worktree.index import IndexEntry, Moment
from mvc.worktree.placements import folders_above
from mvc.worktree.scan import scan
from mvc.worktree.transition import Plan, discard, write_files

_SMALL_FILE = 1 << 20


class Placed(NamedTuple):
    """Files in place that can still be taken back; ``written`` maps paths to size and mtime as they were
    written."""

    applied: Applied
    written: dict[str, tuple[int, int]]


def place(workspace: Workspace, view: View, plan: Plan, token: bytes, names: Iterable[str]) -> Placed:
    """Write a plan's files and put them in place; the caller finishes or rolls back.

    ``token`` is what :func:`mvc.workspace.locked` will look for to know, after a crash, whether the change
    was committed. ``names`` are the files that the work tree is to hold then, to find those that this file
    system cannot hold side by side.

    Raises:
        WouldOverwrite: a file is not the one that the plan saw.
        InvalidPath: names that do not go together here.
        StorageError: the disk refused.
    """
    repository, io, monitor = workspace.repository, workspace.io, workspace.monitor
    with storage_errors("cannot write the work tree"):
        read_manifest = view.manifests.manifest
        monitor.start("write", sum(read_manifest(ManifestId(e.id)).size for e in plan.write.values()))
        filler = Filler(io, view.objects, monitor)

        view.objects.prefetch(_small_pieces(map(read_manifest, _manifests(plan))))

        def fill(fd: int, temporary: Path, path: str, manifest: Manifest) -> None:
            with (
                damage_in(shown(path)),
                open_old(io, workspace.root / path, _old_manifest(view, plan, path)) as old,
            ):
                filler.fill(fd, temporary, manifest, old)

        placements = write_files(io, repository.temporary.new, plan, read_manifest, fill)
        monitor.finish()
        new = {item.path: io.stat(item.temporary) for item in placements if item.temporary is not None}
        written = {path: (status.st_size, status.st_mtime_ns) for path, status in new.items()}
        if written:
            _after(workspace, max(mtime for _size, mtime in written.values()))
        groups = _groups(names, plan)
        try:
            repository.locks.check()
            applied = apply(io, workspace.root, repository.store, placements, token, groups, repository.locks)
        except BaseException:
            # gigabytes that would stay until the next command sweeps; a journal that is left needs them
            if not exists(io, repository.store / "journal"):
                discard(io, placements)
            raise
        return Placed(applied, written)


def remember_placed(
    workspace: Workspace, plan: Plan, placed: Placed, others: Mapping[str, IndexEntry]
) -> None:
    """Store what is known after :func:`place`: ``others``, and the new files as far as nobody wrote to them
    since. It is derived: a command that did its work must not fail for it."""
    try:
        with storage_errors("cannot write the index"):
            _remember_placed(workspace, plan, placed, others)
    except StorageError as error:
        workspace.monitor.warn(f"{error.message}; the next command reads the files again")


def _remember_placed(
    workspace: Workspace, plan: Plan, placed: Placed, others: Mapping[str, IndexEntry]
) -> None:
    gone = {*plan.write, *plan.remove}
    entries = {path: entry for path, entry in others.items() if path not in gone}
    if not plan.write:
        workspace.remember(entries)
        return
    # only what was changed last in an earlier tick of the clock can be told from a later change
    before = _after(workspace, workspace.moment().time_ns)
    found = scan(workspace.io, workspace.root, only=tuple(plan.write))
    for path, entry in plan.write.items():
        file = found.files.get(path)
        if file is not None and (file.stat.st_size, file.stat.st_mtime_ns) == placed.written[path]:
            entries[path] = index_entry(file, ManifestId(entry.id))
    workspace.store(entries, before)


def _groups(names: Iterable[str], plan: Plan) -> list[list[str]]:
    """Names that some file systems cannot hold side by side, as far as the plan brings one of them."""
    coming = {name for path in plan.write for name in (path, *folders_above(path))}
    return [group for group in collisions({*names, *plan.write}) if not coming.isdisjoint(group)]


def _manifests(plan: Plan) -> Iterator[ManifestId]:
    return (ManifestId(entry.id) for entry in plan.write.values())


def _small_pieces(manifests: Iterable[Manifest]) -> Iterator[ObjectId]:
    """The pieces of small files, which are fetched together where they lie elsewhere; large ones are fetched
    as they are filled."""
    left = AHEAD_BYTES
    for manifest in manifests:
        if manifest.size <= min(_SMALL_FILE, left):
            left -= manifest.size
            yield from (part.blob for part in manifest.parts if part.blob is not None)


def _old_manifest(view: View, plan: Plan, path: str) -> Manifest | None:
    """The manifest of the file that is to be replaced, where it is known and can be read."""
    identity = plan.old.get(path)
    if identity is None:
        return None
    try:
        return view.manifests.manifest(identity)
    except (DamageError, ObjectPurged):
        return None  # damage in the version that goes must not keep the other one from coming


def _after(workspace: Workspace, time_ns: int) -> Moment:
    """The file system's time once it is later than ``time_ns``; on a coarse clock whatever it is after
    20 ms."""
    for _ in range(10):
        moment = workspace.moment()
        if moment.time_ns > time_ns:
            break
        time.sleep(0.002)
    return moment
