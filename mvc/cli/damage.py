"""Damage as people read it: a block for each damaged object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mvc.text import count, one_line
from mvc.upkeep.check import Report
from mvc.upkeep.damaged import DamagedObject
from mvc.upkeep.touched import FilePart, Versions

_SHORT = 12
_MOST_VERSIONS = 4
_MOST_NAMES = 8
_MOST_FILES = 10
_MOST_TENSORS = 10
_MOST_RANGES = 3


def damage_lines(report: Report) -> Iterator[str]:
    """What is wrong with the store's own files and with what no block tells of, a line for each."""
    told = {item.id for item in report.damaged} | report.explained
    for item in report.damage:
        if item.object not in told:
            yield one_line(
                f"{item.what}: {item.how}" + (f" (needed by {item.needed_by})" if item.needed_by else "")
            )


def block(item: DamagedObject) -> Iterator[str]:
    """A damaged object, and below it, indented, what it touches."""
    yield one_line(f"{item.kind} {item.id[:_SHORT]}: {item.how}")
    touched = item.touched
    if item.readable:
        yield "  another record of it is sound: nothing is lost with this one"
    if item.dependants:
        yield f"  {count(item.dependants, 'other object')} cannot be read without it"
    if touched.versions.count:
        yield f"  {_versions(touched.versions)}"
    if touched.refs:
        yield one_line(f"  reached from {_listed(touched.refs, _MOST_NAMES)}")
    if touched.operations:
        yield f"  {'also ' if touched.refs else ''}needed to undo {_listed(touched.operations, _MOST_NAMES)}"
    for file in touched.files[:_MOST_FILES]:
        yield from _file(file, touched.versions)
    if touched.file_count > _MOST_FILES:
        yield f"  and {count(touched.file_count - _MOST_FILES, 'more file')}; --json lists them"


def advice(report: Report) -> Iterator[str]:
    """What to do next."""
    if any(not item.readable for item in report.damaged):
        yield "'mvc repair -n' tells what would come back, 'mvc repair' brings it: from the store itself,"
        yield "from work files that hold what is lost, and with --from FOLDER from another copy"
        yield "until then keep such files and copies, and leave 'mvc gc' alone"
    elif report.damage:
        yield "nothing is lost: 'mvc repair' makes it whole from what is there"
    if report.sample is None and not report.packs:
        yield "--full decodes everything and may find more"


def _file(file: FilePart, versions: Versions) -> Iterator[str]:
    what = "" if not file.path.endswith("/") else "  everything in this folder"
    ranges = _ranges(file.bytes)
    where = f"  bytes {ranges}" if ranges else what or "  the whole file"
    some = "" if file.versions == versions or not file.versions.count else f"  ({_versions(file.versions)})"
    yield one_line(f"  {file.path}{where}{some}")
    for tensor in file.tensors[:_MOST_TENSORS]:
        yield one_line(f"    {tensor.name}  bytes {_ranges(tensor.bytes)}")
    if len(file.tensors) > _MOST_TENSORS:
        yield f"    and {count(len(file.tensors) - _MOST_TENSORS, 'more tensor')}; --json lists them"


def _versions(versions: Versions) -> str:
    if versions.count <= _MOST_VERSIONS:
        noun = "version" if versions.count == 1 else "versions"
        return f"{noun} {', '.join(identity[:_SHORT] for identity in versions.ids)}"
    newest, oldest = versions.newest[:_SHORT], versions.oldest[:_SHORT]
    return f"{versions.count:,} versions, newest {newest}, oldest {oldest}"


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    told = ", ".join(f"{start:,}-{end - 1:,}" for start, end in ranges[:_MOST_RANGES])
    return told + (f" and {len(ranges) - _MOST_RANGES} more" if len(ranges) > _MOST_RANGES else "")


def _listed(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
