"""Records and packs: the field is laid for everything that predictors will need, and damage is always
noticed."""

from __future__ import annotations

import os

import pytest

from mvc.backends.memory import MemoryBackend
from mvc.codecs import Step
from mvc.errors import CorruptFile, CorruptObject
from mvc.objectid import BlobId, CommitId
from mvc.odb.pack import MAX_PACK, TARGET_PACK, PackWriter, pack_key, read_record, scan_pack
from mvc.odb.record import Base, Recipe, Record

PLAIN = b"plain bytes"


def stand_alone(plain: bytes = PLAIN) -> Record:
    return Record(BlobId.of(plain), len(plain), 0, (), None, (), plain)


FROM_RECIPE = Record(
    BlobId.of(PLAIN),
    11,
    3,
    (Step("linear", 1, {"coefficients": [1, -2]}, 400), Step("gaps", 2, {}, 9), Step("zstd", 1, {}, 4)),
    Recipe("average", 1, {"weights": [0.5, 0.5], "seed": b"\1\2", "nested": {"mask": [1, 2, None]}}),
    tuple(Base(BlobId.of(bytes([n])), n, 100 + n) for n in range(64)),
    b"abcd",
)


@pytest.mark.parametrize(
    "record", [stand_alone(), stand_alone(b""), FROM_RECIPE], ids=["raw", "empty", "recipe"]
)
def test_round_trip(record):
    data = b"".join(record.to_pieces())
    again = Record.from_bytes(data)
    assert b"".join(again.to_pieces()) == data
    assert again.bases == record.bases
    assert again.recipe == record.recipe
    assert again.chain == record.chain


@pytest.mark.parametrize("record", [stand_alone(), FROM_RECIPE], ids=["raw", "recipe"])
def test_every_flipped_byte_is_noticed(record):
    data = b"".join(record.to_pieces())
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(CorruptObject):
            Record.from_bytes(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises(CorruptObject):
            Record.from_bytes(data[:length])


@pytest.mark.parametrize(
    "record",
    [
        Record(BlobId.of(b"x"), 1 << 40, 0, (), None, (), b"x"),
        Record(BlobId.of(b"x"), 1, 1, (), None, (), b"x"),
        Record(BlobId.of(b"x"), 1, 0, (), None, (Base(BlobId.of(b"y"), 0, 1),), b"x"),
        Record(BlobId.of(b"x"), 1, 65, (), None, (Base(BlobId.of(b"y"), 0, 1),), b"x"),
        Record(BlobId.of(b"x"), 2, 0, (), None, (), b"x"),
        Record(BlobId.of(b"x"), 1, 0, (Step("zstd", 1, {}, 2),), None, (), b"x"),
        Record(BlobId.of(b"x"), 1, 0, tuple(Step("rot", 1, {}, 1) for _ in range(9)), None, (), b"x"),
        Record(BlobId.of(b"x"), 1, 1, (), None, tuple(Base(BlobId.of(b"y"), 0, 1) for _ in range(65)), b"x"),
    ],
)
def test_absurd_headers_are_refused_although_their_checksum_is_right(record):
    with pytest.raises(CorruptObject):
        Record.from_bytes(b"".join(record.to_pieces()))


def test_packs_are_bounded_and_never_share_a_name():
    backend = MemoryBackend()
    names = set()
    for _ in range(2):
        writer = PackWriter(backend)
        blobs = [os.urandom(1 << 20) for _ in range(3)]
        for blob in blobs * 15:
            writer.add(stand_alone(blob))
        writer.flush()
        names |= {entry.pack for entry in writer.entries}
        for entry in writer.entries:
            assert read_record(backend, entry).id == entry.id
    sizes = [size for _key, size in backend.list("packs/")]
    assert len(sizes) == len(names) == 4
    assert max(sizes) <= TARGET_PACK + (1 << 20) < MAX_PACK


def test_the_same_objects_get_packs_of_different_names():
    backend = MemoryBackend()
    for _ in range(2):
        writer = PackWriter(backend)
        writer.add(stand_alone())
        writer.flush()
    assert len(list(backend.list("packs/"))) == 2


def test_an_index_entry_that_points_elsewhere_is_noticed():
    backend = MemoryBackend()
    writer = PackWriter(backend)
    writer.add(stand_alone(b"one"))
    writer.add(stand_alone(b"two"))
    writer.flush()
    first, second = writer.entries
    with pytest.raises(CorruptObject, match="another object"):
        read_record(backend, second._replace(offset=first.offset, length=first.length))
    with pytest.raises(CorruptObject):
        read_record(backend, first._replace(kind=CommitId.kind))
    with pytest.raises((CorruptObject, CorruptFile)):
        read_record(backend, second._replace(length=second.length + 1))


def test_a_damaged_pack_is_read_on_behind_the_damage():
    backend = MemoryBackend()
    writer = PackWriter(backend)
    plains = [bytes([n]) * 50 for n in range(5)]
    for plain in plains:
        writer.add(stand_alone(plain))
    writer.flush()
    entry = writer.entries[2]
    data = bytearray(backend.get(pack_key(entry.pack)))
    data[entry.offset + entry.length - 1] ^= 1
    found = list(scan_pack(entry.pack, bytes(data)))
    sound = [record.id for _o, _l, record in found if isinstance(record, Record)]
    assert sound == [BlobId.of(plain) for n, plain in enumerate(plains) if n != 2]
    assert any(isinstance(record, CorruptObject) for _o, _l, record in found)
    with pytest.raises(CorruptFile):
        list(scan_pack(entry.pack, b"not a pack at all, surely not"))
