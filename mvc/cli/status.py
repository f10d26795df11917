"""``mvc status``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.changes import weights_text
from mvc.cli.declare import Option, command
from mvc.ops.status import Status
from mvc.ops.status import status as read_status
from mvc.text import one_line


@command(
    "mvc status",
    "mvc status --json | jq .clean",
    data="An object: clean, branch (null when HEAD is detached), head (null before the first commit), "
    "added, modified, deleted (paths from the repository's top), same_weights (modified and added files "
    "that hold the weights of a committed one in other bytes: path to that one's path), refused and skipped "
    "(path, why).",
)
def status(
    call: Call,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> None:
    """Show the branch, and what a commit would record."""
    found = read_status(call.repository)
    if json:
        call.data(
            {
                "clean": found.clean,
                "branch": found.branch,
                "head": None if found.head is None else found.head.hex(),
                "added": sorted(found.state.added),
                "modified": sorted(found.state.modified),
                "deleted": sorted(found.state.deleted),
                "same_weights": dict(sorted(found.same_weights.items())),
                "refused": [{"path": path, "why": why} for path, why in found.state.scan.refused],
                "skipped": [{"path": path, "why": why} for path, why in found.state.scan.skipped],
            }
        )
        return
    call.print(_where(found))
    for line in _lines(call, found):
        call.print(line)


def _where(found: Status) -> str:
    if found.branch is None:
        return f"HEAD detached at {found.head.short if found.head else 'nothing'}"
    return f"On branch {one_line(found.branch)}" + ("" if found.head else ", no commits yet")


def _lines(call: Call, found: Status) -> list[str]:
    state = found.state
    lines = []
    if not state.clean:
        lines += ["", "Changes that 'mvc commit' records:"]
        rows = [("new", path, "green") for path in state.added]
        rows += [("modified", path, "yellow") for path in state.modified]
        rows += [("deleted", path, "red") for path in state.deleted]
        for word, path, colour in sorted(rows, key=lambda row: row[1]):
            note = weights_text(call, path, found.same_weights.get(path))
            shown = call.screen.fit(call.shown(path), "middle", 13 + len(note))
            lines.append(call.paint(f"  {word + ':':10} {shown}", colour) + note)
    if state.scan.refused:
        lines += ["", "No version can hold these; rename or remove them, or list them in .mvcignore:"]
        lines += [f"  {call.shown(path)} {one_line(why)}" for path, why in state.scan.refused]
    if not lines:
        return [
            "nothing to commit, the folder is empty"
            if found.head is None
            else "nothing to commit, all is recorded"
        ]
    return lines
