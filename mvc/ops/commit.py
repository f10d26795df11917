"""Snapshot the work tree as a new version."""

from __future__ import annotations

import time as clock

from mvc.committing import Committed, Request, command_of, join_packs, redacted
from mvc.errors import ConflictError
from mvc.paths import shown
from mvc.repo import Repository
from mvc.snapshot import WorkTreeJob
from mvc.transaction import begin
from mvc.underway.concluding import conclude, concluding_update
from mvc.underway.pending import Pending, how_on, read_pending
from mvc.underway.unresolved import refuse_unresolved
from mvc.workspace import files_of_tree, locked, refuse_names

__all__ = ["Committed", "Request", "commit"]


def commit(repository: Repository, request: Request) -> Committed:
    """Store the work tree's files and move the current branch to a commit of them.

    Where a merge, cherry-pick or revert is under way, that commit concludes it: with its parents and, unless
    the request has one, its message.

    Raises:
        AnswerIsNo: nothing changed, and ``allow_empty`` is not set.
        ConflictError: what is under way has conflicts that are not resolved, or goes neither with an
            amendment nor with a part of the work tree.
        InvalidPath: names that no version may hold; nothing is stored.
        FileChanged: a file kept changing while it was read.
    """
    began = clock.perf_counter()
    request = redacted(request, repository.monitor)
    with locked(repository, exclusive=False) as workspace:
        # as the walk names them: without a slash at the end, and nothing for the top
        found = workspace.scan(["" if path == "." else path.rstrip("/") for path in request.paths])
        refuse_names(found)
        with begin(repository, command_of(request), request.author, request.time) as tx:
            pending = read_pending(tx.view)
            job = WorkTreeJob(repository, workspace, tx, request, found)
            if pending is None:
                files = job.store()
                tx.publish(lambda view: job.update(view, files))
            else:
                _refuse_parts(request, pending)
                refuse_unresolved(workspace, tx.view, pending)
                made = conclude(
                    job, tx, request, pending, job.kept(files_of_tree(tx.view, pending.tree), job.store())
                )
                tx.publish(lambda view: concluding_update(view, tx, made, pending, request.time))
            committed = job.result(began)
            job.finder.save()
        workspace.remember(job.fresh if not request.paths else {**workspace.cache.entries, **job.fresh})
    join_packs(repository)
    return committed


def _refuse_parts(request: Request, pending: Pending) -> None:
    if pending.theirs is None:
        raise ConflictError(
            f"a {pending.kind} of several versions is under way, and waits to go on", hint=how_on(pending)
        )
    if request.paths:
        raise ConflictError(
            f"a {pending.kind} is under way, so {shown(request.paths[0])} cannot be committed alone",
            hint=how_on(pending),
        )
    if request.amend:
        raise ConflictError(f"a {pending.kind} is under way, so nothing can be amended", hint=how_on(pending))
