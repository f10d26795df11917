"""The operation log without what is too old to be undone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from mvc.backends import Backend
from mvc.objectid import OperationId
from mvc.oplog import OpLog


def kept_count(oplog: OpLog, backend: Backend, since: int | None) -> tuple[int, int]:
    """How many operations to keep, and how many there are.

    Kept are all from the oldest one on that is not older than ``since`` (microseconds since 1970; None keeps
    everything). Clocks run wrong, so one that seems old between newer ones stays.
    """
    kept = total = 0
    for operation in oplog.newest_first(backend):
        total += 1
        if since is None or operation.time.microseconds >= since:
            kept = total
    return kept, total


def expired(oplog: OpLog, backend: Backend, since: int | None) -> tuple[OpLog, int]:
    """The log without operations older than ``since``, and how many went. Its pieces are stored before this
    returns.

    An operation's id covers its parent's, so those that stay get new ids. What an operation took back goes on
    being named by its old id where it is not there any more.
    """
    return newest(oplog, backend, *kept_count(oplog, backend, since))


def newest(oplog: OpLog, backend: Backend, kept: int, total: int) -> tuple[OpLog, int]:
    """The log of which only the newest ``kept`` of ``total`` operations are left, and how many went."""
    if kept == total:
        return oplog, 0
    renamed: dict[OperationId, OperationId] = {}
    log = OpLog()
    for operation in reversed(list(islice(oplog.newest_first(backend), kept))):
        undoes = operation.undoes and renamed.get(operation.undoes, operation.undoes)
        log = log.append(replace(operation, parent=log.head, undoes=undoes), backend)
        if log.head is not None:
            renamed[operation.id] = log.head
    return log, total - kept
