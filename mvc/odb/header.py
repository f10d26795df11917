"""What a record says of itself, without its stored bytes: for lists and sums that look at many records."""

from __future__ import annotations

from typing import NamedTuple, cast

from mvc import canonical
from mvc.backends import Backend, NotFound
from mvc.errors import CorruptFile, CorruptObject
from mvc.objectid import ObjectId
from mvc.odb.pack import pack_key
from mvc.odb.record import PREFIX, _parse, read_lengths
from mvc.odb.segment import Entry

_FIRST_READ = 512  # bytes; more than nearly every record's prefix and header, so that one read does


class RecordHeader(NamedTuple):
    """A record without its stored bytes, of which ``stored_length`` is the number.

    ``codec`` is the chain in one word, ``based`` whether there are bases.
    """

    id: ObjectId
    plain_length: int
    stored_length: int
    depth: int
    codec: str
    based: bool


def read_header(backend: Backend, entry: Entry) -> RecordHeader:
    """Prefix and header of the record that an index entry points to.

    Checked like :func:`mvc.odb.pack.read_record`, but for the checksum, which needs the stored bytes.

    Raises:
        CorruptObject: it is no record, or another object's.
        CorruptFile: the pack is missing or too short.
    """
    key = pack_key(entry.pack)
    try:
        head = backend.get_range(key, entry.offset, min(_FIRST_READ, entry.length))
        header_length, stored_length = read_lengths(head)
        end = PREFIX.size + header_length
        if end + stored_length != entry.length:
            raise CorruptObject("a record's lengths do not fit its place in the index")
        if end > len(head):
            head += backend.get_range(key, entry.offset + len(head), end - len(head))
    except NotFound:
        raise CorruptFile(f"pack {entry.pack.hex()[:12]} is missing", hint="run 'mvc fsck'") from None
    # only the length of the stored bytes is asked for, and a range has one without holding anything
    unread = cast("memoryview", range(stored_length))
    record = _parse(canonical.unpack(head[PREFIX.size : end], "record header"), unread)
    if record.id != entry.id or record.id.kind != entry.kind:
        raise CorruptObject("the index points to another object's record")
    return RecordHeader(
        record.id, record.plain_length, stored_length, record.depth, record.codec, bool(record.bases)
    )
