"""Merge another line of history into the current one."""

from __future__ import annotations

from dataclasses import replace

from mvc.committing import Request, redacted
from mvc.errors import UserError
from mvc.history.ancestry import merge_bases
from mvc.history.treediff import diff_trees
from mvc.objects import Person, Timestamp
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Update, begin
from mvc.underway.concluding import conclude, concluding_update, refuse_changed
from mvc.underway.merging import OURS, MergeKind, MergeRequest, MergeResult, merge
from mvc.underway.pending import PENDING
from mvc.underway.settling import settle
from mvc.underway.taking_back import TakenBack, expect_pending, take_back
from mvc.underway.threeway import Choice, Threeway
from mvc.view import View
from mvc.workspace import locked

__all__ = [
    "Choice",
    "MergeRequest",
    "MergeResult",
    "Request",
    "TakenBack",
    "abort",
    "conclude_merge",
    "merge",
]

_MERGED: MergeKind = "merged"
_IN_CONFLICT: MergeKind = "conflicts"


def conclude_merge(repository: Repository, request: Request, choice: Choice | None = None) -> MergeResult:
    """Make the version that concludes a merge whose conflicts are resolved.

    It has the files as the merge made them, and those that were in conflict as they are in the work tree;
    other uncommitted work stays uncommitted. With ``choice``, what nobody resolved is merged again with those
    strategies, and where they say nothing with those that the merge was begun with; a message, metrics and
    params of the request are added to those that it was begun with.

    Raises:
        ConflictError: something is in conflict still, and ``choice`` does not say what to do.
        UserError: no merge is under way.
    """
    request = redacted(request, repository.monitor)
    choice = choice or Choice()
    command = " ".join(["merge --continue", *choice.words()])
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, command, request.author, request.time) as tx,
    ):
        view = tx.view
        pending = expect_pending(view, "merge")
        ours, theirs = pending.ours, pending.theirs
        if theirs is None:
            raise UserError("the merge that is under way names no version", hint="mvc merge --abort")
        whole = choice.over(Choice.from_value(pending.options.get("choice")))
        strategies = whole.parse()
        threeway = Threeway(repository, tx, strategies, (OURS, str(pending.options.get("label", "theirs"))))
        again = (lambda: threeway.commits(ours, theirs)) if choice else None
        settled = settle(repository, workspace, tx, request, pending, again)
        if choice and pending.merge is not None:
            pending = replace(
                pending,
                merge={**pending.merge, **strategies.to_value()},
                options={**pending.options, "choice": whole.to_value()},
            )
        tree = settled.job.tree(view, ours, settled.files)
        changes = tuple(diff_trees(view.objects, view.commit(ours).tree, tree))
        if settled.open:
            rest = replace(pending, tree=tree, conflicts=settled.open)
            value = rest.store(threeway.put, request.time)
            commit, kind = ours, _IN_CONFLICT

            def build(now: View) -> Update:
                refuse_changed(now, view, pending)
                return Update(refs={PENDING: value})
        else:
            made = conclude(settled.job, tx, request, pending, settled.files)
            commit, kind = made.id, _MERGED

            def build(now: View) -> Update:
                return concluding_update(now, tx, made, pending, request.time)

        written, removed = switch(
            workspace,
            tx,
            settled.files,
            build,
            force=bool(choice),
            everything=False,
            version=settled.work,
        )
        settled.job.finder.save()
        threeway.save()
        return MergeResult(
            kind,
            theirs,
            commit,
            view.branch(),
            tuple(merge_bases(view.objects, ours, theirs)),
            changes,
            settled.open,
            written,
            removed,
        )


def abort(repository: Repository, who: Person, now: Timestamp) -> TakenBack:
    """Take back a merge that is under way; see :func:`mvc.underway.taking_back.take_back`."""
    return take_back(repository, "merge", who, now)
