"""``mvc restore``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.errors import UsageError
from mvc.ops.restore import Side
from mvc.ops.restore import restore as bring_back
from mvc.text import count


@command(
    "mvc restore model.safetensors",
    "mvc restore --source v1.0 tokenizer/",
    "mvc restore --ours lm_head.safetensors",
    data="An object: written, removed (counts of files), resolved (paths that --ours or --theirs settled).",
    paths=True,
)
def restore(
    call: Call,
    names: Annotated[tuple[str, ...], Argument("PATH", "Files and folders; . is the current folder.")] = (),
    source: Annotated[
        str | None, Option("-s --source", "The version that they come from; else the last one.", "REV")
    ] = None,
    ours: Annotated[bool, Option("--ours", "Of files in conflict: what the current branch has.")] = False,
    theirs: Annotated[bool, Option("--theirs", "Of files in conflict: what the other side has.")] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> None:
    """Make files what they are in a version, without asking; HEAD stays.

    Tracked files that the version lacks are removed. What is overwritten is stored first: 'mvc undo' brings
    it back. While a merge is under way, files become again what the merge left; --ours and --theirs choose a
    side of files in conflict, which are resolved then.
    """
    given = (*names, *(call.paths or ()))
    if not given:
        raise UsageError("which files?", hint="mvc restore PATH…; mvc restore . for the current folder")
    if sum((ours, theirs, source is not None)) > 1:
        raise UsageError("--ours, --theirs and --source do not go together")
    side: Side | None = "ours" if ours else "theirs" if theirs else None
    done = bring_back(call.repository, call.inside(given), call.who(), call.now(), source=source, side=side)
    if json:
        call.data({"written": done.written, "removed": done.removed, "resolved": list(done.resolved)})
        return
    call.report(f"{count(done.written, 'file')} written, {done.removed:,} removed")
    if done.resolved:
        call.report(f"{count(len(done.resolved), 'conflict')} resolved")
