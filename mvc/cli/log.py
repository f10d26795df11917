"""``mvc log``."""

import sys
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.versions import Names, entry_json, entry_lines, short_line
from mvc.errors import UsageError
from mvc.ops.log import log as read_log
from mvc.weighing import Weigher


@command(
    "mvc log -n 3",
    "mvc log --oneline main",
    "mvc log --json | jq '.[0].metrics'",
    data="An array of versions, newest first: id, parents, tree, author (name, email), time (ISO 8601 with "
    "offset), message, metrics, params, tags, branches, notes (id, author, time, metrics, params, message; "
    "oldest first); with --weights also weights (null without "
    "tensors). Metrics that are not finite are null.",
    paged=True,
)
def log(
    call: Call,
    revision: Annotated[tuple[str, ...], Argument("REV", "Where to start; HEAD if left out.")] = (),
    limit: Annotated[int | None, Option("-n --max-count", "At most so many versions.", "N")] = None,
    oneline: Annotated[bool, Option("--oneline", "One line for each version.")] = False,
    weights: Annotated[bool, Option("--weights", "Show each version's weights id.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON array, newest first.")] = False,
) -> None:
    """Show the versions that lead to a revision, newest first."""
    if limit is not None and limit < 0:
        raise UsageError("-n takes a count")
    with call.repository.reading() as view:
        if not revision and view.head_commit() is None and json:
            call.data([])
            return
        entries = read_log(view, [call.revision(text) for text in revision], limit=limit)
        weigher = Weigher(call.repository, view.objects)
        names = Names(call, view)
        if json:
            rows = [
                {
                    **entry_json(entry, names.notes(entry.id)),
                    **({"weights": weigher.told(entry.commit.tree)} if weights else {}),
                }
                for entry in entries
            ]
            call.data(rows)
            return
        for number, entry in enumerate(entries):
            weight = weigher.told(entry.commit.tree) if weights else None
            if oneline:
                call.print(short_line(call, entry, names, weight))
            else:
                for line in entry_lines(call, entry, names, weight):
                    call.print(line)
            if number == 0:
                sys.stdout.flush()  # the newest is seen before the rest is read
