"""``mvc diff``."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from mvc.cli.call import Call
from mvc.cli.changes import COLOURS, LETTERS, sizes_text, weights_text
from mvc.cli.declare import Argument, Option, command
from mvc.cli.findings import print_findings
from mvc.cli.tables import Column, Table
from mvc.cli.tensorrows import SORTS, in_order, moved_by, part, tensor_json, tensor_rows
from mvc.cli.words import is_revision, names_files
from mvc.errors import UsageError
from mvc.ops.diff import Depth, FileChange, TensorChange, diff_versions, diff_worktree, fork_point
from mvc.text import count
from mvc.view import View

if TYPE_CHECKING:
    from mvc.explaining.findings import Finding

_HISTOGRAMS = 6  # tensors of each file whose elements' changes are drawn


@command(
    "mvc diff",
    "mvc diff HEAD~1 HEAD",
    "mvc diff main...experiment --sort relative -n 20",
    "mvc diff v1.0 main -- model.safetensors",
    "mvc diff v1.0 main --plot moves.svg",
    "mvc diff --explain base finetuned",
    exits=("1 with --exit-code: something differs",),
    data="An array with an object for each file: path, kind (added, removed, modified, mode, renamed), "
    "old_path, old_bytes, new_bytes, same_weights (the old file whose weights it holds in other bytes), "
    "tensors: kind (added, removed, reshaped, cast, changed), name, old and new (dtype, shape, bytes), moved "
    "(share of elements that changed, 0 to 1), and stats of those that both sides have (else null): elements "
    "(that were compared), moved (of a cast: whose number changed), l2 (‖Δ‖), largest (max |Δ|), norm (‖W‖ "
    "before), relative (‖Δ‖ ÷ ‖W‖), cosine, rank (effective rank of Δ on at most 256 × 256 elements), "
    "low_rank (directions of Δ there, if few), nans and infinities (before, after); null for what is not "
    "defined or not finite. With --explain an array with an object for each sentence: kind, text, path, "
    "against (the file that it was compared with), certified (rebuilding it came out bit for bit), figures.",
    paths=True,
    paged=True,
)
def diff(
    call: Call,
    words: Annotated[
        tuple[str, ...], Argument("REV", "None: folder against HEAD; one: against it; two: these.")
    ] = (),
    stat: Annotated[bool, Option("--stat", "Count the tensors instead of listing them.")] = False,
    explain: Annotated[bool, Option("--explain", "Say in words how one became the other.")] = False,
    sort: Annotated[
        str | None,
        Option(
            "--sort", "Tensors in this order, the furthest first.", "name|share|l2|max|relative|cosine|rank"
        ),
    ] = None,
    number: Annotated[int | None, Option("-n --max-count", "Show so many tensors of each file.", "N")] = None,
    plot: Annotated[
        str | None, Option("--plot", "Draw how far each layer moved, as SVG or PNG.", "FILE")
    ] = None,
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

    For a changed tensor it tells which share of its elements moved, by which part of its norm (‖Δ‖ ÷ ‖W‖),
    and the largest change of one; -v adds ‖Δ‖, the cosine and the effective rank of the change. A..B is the
    same as A B; A...B goes from their merge base to B.

    --explain says what happened in words: trained, cast, pruned, quantised, merged, resharded and more.
    Certified is what it has rebuilt bit for bit; the rest looks like it.
    """
    if sum((stat, name_only, name_status, json)) > 1:
        raise UsageError("--stat, --name-only, --name-status and --json do not go together")
    if explain:
        if stat or name_only or name_status or sort or number is not None or plot is not None:
            raise UsageError("--explain goes with --json only")
        return print_findings(call, _findings(call, words), json=json, exit_code=exit_code)
    if sort is not None and sort not in SORTS:
        raise UsageError(f"--sort takes one of {', '.join(SORTS)}")
    if number is not None and number < 0:
        raise UsageError("-n takes a count")
    brief = name_only or name_status or (call.quiet and not json and plot is None)
    if plot is not None and not plot.endswith((".svg", ".png")):
        raise UsageError("--plot takes the name of an .svg or .png file")
    if plot is not None and brief:
        raise UsageError("--plot does not go with --name-only and --name-status, which look at no tensors")
    depth = Depth(
        rank=not brief and (json or call.verbose or sort == "rank"),
        histograms=0 if plot is None else _HISTOGRAMS,
    )
    some = False
    kept: list[FileChange] = []
    with _compared(call, words) as (title, changes):
        for change in changes(not brief, depth):
            ordered = in_order(change.tensors, sort)
            some = True
            if brief and call.quiet:
                break
            if json or stat or plot is not None:
                kept.append(replace(change, tensors=tuple(ordered[:number])) if json else change)
            if not (json or stat or (call.quiet and plot is not None)):
                shown = ordered if number is None else ordered[:number]
                for line in _lines(call, change, shown, sort, name_only=name_only, brief=brief):
                    call.print(line)
    if json:
        call.data([change_json(change) for change in kept])
    elif stat:
        _print_stat(call, kept)
    if plot is not None:
        # here: who draws nothing does not wait for what draws
        from mvc.cli.changemap import change_map
        from mvc.cli.drawing import write_drawing

        write_drawing(call, plot, change_map(title, kept))
    return 1 if some and (exit_code or (call.quiet and plot is None)) else 0


