"""The operation log without what is too old to be undone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from mvc.backends import Backend
from mvc.objectid import OperationId
from mvc.oplog import Operation, OpLog

NONCE = "nonce"
"""Optional part of an operation: random bytes."""


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


def expired(oplog: OpLog, backend: Backend, since: int | None) -> tuple[OpLog, list[Operation]]:
    """The log without operations older than ``since``, and those that went, oldest first. Its pieces are
    stored before this returns.
    """
    return newest(oplog, backend, *kept_count(oplog, backend, since))


def newest(oplog: OpLog, backend: Backend, kept: int, total: int) -> tuple[OpLog, list[Operation]]:
    """The log of which only the newest ``kept`` of ``total`` operations are left, and those that went, oldest
    first."""
    if kept == total:
        return oplog, []
    operations = list(oplog.newest_first(backend))[::-1]
    return relinked(operations[total - kept :], backend), operations[: total - kept]


def relinked(operations: Iterable[Operation], backend: Backend) -> OpLog:
    """A log of these operations, oldest first, whose pieces are stored before this returns.

    An operation's id covers its parent's, so all get new ids. What an operation took back goes on being named
    by its old id where it is not among them. The oldest one gets a nonce: a log that comes to be as it was
    once must not bring back the name of a piece that somebody is about to delete.
    """
    renamed: dict[OperationId, OperationId] = {}
    log = OpLog()
    for operation in operations:
        undoes = operation.undoes and renamed.get(operation.undoes, operation.undoes)
        extra = operation.extra if log.head is not None else {**operation.extra, NONCE: os.urandom(16)}
        log = log.append(replace(operation, parent=log.head, undoes=undoes, extra=extra), backend)
        if log.head is not None:
            renamed[operation.id] = log.head
    return log
