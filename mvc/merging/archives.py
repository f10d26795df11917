"""Zip archives of which some bytes are replaced: what they say beside their content, and their checksums."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mvc.formats import NotThisFormat, View
from mvc.formats.wire.zipdir import MAGIC, Marks, read_marks
from mvc.merging.sides import NotMergeable
from mvc.spans import Span

_IDENTITY = ".data/serialization_id"
"""What torch writes into an archive to tell it from others: a hash of the members' names and checksums, which
nobody compares with them."""

_CHECKSUM_BYTES = 4
_STEP = 1 << 20


class Patch(NamedTuple):
    """Bytes that stand somewhere else in a file than before."""

    offset: int
    data: bytes


def marks_of(view: View) -> tuple[Marks, ...]:
    """The members of an archive.

    Raises:
        NotMergeable: it is no archive, or an odd one.
    """
    try:
        return read_marks(view)
    except NotThisFormat as refusal:
        raise NotMergeable(refusal.reason) from None


def loose_ranges(marks: Iterable[Marks]) -> list[tuple[int, int]]:
    """Offsets and lengths of what may differ between two archives of the same content, in order: checksums
    and times of members, and torch's identity."""
    found: list[tuple[int, int]] = []
    for one in marks:
        found += [(offset, _CHECKSUM_BYTES) for offset in (*one.checksums, *one.times)]
        if one.member.name.endswith(_IDENTITY):
            found.append((one.member.offset, one.member.size))
    return sorted(found)


def checksums(view: View, marks: Iterable[Marks], replaced: Sequence[Span]) -> list[Patch]:
    """The checksums of those members of ``view`` that hold replaced tensors, each wherever it stands.

    Raises:
        NotMergeable: such a member is an archive itself, with checksums of its own, or a table of tensors
            that no scanner would make claims them.
    """
    patches: list[Patch] = []
    for one in marks:
        start, end = one.member.offset, one.member.offset + one.member.size
        if not any(span.offset < end and start < span.offset + span.length for span in replaced):
            continue
        if view.read(start, min(len(MAGIC), end - start)) == MAGIC:
            raise NotMergeable("its tensors lie in an archive inside an archive")
        crc = 0
        for at in range(start, end, _STEP):
            crc = zlib.crc32(view.read(at, min(_STEP, end - at)), crc)
        data = crc.to_bytes(_CHECKSUM_BYTES, "little")
        if any(_overlap(span, offset) for span in replaced for offset in one.checksums):
            raise NotMergeable("its checksums lie among its tensors")
        patches += [Patch(offset, data) for offset in one.checksums]
    return patches


def _overlap(span: Span, checksum: int) -> bool:
    return span.offset < checksum + _CHECKSUM_BYTES and checksum < span.offset + span.length
