"""``mvc notes``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.given import metrics, params
from mvc.cli.tables import Column, Table
from mvc.cli.text import when_short
from mvc.cli.versions import note_json, note_lines, values_text
from mvc.errors import UsageError
from mvc.ops import notes as verb
from mvc.text import count, one_line


@command(
    "mvc notes add v1.0 --metric acc=0.91 -m 'held-out set of May'",
    "mvc notes",
    "mvc notes show v1.0 --json",
    "mvc notes remove v1.0 3f9c",
    data="An array of versions that have notes (with REV that one, also without any): commit, notes (id, "
    "author, time, metrics, params, message), oldest first; with add and remove those added and removed.",
    paged=True,
)
def notes(
    call: Call,
    action: Annotated[str | None, Argument("add|list|show|remove", "What to do; list if left out.")] = None,
    revision: Annotated[
        str | None, Argument("REV", "The version; HEAD if left out with add and show.")
    ] = None,
    note: Annotated[
        str | None, Argument("NOTE", "With remove, the note; all of the version's if left out.")
    ] = None,
    metric: Annotated[
        tuple[str, ...], Option("--metric", "With add, a measured number; may be repeated.", "NAME=NUMBER")
    ] = (),
    param: Annotated[
        tuple[str, ...],
        Option("--param", "With add, a setting of the measurement; may be repeated.", "NAME=VALUE"),
    ] = (),
    message: Annotated[
        tuple[str, ...], Option("-m --message", "With add, a text; several make paragraphs.", "TEXT")
    ] = (),
    author: Annotated[
        str | None, Option("--author", "With add, who measured it, if it was not you.", "'NAME <EMAIL>'")
    ] = None,
    json: Annotated[bool, Option("--json", "Print a JSON array.")] = False,
) -> None:
    """Add metrics and words to a version after it was made; its id stays as it is.

    'mvc show' and 'mvc log' show notes below the version's own metrics, with who added them and when. A note
    never changes: it is added or removed, and 'mvc undo' takes back either. Secrets in params are masked.
    """
    action = action or "list"
    if action not in ("add", "list", "show", "remove"):
        raise UsageError(f"notes cannot {action!r}", hint="mvc notes add|list|show|remove [REV]")
    if action != "add" and (metric or param or message or author is not None):
        raise UsageError(
            f"{action} goes with no metric, param, message or author", hint="mvc notes add REV …"
        )
    if action != "remove" and note is not None:
        raise UsageError(f"{action} takes one revision", hint="mvc notes remove REV NOTE")
    if action == "add":
        wording = verb.Wording(dict(metrics(metric)), dict(params(param)), "\n\n".join(message))
        target, added = verb.add(
            call.repository, revision or "HEAD", wording, call.author(author), call.now()
        )
        _done(call, verb.Annotated(target, (added,)), "added to", json=json)
    elif action == "remove":
        if revision is None:
            raise UsageError("remove the notes of which version?", hint="mvc notes remove REV [NOTE]")
        removed = verb.Annotated(*verb.remove(call.repository, revision, call.who(), call.now(), note=note))
        _done(call, removed, "removed from", json=json)
    else:
        _print(
            call, revision or ("HEAD" if action == "show" else None), json=json, at_length=action == "show"
        )


def _done(call: Call, changed: verb.Annotated, what: str, *, json: bool) -> None:
    if json:
        call.data(_rows_json([changed]))
        return
    ids = ", ".join(item.id for item in changed.notes)
    call.report(f"{count(len(changed.notes), 'note')} {what} {changed.id.short}: {ids}")


def _print(call: Call, revision: str | None, *, json: bool, at_length: bool) -> None:
    with call.repository.reading() as view:
        found = list(verb.annotated(view, revision))
    if json:
        call.data(_rows_json(found))
    elif at_length:
        for version in found:
            for line in note_lines(call, version.notes, ids=True):
                call.print(line)
    else:
        table = Table(
            [
                Column("version", colour="yellow"),
                Column("note"),
                Column("when"),
                Column("who", cut="end"),
                Column("what", cut="end"),
            ]
        )
        for version in found:
            for item in version.notes:
                words = [values_text(item.metrics), one_line(item.message.split("\n", 1)[0])]
                what = "  ".join(word for word in words if word)
                table.add(version.id.short, item.id, when_short(item.time), one_line(item.author.name), what)
        call.table(table)


def _rows_json(found: list[verb.Annotated]) -> list[dict[str, object]]:
    return [
        {"commit": version.id.hex(), "notes": [note_json(item) for item in version.notes]}
        for version in found
    ]
