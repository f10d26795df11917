"""``mvc estimate``."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.familytree import family_svg, tree_rows
from mvc.cli.tables import Column, Table
from mvc.cli.text import duration, share
from mvc.errors import UserError
from mvc.fileio import storage_errors, write_durable
from mvc.ops.estimate import Estimate, Forecast
from mvc.ops.estimate import estimate as look
from mvc.text import count, one_line, size

_NUMBER = Column(right=True)


@command(
    "mvc estimate checkpoints",
    "mvc estimate runs/a runs/b --json | jq .ratio",
    "mvc estimate checkpoints --plot family.svg",
    data="An object: size (bytes of all files), stored_bytes, ratio (stored_bytes ÷ size), seconds (to "
    "commit), read_bytes and took_seconds (of this command), problems (path, reason), and files in the "
    "order in which they are best committed: path, format, size, stored_bytes, seconds, and parents, the "
    "main one first: path, how (copy, re-saved, part, parts, cast, quantise, prune, merge, LoRA merge, rows, "
    "trained), distance (how far training moved the weights, as a part of their norm, or null).",
    paged=True,
)
def estimate(
    call: Call,
    folders: Annotated[tuple[str, ...], Argument("DIR", "Folders; else this one.")] = (),
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
    plot: Annotated[str | None, Option("--plot", "Draw the family as SVG.", "FILE")] = None,
) -> None:
    """Tell what files would cost in a repository, and who was made from whom; needs none, changes nothing.

    Reads the files' headers and less than 2 % of the rest; of small files some tens of kilobytes. Who was
    fine-tuned, cast, merged, pruned or quantised from whom is read off the weights: names and dates of
    files play no part. Costs are those of one version for each file, parents first.
    """
    named = folders or (".",)
    places = {"" if len(named) == 1 else _name(name): call.context.cwd / name for name in named}
    for name, place in zip(named, places.values(), strict=False):
        if not place.is_dir():
            raise UserError(f"{one_line(name)} is no folder", hint="name the folder that the files lie in")
    with storage_errors("cannot look at the files"):
        found = look(call.io, places, call.monitor)
    if plot is not None:
        _write(call, call.context.cwd / plot, family_svg(found.files))
    if json:
        call.data(_json(found))
        return
    for path, why in found.problems:
        call.monitor.warn(f"{one_line(path)}: {why}")
    _print(call, found)
    if plot is not None:
        call.report(f"drew {one_line(plot)}")


def _name(folder: str) -> str:
    return folder.rstrip("/") or "/"


def _write(call: Call, target: Path, text: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    with storage_errors(f"cannot write {one_line(str(target))}"):
        write_durable(call.io, temporary, target, [text.encode()], replace=True)


def _json(found: Estimate) -> dict[str, Any]:
    value = asdict(found)
    value["ratio"] = found.ratio
    value["problems"] = [{"path": one_line(path), "reason": why} for path, why in found.problems]
    for file in value["files"]:
        file["path"] = one_line(file["path"])
        for parent in file["parents"]:
            parent["path"] = one_line(parent["path"])
    return value


def _print(call: Call, found: Estimate) -> None:
    if found.files:
        table = Table(
            [Column("file", cut="middle"), Column("made by"), _named("raw"), _named("stored"), _NUMBER],
            headed=True,
        )
        for branches, file in tree_rows(found.files):
            ratio = share(file.stored_bytes / file.size) if file.size else ""
            name = _branches(branches) + one_line(file.path)
            table.add(name, _how(file), size(file.size), size(file.stored_bytes), ratio)
        call.table(table)
        call.print()
    of_that = "" if found.ratio is None else f", {share(found.ratio)}"
    call.print(
        f"{count(len(found.files), 'file')}: {size(found.size)} → {size(found.stored_bytes)}{of_that}; "
        f"about {duration(found.seconds)} to commit"
    )
    looked = share(found.read_bytes / found.size) if found.size else "nothing"
    call.report(f"read {looked} of the bytes in {duration(found.took_seconds)}")


def _named(title: str) -> Column:
    return Column(title, right=True)


def _branches(branches: tuple[bool, ...]) -> str:
    if not branches:
        return ""
    return "".join("   " if last else "│  " for last in branches[:-1]) + ("└─ " if branches[-1] else "├─ ")


def _how(file: Forecast) -> str:
    """How a file was made; with what else than the file above it."""
    if not file.parents:
        return ""
    first, *others = file.parents
    also = [
        f"{parent.how if parent.how != first.how else 'with'} {one_line(parent.path)}" for parent in others
    ]
    return ", ".join([first.how, *also])
