"""``mvc checkout``."""

from typing import Annotated

from mvc.cli.arrivals import arrival_json, report_arrival
from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.words import is_revision, names_files
from mvc.errors import UsageError
from mvc.heading import PREVIOUS
from mvc.ops import checkout as verb


@command(
    "mvc checkout main~2",
    "mvc checkout -b try-lora",
    "mvc checkout v1.0 -- model.safetensors",
    exits=("4 uncommitted work is in the way; --force overwrites it",),
    data="An object: commit, branch (null when HEAD is detached), written, removed (counts of files).",
    paths=True,
)
def checkout(
    call: Call,
    words: Annotated[
        tuple[str, ...], Argument("REV|PATH", "A branch or another revision; behind it, paths.")
    ] = (),
    new_branch: Annotated[
        str | None, Option("-b --branch", "Make this branch and switch to it.", "NEW")
    ] = None,
    detach: Annotated[bool, Option("--detach", "Stay on no branch, even if REV is one.")] = False,
    force: Annotated[
        bool, Option("-f --force", "Overwrite uncommitted work; 'mvc undo' brings it back.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> None:
    """Bring a version back into the folder, or only some of its files.

    A branch's name switches to that branch, - to the one before. With paths, only those are brought back
    (from HEAD, if no revision is given), and the branch stays. A word that is no revision is taken for a
    path.
    """
    revision, paths = _split(call, words, new_branch)
    if paths:
        if new_branch is not None or detach:
            raise UsageError("-b and --detach take no paths")
        place = call.inside(paths) or ("",)
        done = verb.checkout_paths(call.repository, revision, place, call.who(), call.now(), force=force)
    else:
        done = verb.checkout(
            call.repository,
            revision,
            call.who(),
            call.now(),
            new_branch=new_branch,
            detach=detach,
            force=force,
        )
    if json:
        call.data(arrival_json(done))
    else:
        report_arrival(call, done, switched=not paths)


def _split(call: Call, words: tuple[str, ...], new_branch: str | None) -> tuple[str, tuple[str, ...]]:
    """The revision and the paths, as Git tells them apart."""
    if call.paths is not None:
        if len(words) > 1:
            raise UsageError("one revision may stand before the '--'", hint="mvc checkout REV -- PATH…")
        if not words and not call.paths:
            raise UsageError(
                "which version, or which files?", hint="mvc checkout REV, or mvc checkout -- PATH…"
            )
        return (words or ("HEAD",))[0], call.paths
    if not words:
        if new_branch is None:
            raise UsageError("which version?", hint="mvc checkout REV; 'mvc log' and 'mvc branch' list them")
        return "HEAD", ()
    with call.repository.reading() as view:
        if (
            words[0] == PREVIOUS
            or is_revision(view, words[0])
            or new_branch is not None
            or not names_files(call, view, words[0])
        ):
            return words[0], words[1:]
    return "HEAD", words
