"""What a repository holds: objects, root, log, records, packs, segments, journal, stat cache, notes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from blake3 import blake3

from mvc import canonical
from mvc.backends.memory import MemoryBackend
from mvc.codecs import Step
from mvc.collection.trash import MAGIC as TRASH_MAGIC
from mvc.collection.trash import TrashEntry
from mvc.config import Config
from mvc.errors import ConfigError, CorruptFile, CorruptObject, UnsupportedFeature
from mvc.objectid import BlobId
from mvc.objects import AliasEntry, Commit, Manifest, Person, Tag, Timestamp, Tree, commit_links
from mvc.odb.pack import HEAD_BYTES, scan_pack
from mvc.odb.pack import MAGIC as PACK_MAGIC
from mvc.odb.record import MAGIC as RECORD_MAGIC
from mvc.odb.record import PREFIX, Base, Recipe, Record
from mvc.odb.segment import Entry, Segment, assemble, build_segments, segment_name
from mvc.oplog import OpLog, write_piece
from mvc.refs import RefPieces, RefTable
from mvc.registry.notes.note import decode as decode_notes
from mvc.root import MAGIC as ROOT_MAGIC
from mvc.root import Root
from mvc.tombstones import Purge, Tombstones
from mvc.worktree.index import IndexEntry, StatCache, StatKey
from mvc.worktree.index import _decode as decode_index
from mvc.worktree.index import _encode as encode_index
from mvc.worktree.journal import MAGIC as JOURNAL_MAGIC
from mvc.worktree.journal import Journal, Move, Seen
from tests.fuzz.target import Target
from tests.test_objects import SAMPLES
from tests.test_record import FROM_RECIPE, stand_alone
from tests.test_root_hostile import log_of, sealed, sound

TEMPORARY = "1-0123456789abcdef-0123456789abcdef"
MOVES = Move("a/b", TEMPORARY, None, 3, 7), Move("c", None, TEMPORARY, seen=Seen(5, 11, 13))
JOURNAL = Journal(bytes(16), MOVES, ("a",), (("d/e", 0o755), ("d", 0o700)))

OURS = (CorruptObject, CorruptFile, UnsupportedFeature)


def _object(cls: Any, data: bytes) -> None:
    """What is accepted is the one encoding of its value."""
    try:
        value = cls.from_bytes(data)
    except (CorruptObject, UnsupportedFeature):
        return
    assert value.to_bytes() == data
    if cls is Commit:
        commit_links(data)
        assert isinstance(value.subject, str)
    if cls is Manifest:
        assert sum(part.length for _offset, part in value.placed_parts()) == value.size


def _links(data: bytes) -> None:
    try:
        commit_links(data)
    except OURS:
        return


def _canonical(data: bytes) -> None:
    try:
        value = canonical.unpack(data, "it")
    except CorruptObject:
        return
    assert canonical.pack(value) == data


def _samples(cls: Any) -> list[bytes]:
    return [value.to_bytes() for value in SAMPLES if type(value) is cls]


def _sealed_by_checksum(magic: bytes, parse: Callable[[bytes], object], data: bytes) -> None:
    """The input is what stands between a file's mark and its checksum, which are put right."""
    body = magic + data
    try:
        parse(body + blake3(body).digest())
    except OURS:
        return


def _unsealed(magic: bytes, data: bytes) -> bytes:
    assert data.startswith(magic)
    return data[len(magic) : -32]


def _root(data: bytes) -> None:
    body = ROOT_MAGIC + data
    try:
        root = Root.from_bytes(body + blake3(body).digest())
    except OURS:
        return
    assert Root.from_bytes(root.to_bytes()).refs == root.refs
    backend = MemoryBackend()
    with contextlib.suppress(OURS):
        list(RefTable(root.refs, backend).values())
    with contextlib.suppress(OURS):
        list(root.oplog.newest_first(backend))


def _pieces(data: bytes) -> None:
    """The input is a piece of the log and one of the refs, named by what it hashes to."""
    try:
        value = canonical.unpack(data, "it")
    except CorruptObject:
        return
    backend = MemoryBackend()
    name = write_piece(backend, value)
    with contextlib.suppress(OURS):
        list(RefTable(RefPieces({}, (("refs/", name),)), backend).values())
    log = log_of(1, backend)
    try:
        list(OpLog(log.head, log.recent, name).newest_first(backend))
    except OURS:
        return


def _piece_seeds() -> list[bytes]:
    backend = MemoryBackend()
    log = log_of(130, backend)
    refs = {"refs/heads/a": bytes([2]) + bytes(32)}
    seeds = [backend.get(key) for key, _size in backend.list("pieces/")]
    return [
        *seeds,
        canonical.pack(refs),
        canonical.pack(sorted(map(list, refs.items()))),
        canonical.pack(log.to_value()),
    ]


