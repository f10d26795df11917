"""``mvc blame``."""

from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.cli.text import iso, when_short
from mvc.cli.versions import person_json
from mvc.errors import UsageError
from mvc.ops.blame import Attribution, Origin, attribute
from mvc.text import one_line


@command(
    "mvc blame model.safetensors",
    "mvc blame 'model.safetensors#lm_head.weight' v1.0",
    "mvc blame config.json --since '2 weeks ago'",
    data="An object: commit, path, kind (tensors or lines), rows in the order of the file. A row of tensors: "
    "tensor (null for what lies between them, or for a file without any), dtype, shape, bytes; one of lines: "
    "line (from 1), text, line_there. Both: commit, author (name, email), time, message (its first line), "
    "path (the file's there), boundary (older versions were not looked at).",
    paged=True,
)
def blame(
    call: Call,
    path: Annotated[str, Argument("PATH[#TENSOR]", "A file of the version, or a tensor in it.")],
    revision: Annotated[str | None, Argument("REV", "The version; HEAD if left out.")] = None,
    since: Annotated[
        str | None,
        Option("--since", "Look no further back than: a date, '2 weeks ago', @SECONDS.", "WHEN"),
    ] = None,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> None:
    """Show which version last changed each tensor of a file, or each line of a text.

    Merges are followed to the parent that has the same bits, the first one if both have; files along their
    renames, and to a removed file that holds half of the tensors or more, so that weights saved in another
    format keep their history. A tensor is the same if dtype, shape and bits are, wherever it lies. The last
    row is what lies between the tensors (header, metadata). With --since, what was last changed before
    that goes to the newest older version, which is marked by ^. WHEN is as for 'mvc log'.
    """
    revision = revision or "HEAD"
    if ":" in revision:
        raise UsageError("blame takes the path first", hint="mvc blame PATH [REV]")
    oldest = None
    if since is not None:
        from mvc.cli.dates import parse_moment  # only where it is asked for

        oldest = parse_moment(since, call.now()) * 1_000_000
    with call.repository.reading() as view:
        name, sharp, tensor = path.partition("#")
        inside = call.inside([name])
        if not inside:
            raise UsageError("blame takes a file", hint="'mvc ls' lists them")
        found = attribute(view, revision, inside[0] + sharp + tensor, since=oldest)
    if json:
        call.data(_json(found))
    elif found.lines is not None:
        _print_lines(call, found)
    else:
        _print_tensors(call, found)


def _print_tensors(call: Call, found: Attribution) -> None:
    table = Table([*_COLUMNS, Column("tensor", cut="middle"), Column("subject", cut="end")])
    whole = all(row.span is None for row in found.tensors)
    for row in found.tensors:
        rest = "(the whole file)" if whole else "(between the tensors)"
        name = one_line(row.span.name) if row.span is not None else rest
        table.add(*_cells(found, row.origin), name, one_line(row.origin.commit.subject))
    call.table(table)


def _print_lines(call: Call, found: Attribution) -> None:
    table = Table([*_COLUMNS, Column("", right=True), Column("line")])
    for row in found.lines or ():
        text = one_line(row.line.decode(errors="replace").rstrip("\r\n"))
        table.add(*_cells(found, row.origin), str(row.number), text)
    call.table(table)


_COLUMNS = (Column("version", colour="yellow"), Column("author", cut="end"), Column("when"))


def _cells(found: Attribution, origin: Origin) -> tuple[str, ...]:
    """Version (behind ``^`` at the boundary, as Git has it), author, time."""
    name = ("^" if origin.boundary else "") + origin.id.short
    if origin.path != found.path:
        name += f" {one_line(origin.path)}"
    return name, one_line(origin.commit.author.name), when_short(origin.commit.time)


def _json(found: Attribution) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            "line": row.number,
            "text": row.line.removesuffix(b"\n").decode(errors="replace"),
            "line_there": row.there,
            **_origin_json(row.origin),
        }
        for row in found.lines or ()
    ]
    for item in found.tensors:
        span = item.span
        rows.append(
            {
                "tensor": None if span is None else span.name,
                "dtype": None if span is None else span.dtype,
                "shape": None if span is None else list(span.shape),
                "bytes": None if span is None else span.length,
                **_origin_json(item.origin),
            }
        )
    return {
        "commit": found.id.hex(),
        "path": found.path,
        "kind": "tensors" if found.lines is None else "lines",
        "rows": rows,
    }


def _origin_json(origin: Origin) -> dict[str, Any]:
    return {
        "commit": origin.id.hex(),
        "author": person_json(origin.commit.author),
        "time": iso(origin.commit.time),
        "message": origin.commit.subject,
        "path": origin.path,
        "boundary": origin.boundary,
    }
