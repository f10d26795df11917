"""``mvc switch``."""

from typing import Annotated

from mvc.cli.arrivals import arrival_json, report_arrival
from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.errors import UsageError
from mvc.ops import switch as verb


@command(
    "mvc switch main",
    "mvc switch -c try-lora v1.0",
    "mvc switch -",
    "mvc switch --detach main~3",
    exits=("4 uncommitted work is in the way, or a merge is under way",),
    data="An object: commit (null on a branch without versions), branch (null when HEAD is detached), "
    "written, removed (counts of files).",
)
def switch(
    call: Call,
    revision: Annotated[
        str | None, Argument("REV", "A branch, or - for the one before; with -c where the new one begins.")
    ] = None,
    create: Annotated[str | None, Option("-c --create", "Make this branch and go there.", "NEW")] = None,
    force_create: Annotated[
        str | None, Option("-C --force-create", "The same, and move it if it exists.", "NEW")
    ] = None,
    detach: Annotated[bool, Option("-d --detach", "Go to any version, on no branch.")] = False,
    orphan: Annotated[
        str | None, Option("--orphan", "Go to a new branch without versions; tracked files leave.", "NEW")
    ] = None,
    discard: Annotated[
        bool,
        Option("-f --discard-changes --force", "Overwrite uncommitted work; 'mvc undo' brings it back."),
    ] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> None:
    """Go to another branch: HEAD and the files.

    Files that neither version tracks are left alone, and so is uncommitted work in files that are equal in
    both; where it is in the way, nothing is done.
    """
    named = [name for name in (create, force_create, orphan) if name is not None]
    if len(named) > 1:
        raise UsageError("-c, -C and --orphan do not go together")
    if orphan is not None:
        if revision is not None or detach:
            raise UsageError("--orphan takes no revision: the branch has no version yet")
        done = verb.switch_orphan(call.repository, orphan, call.who(), call.now(), force=discard)
    else:
        if revision is None and not named and not detach:
            raise UsageError("which branch?", hint="mvc switch BRANCH; 'mvc branch' lists them")
        done = verb.switch(
            call.repository,
            revision or "HEAD",
            call.who(),
            call.now(),
            create=named[0] if named else None,
            reset=force_create is not None,
            detach=detach,
            force=discard,
        )
    if json:
        call.data(arrival_json(done))
    else:
        report_arrival(call, done, switched=True)