# --- records -----------------------------------------------------------------------------------------------
def _with_checksum(data: bytes) -> bytes:
    """A record of a header's length (2), a header and stored bytes, with everything else put right."""
    header_length = min(int.from_bytes(data[:2], "little"), len(data) - 2)
    header, stored = data[2 : 2 + header_length], data[2 + header_length :]
    head = PREFIX.pack(RECORD_MAGIC, len(header), len(stored), bytes(16))
    checksum = blake3(head[4:10] + header + stored).digest(16)
    return PREFIX.pack(RECORD_MAGIC, len(header), len(stored), checksum) + header + stored


def _record(data: bytes) -> None:
    whole = _with_checksum(data)
    try:
        record = Record.from_bytes(whole)
    except OURS:
        return
    assert b"".join(record.to_pieces()) == whole
    assert record.codec


def _record_seeds() -> list[bytes]:
    seeds = []
    base = (Base(BlobId.of(b"y"), 0, 4),)
    predicted = Record(
        BlobId.of(b"abcd"), 4, 1, (Step("ig", 1, {"width": 1}, 4),), Recipe("concat", 1, {}), base, b"abcd"
    )
    for record in (stand_alone(), stand_alone(b""), FROM_RECIPE, predicted):
        whole = b"".join(record.to_pieces())
        _magic, header, _stored, _checksum = PREFIX.unpack(whole[: PREFIX.size])
        seeds.append(header.to_bytes(2, "little") + whole[PREFIX.size :])
    return seeds


def _pack(data: bytes) -> None:
    """Offsets and lengths cover the pack without gaps, however damaged."""
    whole = (PACK_MAGIC + bytes(HEAD_BYTES))[:HEAD_BYTES] + data
    places = [(offset, length) for offset, length, _ in scan_pack(bytes(32), whole)]
    assert all(one[0] + one[1] == two[0] for one, two in pairwise(places))
    assert not places or places[0][0] == HEAD_BYTES


def _pack_seeds() -> list[bytes]:
    records = [b"".join(record.to_pieces()) for record in (stand_alone(), stand_alone(b"2"), FROM_RECIPE)]
    return [b"".join(records), records[0] + b"mvcR" + records[1]]


def _segment(data: bytes) -> None:
    """An input is the count (1), shift (1), number of packs (1), then fan-out, ids and rows under a checksum
    that is put right."""
    if len(data) < 3:
        return
    count, shift, packs = data[0] % 32 + 1, data[1] % 65, data[2] % 4 + 1
    body = data[3:].ljust(4096, b"\0")
    ids, rest = body[: 32 * count], body[32 * count :]
    extent = int.from_bytes(ids[-32:][:8], "big") - int.from_bytes(ids[:8], "big")
    buckets = (extent >> shift) + 1 if extent >= 0 else 1
    if buckets > 64:
        return
    table, rest = rest[: 4 * (buckets + 1)], rest[4 * (buckets + 1) :]
    names = [bytes([number]) * 32 for number in range(packs)]
    hostile = assemble(count, names, [], shift, table, ids, rest[: 14 * count].ljust(14 * count, b"\0"))
    _ask_segment(hostile)


def _ask_segment(data: bytes) -> None:
    try:
        segment = Segment.open(segment_name(data), data)
    except OURS:
        return
    for at in range(0, 32 * segment.count, 32):
        with contextlib.suppress(OURS):
            segment.find(data[segment.ids_at + at : segment.ids_at + at + 32])
    with contextlib.suppress(OURS):
        assert len(list(segment.find_prefix(bytes(32), b"\xff" * 32))) <= segment.count
    for ask in (partial(list, segment), segment.verify):
        with contextlib.suppress(OURS):
            ask()


def _segment_seeds() -> list[bytes]:
    seeds = []
    for count in (1, 9):
        ids = sorted(blake3(bytes([number])).digest() for number in range(count))
        fan = b"".join(n.to_bytes(4, "little") for n in (0, count))
        rows = b"".join(
            (0).to_bytes(4, "little")
            + (24 + 30 * n).to_bytes(4, "little")
            + (30).to_bytes(4, "little")
            + b"\0\1"
            for n in range(count)
        )
        seeds.append(bytes([count - 1, 64, 0]) + b"".join(ids) + fan + rows)
    return seeds


def _segment_file_seeds() -> list[bytes]:
    entries = [Entry(blake3(bytes([n])).digest(), 1, bytes(32), 24 + 30 * n, 30, 0) for n in range(9)]
    return build_segments(sorted(entries), [b"old" * 11])


