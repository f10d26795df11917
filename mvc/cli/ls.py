"""``mvc ls``."""

from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.history.reader import GAP
from mvc.ops import ls as verb
from mvc.ops.ls import FileRow, TensorRow
from mvc.text import count, one_line, size
from mvc.view import View
from mvc.weighing import Weigher


@command(
    "mvc ls",
    "mvc ls --tensors v1.0:model.safetensors",
    "mvc ls --json HEAD~1:tokenizer",
    data="An array of files: path, bytes, sha256, format, reason (why a scanner refused an opaque file, or "
    "when, by whom and why one of format purged went, whose bytes and sha256 are null; else null), "
    "tensors (how many), executable; with --weights also weights (null without tensors). With "
    "--tensors an array of tensors: path, name, dtype, shape, bytes, stored_bytes, codecs, depth.",
    paged=True,
    anywhere=True,
)
def ls(
    call: Call,
    what: Annotated[
        str | None, Argument("REV[:PATH]", "A version, or a file or folder in it; HEAD if left out.")
    ] = None,
    tensors: Annotated[bool, Option("-t --tensors", "List the tensors in the files.")] = False,
    weights: Annotated[bool, Option("-w --weights", "Show each file's weights id.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON array.")] = False,
) -> None:
    """List the files of a version, or with --tensors the tensors in them and how they are stored.

    With -v, a file whose tensors could not be read has the reason below it.
    Stored bytes are those of the records that hold a tensor; what tensors share counts for each of them.
    """
    revision = call.revision("HEAD" if what is None else what)
    with call.store.reading() as view:
        if tensors or "#" in revision.partition(":")[2]:
            _tensors(call, view, revision, json=json)
        else:
            weigher = Weigher(call.store, view.objects) if weights else None
            _files(call, view, revision, weigher, json=json)


def _files(call: Call, view: View, revision: str, weigher: Weigher | None, *, json: bool) -> None:
    rows = list(verb.files(view, revision, weigher))
    if json:
        more = [{} if weigher is None else {"weights": row.weights} for row in rows]
        call.data([{**_file_json(row), **weights} for row, weights in zip(rows, more, strict=True)])
        return
    table = Table(
        [Column("size", right=True), Column("format"), Column("", right=True), Column("path", cut="middle")]
    )
    for row in rows:
        table.add(*_file_cells(row))
    heading, lines = table.render(call.screen)
    if heading is not None:
        call.print(heading)
    for row, line in zip(rows, lines, strict=True):
        call.print(line)
        if row.weights is not None:
            call.print(f"    {row.weights}")
        if call.verbose and row.manifest.reason is not None:
            call.print(f"    {one_line(row.manifest.reason)}")


def _tensors(call: Call, view: View, revision: str, *, json: bool) -> None:
    rows = list(verb.tensors(view, revision))
    if json:
        call.data([_tensor_json(row) for row in rows])
        return
    table = Table(_TENSOR_COLUMNS, indent="  ", headed=True)
    for row in rows:
        table.add(*_tensor_cells(row))
    heading, lines = table.render(call.screen)
    path = None
    for row, line in zip(rows, lines, strict=True):
        if row.path != path:
            path = row.path
            call.print(call.screen.fit(one_line(path), "middle"))
            call.print(heading or "")
        call.print(line)


_TENSOR_COLUMNS = (
    Column("tensor", cut="middle"),
    Column("dtype", colour="cyan"),
    Column("shape"),
    Column("bytes", right=True),
    Column("stored", right=True),
    Column("codec", cut="end", colour="dim"),
)


def _file_cells(row: FileRow) -> tuple[str, ...]:
    tensors = count(len(row.manifest.tensors), "tensor") if row.manifest.tensors else ""
    if row.manifest.format == GAP:
        return "", GAP, "", one_line(row.path)
    return size(row.manifest.size), row.manifest.format, tensors, one_line(row.path)


def _tensor_cells(row: TensorRow) -> tuple[str, ...]:
    span = row.span
    sizes = size(span.length), size(row.stored_bytes)
    return one_line(span.name), span.dtype, str(list(span.shape)), *sizes, ", ".join(row.codecs)


def _file_json(row: FileRow) -> dict[str, Any]:
    gone = row.manifest.format == GAP
    return {
        "path": row.path,
        "bytes": None if gone else row.manifest.size,
        "sha256": None if gone else row.manifest.sha256.hex(),
        "format": row.manifest.format,
        "reason": row.manifest.reason,
        "tensors": len(row.manifest.tensors),
        "executable": row.executable,
    }


def _tensor_json(row: TensorRow) -> dict[str, Any]:
    return {
        "path": row.path,
        "name": row.span.name,
        "dtype": row.span.dtype,
        "shape": list(row.span.shape),
        "bytes": row.span.length,
        "stored_bytes": row.stored_bytes,
        "codecs": list(row.codecs),
        "depth": row.depth,
    }
