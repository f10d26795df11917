"""Changes the work tree and the repository together: both, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mvc.bases import BaseFinder, no_bases
from mvc.errors import MvcError, RefMoved
from mvc.fileio import storage_errors
from mvc.history.treediff import build_tree
from mvc.ingest import ingest_file
from mvc.objectid import TreeId
from mvc.objects import Tree, TreeEntry
from mvc.repo import View
from mvc.transaction import Transaction, Update
from mvc.workspace import Workspace, files_of, manifest_reader
from mvc.worktree.apply import Applied
from mvc.worktree.compare import WorkState, mode_of
from mvc.worktree.transition import Plan, plan, refuse_losses


def switch(
    workspace: Workspace,
    tx: Transaction,
    target: Mapping[str, TreeEntry],
    update: Update,
    *,
    force: bool,
    everything: bool,
    only: frozenset[str] | None = None,
    version: Mapping[str, TreeEntry] | None = None,
) -> tuple[int, int]:
    """Bring the work tree to ``target`` and publish ``update``; returns files written and removed.

    With ``everything``, local changes to files that are equal in both versions are taken back too. ``only``
    limits what is touched; those paths are compared with the work tree itself, whatever HEAD has. What
    ``force`` overwrites is stored first, so that ``undo`` brings it back.

    Raises:
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
    """
    view = tx.view
    read_manifest = manifest_reader(view.objects)
    current = dict(files_of(view, view.head_commit()) if version is None else version)
    state = workspace.state(view, current, workspace.scan())
    with storage_errors("cannot read the work tree"):
        result = plan(
            workspace.io,
            workspace.root,
            state,
            _without(current, only),
            target,
            read_manifest,
            everything=everything,
        )
    if only is not None:
        result = Plan(
            {p: e for p, e in result.write.items() if p in only}, [], [p for p in result.lost if p in only]
        )
    refuse_losses(result.lost, force=force)
    gone: dict[str, TreeEntry | None] = {path: None for path in state.deleted if path in result.write}
    before = _tree(tx, current, {**_saved(workspace, tx, result.lost, state), **gone})
    after = _tree(tx, current, {path: result.write.get(path) for path in {*result.write, *result.remove}})
    if before == after and not result.write and not result.remove:
        tx.publish(lambda now: _still(view, now, update))
        return 0, 0
    placed = workspace.place(view, result, tx.token)
    applied = placed.applied
    try:
        tx.publish(lambda now: _still(view, now, replace(update, worktree=(before, after))))
    except BaseException as error:
        _settle(tx, applied, error)
        raise
    applied.finish()
    workspace.remember_placed(result, placed, state.fresh)
    return len(result.write), len(result.remove)


def _settle(tx: Transaction, applied: Applied, error: BaseException) -> None:
    """After a failure: a swap that failed may have taken place all the same; root decides, as it does after
    a crash."""
    try:
        published = tx.is_published()
    except MvcError as second:
        error.add_note(f"root cannot be read ({second}); the next mvc command settles the work tree")
        applied.abandon()
        return
    if published:
        applied.finish()
    else:
        applied.rollback()


def _without(current: dict[str, TreeEntry], only: frozenset[str] | None) -> dict[str, TreeEntry]:
    """HEAD's files, less those that are wanted from another version: so they count as different."""
    return current if only is None else {path: entry for path, entry in current.items() if path not in only}


def _still(planned: View, now: View, update: Update) -> Update:
    """Refuse to swap root when HEAD is no longer what the work tree was planned from."""
    if now.root.head != planned.root.head or now.head_commit() != planned.head_commit():
        raise RefMoved("HEAD was moved by another command", hint="run this one again")
    return update


def _saved(
    workspace: Workspace, tx: Transaction, lost: list[str], state: WorkState
) -> dict[str, TreeEntry | None]:
    """Store uncommitted content that is about to be overwritten; returns its entries."""
    finder = BaseFinder(tx.view.objects, no_bases)
    saved: dict[str, TreeEntry | None] = {}
    for path in lost:
        with storage_errors(f"cannot store {path}"):
            done = ingest_file(
                workspace.io, workspace.root / path, path, tx.writer, finder, workspace.monitor
            )
        file = state.scan.files.get(path)
        saved[path] = TreeEntry(path.rsplit("/", 1)[-1], 0 if file is None else mode_of(file), done.id)
    return saved


def _tree(tx: Transaction, files: Mapping[str, TreeEntry], edits: Mapping[str, TreeEntry | None]) -> TreeId:
    merged = {**files, **edits}

    def put(tree: Tree) -> TreeId:
        return tx.writer.put(TreeId, tree.to_bytes())

    return build_tree({path: entry for path, entry in merged.items() if entry is not None}, put)
