"""``mvc oplog``."""

from itertools import islice
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Option, command
from mvc.cli.operations import operation_json
from mvc.cli.tables import Column, Table
from mvc.cli.text import when_short
from mvc.errors import UsageError
from mvc.ops.undo import operations
from mvc.text import one_line


@command(
    "mvc oplog -n 5",
    data="An array, newest first: id, command, who, time, undoes, worktree (whether files changed), "
    "changes (ref, before, after).",
    paged=True,
)
def oplog(
    call: Call,
    limit: Annotated[int | None, Option("-n --max-count", "At most so many.", "N")] = None,
    json: Annotated[bool, Option("--json", "Print a JSON array, newest first.")] = False,
) -> None:
    """List what commands did to the repository, newest first; 'mvc undo' takes any of it back."""
    if limit is not None and limit < 0:
        raise UsageError("-n takes a count")
    with call.repository.reading() as view:
        found = list(islice(operations(view), limit))
        if json:
            call.data([operation_json(operation) for operation in found])
            return
        table = Table([Column(colour="yellow"), Column(), Column(cut="end"), Column(cut="end")])
        for item in found:
            who, what = one_line(item.who.name), one_line(item.command)
            table.add(item.id.short, when_short(item.time), who, what)
        call.table(table)
