"""``mvc grep``."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.history.criteria import compile_pattern
from mvc.ops.grep import DEFAULT_SCOPES, Hit, Scope, Search
from mvc.ops.grep import grep as search_versions
from mvc.text import one_line


@command(
    "mvc grep 'layers\\.1[01]\\..*bias'",
    "mvc grep -i adamw v1.0 main",
    "mvc grep --all --messages 'warm.?up'",
    "mvc grep --text hidden_size -- config.json",
    exits=("1: nothing was found",),
    data="An array of what was found: kind (tensor, metadata, metric, param, message, note, text), commit, "
    "path, name (of the tensor, key, metric or setting), text (the line or value), line (from 1), dtype and "
    "shape; null where there is no such thing. With -l an array of commit and path, with -c also count.",
    paths=True,
    paged=True,
    anywhere=True,
)
def grep(
    call: Call,
    pattern: Annotated[str, Argument("PATTERN", "A regular expression of Python's.")],
    revision: Annotated[
        tuple[str, ...], Argument("REV", "Versions to search (HEAD if left out); A..B, ^A as in 'mvc log'.")
    ] = (),
    names: Annotated[bool, Option("--names", "Search names of tensors.")] = False,
    metadata: Annotated[
        bool, Option("--metadata", "Search metadata of files, metrics and settings.")
    ] = False,
    messages: Annotated[bool, Option("--messages", "Search messages and notes.")] = False,
    text: Annotated[bool, Option("--text", "Search the lines of text files of up to 1 MiB too.")] = False,
    all_: Annotated[bool, Option("--all", "Search all of history.")] = False,
    ignore_case: Annotated[bool, Option("-i --ignore-case", "Upper and lower case are the same.")] = False,
    fixed: Annotated[bool, Option("-F --fixed-strings", "A text, not a regular expression.")] = False,
    list_: Annotated[
        bool, Option("-l --files-with-matches", "Name only the files and versions in which it is found.")
    ] = False,
    count: Annotated[bool, Option("-c --count", "Count what is found in each of them.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON array.")] = False,
) -> int:
    """Find an expression in what versions say.

    Without --names, --metadata and --messages all three are searched: names of tensors; metadata of files
    (what safetensors, GGUF, ONNX and other formats hold beside tensors), names and values of metrics and
    settings; messages and notes. Behind -- come files or folders, of which alone is searched then.

    With --all, or a range, each version is searched for what it brought in, newest first. An expression is
    tried on the first 4,096 characters of a line; one that takes forever there is not stopped.
    """
    asked: tuple[tuple[Scope, bool], ...] = (
        ("names", names),
        ("metadata", metadata),
        ("messages", messages),
    )
    scopes = {scope for scope, wanted in asked if wanted} or set(DEFAULT_SCOPES)
    compiled = compile_pattern(pattern, ignore_case=ignore_case, fixed=fixed)
    found = 0
    with call.store.reading() as view:
        search = Search(
            compiled, frozenset(scopes | ({"text"} if text else set())), call.inside(call.paths or ()), all_
        )
        hits = search_versions(view, search, [call.revision(word) for word in revision])
        if list_ or count:
            return _print_counts(call, hits, counts=count, json=json)
        if json:
            rows = [_json(hit) for hit in hits]
            call.data(rows)
            return 0 if rows else 1
        for hit in hits:
            found += 1
            call.print(_line(call, hit))
    return 0 if found else 1


def _print_counts(call: Call, hits: Iterable[Hit], *, counts: bool, json: bool) -> int:
    found: Counter[tuple[str, str, str | None]] = Counter()
    for hit in hits:
        key = _where(call, hit), hit.commit.hex(), hit.path
        if not found[key] and not counts and not json:
            call.print(call.paint(key[0], "green"))
        found[key] += 1
    if json:
        rows: list[dict[str, Any]] = [
            {"commit": commit, "path": path, **({"count": number} if counts else {})}
            for (_, commit, path), number in found.items()
        ]
        call.data(rows)
    elif counts:
        for (where, _, _), number in found.items():
            call.print(f"{call.paint(where, 'green')}: {number}")
    return 0 if found else 1


def _where(call: Call, hit: Hit) -> str:
    """The file, as a revision names it, or the version."""
    version = one_line(hit.version) if hit.version is not None else None
    if hit.path is None:
        return hit.commit.short if version is None else version
    return call.shown(hit.path) if version is None else f"{version}:{one_line(hit.path)}"


def _line(call: Call, hit: Hit) -> str:
    where = call.paint(_where(call, hit), "green")
    name, text = one_line(hit.name or ""), one_line(hit.text or "")
    if hit.span is not None:
        return f"{where}#{name}  {hit.span.dtype} {list(hit.span.shape)}"
    if hit.kind == "text":
        return f"{where}:{hit.line}: {text}"
    what = "" if hit.kind == "metadata" else f"{hit.kind} "
    return f"{where}: {what}{name} = {text}" if hit.name is not None else f"{where}: {what}{text}"


def _json(hit: Hit) -> dict[str, Any]:
    return {
        "kind": hit.kind,
        "commit": hit.commit.hex(),
        "path": hit.path,
        "name": hit.name,
        "text": hit.text,
        "line": hit.line,
        "dtype": None if hit.span is None else hit.span.dtype,
        "shape": None if hit.span is None else list(hit.span.shape),
    }
