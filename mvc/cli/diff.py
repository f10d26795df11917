"""``mvc diff``."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.changes import COLOURS, LETTERS, sizes_text, weights_text
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.cli.text import share
from mvc.cli.words import is_revision, names_files
from mvc.errors import UsageError
from mvc.ops.diff import FileChange, TensorChange, diff_versions, diff_worktree
from mvc.spans import Span
from mvc.text import count, one_line, size


@command(
    "mvc diff",
    "mvc diff HEAD~1 HEAD",
    "mvc diff v1.0 main -- model.safetensors",
    exits=("1 with --exit-code: something differs",),
    data="An array with an object for each file: path, kind (added, removed, modified, mode, renamed), "
    "old_path, old_bytes, new_bytes, same_weights (the old file whose weights it holds in other bytes), "
    "tensors: kind (added, removed, reshaped, cast, changed), name, old and new (dtype, shape, bytes), moved "
    "(share of elements that changed, 0 to 1).",
    paths=True,
    paged=True,
)
def diff(
    call: Call,
    words: Annotated[
        tuple[str, ...], Argument("REV", "None: folder against HEAD; one: against it; two: these.")
    ] = (),
    stat: Annotated[bool, Option("--stat", "Count the tensors instead of listing them.")] = False,
    name_only: Annotated[bool, Option("--name-only", "Print only the files' names.")] = False,
    name_status: Annotated[
        bool, Option("--name-status", "Print only the kind of change and the names.")
    ] = False,
    exit_code: Annotated[
        bool, Option("--exit-code", "Exit with 1 if something differs; -q alone does so too.")
    ] = False,
    json: Annotated[bool, Option("--json", "Print a JSON array.")] = False,
) -> int:
    """Show what differs: files, and in them the tensors that were added, removed, reshaped or changed.

    For a changed tensor it tells which share of its elements moved. A..B is the same as A B.
    """
    if sum((stat, name_only, name_status, json)) > 1:
        raise UsageError("--stat, --name-only, --name-status and --json do not go together")
    brief = name_only or name_status or (call.quiet and not json)
    some = False
    with _changes(call, words, tensors=not brief) as changes:
        if json:
            rows = [change_json(change) for change in changes]
            some = bool(rows)
            call.data(rows)
        elif stat:
            some = _print_stat(call, changes)
        else:
            for change in changes:
                some = True
                if call.quiet:
                    break
                for line in [call.shown(change.path)] if name_only else _lines(call, change, brief=brief):
                    call.print(line)
    return 1 if some and (exit_code or call.quiet) else 0


@contextmanager
def _changes(call: Call, words: tuple[str, ...], *, tensors: bool) -> Iterator[Iterable[FileChange]]:
    with call.repository.reading() as view:
        revisions, paths = list(words), call.paths
        if len(words) == 1 and ".." in words[0] and not is_revision(view, words[0]):
            old, _, new = words[0].partition("..")
            revisions = [old or "HEAD", new or "HEAD"]
        elif paths is None:
            # as in Git, what is no revision but a file begins the paths
            at = next(
                (
                    i
                    for i, word in enumerate(words)
                    if not is_revision(view, word) and names_files(call, view, word)
                ),
                None,
            )
            if at is not None:
                revisions, paths = list(words[:at]), words[at:]
        if len(revisions) > 2:
            raise UsageError("two versions at most can be compared", hint="mvc diff [A [B]] [-- PATH…]")
        place = call.inside(paths or ())
        if len(revisions) == 2:
            yield diff_versions(call.repository, view, revisions[0], revisions[1], place, tensors=tensors)
            return
    yield diff_worktree(call.repository, revisions[0] if revisions else None, place, tensors=tensors)


# --- lines ------------------------------------------------------------------------------------------------
_TENSOR_COLOURS = {**COLOURS, "reshaped": "yellow", "cast": "yellow"}


def _title(call: Call, change: FileChange) -> tuple[str, str, str]:
    path = call.shown(change.path)
    if change.old_path is not None:
        path = f"{call.shown(change.old_path)} -> {path}"
    old = None if change.old is None else change.old.size
    new = None if change.new is None else change.new.size
    return LETTERS[change.kind], path, sizes_text(old, new)


def _lines(call: Call, change: FileChange, *, brief: bool) -> list[str]:
    letter, path, sizes = _title(call, change)
    if brief:
        return [f"{letter}\t{path}"]
    behind = f"  {sizes}" + ("  only the executable bit" if change.kind == "mode" else "")
    behind += weights_text(call, change.path, change.same_weights)
    line = f"{letter}  {call.screen.fit(path, 'middle', 3 + len(behind))}{behind}"
    table = Table([Column(), Column(cut="middle"), Column(), Column()], indent="     ")
    for tensor in change.tensors:
        table.add(*_tensor_row(tensor), colour=_TENSOR_COLOURS.get(tensor.kind, ""))
    return [call.paint(line, COLOURS.get(change.kind, "bold")), *table.lines(call.screen)]


def _tensor_row(tensor: TensorChange) -> tuple[str, str, str, str]:
    old, new = tensor.old, tensor.new
    if tensor.kind in ("reshaped", "cast") and old is not None and new is not None:
        shape = f"{_form(old)} -> {_form(new)}"
    else:
        span = new or old
        shape = "" if span is None else _form(span)
    return tensor.kind, one_line(tensor.name), shape, _how(tensor)


def _how(tensor: TensorChange) -> str:
    if tensor.kind == "changed":
        return "too large to compare" if tensor.moved is None else f"{share(tensor.moved)} moved"
    span = tensor.new or tensor.old
    return "" if span is None or tensor.kind in ("reshaped", "cast") else size(span.length)


def _form(span: Span) -> str:
    return f"{span.dtype} {list(span.shape)}"


def _print_stat(call: Call, changes: Iterable[FileChange]) -> bool:
    table = Table([Column(), Column(cut="middle"), Column(), Column()])
    kinds: Counter[str] = Counter()
    for change in changes:
        kinds[change.kind] += 1
        tensors = Counter(tensor.kind for tensor in change.tensors)
        counted = ", ".join(f"{count(n, 'tensor')} {kind}" for kind, n in tensors.items())
        table.add(*_title(call, change), counted, colour=COLOURS.get(change.kind, ""))
    call.table(table)
    files = len(table.rows)
    if files:
        call.print(f"{count(files, 'file')}: {', '.join(f'{n:,} {kind}' for kind, n in kinds.items())}")
    return bool(files)


# --- JSON -------------------------------------------------------------------------------------------------
def change_json(change: FileChange) -> dict[str, Any]:
    """A file that differs."""
    return {
        "path": change.path,
        "kind": change.kind,
        "old_path": change.old_path,
        "old_bytes": None if change.old is None else change.old.size,
        "new_bytes": None if change.new is None else change.new.size,
        "same_weights": change.same_weights,
        "tensors": [
            {
                "kind": tensor.kind,
                "name": tensor.name,
                "old": _span_json(tensor.old),
                "new": _span_json(tensor.new),
                "moved": tensor.moved,
            }
            for tensor in change.tensors
        ],
    }


def _span_json(span: Span | None) -> dict[str, Any] | None:
    return None if span is None else {"dtype": span.dtype, "shape": list(span.shape), "bytes": span.length}
