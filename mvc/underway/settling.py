"""From a work tree with resolved conflicts to the files of the version that concludes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mvc.committing import Request
from mvc.history.merge3 import Conflict, Merged
from mvc.history.treediff import overlay
from mvc.objects import TreeEntry
from mvc.repo import Repository
from mvc.snapshot import WorkTreeJob
from mvc.transaction import Transaction
from mvc.underway.pending import Pending
from mvc.underway.unresolved import refuse_unresolved, unresolved
from mvc.workspace import Workspace, files_of_tree, refuse_names
from mvc.worktree.scan import ScanResult


@dataclass(frozen=True, slots=True)
class Settled:
    """``files`` are those of the version to be, ``work`` what the work tree has of them now; they differ
    where a strategy resolved what was in conflict. ``open`` is in conflict still."""

    job: WorkTreeJob
    files: Mapping[str, TreeEntry]
    work: Mapping[str, TreeEntry]
    open: tuple[Conflict, ...]


def settle(
    repository: Repository,
    workspace: Workspace,
    tx: Transaction,
    request: Request,
    pending: Pending,
    merge_again: Callable[[], Merged] | None,
) -> Settled:
    """Store the files that were in conflict as the user resolved them; all others are as the merge made them,
    so work that has nothing to do with it stays uncommitted.

    What nobody resolved is taken from ``merge_again``, which merges with other strategies.

    Raises:
        ConflictError: something is in conflict still, and there is no ``merge_again``.
    """
    view = tx.view
    if merge_again is None:
        refuse_unresolved(workspace, view, pending)
    left = files_of_tree(view, pending.tree)
    waiting = unresolved(workspace, view, pending)
    waits = {conflict.path for conflict in waiting}
    resolved = [conflict.path for conflict in pending.conflicts if conflict.path not in waits]
    found = workspace.scan(resolved) if resolved else ScanResult()
    refuse_names(found)
    job = WorkTreeJob(repository, workspace, tx, request, found)
    stored = job.store()
    work = overlay({path: entry for path, entry in left.items() if path not in resolved}, stored)
    if merge_again is None or not waiting:
        return Settled(job, work, work, ())
    merged = merge_again()
    chosen = {path: merged.files[path] for path in waits if path in merged.files}
    files = overlay({path: entry for path, entry in work.items() if path not in waits}, chosen)
    return Settled(job, files, work, tuple(item for item in merged.conflicts if item.path in waits))
