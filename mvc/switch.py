"""Changes the work tree and the repository together: both, or neither."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from stat import S_ISREG, S_IXUSR

from mvc.bases import BaseFinder, SketchStore, no_bases
from mvc.describing import Describer
from mvc.errors import LeaseLost, MvcError, ObjectPurged, RefMoved, StorageError
from mvc.fileio import storage_errors
from mvc.history.treediff import build_tree, overlay
from mvc.ingest import ingest_file
from mvc.objectid import TreeId
from mvc.objects import EXECUTABLE, FILE, Tree, TreeEntry
from mvc.paths import is_below, shown
from mvc.placing import place, remember_placed
from mvc.tombstones import purged_error
from mvc.transaction import Transaction, Update
from mvc.view import View
from mvc.workspace import Workspace, files_left, without_purged
from mvc.worktree.apply import Applied
from mvc.worktree.compare import WorkState, mode_of
from mvc.worktree.transition import plan, refuse_losses


def switch(
    workspace: Workspace,
    tx: Transaction,
    target: Mapping[str, TreeEntry],
    build: Callable[[View], Update],
    *,
    force: bool | None,
    everything: bool,
    partial: bool = False,
    version: Mapping[str, TreeEntry] | None = None,
    clean: Collection[str] = (),
    asked: Sequence[str] = (),
) -> tuple[int, int]:
    """Bring the work tree to ``target`` and publish an update; returns files written and removed.

    ``build`` gives the update for the state as it is then, and refuses what does not go with ``target`` any
    more; it is asked before the work tree is touched, and at each try to publish. With ``everything``, local
    changes to files that are equal in both versions are taken back too. If ``partial``, only the paths of
    ``target`` are touched, compared with the work tree itself whatever HEAD has. ``version`` is what the work
    tree was made from, where that is not HEAD's. What ``force`` overwrites is stored first, so that ``undo``
    brings it back; None is for callers that offer no such choice. The paths of ``clean`` must hold no
    uncommitted work, even if they are not touched. Files that need not lie in the work tree and do not
    (:mod:`mvc.worktree.sparse`) stay out, but for what lies at or below the paths of ``asked``.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set; or work was written while
            this ran.
        RefMoved: HEAD was moved meanwhile.
        ObjectPurged: nothing of ``target`` is left; single files that were purged are left out, and told.
    """
    view = tx.view
    build(view)
    target = _had(workspace, view, target)
    version = files_left(view, view.head_commit()) if version is None else version
    # a purged file counts as no version's: what lies at its path is left alone
    current, _gone = without_purged(view, version)
    found = workspace.scan()
    current = {path: entry for path, entry in current.items() if not workspace.left_out(found, path)}
    target = {
        path: entry
        for path, entry in target.items()
        if not workspace.left_out(found, path) or any(is_below(path, name) for name in asked)
    }
    state = workspace.state(view, current, found)
    with storage_errors("cannot read the work tree"):
        result = plan(
            workspace.io,
            workspace.root,
            state,
            current,
            target,
            view.manifests.manifest,
            everything=everything,
            partial=partial,
        )
    dirty = {*state.added, *state.modified}
    refuse_losses(sorted({*result.lost, *dirty.intersection(clean)}), force=force)
    touched = {path for path in {*current, *target} if current.get(path) != target.get(path)}
    if partial:
        touched.intersection_update(target)
    touched.update(result.write, result.remove)
    saved = _saved(workspace, tx, result.lost, state)
    trees: tuple[TreeId, TreeId] | None = None
    try:
        before = _tree(
            tx, current, {path: _present_entry(path, current, target, state, saved) for path in touched}
        )
        trees = before, _tree(tx, current, {path: target.get(path) for path in touched})
    except ObjectPurged as error:
        # just this list of files is one that was purged: that must not keep anybody in it
        workspace.monitor.warn(f"{error.message}; 'mvc undo' will not bring the work tree back")

    def update(now: View) -> Update:
        _refuse_moved_head(view, now)
        return build(now)

    if not result.write and not result.remove and (trees is None or trees[0] == trees[1]):
        tx.publish(update)
        return 0, 0
    placed = place(workspace, view, result, tx.token, {*target, *state.scan.files}.difference(result.remove))
    applied = placed.applied
    try:
        tx.publish(lambda now: replace(update(now), worktree=trees))
    except BaseException as error:
        _settle(tx, applied, error)
        raise
    try:
        _finish(tx, applied)
    except (StorageError, LeaseLost) as error:
        # done and durable; the journal that stays tells the next command so
        workspace.monitor.warn(f"{error.message}; the next command tidies up")
        return len(result.write), len(result.remove)
    remember_placed(workspace, result, placed, state.fresh)
    return len(result.write), len(result.remove)


def _had(workspace: Workspace, view: View, target: Mapping[str, TreeEntry]) -> dict[str, TreeEntry]:
    """What can be had of a version's files; those that were purged are told."""
    files, gone = without_purged(view, target)
    for path, purge in gone.items():
        workspace.monitor.warn(f"{shown(path)} is left out: it was purged {purge.told}")
    if gone and not files:
        raise purged_error("every file that is asked for", next(iter(gone.values())))
    return files


