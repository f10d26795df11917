"""``mvc stats``."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Option, command
from mvc.cli.tables import Column, Table
from mvc.cli.text import share
from mvc.ops.stats import Share, Stats, Version
from mvc.ops.stats import stats as read_stats
from mvc.text import count, one_line, size

_NUMBER = Column(right=True)


@command(
    "mvc stats",
    "mvc stats --json | jq .ratio",
    "mvc stats --remote origin",
    data="An object: raw_bytes (each distinct file once), copies_bytes (a copy for each version), "
    "stored_bytes, ratio (stored_bytes ÷ raw_bytes), unreached_bytes (of undone work, mostly), "
    "disk_bytes (allocated for .mvc without the trash), trash_bytes (for what gc threw away), "
    "pack_bytes, index_bytes, packs, segments, elsewhere_bytes (of pieces that a partial clone left out); "
    "by_kind and by_codec: objects, plain_bytes, stored_bytes; versions, oldest first: id, subject, "
    "tags, files_bytes, new_files_bytes, stored_bytes.",
    paged=True,
)
def stats(
    call: Call,
    remote: Annotated[
        str | None, Option("--remote", "Tell of the store of a remote instead.", "REMOTE")
    ] = None,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> None:
    """Show how much is stored, what it would take as plain files, and what each version added."""
    with call.store_at(remote) as store, store.reading() as view:
        found = read_stats(store, view)
    if json:
        call.data(_json(found))
        return
    call.table(_overall(found))
    for title, table in _sections(found):
        call.print()
        call.print(call.paint(title, "bold"))
        call.table(table)


def _json(found: Stats) -> dict[str, Any]:
    value = asdict(found)
    value["ratio"] = found.ratio
    value["unreached_bytes"] = found.unreached_bytes
    value["versions"] = [
        {**asdict(version), "id": version.id.hex(), "tags": list(version.tags)} for version in found.versions
    ]
    return value


def _overall(found: Stats) -> Table:
    ratio = "" if found.ratio is None else f"{share(found.ratio)} of that"
    rows = [
        ("versions", f"{len(found.versions):,}", ""),
        (
            "files",
            size(found.raw_bytes),
            f"each distinct one once; {size(found.copies_bytes)} as a copy for each version",
        ),
        ("stored", size(found.stored_bytes), ratio),
        ("  packs", size(found.pack_bytes), count(found.packs, "file")),
        ("  index", size(found.index_bytes), f"{count(found.segments, 'segment')}, names and log"),
    ]
    if found.trash_bytes:
        rows.append(("trash", size(found.trash_bytes), "what gc threw away; 'mvc gc --undo' brings it back"))
    if found.elsewhere_bytes:
        rows.append(("elsewhere", size(found.elsewhere_bytes), "of the files; fetched when it is read"))
    if found.unreached_bytes > found.pack_bytes // 100:
        told = "what no branch or tag reaches, such as undone commits; kept, so that undo can be undone"
        if found.elsewhere_bytes:
            told = "what pieces here are differences from, and what no branch or tag reaches"
        rows.insert(4, ("  of them", size(found.unreached_bytes), told))
    table = Table([Column(), Column(right=True), Column()])
    for row in rows:
        table.add(*row)
    return table


def _sections(found: Stats) -> Iterator[tuple[str, Table]]:
    """What is printed below, with a title each."""
    for title, shares in (("by kind:", found.by_kind), ("by codec:", found.by_codec)):
        if shares:
            table = Table([Column(), _NUMBER, _NUMBER, _NUMBER, _NUMBER], indent="  ")
            for item in _largest_first(shares):
                table.add(*_share_row(*item))
            yield title, table
    if found.versions:
        columns = [Column(colour="yellow"), _NUMBER, _NUMBER, _NUMBER, Column(cut="end")]
        table = Table(columns, indent="  ")
        for version in reversed(found.versions):
            table.add(*_version_row(version))
        yield "added by each version, newest first (new files, stored):", table


def _largest_first(shares: dict[str, Share]) -> list[tuple[str, Share]]:
    return sorted(shares.items(), key=lambda item: -item[1].stored_bytes)


def _share_row(name: str, found: Share) -> tuple[str, ...]:
    ratio = share(found.stored_bytes / found.plain_bytes) if found.plain_bytes else ""
    return name, count(found.objects, "object"), size(found.plain_bytes), size(found.stored_bytes), ratio


def _version_row(version: Version) -> tuple[str, ...]:
    ratio = share(version.stored_bytes / version.new_files_bytes) if version.new_files_bytes else ""
    names = f"({', '.join(map(one_line, version.tags))}) " if version.tags else ""
    return (
        version.id.short,
        size(version.new_files_bytes),
        size(version.stored_bytes),
        ratio,
        names + one_line(version.subject),
    )
