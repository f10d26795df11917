"""When a command fails after its change was published: what is said, and what is noted for a second try.

From the swap of root on the change is made, whatever happens then. So a failure behind it is told as
:class:`mvc.errors.Unfinished`, with the operation, and never as if nothing had happened. The file
``unfinished`` in the store notes the operation's token, so that the same command, tried again, can find its
own work; it means nothing as soon as another operation has followed.
"""

from __future__ import annotations

from contextlib import suppress

from blake3 import blake3

from mvc.errors import DamageError, LeaseLost, MvcError, StorageError, Unfinished
from mvc.fileio import write_durable
from mvc.objectid import CommitId
from mvc.oplog import Operation
from mvc.refs import peeled_target
from mvc.repo import Repository
from mvc.store import Store, exists, read_text
from mvc.view import View

NOTE = "unfinished"

FAILURES = (OSError, MemoryError, StorageError, DamageError, LeaseLost)
"""What can happen to a command that did nothing wrong."""


def unfinished(store: Store, operation: Operation, error: BaseException) -> Unfinished:
    """The error that says that an operation is recorded and what failed behind it; noted in the store where
    that is beside the work."""
    hint = "it need not be repeated; 'mvc fetch' shows what the store has now"
    if isinstance(store, Repository):
        note(store, operation)
        hint = "it need not be repeated; 'mvc log' and 'mvc oplog' show it, 'mvc undo' takes it back"
    why = error.message if isinstance(error, MvcError) else str(error) or type(error).__name__
    return Unfinished(
        f"{said(operation)}; what follows failed: {why}",
        hint=hint,
        operation=operation.id.hex(),
    )


def said(operation: Operation) -> str:
    """An operation that is recorded, and the version that it made or went to, in words."""
    what = operation.command.partition(":")[0]
    commits = [
        target
        for change in operation.changes
        if isinstance(change.after, bytes)
        and isinstance(target := _target(change.name, change.after), CommitId)
    ]
    if what.startswith("commit") and commits:
        return f"committed as {commits[0].short} (operation {operation.id.short})"
    where = f", at {commits[0].short}" if len(commits) == 1 else ""
    return f"{what!r} is done and recorded as operation {operation.id.short}{where}"


def _target(name: str, value: bytes) -> CommitId | None:
    return CommitId(value) if name == "HEAD" else peeled_target(value)


def note(repository: Repository, operation: Operation, words: str = "") -> None:
    """Note that an operation's command failed behind it; ``words`` are the command line, where it was one."""
    text = f"{operation.token.hex()} {_digest(words) if words else '-'}\n"
    # the disk has just failed: without the note a second try is told that there is nothing to do
    with suppress(OSError):
        write_durable(
            repository.io,
            repository.temporary.new(),
            repository.store / NOTE,
            [text.encode()],
            replace=True,
        )


def noted(repository: Repository, view: View) -> Operation | None:
    """The newest operation, if its command failed behind it."""
    operation, _ = _noted(repository, view)
    return operation


def noted_words(repository: Repository, view: View, words: str) -> Operation | None:
    """The newest operation, if it was made by this command line, which failed behind it."""
    operation, digest = _noted(repository, view)
    return operation if digest == _digest(words) else None


def _noted(repository: Repository, view: View) -> tuple[Operation | None, str]:
    path = repository.store / NOTE
    if not exists(repository.io, path):
        return None, ""
    token, _, digest = read_text(repository.io, path).strip().partition(" ")
    newest = next(iter(view.operations()), None)
    if newest is None or newest.token.hex() != token:
        return None, ""
    return newest, digest


def forget(repository: Repository) -> None:
    """Somebody has been told: the next time the command does its work again."""
    with suppress(OSError):  # it only means that this is told once more
        repository.io.unlink(repository.store / NOTE)


def _digest(words: str) -> str:
    return blake3(words.encode("utf-8", "surrogateescape")).hexdigest(16)
