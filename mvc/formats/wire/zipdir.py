"""The directory of a zip archive: which members it has, and where in the file their data lies.

Specification: PKWARE's APPNOTE.TXT, sections 4.3 to 4.5, with zip64. Both descriptions of a member (its local
header and its entry in the central directory) must agree; archives in parts, encrypted members, members that
overlap and names that occur twice are refused, because readers differ about them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.views import Part, spend
from mvc.spans import shown

__all__ = [
    "DEFLATED",
    "MAGIC",
    "STORED",
    "Marks",
    "Member",
    "Part",
    "part_of",
    "read_directory",
    "read_marks",
    "read_member",
]

MAGIC = b"PK\x03\x04"
"""How an archive of at least one member begins: with the header of its first."""

STORED, DEFLATED = 0, 8
"""Methods of compression: none, and RFC 1951."""

MAX_MEMBERS = 110_000
MAX_DIRECTORY_BYTES = 32 << 20

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_MAX_COMMENT = 0xFFFF
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCATOR64_MAGIC = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MAGIC = b"PK\x06\x06"
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_MAGIC = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_TIME, _LOCAL_CRC = 10, 14
_ENTRY_TIME, _ENTRY_CRC = 12, 16
_DESCRIPTOR_MAGIC = b"PK\x07\x08"
_EXTRA = struct.Struct("<2H")
_EXTRA_ZIP64 = 1
_SATURATED16, _SATURATED32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800
_MEMBER_WORK = 300  # of a member, against reading a byte


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    ``offset`` is where its data starts in the file and ``size`` the bytes that it takes there;
    ``plain_size`` is its length after decompression, which nothing has checked yet, nor ``crc``.
    """

    name: str
    method: int
    offset: int
    size: int
    plain_size: int
    crc: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the central directory; ``start`` is where its local header should be, ``at`` where the
    entry stands in the directory."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    size: int
    plain_size: int
    start: int
    at: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a file says things of a member that do not follow from what the archive is for: offsets of its
    checksum, 4 bytes each, and of its time and date, 4 bytes together."""

    member: Member
    checksums: tuple[int, ...]
    times: tuple[int, ...]


def read_directory(view: View) -> tuple[Member, ...]:
    """The members of an archive, in the order of its directory.

    Raises:
        NotThisFormat: no archive, a damaged one, or one beyond :data:`MAX_MEMBERS` or
            :data:`MAX_DIRECTORY_BYTES`.
    """
    start, length, count = _find_directory(view)
    spend(view, count * _MEMBER_WORK)
    entries = tuple(_entries(view.read(start, length), count))
    members = tuple(_locate(view, entry) for entry in entries)
    _check_apart(entries, members, start)
    _check_names(members)
    return members


def read_marks(view: View) -> tuple[Marks, ...]:
    """The members of an archive as :func:`read_directory` gives them, with where their checksums stand: in
    the directory, in their own header unless it leaves the checksum out, and behind the data of those that
    have a descriptor there.

    Raises:
        NotThisFormat: as :func:`read_directory`, or a descriptor that contradicts the directory.
    """
    members = read_directory(view)
    start, length, count = _find_directory(view)
    entries = _entries(view.read(start, length), count)
    return tuple(_marks(view, entry, member, start) for entry, member in zip(entries, members, strict=True))


def _marks(view: View, entry: _Entry, member: Member, directory: int) -> Marks:
    crc = entry.crc.to_bytes(4, "little")
    checksums = [directory + entry.at + _ENTRY_CRC]
    described = entry.flags & _DESCRIPTOR
    here = entry.start + _LOCAL_CRC
    if not described or (entry.crc and view.read(here, 4) == crc):
        checksums.append(here)
    if described:
        behind = view.read(member.offset + member.size, 8)
        signed = behind.startswith(_DESCRIPTOR_MAGIC)  # which a descriptor may have in front, or not
        if behind[4 * signed :][:4] != crc:
            raise NotThisFormat("a zip member's descriptor contradicts the directory")
        checksums.append(member.offset + member.size + 4 * signed)
    return Marks(member, tuple(checksums), (entry.start + _LOCAL_TIME, directory + entry.at + _ENTRY_TIME))


def part_of(view: View, member: Member) -> Part:
    """The data of a stored member, as a view named like the member."""
    if member.method != STORED:
        raise NotThisFormat(f"the member {shown(member.name)} is compressed")
    return Part(view, member.offset, member.size, member.name)


def read_member(view: View, member: Member, limit: int) -> bytes:
    """The plain bytes of a stored or deflated member of at most ``limit`` bytes, checked against its CRC."""
    if max(member.size, member.plain_size) > limit:
        raise NotThisFormat(
            f"the member {shown(member.name)} has {member.plain_size} bytes, more than {limit}"
        )
    data = view.read(member.offset, member.size)
    spend(view, member.plain_size)
    if member.method == DEFLATED:
        data = _inflate(data, member)
    elif member.method != STORED:
        raise NotThisFormat(
            f"the member {shown(member.name)} is compressed by the unknown method {member.method}"
        )
    if len(data) != member.plain_size or zlib.crc32(data) != member.crc:
        raise NotThisFormat(f"the member {shown(member.name)} is damaged: its checksum is another")
    return data


def _inflate(data: bytes, member: Member) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = stream.decompress(data, member.plain_size + 1)  # one more, to see that it is longer
    except zlib.error:
        raise NotThisFormat(f"the member {shown(member.name)} is damaged: it cannot be inflated") from None
    if not stream.eof and len(plain) <= member.plain_size:
        raise NotThisFormat(f"the member {shown(member.name)} is damaged: its data ends early")
    return plain


def _find_directory(view: View) -> tuple[int, int, int]:
    """Offset and length of the central directory, and its count of entries."""
    if view.size < _END.size:
        raise NotThisFormat("truncated: no zip directory")
    tail_start = max(0, view.size - _END.size - _MAX_COMMENT)
    tail = view.read(tail_start, view.size - tail_start)
    at = _find_end(tail)
    _, disk, first_disk, here, count, length, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    located = _read_end64(view, end)
    if located is not None:
        end, disk, first_disk, here, count, length, start = located
    if disk != 0 or first_disk != 0 or here != count:
        raise NotThisFormat("a zip archive in several parts")
    if count > MAX_MEMBERS:
        raise NotThisFormat(f"a zip archive of {count} members, more than {MAX_MEMBERS}")
    if length > MAX_DIRECTORY_BYTES:
        raise NotThisFormat(f"a zip directory of {length} bytes, more than {MAX_DIRECTORY_BYTES}")
    if start + length != end:
        raise NotThisFormat("the zip directory is not where the archive says")
    return start, length, count


def _find_end(tail: bytes) -> int:
    """Where in the file's last bytes the end record stands: the last one whose comment ends the file."""
    at = len(tail)
    while (at := tail.rfind(_END_MAGIC, 0, at)) >= 0:
        if at + _END.size <= len(tail):
            comment = _END.unpack_from(tail, at)[-1]
            if at + _END.size + comment == len(tail):
                return at
        at += len(_END_MAGIC) - 1  # rfind's end excludes this one, and finds one that overlaps it
    raise NotThisFormat("truncated: no zip directory")


