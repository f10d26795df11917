"""What ``cherry-pick`` and ``revert`` share on the command line: words, JSON and reports."""

from __future__ import annotations

from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.conflicts import DATA, conflict_json, in_conflict, tell_taken_back
from mvc.cli.declare import Argument, Option
from mvc.errors import AnswerIsNo, UsageError
from mvc.ops import pick as verb
from mvc.ops.pick import Picked, Picking, PickKind, Request
from mvc.text import count, one_line

Revisions = Annotated[tuple[str, ...], Argument("REV", "Versions, or ranges A..B: what B has and A has not.")]
Mainline = Annotated[
    int | None, Option("-m --mainline", "Parent, from 1, that a merge's changes are counted from.", "PARENT")
]
NoCommit = Annotated[bool, Option("-n --no-commit", "Change the files only; takes one version.")]
AllowEmpty = Annotated[bool, Option("--allow-empty", "Keep a version that changes nothing.")]
Continue = Annotated[bool, Option("--continue", "Conclude the one whose conflicts are resolved, and go on.")]
Skip = Annotated[bool, Option("--skip", "Leave out the one at which it stopped, and go on.")]
Abort = Annotated[bool, Option("--abort", "Take all of it back.")]

EXITS = (
    "1 a version changes nothing any more",
    "4 files are in conflict, or uncommitted work is in the way",
)
JSON = (
    "An object: made (ids of the new versions, oldest first), commit (where HEAD is), branch, stopped (the "
    "version at which it stopped, or null), left (versions still to come), written, removed (counts of "
    f"files), {DATA}. For --abort: commit, written, removed."
)


def run(
    call: Call,
    revisions: tuple[str, ...],
    picking: Picking,
    *,
    commit: bool,
    go_on: bool,
    skip: bool,
    abort: bool,
    json: bool,
) -> int | None:
    """Do what the words say, and tell of it; gives the exit code."""
    kind, repository = picking.kind, call.repository
    if sum((go_on, skip, abort, bool(revisions))) != 1:
        raise UsageError(
            f"a {kind} takes revisions, or --continue, --skip or --abort", hint=f"mvc {kind} REV"
        )
    if abort:
        back = verb.abort(repository, kind, call.who(), call.now())
        tell_taken_back(call, kind, back, json=json)
        return None
    request = Request(None, call.author(), call.now(), allow_empty=picking.allow_empty)
    if go_on:
        done = verb.go_on(repository, kind, request, picking.choice)
    elif skip:
        done = verb.skip(repository, kind, request)
    else:
        done = verb.pick(repository, revisions, picking, request, commit=commit)
    if json:
        call.data(_json(done))
        return 4 if done.conflicts else 1 if done.stopped is not None else None
    _report(call, kind, done)
    return None


def _json(done: Picked) -> dict[str, Any]:
    return {
        "made": [identity.hex() for identity in done.made],
        "commit": done.commit.hex(),
        "branch": done.branch,
        "stopped": None if done.stopped is None else done.stopped.hex(),
        "left": done.left,
        "written": done.written,
        "removed": done.removed,
        "conflicts": [conflict_json(conflict) for conflict in done.conflicts],
    }


def _report(call: Call, kind: PickKind, done: Picked) -> None:
    where = one_line(done.branch) if done.branch else "detached HEAD"
    with call.repository.reading() as view:
        for identity in done.made:
            call.report(f"[{where} {identity.short}] {one_line(view.commit(identity).subject)}")
        stopped = "" if done.stopped is None else one_line(view.commit(done.stopped).subject)
    if done.stopped is None:
        if not done.made:
            call.report(f"{count(done.written, 'file')} written, {done.removed:,} removed, nothing committed")
        return
    call.report(
        f"stopped at {done.stopped.short} {stopped}" + (f"; {done.left:,} to come" if done.left else "")
    )
    if done.conflicts:
        raise in_conflict(call, kind, done.conflicts)
    raise AnswerIsNo(
        f"{done.stopped.short} changes nothing here",
        hint=f"mvc {kind} --skip leaves it out, mvc commit --allow-empty keeps it",
    )