def _findings(call: Call, words: tuple[str, ...]) -> "list[Finding]":
    # here: needs numpy, which takes 0.1 s to import
    from mvc.ops.explain import explain_versions, explain_worktree

    with call.repository.reading() as view:
        revisions, place = _revisions(call, view, words)
        if len(revisions) == 2:
            return list(explain_versions(view, revisions[0], revisions[1], place))
    return list(explain_worktree(call.repository, revisions[0] if revisions else None, place))


_Changes = Callable[[bool, Depth], Iterable[FileChange]]


@contextmanager
def _compared(call: Call, words: tuple[str, ...]) -> Iterator[tuple[str, _Changes]]:
    """What is compared, in words, and what gives the changes, with tensors or without."""
    with call.repository.reading() as view:
        revisions, place = _revisions(call, view, words)
        if len(revisions) == 2:
            old, new = revisions

            def between(tensors: bool, depth: Depth) -> Iterable[FileChange]:
                return diff_versions(call.repository, view, old, new, place, tensors=tensors, depth=depth)

            yield f"{old} → {new}", between
            return
    base = revisions[0] if revisions else None

    def to_work(tensors: bool, depth: Depth) -> Iterable[FileChange]:
        return diff_worktree(call.repository, base, place, tensors=tensors, depth=depth)

    yield f"{base or 'HEAD'} → work tree", to_work


def _revisions(call: Call, view: View, words: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """The revisions and the paths that the words of the command line name."""
    revisions, paths = list(words), call.paths
    if len(words) == 1 and ".." in words[0] and not is_revision(view, words[0]):
        dots = "..." if "..." in words[0] else ".."
        old, _, new = words[0].partition(dots)
        revisions = [old or "HEAD", new or "HEAD"]
        if dots == "...":
            revisions[0] = fork_point(view, *revisions)
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
    return revisions, call.inside(paths or ())


# --- lines ------------------------------------------------------------------------------------------------
def _title(call: Call, change: FileChange) -> tuple[str, str, str]:
    path = call.shown(change.path)
    if change.old_path is not None:
        path = f"{call.shown(change.old_path)} -> {path}"
    old = None if change.old is None else change.old.size
    new = None if change.new is None else change.new.size
    return LETTERS[change.kind], path, sizes_text(old, new)


def _lines(
    call: Call,
    change: FileChange,
    tensors: Sequence[TensorChange],
    sort: str | None,
    *,
    name_only: bool,
    brief: bool,
) -> list[str]:
    if name_only:
        return [call.shown(change.path)]
    letter, path, sizes = _title(call, change)
    if brief:
        return [f"{letter}\t{path}"]
    behind = f"  {sizes}" + ("  only the executable bit" if change.kind == "mode" else "")
    behind += weights_text(call, change.path, change.same_weights)
    line = f"{letter}  {call.screen.fit(path, 'middle', 3 + len(behind))}{behind}"
    lines = tensor_rows(tensors, sort, verbose=call.verbose).lines(call.screen) if tensors else []
    left = len(change.tensors) - len(tensors)
    more = [f"     … and {count(left, 'more tensor')}"] if left else []
    return [call.paint(line, COLOURS.get(change.kind, "bold")), *lines, *more]


def _print_stat(call: Call, changes: Sequence[FileChange]) -> None:
    table = Table([Column(), Column(cut="middle"), Column(), Column(), Column()])
    kinds: Counter[str] = Counter()
    for change in changes:
        kinds[change.kind] += 1
        tensors = Counter(tensor.kind for tensor in change.tensors)
        counted = ", ".join(f"{count(n, 'tensor')} {kind}" for kind, n in tensors.items())
        by = moved_by(change)
        moved = f"by {part(by)}" if by else ""
        table.add(*_title(call, change), counted, moved, colour=COLOURS.get(change.kind, ""))
    call.table(table)
    if changes:
        every = Counter(tensor.kind for change in changes for tensor in change.tensors)
        tensors_too = "".join(f", {count(n, 'tensor')} {kind}" for kind, n in every.items())
        files = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
        call.print(f"{count(len(changes), 'file')}: {files}{tensors_too}")


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
        "tensors": [tensor_json(tensor) for tensor in change.tensors],
    }
