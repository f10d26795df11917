"""Many records out of packs that may be far away: what lies close together in one request, several under
way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple, TypeVar

from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject, StorageError
from mvc.odb.pack import pack_key, read_record
from mvc.odb.record import Record
from mvc.odb.segment import Entry
from mvc.parallel import ordered_map, worker_count

RANGE_BYTES = 2 << 20
"""The most that one request fetches, unless a single record is longer: bounds what is in memory, and what is
lost where a line goes dead."""

IN_FLIGHT = 12
"""Requests that are under way at once to a store that is far away."""

_PLACE = attrgetter("pack", "offset")
_Out = TypeVar("_Out")


class Range(NamedTuple):
    """A stretch of a pack with the records that are wanted of it, in order of place; in bytes."""

    pack: bytes
    offset: int
    length: int
    entries: tuple[Entry, ...]


def coalesce(entries: Iterable[Entry], gap: int) -> list[Range]:
    """The ranges that hold some records: two of a pack are in one where at most ``gap`` bytes lie between."""
    return list(stretches(entries, gap))


def stretches(
    entries: Iterable[Entry], gap: int, most: Callable[[], int] = lambda: RANGE_BYTES
) -> Iterator[Range]:
    """The same one by one; ``most`` tells each time how many bytes one may have."""
    run: list[Entry] = []
    end = 0
    for entry in sorted(set(entries), key=_PLACE):
        if run and (
            entry.pack != run[0].pack
            or entry.offset - end > gap
            or entry.offset + entry.length - run[0].offset > most()
        ):
            yield _range(run, end)
            run = []
        end = max(end, entry.offset + entry.length) if run else entry.offset + entry.length
        run.append(entry)
    if run:
        yield _range(run, end)


def _range(run: list[Entry], end: int) -> Range:
    return Range(run[0].pack, run[0].offset, end - run[0].offset, tuple(run))


def fetch(
    backend: Backend,
    ranges: Iterable[Range],
    use: Callable[[Entry, Record], _Out],
    room: Callable[[], int] = lambda: IN_FLIGHT * RANGE_BYTES,
) -> Iterator[tuple[Entry, _Out | CorruptObject | CorruptFile]]:
    """Fetch ranges and have ``use`` look at each of their records in a thread; results in order. ``room``
    tells each time how many bytes may be on their way.

    A record's checksum is verified, and one that does not fit it is fetched once more. In the place of
    one that cannot be had, or that ``use`` refuses, comes what is wrong with it.

    Raises:
        StorageError: the store refuses.
    """

    failed: list[StorageError] = []

    def work(wanted: Range) -> list[tuple[Entry, _Out | CorruptObject | CorruptFile]]:
        if failed:
            return []
        try:
            return list(_used(backend, wanted, use))
        except StorageError as error:
            failed.append(error)
            return []

    # what came before and beside a request that failed is handed on before the failure is told
    workers = worker_count() if backend.near else IN_FLIGHT
    for results in ordered_map(work, ranges, workers=workers, size=lambda one: one.length, room=room):
        yield from results
    if failed:
        raise failed[0]


def _used(
    backend: Backend, wanted: Range, use: Callable[[Entry, Record], _Out]
) -> Iterator[tuple[Entry, _Out | CorruptObject | CorruptFile]]:
    try:
        data = memoryview(backend.get_range(pack_key(wanted.pack), wanted.offset, wanted.length))
    except NotFound:
        error = CorruptFile(f"pack {wanted.pack.hex()[:12]} is missing there")
        yield from ((entry, error) for entry in wanted.entries)
        return
    except CorruptFile as short:
        yield from ((entry, short) for entry in wanted.entries)
        return
    for entry in wanted.entries:
        at = entry.offset - wanted.offset
        try:
            try:
                record = checked(entry, Record.from_bytes(data[at : at + entry.length]))
            except CorruptObject:
                # a byte that was turned on the way is right the next time
                record = checked(entry, read_record(backend, entry))
            yield entry, use(entry, record)
        except (CorruptFile, CorruptObject) as damage:
            yield entry, damage


def checked(entry: Entry, record: Record) -> Record:
    """A record that is what the index says of it.

    Raises:
        CorruptObject: it is not.
    """
    if record.id != entry.id or record.id.kind != entry.kind:
        raise CorruptObject("the index points to another object's record")
    if record.depth > entry.depth:
        raise CorruptObject("a record is deeper than the index says")
    return record
