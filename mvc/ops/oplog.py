"""List what commands did, and go back to what one of them left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.errors import AnswerIsNo, RefMoved
from mvc.objects import Person, Timestamp
from mvc.oplog import Operation
from mvc.repo import Repository
from mvc.rewind import find_operation, right_after
from mvc.switch import switch
from mvc.transaction import Update, begin
from mvc.view import View
from mvc.workspace import files_of, locked


class Restored(NamedTuple):
    """The operation whose state is back, and how many files that took."""

    operation: Operation
    written: int
    removed: int


def operations(view: View) -> Iterator[Operation]:
    """The operation log, newest first."""
    return view.operations()


def restore(
    repository: Repository, operation: str, who: Person, now: Timestamp, *, force: bool = False
) -> Restored:
    """Make refs, HEAD and the work tree what they were right after an operation, named by (a part of) its id.

    This is one operation, and can be undone as such. Of the work tree come back the files that mvc knew then:
    those that the last commit took or a checkout wrote. What was never tracked stays, and so does uncommitted
    work in files that are not to change.

    Raises:
        AnswerIsNo: everything is as that operation left it.
        RevisionNotFound: no operation is called so.
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
        RefMoved: another command was faster.
    """
    with locked(repository, exclusive=True) as workspace, repository.reading() as view:
        found = find_operation(view, operation)
        with begin(repository, f"oplog restore {found.id.short}", who, now) as tx:
            seen = tx.view
            head = seen.root.oplog.head
            then = right_after(seen, found.id)
            present = None if head is None else right_after(seen, head).files
            if present is None:
                present = files_of(seen, seen.head_commit())
            target = present if then.files is None else then.files
            if not then.refs and then.head == seen.root.head and target == present and not force:
                raise AnswerIsNo(
                    f"everything is as operation {found.id.short} left it",
                    hint="'mvc oplog' lists what was done since",
                )

            def build(view_now: View) -> Update:
                if view_now.root.oplog.head != head:
                    raise RefMoved("another command changed the repository", hint="run this one again")
                return Update(refs=then.refs, head=then.head)

            done = switch(workspace, tx, target, build, force=force, everything=force, version=present)
    return Restored(found, *done)
