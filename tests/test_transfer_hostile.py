"""A source that is damaged or lies gets nothing wrong into another store; what was purged stays away."""

from __future__ import annotations

import hashlib

import pytest

from mvc.backends.memory import MemoryBackend
from mvc.errors import CorruptObject, DamageError, MvcError, ObjectMissing, ObjectPurged, StorageError
from mvc.monitor import Monitor
from mvc.objectid import BlobId, ManifestId, ObjectId
from mvc.objects import Manifest, Part
from mvc.odb.pack import pack_key
from mvc.odb.record import Base, Record
from mvc.odb.segment import Entry
from mvc.refs import encode_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.negotiate import missing
from mvc.remotes.transfer import plan, transfer
from mvc.tombstones import Purge, Tombstones
from mvc.transaction import Update, begin
from tests.engine import ME, now
from tests.transfers import (
    MAIN,
    Far,
    Made,
    bucket,
    check,
    closure,
    ids,
    leaning_record,
    move,
    plain_record,
)

NEAR_AND_FAR = pytest.mark.parametrize("backend", [MemoryBackend, Far])
BOTH = pytest.mark.parametrize("verify", [True, False])


class One:
    """A store with one version of one file of one or two pieces, whose records a test makes."""

    def __init__(self, backend, *pieces: bytes) -> None:
        self.made = Made(1, 1, branches=1)
        self.made.plain.clear()
        self.blobs = [self.made._put(BlobId, piece) for piece in pieces]
        parts = tuple(Part(len(self.made.plain[blob]), blob) for blob in self.blobs)
        size = sum(part.length for part in parts)
        digest = hashlib.sha256(b"".join(pieces)).digest()
        file = self.made._put(ManifestId, Manifest("opaque", size, digest, parts).to_bytes())
        self.made.refs = {MAIN: self.made._version(0, [file], ())}
        self.store = bucket(backend())

    def fill(self, *records: Record, others: bool = True, entries=lambda entries: entries) -> None:
        sink = DirectSink(self.store.backend)
        for record in records:
            sink.add(record)
        if others:
            for identity, plain in self.made.plain.items():
                if identity not in {record.id for record in records}:
                    sink.add(plain_record(identity, plain))
        with begin(self.store, "fill", ME, now()) as transaction:
            transaction.adopt(entries(sink.finish()))
            refs = {MAIN: encode_target(self.made.refs[MAIN])}
            transaction.publish(lambda _view: Update(refs=refs))


def refused(source, error=CorruptObject, **options) -> MvcError:
    target = bucket()
    with pytest.raises(error) as caught:
        move(source, target, **options)
    assert ids(target) == set()
    return caught.value


@NEAR_AND_FAR
def test_bytes_under_a_false_id_are_refused(backend):
    one = One(backend, b"right" * 20)
    false = Record(one.blobs[0], 100, 0, (), None, (), b"wrong" * 20)
    one.fill(false)
    assert one.blobs[0].short in refused(one.store).message


@NEAR_AND_FAR
def test_a_false_delta_is_refused_whatever_it_leans_on(backend):
    one = One(backend, b"base" * 50, b"right" * 40)
    false = leaning_record(one.blobs[1], b"wrong" * 40, one.blobs[0], b"base" * 50, 1)
    one.fill(false)
    refused(one.store)
    # also where the target has the base
    target = bucket()
    other = One(MemoryBackend, b"base" * 50)
    other.fill()
    move(other.store, target)
    before = ids(target)
    with pytest.raises(CorruptObject):
        move(one.store, target)
    assert ids(target) == before


@NEAR_AND_FAR
@BOTH
def test_a_false_file_description_is_refused_always(backend, verify):
    one = One(backend, b"right" * 20)
    manifest = next(identity for identity in one.made.plain if identity.kind == 1)
    one.fill(Record(manifest, 3, 0, (), None, (), b"abc"))
    refused(one.store, verify=verify)


