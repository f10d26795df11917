"""``mvc reset``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.words import is_revision, names_files
from mvc.errors import UsageError
from mvc.ops.reset import Mode
from mvc.ops.reset import reset as move
from mvc.text import count, one_line


@command(
    "mvc reset HEAD~1",
    "mvc reset --hard v1.0",
    "mvc reset --hard",
    exits=("4 --soft, and a merge is under way",),
    data="An object: commit, branch (null when HEAD is detached), mode, written, removed (counts of files).",
    paths=True,
)
def reset(
    call: Call,
    revision: Annotated[
        str | None, Argument("REV", "Where the branch is to point; HEAD if left out.")
    ] = None,
    soft: Annotated[
        bool, Option("--soft", "Leave the files alone, and a merge that is under way too.")
    ] = False,
    mixed: Annotated[
        bool, Option("--mixed", "Leave the files alone. This is what it does if nothing is said.")
    ] = False,
    hard: Annotated[bool, Option("--hard", "Make the files those of the version.")] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> None:
    """Point the current branch, or a detached HEAD, to another version.

    The files stay as they are, so that 'mvc status' shows what came after as changes; there is no staging
    area, so --soft and --mixed differ only while a merge is under way, which --mixed ends and --soft refuses.
    --hard makes tracked files what they are in the version, and ends a merge; uncommitted work is stored
    first, and 'mvc undo' brings it back. For single files: mvc restore.
    """
    if sum((soft, mixed, hard)) > 1:
        raise UsageError("--soft, --mixed and --hard do not go together")
    if call.paths:
        raise _no_paths(call.paths[0])
    if revision is not None:
        with call.repository.reading() as view:
            if not is_revision(view, revision) and names_files(call, view, revision):
                raise _no_paths(revision)
    mode: Mode = "soft" if soft else "hard" if hard else "mixed"
    done = move(call.repository, revision or "HEAD", call.who(), call.now(), mode=mode)
    if json:
        call.data(
            {
                "commit": done.commit.hex(),
                "branch": done.branch,
                "mode": mode,
                "written": done.written,
                "removed": done.removed,
            }
        )
        return
    with call.repository.reading() as view:
        subject = view.commit(done.commit).subject
    where = f"{one_line(done.branch)} is" if done.branch else "HEAD is"
    call.report(f"{where} now at {done.commit.short} {one_line(subject)}")
    if hard:
        call.report(f"{count(done.written, 'file')} written, {done.removed:,} removed")


def _no_paths(path: str) -> UsageError:
    return UsageError(
        "reset takes no paths: there is no staging area that a file could be taken out of",
        hint=f"mvc restore {path} brings back the last version's file",
    )