def _present_entry(
    path: str,
    current: Mapping[str, TreeEntry],
    target: Mapping[str, TreeEntry],
    state: WorkState,
    saved: Mapping[str, TreeEntry | None],
) -> TreeEntry | None:
    """What lies in the work tree at a path before it is switched, so that ``undo`` can bring back just
    that."""
    if path in saved:
        return saved[path]
    if path in state.deleted:
        return None
    if path in state.modified or path in state.added:
        return target.get(path)  # uncommitted, yet not lost: it is what the target has
    return current.get(path)


def _finish(tx: Transaction, applied: Applied) -> None:
    try:
        tx.check_alive()
    except MvcError:
        applied.abandon()  # others have settled it by now, or will
        raise
    applied.finish()


def _settle(tx: Transaction, applied: Applied, error: BaseException) -> None:
    """After a failure: a swap that failed may have taken place all the same; root decides, as it does after
    a crash. Who was taken for dead leaves it to those who did."""
    try:
        tx.check_alive()
        published = tx.is_published()
    except MvcError as second:
        error.add_note(f"it cannot be settled now ({second}); the next mvc command settles the work tree")
        applied.abandon()
        return
    if published:
        applied.finish()
    else:
        applied.rollback()


def _refuse_moved_head(planned: View, now: View) -> None:
    """Refuse to swap root when HEAD is no longer what the work tree was planned from."""
    if now.root.head != planned.root.head or now.head_commit() != planned.head_commit():
        raise RefMoved("HEAD was moved by another command", hint="run this one again")


def _saved(
    workspace: Workspace, tx: Transaction, lost: list[str], state: WorkState
) -> dict[str, TreeEntry | None]:
    """Store uncommitted content that is about to be overwritten; returns its entries."""
    finder = BaseFinder(tx.writer.database, SketchStore(workspace.io, workspace.repository.store), no_bases)
    describer = Describer(workspace.io, workspace.root)
    saved: dict[str, TreeEntry | None] = {}
    for path in lost:
        file = state.scan.files.get(path)
        place = workspace.root / (path if file is None else file.link_target or path)
        with storage_errors(f"cannot store {shown(path)}"):
            seen = workspace.io.stat(place) if file is None else file.stat
            if not S_ISREG(seen.st_mode):
                # a link, FIFO or device is not content, and what it leads to is not ours to read
                workspace.monitor.warn(f"{shown(path)} is no plain file; 'mvc undo' will not bring it back")
                saved[path] = None
                continue
            try:
                done = ingest_file(
                    workspace.io,
                    place,
                    path,
                    tx.writer,
                    finder,
                    workspace.monitor,
                    describer=describer,
                    seen=seen,
                    beneath=workspace.root,
                )
            except ObjectPurged as error:
                workspace.monitor.warn(f"{shown(path)}: {error.message}; 'mvc undo' will not bring it back")
                saved[path] = None
                continue
        saved[path] = TreeEntry(
            path.rsplit("/", 1)[-1], _mode_of_status(seen) if file is None else mode_of(file), done.id
        )
    return saved


def _mode_of_status(status: os.stat_result) -> int:
    """The mode of a file that the scan leaves out, since it is ignored."""
    return EXECUTABLE if status.st_mode & S_IXUSR else FILE


def _tree(tx: Transaction, files: Mapping[str, TreeEntry], edits: Mapping[str, TreeEntry | None]) -> TreeId:
    edited = {path: entry for path, entry in edits.items() if entry is not None}
    merged = overlay({path: entry for path, entry in files.items() if path not in edits}, edited)

    def put(tree: Tree) -> TreeId:
        return tx.writer.put(TreeId, tree.to_bytes())

    return build_tree(merged, put)
