"""``mvc show``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.card import card_json, card_lines, lineage_json
from mvc.cli.changes import tree_change_json, tree_change_lines
from mvc.cli.declare import Argument, Option, command
from mvc.cli.text import one_line, when
from mvc.cli.versions import Names, entry_json, entry_lines, message_lines, tag_json
from mvc.errors import UsageError
from mvc.objects import Tag
from mvc.ops.show import card as read_card
from mvc.ops.show import show as read_version


@command(
    "mvc show",
    "mvc show v1.0 --json",
    data="A version as in 'mvc log --json', with changes (path, kind, old_path, old_bytes, new_bytes); data "
    "(by name: kind, location, size, files, blake3), code (commit, dirty, branch, remote) and "
    "environment (of, python, implementation, system, release, machine, mvc, packages); where an "
    "annotated tag was named, tag (name, target, tagger, time, message); and card: weights_id, "
    "architectures (source, name, kind, settings), adapters (source, kind, rank, alpha, targets, base), "
    "parameters, weights (name, files, formats, tensors, parameters, bytes, dtypes, buffers, averaged, "
    "shared), shards (name, files, missing_files, missing_tensors, complete), optimizers (source, kind, "
    "slots, tensors, bytes, step, groups, settings), training (sources, epoch, step, rng, scheduler, "
    "scaler, noted), tokenizer (kind, files, vocabulary), tensor_changes (files, added, removed, "
    "reshaped, changed, unchanged), checklist (name, state, note, hint), complete, notes.",
    paged=True,
)
def show(
    call: Call,
    revision: Annotated[str | None, Argument("REV", "Which version; HEAD if left out.")] = None,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> None:
    """Show one version: who made it, when and why, its card, and the files that it changed.

    The card says what is in it (model, parameters, optimizer, training state, tokenizer), what it was made of
    (data, code, environment), and which part of a complete snapshot is missing. With -q there is none.

    With --json it is the version's object whatever names it; what an annotated tag says stands under "tag".
    """
    revision = "HEAD" if revision is None else revision
    if ":" in revision:
        raise UsageError("show takes a version, not a path", hint=f"mvc cat {revision}, or mvc ls {revision}")
    with call.repository.reading() as view:
        shown = read_version(view, revision)
        if json:
            tag = {} if shown.tag is None else {"tag": tag_json(shown.tag)}
            changes = [tree_change_json(shown.objects, change) for change in shown.changes]
            card = read_card(shown)
            call.data(
                {
                    **entry_json(shown.entry),
                    **lineage_json(card),
                    **tag,
                    "changes": changes,
                    "card": card_json(card),
                }
            )
            return
        if shown.tag is not None:
            for line in _tag_lines(call, shown.tag):
                call.print(line)
        for line in entry_lines(call, shown.entry, Names(call, view)):
            call.print(line)
        if not call.quiet:
            for line in card_lines(read_card(shown), call.context.width):
                call.print(line)
            call.print()
        for line in tree_change_lines(call, shown.objects, shown.changes):
            call.print(line)


def _tag_lines(call: Call, tag: Tag) -> list[str]:
    return [
        call.paint(f"tag {one_line(tag.name)}", "yellow"),
        f"Tagger:  {one_line(str(tag.tagger))}",
        f"Date:    {when(tag.time)}",
        "",
        *message_lines(tag.message),
        "",
    ]