def _read_end64(view: View, end: int) -> tuple[int, int, int, int, int, int, int] | None:
    """The zip64 end record in front of the end record, if there is one: where it stands, then its fields."""
    if end < _LOCATOR64.size + _END64.size:
        return None
    locator = end - _LOCATOR64.size
    magic, _, at, disks = _LOCATOR64.unpack(view.read(locator, _LOCATOR64.size))
    if magic != _LOCATOR64_MAGIC:
        return None
    if disks > 1 or at + _END64.size > locator:
        raise NotThisFormat("the zip64 directory is not where the archive says")
    magic, size, _, _, *fields = _END64.unpack(view.read(at, _END64.size))
    if magic != _END64_MAGIC or at + 12 + size != locator:
        raise NotThisFormat("the zip64 directory is not where the archive says")
    disk, first_disk, here, count, length, start = fields
    return at, disk, first_disk, here, count, length, start


def _entries(directory: bytes, count: int) -> Iterator[_Entry]:
    position = 0
    for _ in range(count):
        if position + _ENTRY.size > len(directory):
            raise NotThisFormat("truncated: the zip directory holds fewer members than it says")
        fields = _ENTRY.unpack_from(directory, position)
        if fields[0] != _ENTRY_MAGIC:
            raise NotThisFormat("the zip directory is malformed")
        name_length, extra_length, comment_length = fields[10:13]
        name_end = position + _ENTRY.size + name_length
        extra_end = name_end + extra_length
        name = directory[position + _ENTRY.size : name_end]
        at, position = position, extra_end + comment_length
        if position > len(directory):
            raise NotThisFormat("truncated: the zip directory holds fewer members than it says")
        yield _entry(fields, name, directory[name_end:extra_end], at)
    if position != len(directory):
        raise NotThisFormat(f"{len(directory) - position} bytes behind the zip directory's last member")


