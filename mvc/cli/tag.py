"""``mvc tag``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.cli.versions import tag_json
from mvc.errors import UsageError
from mvc.ops import tag as verb
from mvc.text import one_line


@command(
    "mvc tag v1.0",
    "mvc tag v1.0 main~2 -m 'First release'",
    "mvc tag --delete v1.0",
    data="An array: name, commit, tag (null, or of an annotated one name, target, tagger, time, message).",
    anywhere=True,
)
def tag(
    call: Call,
    names: Annotated[
        tuple[str, ...], Argument("NAME", "The new tag and, behind it, the revision it names.")
    ] = (),
    message: Annotated[
        tuple[str, ...], Option("-m --message", "Annotate: record who, when and why.", "TEXT")
    ] = (),
    annotate: Annotated[
        bool, Option("-a --annotate", "Annotate; needs -m, since no editor is ever opened.")
    ] = False,
    delete: Annotated[bool, Option("-d --delete", "Delete these tags.")] = False,
    force: Annotated[bool, Option("-f --force", "Move a tag that exists.")] = False,
    list_: Annotated[
        bool, Option("-l --list", "List tags; with a pattern such as 'v1.*' those that fit.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print the list as a JSON array.")] = False,
) -> None:
    """List tags; name a version, or take such a name away.

    Without a name the tags are listed, with -v what annotated ones say. NAME [REV] tags a revision (HEAD if
    left out).
    """
    if delete and (list_ or message or annotate):
        raise UsageError("--delete goes with no other option")
    if list_ or (not names and not (message or annotate or delete)):
        _list(call, names, json=json)
    elif not names:
        raise UsageError("which tag?", hint="mvc tag NAME [REV]")
    elif delete:
        for name in names:
            target = verb.delete(call.repository, name, call.who(), call.now())
            call.report(f"deleted tag {name}, which named {target.short}; 'mvc undo' brings it back")
    else:
        _create(call, names, message, annotate=annotate, force=force)


def _create(
    call: Call, names: tuple[str, ...], message: tuple[str, ...], *, annotate: bool, force: bool
) -> None:
    if len(names) > 2:
        raise UsageError("a tag takes a name and a revision", hint="mvc tag NAME [REV]")
    if annotate and not message:
        raise UsageError("an annotated tag needs a message", hint="mvc tag NAME -m 'why'")
    name, revision = names[0], names[1] if len(names) == 2 else "HEAD"
    text = "\n\n".join(message) if message else None
    who = call.who() if text is None else call.author()
    target = verb.create(call.repository, name, revision, who, call.now(), message=text, force=force)
    call.report(f"tag {name} at {target.short}")


def _list(call: Call, patterns: tuple[str, ...], *, json: bool) -> None:
    with call.store.reading() as view:
        rows = [row for row in verb.tags(view) if not patterns or _fits(row.name, patterns)]
        notes = {}
        if json or call.verbose:  # what the tags say stands in objects of their own, the names in root
            notes = {
                row.name: verb.read_tag(view, row.annotation) for row in rows if row.annotation is not None
            }
        if json:
            call.data(
                [
                    {
                        "name": row.name,
                        "commit": row.target.hex(),
                        "tag": tag_json(notes[row.name]) if row.name in notes else None,
                    }
                    for row in rows
                ]
            )
            return
        table = Table([Column(cut="middle"), Column(colour="yellow"), Column(cut="end")])
        for row in rows:
            note = one_line(notes[row.name].message) if row.name in notes else ""
            table.add(one_line(row.name), row.target.short, note)
        call.table(table)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    from fnmatch import fnmatchcase  # only where a pattern is given

    return any(fnmatchcase(name, pattern) for pattern in patterns)
