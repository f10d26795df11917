"""``mvc status``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.changes import weights_text
from mvc.cli.conflicts import conflict_json, pending_json, pending_lines
from mvc.cli.declare import Option, command
from mvc.cli.refs import standing_json, standing_lines
from mvc.objectid import CommitId
from mvc.ops.status import Status
from mvc.ops.status import status as read_status
from mvc.text import one_line


@command(
    "mvc status",
    "mvc status --json | jq .clean",
    data="An object: clean, branch (null when HEAD is detached), head (null before the first commit), "
    "added, modified, deleted (paths from the repository's top), same_weights (modified and added files "
    "that hold the weights of a committed one in other bytes: path to that one's path), renamed (new path to "
    "old path; both stand in added and deleted too), same_weights_together (new files that together hold the "
    "weights of all other deleted ones), refused and skipped (path, why), pending (what is under way: "
    "kind: merge, cherry-pick or revert; ours, theirs, message, squash, rest: versions to come; or null), "
    "unresolved (as conflicts of 'mvc merge --json'), and bisecting_from (where HEAD was before a bisection "
    "under way, or null), and upstream (what the branch follows: name, commit (null where it was never "
    "there), ahead, behind; or null).",
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
                "renamed": dict(sorted(found.renamed.items())),
                "same_weights": dict(sorted(found.same_weights.items())),
                "same_weights_together": list(found.same_weights_together),
                "bisecting_from": _start(found),
                "refused": [{"path": path, "why": why} for path, why in found.state.scan.refused],
                "skipped": [{"path": path, "why": why} for path, why in found.state.scan.skipped],
                "upstream": standing_json(found.standing),
                "pending": None if found.pending is None else pending_json(found.pending),
                "unresolved": [conflict_json(conflict) for conflict in found.unresolved],
            }
        )
        return
    call.print(_where(found))
    for line in standing_lines(found.standing):
        call.print(line)
    if found.pending is not None:
        with call.repository.reading() as view:
            for line in pending_lines(call, view.objects, found.pending, found.unresolved):
                call.print(line)
    if found.bisecting_from is not None:
        call.print(
            f"Bisecting, begun at {one_line((_start(found) or '').removeprefix('refs/heads/'))}; "
            "'mvc bisect log' has the answers, 'mvc bisect reset' goes back"
        )
    for line in _lines(call, found):
        call.print(line)


def _start(found: Status) -> str | None:
    start = found.bisecting_from
    return start.hex() if isinstance(start, CommitId) else start


def _where(found: Status) -> str:
    if found.branch is None:
        return f"HEAD detached at {found.head.short if found.head else 'nothing'}"
    return f"On branch {one_line(found.branch)}" + ("" if found.head else ", no commits yet")


def _lines(call: Call, found: Status) -> list[str]:
    state = found.state
    lines = []
    if not state.clean:
        lines += ["", "Changes that 'mvc commit' records:"]
        lines += [_change(call, found, word, path) for path, word in sorted(_words(found).items())]
    if found.same_weights_together:
        lines += ["", "The new files together hold the weights of the deleted ones, in other bytes."]
    if state.scan.refused:
        lines += ["", "No version can hold these; rename or remove them, or list them in .mvcignore:"]
        lines += [f"  {call.shown(path)} {one_line(why)}" for path, why in state.scan.refused]
    if not lines and found.pending is None:
        return [
            "nothing to commit, the folder is empty"
            if found.head is None
            else "nothing to commit, all is recorded"
        ]
    return lines


COLOURS = {"new": "green", "modified": "yellow", "renamed": "yellow", "deleted": "red"}


def _words(found: Status) -> dict[str, str]:
    """What happened to each file, by path; a renamed one stands under its new path."""
    moved = set(found.renamed.values())
    return {
        **{path: "renamed" if path in found.renamed else "new" for path in found.state.added},
        **dict.fromkeys(found.state.modified, "modified"),
        **{path: "deleted" for path in found.state.deleted if path not in moved},
    }


def _change(call: Call, found: Status, word: str, path: str) -> str:
    note = weights_text(call, path, found.same_weights.get(path))
    named = call.shown(path)
    if path in found.renamed:
        named = f"{call.shown(found.renamed[path])} -> {named}"
    shown = call.screen.fit(named, "middle", 13 + len(note))
    return call.paint(f"  {word + ':':10} {shown}", COLOURS[word]) + note