def _entry(fields: tuple[int, ...], name: bytes, extra: bytes, at: int) -> _Entry:
    flags, method, crc = fields[3], fields[4], fields[7]
    size, plain_size, disk, start = fields[8], fields[9], fields[13], fields[16]
    wide = iter(_zip64_fields(extra))  # only what the narrow fields cannot hold, in this order
    plain_size = _widened(plain_size, _SATURATED32, wide)
    size = _widened(size, _SATURATED32, wide)
    start = _widened(start, _SATURATED32, wide)
    if disk not in (0, _SATURATED16):
        raise NotThisFormat("a zip archive in several parts")
    if flags & _ENCRYPTED:
        raise NotThisFormat("a zip archive with encrypted members")
    if method == STORED and size != plain_size:
        raise NotThisFormat("a zip member without compression that has two sizes")
    return _Entry(name, flags, method, crc, size, plain_size, start, at)


def _zip64_fields(extra: bytes) -> Sequence[int]:
    position = 0
    while position + _EXTRA.size <= len(extra):
        tag, length = _EXTRA.unpack_from(extra, position)
        position += _EXTRA.size
        if tag == _EXTRA_ZIP64:
            field = extra[position : position + length]
            return struct.unpack_from(f"<{len(field) // 8}Q", field)
        position += length
    return ()


def _widened(value: int, saturated: int, wide: Iterator[int]) -> int:
    if value != saturated:
        return value
    # A file without zip64 may really have this very size.
    return next(wide, value)


def _locate(view: View, entry: _Entry) -> Member:
    """Find an entry's data behind its local header, which must say the same of it."""
    name_end = entry.start + _LOCAL.size + len(entry.raw_name)
    if name_end > view.size:
        raise NotThisFormat("truncated: a zip member leaves the file")
    header = view.read(entry.start, name_end - entry.start)
    magic, _, flags, method, _, _, crc, size, plain_size, name_length, extra_length = _LOCAL.unpack_from(
        header
    )
    if (
        magic != MAGIC
        or name_length != len(entry.raw_name)
        or header[_LOCAL.size :] != entry.raw_name
        or method != entry.method
    ):
        raise NotThisFormat("a zip member's header contradicts the directory")
    # With a descriptor behind the data, sizes and checksum may be left out in front of it.
    told = ((crc, entry.crc), (size, entry.size), (plain_size, entry.plain_size))
    missing = (0, _SATURATED32) if flags & _DESCRIPTOR else (_SATURATED32,)
    if any(here != there and here not in missing for here, there in told):
        raise NotThisFormat("a zip member's header contradicts the directory")
    offset = name_end + extra_length
    if offset + entry.size > view.size:
        raise NotThisFormat("truncated: a zip member leaves the file")
    return Member(_name(entry), method, offset, entry.size, entry.plain_size, entry.crc)


def _name(entry: _Entry) -> str:
    if not entry.flags & _UTF8:
        return entry.raw_name.decode("cp437")
    try:
        return entry.raw_name.decode()
    except UnicodeDecodeError:
        raise NotThisFormat("a zip member's name is not UTF-8") from None


def _check_apart(entries: Sequence[_Entry], members: Sequence[Member], directory: int) -> None:
    """No member reaches into the next one or the directory: what overlaps is built to be read in two ways."""
    places = sorted(
        (entry.start, member.offset + member.size) for entry, member in zip(entries, members, strict=True)
    )
    for (_, end), (following, _) in pairwise([*places, (directory, directory)]):
        if end > following:
            raise NotThisFormat("zip members overlap")


def _check_names(members: Sequence[Member]) -> None:
    names: set[str] = set()
    for member in members:
        if member.name in names:
            raise NotThisFormat(f"the zip member {shown(member.name)} occurs twice")
        names.add(member.name)
