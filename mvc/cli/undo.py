"""``mvc undo``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.operations import operation_json
from mvc.ops.undo import undo as take_back
from mvc.text import one_line


@command(
    "mvc undo",
    "mvc undo 3f2a91c0",
    exits=("4 it changed something that has changed again since",),
    data="The operation that was taken back, as in 'mvc oplog --json'.",
)
def undo(
    call: Call,
    operation: Annotated[
        str | None, Argument("OPERATION", "Id from 'mvc oplog'; the newest if left out.")
    ] = None,
    force: Annotated[bool, Option("-f --force", "Overwrite uncommitted work.")] = False,
    json: Annotated[bool, Option("--json", "Print what was taken back as a JSON object.")] = False,
) -> None:
    """Take back what a command did: branches, tags, HEAD and files become what they were.

    Repeated, it goes further back. An undo can be undone too: mvc undo OPERATION with its id.
    """
    done = take_back(call.repository, call.who(), call.now(), operation=operation, force=force)
    if json:
        call.data(operation_json(done))
    else:
        call.report(f"undone: {one_line(done.command)} ({done.id.short})")
