"""What a record says of itself, without its stored bytes: for lists and sums that look at many records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, cast

from mvc import canonical
from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.objectid import ObjectId
from mvc.odb.pack import HEAD_BYTES, pack_key
from mvc.odb.record import PREFIX, Base, _parse, read_lengths
from mvc.odb.segment import Entry
from mvc.parallel import ordered_map

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_FIRST_READ = 512  # bytes; more than nearly every record's prefix and header, so that one read does
_STEP = 32 << 10  # from one record to the next within a read; as much costs half of opening the file again
_WINDOW = 1 << 20
_IN_FLIGHT = 12
_PLACE = attrgetter("pack", "offset")


class RecordHeader(NamedTuple):
    """A record without its stored bytes, of which ``stored_length`` is the number.

    ``codec`` is the chain in one word; ``recipe`` the predictor, if it is not the plain one.
    """

    id: ObjectId
    plain_length: int
    stored_length: int
    depth: int
    codec: str
    bases: tuple[Base, ...]
    recipe: str | None = None

    @property
    def based(self) -> bool:
        """Whether there are bases."""
        return bool(self.bases)


def read_header(backend: Backend, entry: Entry) -> RecordHeader:
    """Prefix and header of the record that an index entry points to; see :func:`read_headers`."""
    return next(read_headers(backend, [entry]))[1]


def read_headers(backend: Backend, entries: Iterable[Entry]) -> Iterator[tuple[Entry, RecordHeader]]:
    """Prefix and header of each record that one of these index entries points to, in order of place.

    Checked like :func:`mvc.odb.pack.read_record`, but for the checksum, which needs the stored bytes. Those
    between two headers are read along where there are few, because a look into a file costs more; of a store
    far away several requests are under way.

    Raises:
        CorruptObject: it is no record, or another object's.
        CorruptFile: the pack is missing or too short.
    """
    windows = _windows(sorted(entries, key=_PLACE))
    if backend.near:
        for window in windows:
            yield from _in_window(backend, window)
        return
    for found in ordered_map(lambda one: list(_in_window(backend, one)), windows, workers=_IN_FLIGHT):
        yield from found


def _in_window(backend: Backend, window: list[Entry]) -> Iterator[tuple[Entry, RecordHeader]]:
    first, last = window[0], window[-1]
    start = first.offset
    data = _read(backend, first, start, last.offset + min(_FIRST_READ, last.length) - start)
    for entry in window:
        at = entry.offset - start
        yield entry, _header(backend, entry, data[at : at + min(_FIRST_READ, entry.length)])


def _windows(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries in order of place, as runs whose headers one read fetches."""
    window: list[Entry] = []
    for entry in entries:
        if window and (
            entry.pack != window[0].pack
            or entry.offset - window[-1].offset > _STEP
            or entry.offset - window[0].offset > _WINDOW
        ):
            yield window
            window = []
        window.append(entry)
    if window:
        yield window


def _read(backend: Backend, entry: Entry, offset: int, length: int) -> bytes:
    try:
        return backend.get_range(pack_key(entry.pack), offset, length)
    except NotFound:
        raise CorruptFile(f"pack {entry.pack.hex()[:12]} is missing", hint="run 'mvc fsck'") from None


def _header(backend: Backend, entry: Entry, head: bytes) -> RecordHeader:
    """Parse the record of an entry, of which ``head`` are the first bytes."""
    header_length, stored_length = read_lengths(head)
    end = PREFIX.size + header_length
    if end + stored_length != entry.length:
        raise CorruptObject("a record's lengths do not fit its place in the index")
    if end > len(head):
        head += _read(backend, entry, entry.offset + len(head), end - len(head))
    found = _parsed(head[PREFIX.size : end], stored_length)
    if found.id != entry.id or found.id.kind != entry.kind:
        raise CorruptObject("the index points to another object's record")
    return found


def scan_headers(data: Buffer) -> Iterator[tuple[int, int, RecordHeader | CorruptObject]]:
    """Every record of a pack's bytes as (offset, length, header), in order; what is stored is not looked at.

    A damaged one comes as the error; reading goes on at the next record's mark.
    """
    view = memoryview(data)
    offset = HEAD_BYTES
    while offset < len(view):
        try:
            header_length, stored_length = read_lengths(view[offset : offset + PREFIX.size])
            length = PREFIX.size + header_length + stored_length
            if offset + length > len(view):
                raise CorruptObject("a record reaches behind its pack")
            header = bytes(view[offset + PREFIX.size : offset + PREFIX.size + header_length])
            yield offset, length, _parsed(header, stored_length)
        except CorruptObject as error:
            following = bytes(view[offset + 1 :]).find(b"mvcR")
            length = len(view) - offset if following < 0 else following + 1
            yield offset, length, error
        offset += length


def _parsed(header: bytes, stored_length: int) -> RecordHeader:
    # only the length of the stored bytes is asked for, and a range has one without holding anything
    unread = cast("memoryview", range(stored_length))
    record = _parse(canonical.unpack(header, "record header"), unread)
    return RecordHeader(
        record.id,
        record.plain_length,
        stored_length,
        record.depth,
        record.codec,
        record.bases,
        None if record.recipe is None else record.recipe.name,
    )
