"""``mvc export``."""

import sys
from pathlib import Path
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.sizes import parse_size
from mvc.errors import UsageError
from mvc.ops import export as verb
from mvc.text import count, one_line, size

_SHOWN = 5


@command(
    "mvc export v1.0 ../released",
    "mvc export v1.0 --format tar release.tar",
    "mvc export HEAD --format tar - | zstd > release.tar.zst",
    "mvc export HEAD:model.pt --format safetensors model.safetensors",
    "mvc export HEAD:checkpoint --format safetensors --shard-size 5GB model.safetensors",
    data="An object: format, revision, files (paths of what was made), items (files of the version, or "
    "tensors), plain_bytes, left_out (safetensors: files without tensors).",
)
def export(
    call: Call,
    words: Annotated[
        tuple[str, ...],
        Argument("REV|DEST", "What to export (REV or REV:PATH; HEAD if left out), and where to."),
    ] = (),
    format: Annotated[
        str | None, Option("--format", "What to make; a folder if left out.", "folder|tar|safetensors")
    ] = None,
    shard_size: Annotated[
        str | None, Option("--shard-size", "safetensors: at most so much in one file, like 5GB.", "SIZE")
    ] = None,
    force: Annotated[bool, Option("-f --force", "Replace files that are there already.")] = False,
    json: Annotated[bool, Option("--json", "Print what was made as JSON.")] = False,
) -> None:
    """Bring a version out of the store: as a plain folder, a tar archive or safetensors files.

    Every file is checked against its SHA-256 while it is written, and what is made appears whole or not at
    all. A tar archive of a version has the same bytes wherever it is made; '-' writes it to standard output.

    With safetensors the tensors of any format are written as a .safetensors file; those of several files
    under their own names, or with the file's path before them where names meet. What safetensors cannot hold
    is refused by name. With --shard-size there are several files and an index, as on the Hub.
    """
    kind = format or "folder"
    if kind not in ("folder", "tar", "safetensors"):
        raise UsageError(f"--format takes folder, tar or safetensors, not {kind!r}")
    if not 1 <= len(words) <= 2:
        raise UsageError("name a revision and where to write", hint="mvc export REV DEST")
    if shard_size is not None and kind != "safetensors":
        raise UsageError("--shard-size goes with --format safetensors")
    if force and kind == "folder":
        raise UsageError("a folder is not replaced", hint="name one that is empty or does not exist")
    revision, destination = words if len(words) == 2 else ("HEAD", words[0])
    revision = call.revision(revision)
    if destination == "-":
        _stream(call, kind, revision, json=json)
        return
    path = call.context.cwd / destination
    with call.repository.reading() as view:
        if kind == "folder":
            done = verb.to_folder(call.io, view, revision, path, call.monitor)
        elif kind == "tar":
            done = verb.to_archive(call.io, view, revision, path, call.monitor, replace=force)
        else:
            done = verb.to_safetensors(
                call.io,
                view,
                revision,
                path,
                call.monitor,
                shard_bytes=None if shard_size is None else parse_size("--shard-size", shard_size),
                replace=force,
            )
    if json:
        call.data(_as_json(done, kind, revision))
    else:
        _tell(call, done, kind, destination)


def _stream(call: Call, kind: str, revision: str, *, json: bool) -> None:
    if kind != "tar":
        raise UsageError("only a tar archive goes to standard output", hint="mvc export --format tar REV -")
    if json:
        raise UsageError("standard output is the archive, so there is no --json")
    out = sys.stdout.buffer

    def write(data: Any) -> None:
        out.write(data)

    with call.repository.reading() as view:
        verb.to_stream(view, revision, write, call.monitor)
    out.flush()


def _tell(call: Call, done: verb.Export, kind: str, destination: str) -> None:
    what = count(done.items, "tensor" if kind == "safetensors" else "file")
    places = "" if len(done.made) == 1 else f" and {count(len(done.made) - 1, 'file')} beside it"
    first = destination if len(done.made) == 1 else str(Path(destination).with_name(done.made[0].name))
    call.report(f"{what}, {size(done.plain_bytes)} in {one_line(first)}{places}")
    if done.left_out:
        shown = ", ".join(map(one_line, done.left_out[:_SHOWN]))
        more = f" and {len(done.left_out) - _SHOWN:,} more" if len(done.left_out) > _SHOWN else ""
        call.report(f"left out, for they have no tensors: {shown}{more}")


def _as_json(done: verb.Export, kind: str, revision: str) -> dict[str, object]:
    return {
        "format": kind,
        "revision": revision,
        "files": [str(path) for path in done.made],
        "items": done.items,
        "plain_bytes": done.plain_bytes,
        "left_out": list(done.left_out),
    }
