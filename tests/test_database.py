"""The database: bytes in, the same bytes out, or an error; never other bytes."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predictors import FROZEN, cut

from mvc.backends.memory import MemoryBackend
from mvc.codecs import CODECS, Step
from mvc.dtypes import DTYPES
from mvc.errors import CorruptObject, DamageError, ObjectMissing, UnsupportedFeature, UserError
from mvc.monitor import Monitor
from mvc.objectid import BlobId, ManifestId, TreeId
from mvc.odb.database import ObjectDatabase
from mvc.odb.index import Index, Merge, merge
from mvc.odb.pack import PackWriter, pack_key
from mvc.odb.record import MAX_PLAIN, Base, Recipe, Record
from mvc.odb.segment import Segment
from mvc.odb.writer import Hint, ObjectWriter
from mvc.predictors import PREDICTORS
from mvc.recipes.moved import MAX_TENSOR_DEPTH, anchor


class Store:
    """A database in memory that grows by one segment per batch."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.monitor = Monitor()
        self.segments: dict[bytes, bytes] = {}
        self.rows: tuple = ()

    def open(self) -> ObjectDatabase:
        return ObjectDatabase(self.backend, self.index(), self.monitor)

    def index(self) -> Index:
        return Index(self.rows, lambda name: Segment.open(name, self.segments[name]))

    def add(self, entries) -> None:
        merged = merge(Merge(()), list(entries), self.index(), self.segments.__setitem__)
        self.rows = merged.apply(self.rows)

    def writer(self) -> ObjectWriter:
        return ObjectWriter(self.open(), self.monitor)

    def put_records(self, *records: Record) -> list:
        packs = PackWriter(self.backend)
        for record in records:
            packs.add(record)
        packs.flush()
        self.add(packs.entries)
        return packs.entries

    def damage(self, entry, at: int = -1) -> None:
        data = bytearray(self.backend.get(pack_key(entry.pack)))
        data[entry.offset + (at % entry.length)] ^= 0x40
        self.backend.delete(pack_key(entry.pack))
        self.backend.put(pack_key(entry.pack), [bytes(data)])


def raw(
    plain: bytes, depth: int = 0, bases: tuple = (), chain: tuple = (), recipe=None, stored=None
) -> Record:
    return Record(
        BlobId.of(plain), len(plain), depth, chain, recipe, bases, plain if stored is None else stored
    )