@NEAR_AND_FAR
@BOTH
def test_records_that_lean_on_each_other_are_refused(backend, verify):
    one = One(backend, b"a" * 99, b"b" * 99)
    first, second = one.blobs
    one.fill(
        leaning_record(first, b"a" * 99, second, b"b" * 99, 1),
        leaning_record(second, b"b" * 99, first, b"a" * 99, 1),
    )
    refused(one.store, DamageError, verify=verify)
    # and where the index hides it
    one = One(backend, b"a" * 99, b"b" * 99)
    one.fill(
        leaning_record(first, b"a" * 99, second, b"b" * 99, 2),
        leaning_record(second, b"b" * 99, first, b"a" * 99, 2),
        entries=lambda entries: [entry._replace(depth=entry.depth and 1) for entry in entries],
    )
    refused(one.store, DamageError, verify=verify)


@NEAR_AND_FAR
@BOTH
def test_a_base_that_is_nowhere_is_refused(backend, verify):
    one = One(backend, b"a" * 99)
    nowhere = BlobId.of(b"nowhere")
    one.fill(leaning_record(one.blobs[0], b"a" * 99, nowhere, b"nowhere", 1))
    refused(one.store, DamageError, verify=verify)


@NEAR_AND_FAR
@BOTH
def test_an_index_that_points_to_another_object_is_refused(backend, verify):
    one = One(backend, b"a" * 99, b"b" * 99)
    first, second = one.blobs

    def crossed(entries: list[Entry]) -> list[Entry]:
        by_id = {entry.id: entry for entry in entries}
        return [
            entry._replace(offset=by_id[second].offset, length=by_id[second].length)
            if entry.id == first
            else entry
            for entry in entries
        ]

    one.fill(entries=crossed)
    refused(one.store, verify=verify)


@NEAR_AND_FAR
def test_what_the_source_lacks_is_told(backend):
    one = One(backend, b"a" * 99, b"b" * 99)
    lacking = one.blobs[1]
    one.fill(entries=lambda entries: [entry for entry in entries if entry.id != lacking])
    assert lacking.short in refused(one.store, ObjectMissing).message


def test_a_base_too_long_for_its_object_is_refused():
    one = One(MemoryBackend, b"a" * 99, b"b" * 99)
    record = leaning_record(one.blobs[0], b"a" * 99, one.blobs[1], b"b" * 99, 1)
    longer = Record(record.id, 99, 1, record.chain, None, (Base(one.blobs[1], 50, 99),), record.stored)
    one.fill(longer)
    refused(one.store)


