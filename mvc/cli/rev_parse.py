"""``mvc rev-parse``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.errors import UsageError
from mvc.ops import rev_parse as verb
from mvc.ops.rev_parse import Parsed
from mvc.text import one_line
from mvc.view import View

_SHORT = 12


@command(
    "mvc rev-parse HEAD",
    "mvc rev-parse --short main~2 v1.0",
    "mvc rev-parse --abbrev-ref HEAD",
    "mvc rev-parse --show-toplevel",
    data="An array: revision, id, kind (commit, tag, tree, manifest), ref (its full name, or null), excluded "
    "(a range leaves out what this one reaches); with --show-toplevel an object: toplevel.",
)
def rev_parse(
    call: Call,
    revisions: Annotated[
        tuple[str, ...], Argument("REV[:PATH]", "What to find: a version, a folder or file of one, a range.")
    ] = (),
    verify: Annotated[bool, Option("--verify", "Insist on exactly one object.")] = False,
    short: Annotated[bool, Option("--short", "Print the first digits, as many as make it clear.")] = False,
    digits: Annotated[int | None, Option("--digits", "At least so many, instead of 12.", "N")] = None,
    abbrev_ref: Annotated[
        bool, Option("--abbrev-ref", "Print the name of the branch or tag and not the id.")
    ] = False,
    symbolic_full_name: Annotated[
        bool, Option("--symbolic-full-name", "Print its full name (refs/heads/main) and not the id.")
    ] = False,
    show_toplevel: Annotated[
        bool, Option("--show-toplevel", "Print the folder that the repository belongs to.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print what was found as a JSON array.")] = False,
) -> None:
    """Print the ids of what revisions name, one a line.

    What a range leaves out stands behind a ^. Names of refs are printed only of words that name one.
    """
    if show_toplevel:
        if revisions or verify or short or abbrev_ref or symbolic_full_name:
            raise UsageError("--show-toplevel goes with no revision and no other option")
        _show_toplevel(call, json=json)
        return
    if digits is not None and not short:
        raise UsageError("--digits goes with --short")
    if abbrev_ref + symbolic_full_name + short > 1:
        raise UsageError("--short, --abbrev-ref and --symbolic-full-name do not go together")
    with call.repository.reading() as view:
        found = [item for word in revisions for item in verb.rev_parse(view, call.revision(word))]
        if verify and (len(found) != 1 or found[0].excluded):
            raise UsageError("--verify takes one revision that names one object")
        if json:
            call.data([_json(item) for item in found])
            return
        for item in found:
            if not (abbrev_ref or symbolic_full_name):
                shown = verb.abbreviated(view, item.id, digits or _SHORT) if short else item.id.hex()
                call.print(f"^{shown}" if item.excluded else shown)
            elif item.ref is not None:
                call.print(one_line(_name(view, item.ref, abbrev=abbrev_ref)))


def _name(view: View, ref: str, *, abbrev: bool) -> str:
    return verb.short_name(view, ref) if abbrev and ref != "HEAD" else ref


def _json(item: Parsed) -> dict[str, object]:
    return {
        "revision": item.revision,
        "id": item.id.hex(),
        "kind": item.id.word,
        "ref": item.ref,
        "excluded": item.excluded,
    }


def _show_toplevel(call: Call, *, json: bool) -> None:
    top = str(call.repository.worktree)
    if json:
        call.data({"toplevel": top})
    else:
        call.print(one_line(top))
