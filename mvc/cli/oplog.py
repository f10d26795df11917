"""``mvc oplog``."""

import sys
from itertools import islice
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.operations import operation_json
from mvc.cli.tables import Column, Table
from mvc.cli.text import when_short
from mvc.errors import UsageError
from mvc.ops import oplog as verb
from mvc.text import count, one_line


@command(
    "mvc oplog -n 5",
    "mvc oplog restore 3f2a91c0",
    exits=(
        "1 everything is as that operation left it",
        "4 uncommitted work is in the way; --force overwrites it",
    ),
    data="An array, newest first: id, command, who, time, undoes, worktree (whether files changed), "
    "changes (ref, before, after). With restore an object: operation (such a row), written, removed "
    "(counts of files).",
    paged=True,
)
def oplog(
    call: Call,
    action: Annotated[
        str | None, Argument("restore", "Bring back what OPERATION left; without it the log is listed.")
    ] = None,
    operation: Annotated[str | None, Argument("OPERATION", "Its id, or how that begins.")] = None,
    limit: Annotated[int | None, Option("-n --max-count", "At most so many.", "N")] = None,
    force: Annotated[
        bool, Option("-f --force", "restore: overwrite uncommitted work; 'mvc undo' brings it back.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print a JSON array, newest first.")] = False,
) -> None:
    """List what commands did to the repository, newest first; 'mvc undo' takes any of it back.

    restore OPERATION makes branches, tags, HEAD and the folder's files what they were right after that
    operation. That is an operation too, so 'mvc undo' returns from there. What was never tracked stays, and
    'mvc gc' is not taken back.
    """
    if action is None:
        if force:
            raise UsageError("--force goes with restore", hint="mvc oplog restore OPERATION")
        _list(call, limit, json=json)
    elif action != "restore":
        raise UsageError(f"oplog does not know {action!r}", hint="mvc oplog [restore OPERATION]")
    elif operation is None or limit is not None:
        raise UsageError("restore takes an operation", hint="mvc oplog restore OPERATION")
    else:
        _restore(call, operation, force=force, json=json)


def _list(call: Call, limit: int | None, *, json: bool) -> None:
    if limit is not None and limit < 0:
        raise UsageError("-n takes a count")
    with call.repository.reading() as view:
        found = list(islice(verb.operations(view), None if limit is None else min(limit, sys.maxsize)))
        if json:
            call.data([operation_json(operation) for operation in found])
            return
        table = Table([Column(colour="yellow"), Column(), Column(cut="end"), Column(cut="end")])
        for item in found:
            who, what = one_line(item.who.name), one_line(item.command)
            table.add(item.id.short, when_short(item.time), who, what)
        call.table(table)


def _restore(call: Call, operation: str, *, force: bool, json: bool) -> None:
    done = verb.restore(call.repository, operation, call.who(), call.now(), force=force)
    if json:
        call.data(
            {
                "operation": operation_json(done.operation),
                "written": done.written,
                "removed": done.removed,
            }
        )
        return
    call.report(f"back after: {one_line(done.operation.command)} ({done.operation.id.short})")
    call.report(f"{count(done.written, 'file')} written, {done.removed:,} removed")
