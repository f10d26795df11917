"""Take back what a command did."""

from __future__ import annotations

from mvc.errors import ConflictError, UserError
from mvc.objectid import CommitId, OperationId
from mvc.objects import Person, Timestamp
from mvc.oplog import HeadValue, Operation
from mvc.refs import decode_target
from mvc.repo import Repository
from mvc.rewind import find_operation
from mvc.sharing.settings import REMOTES
from mvc.switch import switch
from mvc.transaction import Update, begin
from mvc.view import View
from mvc.workspace import files_of_tree, locked


def undo(
    repository: Repository, who: Person, now: Timestamp, *, operation: str | None = None, force: bool = False
) -> Operation:
    """Take one operation back: the newest that was not taken back yet, or the one named by (a part of) its
    id.

    Refs, HEAD and, where the operation changed it, the work tree become what they were. Returns what was
    taken back.

    Raises:
        UserError: nothing is left to take back, or it was a purge, a push or the renaming of a remote.
        ConflictError: something that the operation changed has changed again since.
        WouldOverwrite: uncommitted work is in the way, and ``force`` is not set.
    """
    with locked(repository, exclusive=True) as workspace, repository.reading() as view:
        found = _newest(view) if operation is None else find_operation(view, operation)
        if found.is_final:
            raise UserError(
                f"it cannot be undone: {found.command}",
                hint="mvc undo OPERATION takes back an earlier one; 'mvc oplog' lists them",
            )
        _refuse_push(found)
        _refuse_rename(found)
        with begin(repository, f"undo {found.command}", who, now) as tx:
            if found.worktree is None:
                tx.publish(lambda now_view: _reversed(now_view, found))
                return found
            before, after = found.worktree
            switch(
                workspace,
                tx,
                files_of_tree(tx.view, before),
                lambda now_view: _reversed(now_view, found),
                force=force,
                everything=False,
                version=files_of_tree(tx.view, after),
            )
    return found


def _refuse_push(operation: Operation) -> None:
    """Refuse to take back what only tells of a push: a remote keeps what it has, whatever is said here."""
    words = operation.command.split(" ")
    if words[0] != "push" or operation.undoes is not None:
        return
    back = []
    for change in operation.changes:
        branch = change.name.removeprefix(f"{REMOTES}{words[1]}/")
        before = decode_target(change.before).hex() if isinstance(change.before, bytes) else ""
        back.append(f"+{before}:{branch}" if before else f":{branch}")
    raise UserError(
        f"it cannot be taken back here: {operation.command}; the remote keeps what was pushed",
        hint=f"mvc push {words[1]} {' '.join(back)} moves it back there, for everybody; "
        "mvc undo OPERATION takes back an earlier one",
    )


def _refuse_rename(operation: Operation) -> None:
    """Refuse to move a remote's refs back alone: its address and what follows it are settings, which no
    operation holds."""
    match operation.command.split(" "):
        case ["remote", "rename", old, new] if operation.undoes is None:
            raise UserError(
                f"it cannot be taken back by undo: {operation.command}",
                hint=f"mvc remote rename {new} {old} does; mvc undo OPERATION takes back an earlier one",
            )


def _newest(view: View) -> Operation:
    undone: set[OperationId] = set()
    for operation in view.operations():
        if operation.id in undone:
            continue
        if operation.undoes is None:
            return operation
        undone.add(operation.undoes)
    raise UserError("there is nothing left to undo", hint="'mvc oplog' lists what was done")


def _reversed(view: View, operation: Operation) -> Update:
    """The update that takes an operation back, if everything still is as it left it."""
    refs: dict[str, bytes | None] = {}
    head: str | CommitId | None = None
    for change in operation.changes:
        if change.name == "HEAD":
            _same("HEAD", view.root.head, change.after)
            head = CommitId(change.before) if isinstance(change.before, bytes) else change.before
        else:
            _same(change.name, view.refs.value(change.name), change.after)
            refs[change.name] = change.before if isinstance(change.before, bytes) else None
    return Update(refs=refs, head=head, undoes=operation.id)


def _same(name: str, now: str | bytes | None, after: HeadValue) -> None:
    if now != after:
        raise ConflictError(
            f"{name} has changed since that operation",
            hint="undo the later operations first; 'mvc oplog' lists them",
        )
