"""``mvc show``."""

from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.card import card_json, card_lines, lineage_json
from mvc.cli.changes import tree_change_json, tree_change_lines
from mvc.cli.declare import Argument, Option, command
from mvc.cli.merged import merge_json, merge_lines
from mvc.cli.text import when
from mvc.cli.versions import Names, entry_json, entry_lines, message_lines, tag_json
from mvc.objects import Tag
from mvc.ops.show import Shown, ShownPath
from mvc.ops.show import card as read_card
from mvc.ops.show import show as read_version
from mvc.ops.show import show_path as read_path
from mvc.text import count, one_line, size


@command(
    "mvc show",
    "mvc show v1.0 --json",
    "mvc show HEAD:model.safetensors",
    data="A version as in 'mvc log --json' with weights (its weights id, null without tensors), "
    "keeps_weights (they are the first parent's, in other files or bytes), changes (path, kind, old_path, "
    "old_bytes, new_bytes, same_weights: the old file whose weights it holds in other bytes); of a merge "
    "also merge (bases, and what was chosen: strategy, tensors: pairs of pattern and strategy, weight, "
    "scale, density); data (by name: kind, location, size, files, blake3), code (commit, dirty, branch, "
    "remote) and environment (of, python, implementation, system, release, machine, mvc, packages); where an "
    "annotated tag was named, tag (name, target, tagger, time, message); and card: weights_id, architectures "
    "(source, name, kind, settings), adapters (source, kind, rank, alpha, targets, base), parameters (of "
    "copies once), weights (name, files, formats, tensors, parameters, bytes, dtypes, buffers, scales, "
    "averaged, shared), shards (name, files, missing_files, missing_tensors, complete), pickled_names "
    "(source, loader, dangerous, others, truncated), optimizers (source, kind, slots, tensors, bytes, step, "
    "groups, settings, covered), training (sources, epoch, step, scheduled, rng, scheduler, scaler, noted), "
    "tokenizer (kind, files, vocabulary), tensor_changes (files, added, removed, reshaped, changed, "
    "unchanged), checklist (name, state, note, hint), complete, notes. For REV:PATH: path, kind (file or "
    "folder), files, bytes, tensors, weights; for a file also format, reason, sha256.",
    paged=True,
    anywhere=True,
)
def show(
    call: Call,
    revision: Annotated[
        str | None, Argument("REV[:PATH]", "A version, or a file or folder in it; HEAD if left out.")
    ] = None,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> None:
    """Show one version: who made it, when and why, its card, and the files that it changed.

    The card says what is in it (model, parameters, optimizer, training state, tokenizer), what it was made of
    (data, code, environment), and which part of a complete snapshot is missing. With -q there is none.

    Two ids name it: the version's own, and the weights id (w1:…), which is equal for equal weights whatever
    files hold them. REV:PATH shows a file or folder with its weights id; its bytes are what 'mvc cat' gives.

    With --json it is the version's object whatever names it; what an annotated tag says stands under "tag".
    """
    revision = call.revision("HEAD" if revision is None else revision)
    with call.store.reading() as view:
        if ":" in revision:
            found = read_path(call.store, view, revision)
            if json:
                call.data(_path_json(found))
            else:
                _print_path(call, found)
            return
        shown = read_version(call.store, view, revision)
        if json:
            call.data(_version_json(shown, Names(call, view)))
        else:
            _print_version(call, shown, Names(call, view))


def _version_json(shown: Shown, names: Names) -> dict[str, Any]:
    same = shown.same_weights()
    card = read_card(shown)
    recorded = merge_json(shown.entry.commit)
    return {
        **entry_json(shown.entry, names.notes(shown.entry.id)),
        "weights": card.weights_id,
        "keeps_weights": shown.keeps_weights,
        **({} if recorded is None else {"merge": recorded}),
        **lineage_json(card),
        **({} if shown.tag is None else {"tag": tag_json(shown.tag)}),
        "changes": [
            tree_change_json(shown.objects, change, same.get(change.path)) for change in shown.changes
        ],
        "card": card_json(card),
    }


def _print_version(call: Call, shown: Shown, names: Names) -> None:
    for line in () if shown.tag is None else _tag_lines(call, shown.tag):
        call.print(line)
    for line in entry_lines(call, shown.entry, names):
        call.print(line)
    for line in merge_lines(shown.entry.commit):
        call.print(line)
    if not call.quiet:
        for line in card_lines(read_card(shown), call.context.width):
            call.print(line)
        if shown.keeps_weights:
            call.print("The weights are those of the parent, in other files or other bytes.")
        call.print()
    same = {} if call.quiet else shown.same_weights()
    for line in tree_change_lines(call, shown.objects, shown.changes, same):
        call.print(line)


def _path_json(found: ShownPath) -> dict[str, Any]:
    manifest = found.manifest
    return {
        "path": found.path,
        "kind": "folder" if manifest is None else "file",
        "files": found.files,
        "bytes": found.size,
        "tensors": found.tensors,
        "weights": found.weights,
        **(
            {}
            if manifest is None
            else {"format": manifest.format, "reason": manifest.reason, "sha256": manifest.sha256.hex()}
        ),
    }


def _print_path(call: Call, found: ShownPath) -> None:
    manifest = found.manifest
    what = f"folder of {count(found.files, 'file')}" if manifest is None else f"{manifest.format} file"
    call.print(call.paint(one_line(found.path) or ".", "bold"))
    call.print(f"{what}, {size(found.size)}, {count(found.tensors, 'tensor')}")
    if manifest is not None:
        call.print(f"SHA-256  {manifest.sha256.hex()}")
        if manifest.reason is not None:
            call.print(f"opaque   {one_line(manifest.reason)}")
    if found.weights is not None:
        call.print(f"Weights  {found.weights}")


def _tag_lines(call: Call, tag: Tag) -> list[str]:
    return [
        call.paint(f"tag {one_line(tag.name)}", "yellow"),
        f"Tagger:  {one_line(str(tag.tagger))}",
        f"Date:    {when(tag.time)}",
        "",
        *message_lines(tag.message),
        "",
    ]