# --- damage ------------------------------------------------------------------------------------------------
class Turning(Far):
    """Turns a byte of what is read of packs, the first ``times`` times that it is read."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.at: tuple[str, int] | None = None

    def get_range(self, key, offset, length):
        data = bytearray(super().get_range(key, offset, length))
        if (
            self.at is not None
            and key == self.at[0]
            and offset <= self.at[1] < offset + length
            and self.times
        ):
            self.times -= 1
            data[self.at[1] - offset] ^= 1
        return bytes(data)


@pytest.mark.parametrize("times", [1, 1000])
def test_a_byte_that_turns_on_the_way_is_fetched_again_and_then_told(times):
    backend = Turning(times)
    one = One(lambda: backend, b"a" * 99, b"b" * 99)
    one.fill()
    with one.store.reading() as view:
        (entry,) = view.index.find(one.blobs[1])
    backend.at = pack_key(entry.pack), entry.offset + entry.length - 1
    if times > 1:
        message = refused(one.store).message
        version = one.made.refs[MAIN].short
        assert f"{one.blobs[1].short}, a piece of first of version {version}," in message
    else:
        target = bucket()
        move(one.store, target)
        check(target)


@NEAR_AND_FAR
def test_of_a_damaged_record_another_one_is_used(backend):
    one = One(backend, b"a" * 99, b"b" * 99)
    one.fill(
        plain_record(one.blobs[0], b"a" * 99),
        plain_record(one.blobs[1], b"b" * 99),
        leaning_record(one.blobs[1], b"b" * 99, one.blobs[0], b"a" * 99, 1),
    )
    with one.store.reading() as view:
        entry = next(entry for entry in view.index.find(one.blobs[1]) if not entry.depth)
    key = pack_key(entry.pack)
    data = bytearray(one.store.backend.get(key))
    data[entry.offset + entry.length - 1] ^= 1
    one.store.backend.delete(key)
    one.store.backend.put(key, [bytes(data)])
    target = bucket()
    move(one.store, target)
    check(target)
    assert any("used another record" in text for text in target.monitor.damage)


# --- attempts ----------------------------------------------------------------------------------------------
class Ending(Far):
    """Refuses after so many requests for packs."""

    left = 10**9

    def get_range(self, key, offset, length):
        if key.startswith("packs/"):
            self.left -= 1
            if self.left < 0:
                raise StorageError("the line is dead")
        return super().get_range(key, offset, length)


def test_what_arrived_before_the_line_went_dead_is_not_fetched_again():
    pieces = [bytes([number]) * 300 + bytes(range(256)) * 3000 for number in range(40)]
    backend = Ending()
    one, target = One(lambda: backend, *pieces), bucket()
    one.fill()
    with one.store.reading() as view, target.reading() as here:
        sink = DirectSink(target.backend)
        attempts = 0
        backend.requests.clear()
        while True:
            attempts += 1
            backend.left = 6
            try:
                tips = [view.refs.get(MAIN)]
                found = missing(view.objects, here.objects, tips, monitor=Monitor())
                planned = plan(view.objects, here.objects, found, sink)
                entries = transfer(view.objects, here.objects, planned, sink, Monitor())
                break
            except StorageError:
                assert attempts < 30
    assert attempts > 2
    with begin(target, "fetch", ME, now()) as transaction:
        transaction.adopt(entries)
        transaction.publish(lambda _view: Update(refs={MAIN: encode_target(one.made.refs[MAIN])}))
    check(target)
    # only the descriptions, a few hundred bytes here, are read in every attempt
    assert backend.read_bytes() <= 1.05 * sum(map(len, pieces))


def test_what_an_earlier_attempt_brought_for_others_is_not_taken_over():
    made = Made(11, 5)
    source, target = made.store(), bucket()
    sink = DirectSink(target.backend)
    stray = plain_record(BlobId.of(b"stray"), b"stray")
    sink.add(stray)
    move(source, target, sink=sink)
    check(target)
    assert bytes(stray.id) not in ids(target)


# --- purged ------------------------------------------------------------------------------------------------
def purging(store, identity: ObjectId, *, lifted: bool = False) -> None:
    """Note in a store's root that an object was purged."""
    root, raw = store.roots.read()
    purge = Purge.store(store.backend, [identity], time=now(), who=ME, what="test", why="leaked")
    tombstones = Tombstones(root.tombstones, store.backend).added(purge)
    if lifted:
        tombstones = Tombstones(tombstones, store.backend).lifting(purge.name)
    store.roots.swap(raw, root.with_changes(tombstones=tombstones))


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@NEAR_AND_FAR
def test_what_the_target_purged_does_not_come_back(backend, kind):
    made = Made(5, 3, branches=1)
    source, target = made.store(backend()), bucket()
    with source.reading() as view:
        wanted = closure(view.objects, made.refs[MAIN])
    purged = next(identity for identity in wanted if identity.kind == kind)
    purging(target, purged)
    with pytest.raises(ObjectPurged, match="leaked"):
        move(source, target)
    assert ids(target) == set()


def test_what_a_lifted_purge_took_may_come_back():
    made = Made(5, 3, branches=1)
    source, target = made.store(), bucket()
    blob = next(identity for identity in made.plain if identity.kind == 0)
    purging(target, blob, lifted=True)
    move(source, target)
    check(target)


@NEAR_AND_FAR
def test_a_base_that_the_target_purged_does_not_come_along(backend):
    one = One(backend, b"b" * 99)
    base, secret = BlobId.of(b"secret" * 20), b"secret" * 20
    one.fill(
        plain_record(base, secret),
        leaning_record(one.blobs[0], b"b" * 99, base, secret, 1),
    )
    target = bucket()
    purging(target, base)
    move(one.store, target)
    check(target)
    assert bytes(base) not in ids(target)


@NEAR_AND_FAR
def test_what_the_source_purged_is_told_unless_the_target_knows(backend):
    made = Made(5, 3, branches=1)
    source, target = made.store(backend()), bucket()
    with source.reading() as view:
        blob = next(one for one in closure(view.objects, made.refs[MAIN]) if one.kind == 0)
    purging(source, blob)
    with pytest.raises(ObjectPurged, match="leaked"):
        move(source, target)
    purging(target, blob)
    with pytest.raises(ObjectPurged):
        move(source, target)
