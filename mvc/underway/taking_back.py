"""Takes back what is under way: ``--abort`` of ``merge``, ``cherry-pick`` and ``revert``."""

from __future__ import annotations

from dataclasses import dataclass

from mvc.errors import UserError
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.switch import switch
from mvc.transaction import Update, begin
from mvc.underway.concluding import refuse_changed
from mvc.underway.pending import PENDING, Kind, Pending, before_abort, read_pending
from mvc.view import View
from mvc.workspace import files_of, files_of_tree, locked


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Where HEAD is again, and how many files were written and removed."""

    commit: CommitId | None
    written: int
    removed: int


def take_back(repository: Repository, kind: Kind, who: Person, now: Timestamp) -> TakenBack:
    """Make HEAD and the files that were touched what they were before; other uncommitted work stays.

    Where HEAD was moved since it began (by an undo, say), it stays, and the files become those that it has.

    Raises:
        UserError: nothing of that kind is under way.
    """
    with (
        locked(repository, exclusive=True) as workspace,
        begin(repository, f"{kind} --abort", who, now) as tx,
    ):
        view = tx.view
        pending = expect_pending(view, kind)
        here = view.head_commit()
        start = (pending.start or pending.ours) if here == pending.ours else here
        target = files_of(view, start)

        def build(now_view: View) -> Update:
            refuse_changed(now_view, view, pending if here == pending.ours else None)
            if start is None or start == here:
                return Update(refs={PENDING: None})
            if isinstance(now_view.head, str):
                return Update(refs={PENDING: None, now_view.head: encode_target(start)})
            return Update(refs={PENDING: None}, head=start)

        done = switch(
            workspace,
            tx,
            target,
            build,
            force=True,
            everything=False,
            version=before_abort(pending, files_of_tree(view, pending.tree), target),
        )
        return TakenBack(start, *done)


def expect_pending(view: View, kind: Kind) -> Pending:
    """What is under way, if it is of that kind.

    Raises:
        UserError: it is not.
    """
    pending = read_pending(view)
    if pending is None:
        raise UserError(f"no {kind} is under way", hint="'mvc status' says what is")
    if pending.kind != kind:
        raise UserError(
            f"no {kind} is under way, but a {pending.kind}",
            hint=f"mvc {pending.kind} --continue or --abort",
        )
    return pending
