"""The directory of a zip archive is read as its writers mean it, and refused where readers would differ."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_files import BytesView
from make_pickles import zip_bytes

from mvc.formats import NotThisFormat
from mvc.formats.wire import zipdir
from mvc.formats.wire.views import Part
from mvc.formats.wire.zipdir import DEFLATED, STORED, Member, part_of, read_directory, read_marks, read_member

FILES = {"a/data.pkl": b"first", "a/data/0": bytes(range(256)) * 8, "größe": b"", "b": b"y" * 100}


def read(data: bytes) -> tuple[Member, ...]:
    return read_directory(BytesView("x.zip", data))


def contents(data: bytes) -> dict[str, bytes]:
    view = BytesView("x.zip", data)
    return {member.name: read_member(view, member, 1 << 20) for member in read_directory(view)}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\x05\x06" * 5, b"x" * 0xFFFF])
@pytest.mark.parametrize("deflated", [(), ("a/data/0", "größe")])
def test_members_are_where_the_reference_library_puts_them(
    stream: bool, comment: bytes, deflated: tuple[str, ...]
) -> None:
    data = zip_bytes(FILES, deflated, comment, stream)
    assert contents(data) == FILES
    for member in read(data):
        assert member.method == (DEFLATED if member.name in deflated else STORED)
        if member.method == STORED:
            part = part_of(BytesView("x.zip", data), member)
            assert (part.name, part.read(0, part.size)) == (member.name, FILES[member.name])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_marks_are_where_another_archive_differs_that_has_other_checksums(
    stream: bool, comment: bytes
) -> None:
    """With every checksum replaced the archive reads as one whose content was damaged, and no otherwise."""
    data = zip_bytes(FILES, (), comment, stream)
    marks = read_marks(BytesView("x.zip", data))
    assert [one.member for one in marks] == list(read(data))
    harmed = bytearray(data)
    for one in marks:
        crc = one.member.crc.to_bytes(4, "little")
        assert len(one.checksums) >= 2
        for at in one.checksums:
            assert data[at : at + 4] == crc
            harmed[at : at + 4] = b"\x01\x02\x03\x04"
        for at in one.times:
            harmed[at : at + 4] = b"\x21\x54\x21\x00"
    with zipfile.ZipFile(io.BytesIO(bytes(harmed))) as archive:
        assert {info.CRC for info in archive.infolist()} == {0x04030201}
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
    assert {member.crc for member in read(bytes(harmed))} == {0x04030201}


def test_a_descriptor_that_says_otherwise_is_refused() -> None:
    data = bytearray(zip_bytes({"a": b"first"}, (), b"", True))
    at = data.index(b"PK\x07\x08")
    data[at + 4] ^= 1
    assert read(bytes(data))
    with pytest.raises(NotThisFormat, match="descriptor"):
        read_marks(BytesView("x.zip", bytes(data)))


def test_an_empty_archive_has_no_members() -> None:
    assert read(zip_bytes({})) == ()


def test_zip64_fields_of_small_files() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in FILES.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(data)
    assert contents(buffer.getvalue()) == FILES


class SparseFile:
    """A file on disk as formats see it."""

    name = "big.pt"

    def __init__(self, path: Path) -> None:
        self.handle = os.open(path, os.O_RDONLY)
        self.size = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self.handle, length, offset)
        assert len(data) == length
        return data


def test_an_archive_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """A member of 5 GiB of holes, then a small one; the reference library writes the directory."""
    path = tmp_path / "big.zip"
    size = 5 << 30
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a/data/0")
        info.file_size = info.compress_size = size
        info.CRC = info.header_offset = 0
        header = info.FileHeader(zip64=True)
        assert archive.fp is not None
        archive.fp.write(header)
        archive.fp.seek(size, os.SEEK_CUR)
        archive.filelist.append(info)
        archive.start_dir = archive.fp.tell()
        archive._didModify = True  # type: ignore[attr-defined]
        archive.writestr("a/data/1", b"behind")
    view = SparseFile(path)
    try:
        first, second = read_directory(view)
        assert (first.offset, first.size) == (len(header), size)
        assert second.offset > size and read_member(view, second, 100) == b"behind"
        assert part_of(view, first).read(size - 3, 3) == bytes(3)
    finally:
        os.close(view.handle)


def edited(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


PLAIN = zip_bytes({"a": b"first", "b": b"second"})
FIRST = PLAIN.index(b"PK\x01\x02")
SECOND = PLAIN.index(b"PK\x01\x02", FIRST + 1)
END = PLAIN.index(b"PK\x05\x06")
SATURATED = b"\xff\xff\xff\xff"

DAMAGED = {
    "empty": (b"", "no zip directory"),
    "no archive": (b"PK\x03\x04" + bytes(100), "no zip directory"),
    "cut short": (PLAIN[:-1], "no zip directory"),
    "bytes behind": (PLAIN + b"x", "no zip directory"),
    "bytes in front": (b"x" + PLAIN, "not where the archive says"),
    "directory elsewhere": (edited(PLAIN, END + 16, struct.pack("<L", 3)), "not where the archive says"),
    "directory longer": (edited(PLAIN, END + 12, SATURATED), "more than 33554432"),
    "several parts": (edited(PLAIN, END + 4, b"\1"), "several parts"),
    "fewer members": (edited(PLAIN, END + 8, b"\1\0\1\0"), "bytes behind the zip directory"),
    "more members": (edited(PLAIN, END + 8, b"\3\0\3\0"), "fewer members than it says"),
    "no entry": (edited(PLAIN, FIRST, b"XX"), "malformed"),
    "long name": (edited(PLAIN, SECOND + 28, b"\xff\xff"), "fewer members than it says"),
    "encrypted": (edited(PLAIN, FIRST + 8, b"\1"), "encrypted"),
    "on another disk": (edited(PLAIN, FIRST + 34, b"\1"), "several parts"),
    "two sizes": (edited(PLAIN, FIRST + 20, b"\1"), "two sizes"),
    "another checksum in front": (edited(PLAIN, 14, b"1234"), "contradicts"),
    "another size in front": (edited(PLAIN, 18, b"\1"), "contradicts"),
    "another name in front": (edited(PLAIN, 30, b"x"), "contradicts"),
    "another method in front": (edited(PLAIN, 8, b"\x08"), "contradicts"),
    "no header": (edited(PLAIN, 0, b"XX"), "contradicts"),
    "a header beyond the end": (edited(PLAIN, FIRST + 42, b"\xf0\xff\xff\x7f"), "leaves the file"),
    "a header saturated without zip64": (edited(PLAIN, FIRST + 42, SATURATED), "leaves the file"),
    "extra beyond the end": (edited(PLAIN, 28, b"\xff\xff"), "leaves the file"),
    "the same place twice": (
        edited(edited(PLAIN, SECOND, PLAIN[FIRST : FIRST + 46]), SECOND + 46, b"a"),
        "overlap",
    ),
    "a member that reaches into the next": (
        edited(edited(PLAIN, 18, b"\x09\0\0\0\x09"), FIRST + 20, b"\x09\0\0\0\x09"),
        "overlap",
    ),
    "a name that is not UTF-8": (
        edited(edited(edited(PLAIN, FIRST + 9, b"\x08"), FIRST + 46, b"\xff"), 30, b"\xff"),
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_archives_are_refused_with_a_reason(what: str) -> None:
    data, reason = DAMAGED[what]
    with pytest.raises(NotThisFormat, match=reason):
        read(data)


def test_a_name_twice_is_refused() -> None:
    data = zip_bytes({"a": b"first", "b": b"second"})
    twice = edited(edited(data, SECOND + 46, b"a"), data.index(b"bsecond"), b"a")
    with pytest.raises(NotThisFormat, match="'a' occurs twice"):
        read(twice)


def test_budgets_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_bytes({str(number): b"" for number in range(100)})
    assert len(read(data)) == 100
    for budget, reason in [
        ("MAX_MEMBERS", "100 members, more than 99"),
        ("MAX_DIRECTORY_BYTES", "more than 99"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(zipdir, budget, 99)
            with pytest.raises(NotThisFormat, match=reason):
                read(data)


def test_members_are_read_under_a_limit_and_checked() -> None:
    data = zip_bytes({"bomb": bytes(1 << 20), "b": b"second"}, ["bomb"])
    view = BytesView("x.zip", data)
    bomb, second = read_directory(view)
    with pytest.raises(NotThisFormat, match="1048576 bytes, more than 1000"):
        read_member(view, bomb, 1000)
    lying = Member(bomb.name, DEFLATED, bomb.offset, bomb.size, 1000, bomb.crc)
    with pytest.raises(NotThisFormat, match="checksum"):
        read_member(view, lying, 2000)
    short = Member(bomb.name, DEFLATED, bomb.offset, bomb.size - 20, bomb.plain_size, bomb.crc)
    with pytest.raises(NotThisFormat, match="ends early"):
        read_member(view, short, 1 << 20)
    noise = Member("b", DEFLATED, second.offset, second.size, second.plain_size, second.crc)
    with pytest.raises(NotThisFormat, match=r"inflated|ends early"):
        read_member(view, noise, 1000)
    other = Member("b", STORED, second.offset, second.size, second.plain_size, zlib.crc32(b"other"))
    with pytest.raises(NotThisFormat, match="checksum"):
        read_member(view, other, 1000)
    with pytest.raises(NotThisFormat, match="unknown method 12"):
        read_member(view, Member("b", 12, second.offset, 6, 6, second.crc), 1000)
    with pytest.raises(NotThisFormat, match="compressed"):
        part_of(view, bomb)


def test_a_part_ends_where_it_ends() -> None:
    part = Part(BytesView("x", b"0123456789"), 3, 4, "part")
    assert (part.read(0, 4), part.read(4, 0), part.read(1, 2)) == (b"3456", b"", b"45")
    for offset, length in [(0, 5), (5, 0), (-1, 2), (0, -1), (4, 1)]:
        with pytest.raises(NotThisFormat, match="truncated"):
            part.read(offset, length)


SOUND = [zip_bytes(FILES), zip_bytes(FILES, ["b"], b"comment", stream=True), PLAIN]


@given(st.sampled_from(SOUND), st.data())
@settings(deadline=None, max_examples=400)
def test_mutated_archives_are_read_or_refused(sound: bytes, data: st.DataObject) -> None:
    mutated = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        members = read(bytes(mutated))
    except NotThisFormat as refusal:
        assert refusal.reason.isprintable() and len(refusal.reason) < 300
        return
    try:
        for one in read_marks(BytesView("x.zip", bytes(mutated))):
            assert all(0 <= at <= len(mutated) - 4 for at in (*one.checksums, *one.times))
    except NotThisFormat as refusal:
        assert refusal.reason.isprintable()
    places = sorted((member.offset, member.offset + member.size) for member in members)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert all(end <= len(mutated) for _, end in places)
