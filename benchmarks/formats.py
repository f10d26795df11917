"""Which files are understood: describes, commits, checks out and compares every file of some folders.

    python -m benchmarks.formats FOLDER…

Prints for each format how many files it claims and understands, and how many of the bytes lie in named
tensors. That share counts only files with at least one named tensor: those that hold none, or only
compressed ones, have a line of their own. Then come the opaque files that a format claimed, with the reason.
Ends with an error when the regions of a file do not tile it, or a file comes back different.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.related import WHO, now
from benchmarks.tensor_files import in_its_folder
from mvc.fileio import FileIO
from mvc.formats import OPAQUE, describe
from mvc.monitor import Monitor
from mvc.ops import tag
from mvc.ops.checkout import checkout
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.spans import tile


@dataclass(frozen=True, slots=True)
class Row:
    """One file: its format, or the one that claimed and refused it (empty if none did)."""

    path: Path
    format: str
    size: int
    tensors: int
    tensor_bytes: int
    reason: str | None


def files_of(folder: Path) -> list[Path]:
    """Every file of a folder, those in subfolders too."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def described(path: Path) -> Row:
    """What the formats say of a file, seen in its folder."""
    with in_its_folder(path) as (file, sibling):
        description = describe(file, sibling)
        layout = description.layout
        regions = list(tile(file.size, layout.spans))
        if sum(region.length for region in regions) != file.size:
            raise SystemExit(f"{path}: the regions do not tile it")
        in_tensors = sum(region.length for region in regions if region.span is not None)
        kind = layout.format if layout.format != OPAQUE else (description.reason or "").partition(":")[0]
        return Row(path, kind, file.size, len(layout.spans), in_tensors, description.reason)


def check_round_trip(source: Path, folder: Path) -> None:
    """Commit a copy of a folder, delete it, check it out again, and compare every byte."""
    shutil.copytree(source, folder)
    repository = init(FileIO(), folder, Monitor())
    files = [path.relative_to(source) for path in files_of(source)]
    commit(repository, Request("all", WHO, now(), {}))
    tag.create(repository, "all", "HEAD", WHO, now())
    for name in files:
        (folder / name).unlink()
    commit(repository, Request("none", WHO, now(), {}, allow_empty=True))
    checkout(repository, "all", WHO, now())
    for name in files:
        if not (folder / name).is_file() or (folder / name).read_bytes() != (source / name).read_bytes():
            raise SystemExit(f"{source / name} came back different")


def table(rows: list[Row]) -> Iterator[str]:
    """The table by format, and what lies outside of it."""
    head = f"{'format':16s} {'claimed':>8s} {'understood':>10s}"
    yield f"{head} {'MB':>9s} {'in tensors':>11s}  without tensors"
    claimed = Counter(row.format for row in rows if row.format)
    whole = named = 0
    for name in sorted(claimed):
        understood = [row for row in rows if row.format == name and row.reason is None]
        holding = [row for row in understood if row.tensors]
        size = sum(row.size for row in holding)
        inside = sum(row.tensor_bytes for row in holding)
        whole, named = whole + size, named + inside
        share = f"{inside / size:10.2%}" if size else "-"
        counts = f"{claimed[name]:8d} {len(understood):10d} {size / 1e6:9.2f}"
        yield f"{name:16s} {counts} {share:>11s}  {len(understood) - len(holding) or ''}"
    if whole:
        yield f"{'all of them':16s} {'':19s} {whole / 1e6:9.2f} {named / whole:11.2%}"
    others = [row for row in rows if not row.format]
    yield f"claimed by no format: {len(others)} files, {sum(row.size for row in others) / 1e6:.2f} MB"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    sources = [folder.resolve() for folder in parser.parse_args().folders]
    rows = [described(path) for source in sources for path in files_of(source)]
    print("\n".join(table(rows)), flush=True)
    empty = [row for row in rows if row.format and row.reason is None and not row.tensors]
    if empty:
        print("\nunderstood, without a tensor that lies in one piece uncompressed:")
    for row in empty:
        print(f"  {row.path} ({row.size / 1e6:.2f} MB)")
    refused = [row for row in rows if row.reason is not None]
    if refused:
        print("\nclaimed, and opaque:")
    for row in refused:
        print(f"  {row.path} ({row.size / 1e6:.2f} MB): {row.reason}")
    with tempfile.TemporaryDirectory() as name:
        for number, source in enumerate(sources):
            check_round_trip(source, Path(name) / str(number))
    print(f"\n{len(rows)} files committed, checked out and identical")


if __name__ == "__main__":
    main()