# --- beside the store --------------------------------------------------------------------------------------
def _stat_cache(data: bytes) -> None:
    body = b"mvcINDX1" + data
    entries = decode_index(body + blake3(body).digest())
    assert all(isinstance(entry, IndexEntry) for entry in entries.values())
    StatCache(entries)


def _stat_cache_seeds() -> list[bytes]:
    entry = IndexEntry(StatKey(1, 2, 3, 4, 5), True, bytes(32))
    return [encode_index(listed)[8:-32] for listed in ({}, {"a": entry}, {"a/b": entry, "ü": entry})]


def _notes(data: bytes) -> None:
    try:
        decode_notes(data)
    except OURS:
        return


def _config(data: bytes) -> None:
    try:
        config = Config(data.decode(), "it")
        for key, _value in config.items():
            config.get(key)
    except (UnicodeDecodeError, ConfigError):
        return


_CONFIGS = [
    b'[core]\nthreads = 2\nname = "x"\n',
    b"a = [1, 2.5, true, [1979-05-27]]\n[b.c]\nd = 0x1F\n",
    b'"" = {x = 1}\n',
    b"x = " + b"[" * 3000,
    b"x = " + b"9" * 5000,
    b"a." * 2000 + b"b = 1",
]


def _purges(data: bytes) -> None:
    """The input is a purge as root has it; what it names is a piece of ids, or that of another kind."""
    try:
        value = canonical.unpack(data, "it")
        tombstones = Tombstones(value if isinstance(value, dict) else {"0" * 32: value}, MemoryBackend())
        assert BlobId.of(b"x") not in tombstones or not tombstones
    except OURS:
        return


def _purge_piece(data: bytes) -> None:
    """The input is a piece of purged ids."""
    backend = MemoryBackend()
    try:
        name = write_piece(backend, canonical.unpack(data, "it"))
        purge = dataclasses.replace(_a_purge(backend), pieces=(name,))
        tombstones = Tombstones({purge.name: purge.to_value()}, backend)
        assert all(identity in tombstones for identity in tombstones.ids())
    except OURS:
        return


def _a_purge(backend: MemoryBackend) -> Purge:
    ids = [BlobId.of(bytes([number])) for number in range(3)]
    return Purge.store(backend, ids, time=Timestamp(1, 0), who=Person("a", "b"), what="x", why="y")


def _purge_seeds() -> list[bytes]:
    purge = _a_purge(MemoryBackend())
    return [canonical.pack({purge.name: purge.to_value()}), canonical.pack(purge.to_value())]


def _purge_piece_seeds() -> list[bytes]:
    backend = MemoryBackend()
    _a_purge(backend)
    return [backend.get(key) for key, _size in backend.list("pieces/")]


def _trash_entry(data: bytes) -> None:
    entry = TrashEntry.from_bytes("1", data)
    assert TrashEntry.from_bytes("1", entry.to_bytes()) == entry


def _trash_seeds() -> list[bytes]:
    log = log_of(3, MemoryBackend())
    entries = [TrashEntry("1", 5), TrashEntry("1", 5, "returned", log.recent)]
    return [_unsealed(TRASH_MAGIC, entry.to_bytes()) for entry in entries]


OBJECTS = (Manifest, Tree, Commit, Tag, AliasEntry)

TARGETS = [
    Target("canonical", _canonical, lambda: [value.to_bytes() for value in SAMPLES]),
    *(
        Target(f"object:{cls.__name__.lower()}", partial(_object, cls), partial(_samples, cls))
        for cls in OBJECTS
    ),
    Target("commit links", _links, partial(_samples, Commit)),
    Target("root", _root, lambda: [_unsealed(ROOT_MAGIC, sealed(sound()))]),
    Target("pieces", _pieces, _piece_seeds),
    Target("record", _record, _record_seeds),
    Target("pack", _pack, _pack_seeds),
    Target("segment", _segment, _segment_seeds),
    Target("segment file", _ask_segment, _segment_file_seeds),
    Target(
        "journal",
        partial(_sealed_by_checksum, JOURNAL_MAGIC, Journal.from_bytes),
        lambda: [_unsealed(JOURNAL_MAGIC, JOURNAL.to_bytes())],
    ),
    Target("stat cache", _stat_cache, _stat_cache_seeds),
    Target("purges", _purges, _purge_seeds),
    Target("purged ids", _purge_piece, _purge_piece_seeds),
    Target("trash", partial(_sealed_by_checksum, TRASH_MAGIC, _trash_entry), _trash_seeds),
    Target("notes", _notes, lambda: [b"{}", b'{"a":{}}']),
    Target("config", _config, lambda: _CONFIGS),
]