@given(st.lists(st.binary(max_size=3000), max_size=20), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_what_is_put_is_got(plains, batches):
    store = Store()
    for number in range(batches + 1):
        writer = store.writer()
        for plain in plains[number :: batches + 1]:
            for kind in (BlobId, ManifestId, TreeId):
                writer.put(kind, plain)
        store.add(writer.flush())
    database = store.open()
    for plain in plains:
        for kind in (BlobId, ManifestId, TreeId):
            assert database.get(kind.of(plain)) == plain
    with pytest.raises(ObjectMissing):
        database.get(BlobId.of(b"never put" * 400))


def test_the_same_object_is_stored_once_within_and_between_commits():
    store = Store()
    for _ in range(2):
        writer = store.writer()
        for _ in range(3):
            writer.put(BlobId, b"the same" * 100)
        store.add(writer.flush())
    assert sum(1 for _ in store.index().entries()) == 1
    assert writer.relied == {BlobId.of(b"the same" * 100)}


def test_one_id_of_two_kinds_is_two_objects():
    store = Store()
    writer = store.writer()
    writer.put(BlobId, b"x")
    store.add(writer.flush())
    with pytest.raises(ObjectMissing):
        store.open().get(TreeId(bytes(BlobId.of(b"x"))))


def test_every_damaged_byte_is_noticed_and_never_other_bytes_returned():
    store = Store()
    plain = bytes(range(256)) * 3
    (entry,) = store.put_records(raw(plain))
    for at in range(entry.length):
        store.damage(entry, at)
        with pytest.raises(DamageError):
            store.open().get(BlobId.of(plain))
        store.damage(entry, at)
    assert store.open().get(BlobId.of(plain)) == plain


def test_another_record_is_used_when_one_is_damaged():
    store = Store()
    base, plain = b"b" * 500, b"p" * 500
    (first,) = store.put_records(raw(plain))
    store.put_records(raw(base), raw(plain, 1, (Base(BlobId.of(base), 0, 500),)))
    store.damage(first)
    assert store.open().get(BlobId.of(plain)) == plain
    assert any("used another record" in text for text in store.monitor.damage)


def test_a_wrong_claim_is_refused():
    store = Store()
    store.put_records(Record(BlobId.of(b"right"), 5, 0, (), None, (), b"wrong"))
    with pytest.raises(CorruptObject, match="does not hash"):
        store.open().get(BlobId.of(b"right"))


def test_records_that_lean_on_each_other_end_in_an_error():
    """Two records whose bases are each other: depth says that it cannot be, and reading must end."""
    store = Store()
    one, two = b"1" * 90, b"2" * 90
    store.put_records(
        raw(one, 5, (Base(BlobId.of(two), 0, 90),), (Step("zstd", 1, {}, 3),), stored=b"abc"),
        raw(two, 5, (Base(BlobId.of(one), 0, 90),), (Step("zstd", 1, {}, 3),), stored=b"abc"),
        raw(b"self", 1, (Base(BlobId.of(b"self"), 0, 4),)),
    )
    for plain in (one, two, b"self"):
        with pytest.raises(DamageError):
            store.open().get(BlobId.of(plain))


def test_a_base_must_be_as_long_as_the_record_says():
    store = Store()
    store.put_records(raw(b"base"), raw(b"target", 1, (Base(BlobId.of(b"base"), 2, 3),)))
    with pytest.raises(CorruptObject, match="more of its base"):
        store.open().get(BlobId.of(b"target"))


def test_what_a_newer_mvc_wrote_is_named():
    store = Store()
    base = (Base(BlobId.of(b"base"), 0, 4),)
    store.put_records(
        raw(b"base"),
        raw(b"target", 1, base, recipe=Recipe("telepathy", 7, {})),
        raw(b"coded!", 0, (), (Step("quantum", 1, {}, 6),)),
    )
    for plain in (b"target", b"coded!"):
        with pytest.raises(UnsupportedFeature):
            store.open().get(BlobId.of(plain))


def weights(rng, n=200_000):
    return (rng.normal(size=n) * 0.05).astype(np.float32)


def bf16(values) -> bytes:
    return (values.view(np.uint32) >> 16).astype("<u2").tobytes()


def test_a_history_of_a_tensor_stays_shallow_and_small():
    store, rng = Store(), np.random.default_rng(7)
    values = weights(rng)
    previous, versions = None, []
    sizes = []
    for _ in range(12):
        plain = bf16(values)
        database = store.open()
        hint = Hint(DTYPES["BF16"])
        if previous is not None:
            found = anchor(database, previous, len(plain), MAX_TENSOR_DEPTH)
            assert found is not None
            hint = Hint(DTYPES["BF16"], (found[0],), found[1])
        writer = store.writer()
        previous = writer.put(BlobId, plain, hint)
        store.add(writer.flush())
        sizes.append(writer.written_bytes)
        versions.append(plain)
        values = values * (1 + rng.normal(size=values.size).astype(np.float32) * 1e-3)
    database = store.open()
    for plain in versions:
        assert database.get(BlobId.of(plain)) == plain
        assert database.entries(BlobId.of(plain))[0].depth <= MAX_TENSOR_DEPTH
    assert sizes[1] < sizes[0] / 2


def test_a_damaged_base_does_not_keep_a_new_version_from_being_stored():
    store, rng = Store(), np.random.default_rng(7)
    old, new = bf16(weights(rng, 5000)), bf16(weights(rng, 5000))
    (entry,) = store.put_records(raw(old))
    store.damage(entry)
    writer = store.writer()
    identity = writer.put(BlobId, new, Hint(DTYPES["BF16"], (Base(BlobId.of(old), 0, len(old)),), 0))
    store.add(writer.flush())
    assert store.open().get(identity) == new
    assert store.monitor.damage


def test_a_new_record_never_leans_on_one_as_deep_as_itself():
    """The shallow record of a base is damaged, a deeper one is sound: what is stored upon it must stay
    readable."""
    store, rng = Store(), np.random.default_rng(3)
    ground, base, new = (bf16(weights(rng, 4000)) for _ in range(3))
    (shallow,) = store.put_records(raw(base))
    store.put_records(raw(ground), raw(base, 1, (Base(BlobId.of(ground), 0, len(ground)),)))
    store.damage(shallow)
    assert store.open().get(BlobId.of(base)) == base
    writer = store.writer()
    writer.database.get(BlobId.of(base))  # now it is in the cache, from the deeper record
    moved = (np.frombuffer(base, "<u2") + 1).astype("<u2").tobytes()
    identity = writer.put(BlobId, moved, Hint(DTYPES["BF16"], (Base(BlobId.of(base), 0, len(base)),), 0))
    assert new != moved
    store.add(writer.flush())
    assert store.open().get(identity) == moved


def test_what_no_record_may_hold_is_refused_before_it_is_written():
    writer = Store().writer()
    with pytest.raises(UserError, match="larger than one object"):
        writer.put(ManifestId, bytes(MAX_PLAIN + 1))
    assert writer.flush() == []


def test_a_bomb_of_shared_bases_ends():
    """Each object names the one before twice: two to the power of 40 decodes, were there no budget."""
    store = Store()
    previous = b"seed" * 1000
    records = [raw(previous)]
    for depth in range(1, 41):
        plain = previous[:2000] + previous[:2000]
        plain = plain[:-2] + depth.to_bytes(2, "little")
        base = Base(BlobId.of(previous), 0, 2000)
        records.append(raw(plain, depth, (base, base), (Step("zstd", 1, {}, 4),), stored=b"junk"))
        previous = plain
    store.put_records(*records)
    with pytest.raises(DamageError):
        store.open().get(BlobId.of(previous))


def test_a_bomb_of_held_bases_ends():
    """Each record copies 62 MiB of one cached object before it asks for the next record: no budget of decoded
    bytes sees that, and 64 records of 50 bytes would hold 4 GiB."""
    store = Store()

    def packed(plain: bytes, depth: int, bases: tuple = ()) -> Record:
        frame = CODECS["zstd", 1].encode(plain, {}, None)
        return raw(plain, depth, bases, (Step("zstd", 1, {}, len(frame)),), stored=frame)

    shared = bytes(1 << 20)
    records = [packed(shared, 0)]
    stretches = (Base(BlobId.of(shared), 0, len(shared) - 1),) * 62
    previous = shared
    for depth in range(1, 41):
        plain = b"level %d" % depth
        records.append(packed(plain, depth, (*stretches, Base(BlobId.of(previous), 0, 1))))
        previous = plain
    store.put_records(*records)
    honest = records[8]
    assert store.open().get(honest.id) == b"level 8", "as deep as writers go"
    tracemalloc.start()
    try:
        with pytest.raises(CorruptObject, match="more memory"):
            store.open().get(BlobId.of(previous))
        assert tracemalloc.get_traced_memory()[1] < 700 << 20
    finally:
        tracemalloc.stop()


def test_an_error_in_one_record_does_not_keep_another_from_being_read():
    """What a damaged record held counts until the end, and leaves enough for a sound one."""
    store = Store()
    shared, plain = bytes(1 << 20), b"x" * 100
    stretches = (Base(BlobId.of(shared), 0, len(shared) - 1),) * 62
    missing = Base(BlobId.of(b"nowhere"), 0, 1)
    store.put_records(raw(shared), raw(plain, 1, (*stretches, missing)), raw(plain, 2, stretches))
    assert store.open().get(BlobId.of(plain)) == plain


def test_bases_are_bounded_before_they_are_fetched():
    base = Base(BlobId.of(b"b"), 0, 2 << 20)
    with pytest.raises(CorruptObject, match="more bytes than it may"):
        Record.from_bytes(b"".join(raw(b"x", 1, (base,) * 33).to_pieces()))


def test_a_missing_pack_is_damage():
    store = Store()
    (entry,) = store.put_records(raw(b"here"))
    store.backend.delete(pack_key(entry.pack))
    with pytest.raises(DamageError, match="missing"):
        store.open().get(BlobId.of(b"here"))


def test_a_predictor_may_need_no_base(monkeypatch):
    class Constant:
        name, version = "constant", 1

        def predict(self, bases, params, length):
            assert bases == []
            return bytes([params["byte"]]) * length

    monkeypatch.setitem(PREDICTORS, ("constant", 1), Constant())
    store, plain = Store(), bytes([7]) * 300
    params = {"width": 1, "shift": 0, "bits": 0, "block": 4096}
    residual = CODECS["ig", 1].encode(plain, params, plain)
    chain = (Step("ig", 1, params, 300),)
    store.put_records(
        Record(BlobId.of(plain), 300, 0, chain, Recipe("constant", 1, {"byte": 7}), (), bytes(residual))
    )
    assert store.open().get(BlobId.of(plain)) == plain


@pytest.mark.parametrize(("key", "lengths", "params", "length", "_digest"), FROZEN)
def test_every_recipe_survives_the_record(key, lengths, params, length, _digest):
    """Its parameters and its operands, spread over several objects."""
    store, data = Store(), b"".join(cut(lengths))
    pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    plain = bytes(PREDICTORS[key].predict([data], params, length))
    store.put_records(*map(raw, dict.fromkeys(pieces)))
    bases = tuple(Base(BlobId.of(piece), 0, len(piece)) for piece in pieces)
    layout = {"width": 1, "shift": 0, "bits": 0, "block": 4096}
    chain = (Step("ig", 1, layout, length),)
    store.put_records(raw(plain, 1, bases, chain, Recipe(*key, params), bytes(length)))
    identity = BlobId.of(plain)
    assert store.open().record(identity).recipe == (*key, params)
    assert store.open().get(identity) == plain


# --- straight into the caller's memory ---------------------------------------------------------------------
def into(database: ObjectDatabase, identity: BlobId, length: int, *, keep: bool = False) -> bytes:
    out = bytearray(length)
    database.get_into(identity, memoryview(out), keep=keep)
    return bytes(out)


@pytest.mark.parametrize("dtype", ["BF16", "F32", "F64", "U8", "F8_E4M3"])
@pytest.mark.parametrize("size", [1, 4099, 1 << 20])
def test_bytes_decoded_in_place_are_those_that_get_gives(dtype: str, size: int):
    rng = np.random.default_rng(size)
    store = Store()
    values = (rng.standard_normal(size // 2 + 8) * 0.02).astype(np.float32).view(np.uint8)
    first, second = values.tobytes()[:size], (values.view(np.float32) * np.float32(1.001)).tobytes()[:size]
    noise = rng.integers(0, 256, size, np.uint8).tobytes()
    writer = store.writer()
    for plain in (first, noise):
        identity = BlobId.of(plain)
        writer.add(writer.prepare(identity, plain, Hint(DTYPES[dtype])))
    store.add(writer.flush())
    writer = store.writer()
    hint = Hint(DTYPES[dtype], (Base(BlobId.of(first), 0, size),), 0)
    writer.add(writer.prepare(BlobId.of(second), second, hint))
    store.add(writer.flush())
    for plain in (first, noise, second, second):
        assert into(store.open(), BlobId.of(plain), size) == plain
        database = store.open()
        assert into(database, BlobId.of(plain), size, keep=True) == database.get(BlobId.of(plain)) == plain
        assert into(database, BlobId.of(plain), size) == plain


def test_in_place_another_record_is_used_when_one_is_damaged():
    store = Store()
    base, plain = b"b" * 3000, b"abc" * 1000
    store.damage(store.put_records(raw(plain))[0])
    with pytest.raises(CorruptObject):
        into(store.open(), BlobId.of(plain), 3000)
    store.put_records(raw(base), raw(plain, 1, (Base(BlobId.of(base), 0, 3000),)))
    assert into(store.open(), BlobId.of(plain), 3000) == plain
    assert any("used another record" in text for text in store.monitor.damage)


def test_in_place_every_damaged_byte_is_noticed():
    store = Store()
    plain = np.random.default_rng(1).standard_normal(300).astype(np.float32).tobytes()
    writer = store.writer()
    writer.add(writer.prepare(BlobId.of(plain), plain, Hint(DTYPES["F32"])))
    (entry,) = writer.flush()
    store.add([entry])
    noticed = 0
    for at in range(entry.length):
        store.damage(entry, at)
        try:
            assert into(store.open(), BlobId.of(plain), len(plain)) == plain
        except DamageError:
            noticed += 1
        store.damage(entry, at)
    # the checksum of 16 bytes is not looked at in place, so a damaged one does no harm there; nor does a
    # longer block in the parameters of a short record
    assert noticed >= entry.length - 24
    assert into(store.open(), BlobId.of(plain), len(plain)) == plain


@pytest.mark.parametrize("length", [0, 2999, 3001])
def test_in_place_another_length_than_the_object_has_is_refused(length: int):
    store = Store()
    plain = b"abc" * 1000
    store.put_records(raw(plain))
    with pytest.raises(CorruptObject, match="length"):
        into(store.open(), BlobId.of(plain), length)


def test_in_place_a_missing_object_is_told():
    with pytest.raises(ObjectMissing):
        into(Store().open(), BlobId.of(b"never put"), 9)


# --- many small ones together ------------------------------------------------------------------------------
def small_history(count: int = 40) -> tuple[Store, list[bytes]]:
    """Small tensors in two versions, the second leaning on the first; all plain bytes."""
    store, rng = Store(), np.random.default_rng(3)
    values = rng.standard_normal((count, 1024), dtype=np.float32) * np.float32(0.02)
    plains: list[bytes] = []
    for version in range(2):
        writer = store.writer()
        for number in range(count):
            plain = bf16(values[number])
            bases = (Base(BlobId.of(plains[number]), 0, len(plain)),) if version else ()
            writer.add(writer.prepare(BlobId.of(plain), plain, Hint(DTYPES["BF16"], bases, 0)))
            plains.append(plain)
        store.add(writer.flush())
        values += rng.standard_normal(values.shape, dtype=np.float32) * np.float32(0.0002)
    return store, plains


def ids(plains: list[bytes]) -> list[BlobId]:
    return [BlobId.of(plain) for plain in plains]


def test_many_small_objects_are_those_that_get_gives():
    store, plains = small_history()
    assert any(store.open().record(identity).bases for identity in ids(plains)), "or it tests too little"
    for wanted in (plains[:40], plains[40:], plains[::-1], plains + plains):
        assert store.open().get_small(ids(wanted)) == {BlobId.of(plain): plain for plain in wanted}


def test_many_small_objects_take_few_looks_at_the_packs(monkeypatch):
    store, plains = small_history()
    looks: list[int] = []
    whole = MemoryBackend.get_range
    monkeypatch.setattr(
        MemoryBackend, "get_range", lambda self, *place: looks.append(1) or whole(self, *place)
    )
    assert len(store.open().get_small(ids(plains[40:]))) == 40
    assert len(looks) == 2, "one for the records, one for what they lean on"
    database = store.open()
    database.get_small(ids(plains[:40]), keep=True)
    looks.clear()
    assert [database.get(identity) for identity in ids(plains[:40])] == plains[:40]
    assert looks == []


def test_damage_in_one_small_object_stops_no_other_and_finds_its_other_record():
    store, plains = small_history()
    again = plains[7]
    (entry,) = store.open().entries(BlobId.of(again))
    store.damage(entry)
    found = store.open().get_small(ids(plains[:40]))
    assert found.keys() == set(ids(plains[:40])) - {BlobId.of(again)}
    with pytest.raises(CorruptObject):
        store.open().get(BlobId.of(again))
    store.put_records(raw(b"b" * 2048), raw(again, 1, (Base(BlobId.of(b"b" * 2048), 0, 2048),)))
    database = store.open()
    assert database.get_small(ids(plains[:40])).keys() == found.keys()
    assert database.get(BlobId.of(again)) == again
    assert any("used another record" in text for text in store.monitor.damage)


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_small_objects_are_never_other_bytes(at: int):
    store, plains = small_history(4)
    (entry,) = store.open().entries(BlobId.of(plains[1]))
    store.damage(entry, at)
    found = store.open().get_small(ids(plains))
    assert all(found.get(BlobId.of(plain), plain) == plain for plain in plains)
    assert BlobId.of(plains[0]) in found


def test_small_objects_of_a_missing_or_short_pack_are_left_to_get():
    store, plains = small_history(4)
    (entry,) = store.open().entries(BlobId.of(plains[0]))
    other = [b"x" * 99, b"y" * 99]
    store.put_records(*map(raw, other))
    data = store.backend.get(pack_key(entry.pack))
    for left in (data[: entry.offset + 30], None):
        store.backend.delete(pack_key(entry.pack))
        if left is not None:
            store.backend.put(pack_key(entry.pack), [left])
        assert store.open().get_small(ids(plains[:4] + other)) == {BlobId.of(plain): plain for plain in other}


def test_large_missing_and_single_objects_are_left_to_get():
    store = Store()
    large, small = b"l" * 300_000, b"s" * 300
    store.put_records(raw(large), raw(small), raw(small[1:]))
    assert store.open().get_small([]) == {}
    assert store.open().get_small(ids([small])) == {}
    found = store.open().get_small(ids([large, small, b"never put", small[1:]]))
    assert found == {BlobId.of(small): small, BlobId.of(small[1:]): small[1:]}


def test_small_bombs_end():
    """As above, twice; and small records of many plain bytes."""
    store = Store()
    previous = [b"seed" * 1000, b"tree" * 1000]
    records = [raw(plain) for plain in previous]
    for depth in range(1, 41):
        plains = [plain[:2000] * 2 for plain in previous]
        plains = [plain[:-2] + depth.to_bytes(2, "little") for plain in plains]
        bases = tuple(Base(BlobId.of(plain), 0, 2000) for plain in previous)
        junk = (Step("zstd", 1, {}, 4),)
        records += [raw(plain, depth, bases, junk, stored=b"junk") for plain in plains]
        previous = plains
    wide = [bytes([number]) * (1 << 20) for number in range(20)]
    frames = [CODECS["zstd", 1].encode(plain, {}, None) for plain in wide]
    for plain, frame in zip(wide, frames, strict=True):
        records.append(raw(plain, 0, (), (Step("zstd", 1, {}, len(frame)),), stored=frame))
    store.put_records(*records)
    assert store.open().get_small(ids(previous)) == {}
    assert store.open().get_small(ids(wide)) == {}, "small as records, but not as objects"


def test_several_threads_read_small_objects_through_one_cache():
    store, plains = small_history()
    database = store.open()

    def read(turn: int) -> bool:
        part = plains[turn % 3 * 20 :][:40]
        found = database.get_small(ids(part), keep=turn % 2 == 0)
        # one that alone is not in the cache is for get_into
        return found.items() <= {BlobId.of(plain): plain for plain in part}.items() and all(
            into(database, BlobId.of(plain), len(plain)) == plain for plain in part[turn % 40 :]
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(24)))
