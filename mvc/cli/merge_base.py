"""``mvc merge-base``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.errors import UsageError
from mvc.ops import merge_base as verb


@command(
    "mvc merge-base main run-b",
    "mvc merge-base --all main run-b",
    "mvc merge-base --is-ancestor v1.0 main && echo yes",
    exits=("1 the revisions have no common ancestor; with --is-ancestor: the first is none of the second",),
    data="An array of ids; with --is-ancestor an object: is_ancestor.",
    anywhere=True,
)
def merge_base(
    call: Call,
    revisions: Annotated[tuple[str, ...], Argument("REV", "Two revisions or more.")] = (),
    all_: Annotated[bool, Option("-a --all", "All best ones, newest first, and not only one.")] = False,
    octopus: Annotated[bool, Option("--octopus", "What all of the revisions have in common.")] = False,
    is_ancestor: Annotated[
        bool, Option("--is-ancestor", "Print nothing; answer whether the first came before the second.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print the ids as a JSON array.")] = False,
) -> int | None:
    """Print the version in which lines of history met last.

    Several best ones there are where branches were merged into each other crosswise. With more than two
    revisions the answer is for a merge of all but the first, as in Git.
    """
    if is_ancestor and (all_ or octopus or len(revisions) != 2):
        raise UsageError("--is-ancestor takes two revisions and goes with no other option")
    with call.store.reading() as view:
        if is_ancestor:
            answer = verb.is_ancestor(view, revisions[0], revisions[1])
            if json:
                call.data({"is_ancestor": answer})
            return None if answer else 1
        found = verb.merge_base(view, revisions, octopus=octopus)
    if not all_:
        found = found[:1]
    if json:
        call.data([identity.hex() for identity in found])
    else:
        for identity in found:
            call.print(identity.hex())
    return None if found else 1
