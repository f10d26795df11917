"""What a transfer that was cut has brought stays, is found again, and believed only as far as it is sound."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from mvc.backends.memory import MemoryBackend
from mvc.errors import Busy, StorageError
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import KINDS, BlobId
from mvc.objects import Timestamp
from mvc.odb.pack import HEAD_BYTES, TARGET_PACK, pack_key, read_record
from mvc.odb.record import Base, Record
from mvc.odb.segment import Entry
from mvc.ops.clone import CloneRequest, clone
from mvc.ops.gc import Request as Collecting
from mvc.ops.gc import gc
from mvc.ops.purge import Request as Purging
from mvc.ops.purge import purge
from mvc.remotes import outgoing as outgoing_module
from mvc.remotes.incoming import OPEN
from mvc.remotes.journal import Journal
from mvc.remotes.kept import FOLDER, remove_kept
from mvc.remotes.outgoing import LEAST, Outgoing
from mvc.remotes.sink import Sink
from mvc.repo import Repository
from mvc.root import Fossil, Root
from mvc.sharing.bucket import BucketStore
from mvc.sharing.fetching import FetchRequest, fetch
from mvc.sharing.settings import Remote
from mvc.sharing.sinks import incoming, outgoing
from mvc.store import STRAYS, SharedFolder, Store
from mvc.transaction import Update, begin
from tests.engine import ME, assert_sound, make_repository, now, open_repository, two_versions
from tests.engine import snapshot as snapshot_of
from tests.engine import tree as work_tree
from tests.faults import CHANGING, FaultIO, PowerCut, Recorder, lay_out, run_killed, snapshot

ADDRESS = "s3://bucket/models"


def blob(number: int, length: int = 300, *bases: Record) -> Record:
    """A record that stands alone, or says that it leans on others."""
    plain = np.random.default_rng(number).bytes(length)
    depth = max((base.depth for base in bases), default=-1) + 1
    leans = tuple(Base(base.id, 0, 1) for base in bases)
    return Record(BlobId.of(plain), length, depth, (), None, leans, plain)


def folder_store(folder: Path, io: FileIO | None = None) -> SharedFolder:
    """A store in a folder, made where there is none."""
    if not (folder / "format").exists():
        SharedFolder.create(FileIO(), folder, Monitor(), branch="main")
    return SharedFolder.open(io or FileIO(), folder, Monitor())


def receive(store: SharedFolder, records: list[Record], *, publish: bool = True) -> list[Entry]:
    """As a fetch does: what is not there yet is added, and root names all of it."""
    with begin(store, "fetch", ME, now()) as transaction, incoming(store, transaction.view) as sink:
        entries = fill(sink, records)
        if publish:
            transaction.adopt(entries)
            transaction.publish(lambda _view: Update())
            sink.done()
    return entries


def fill(sink: Sink, records: list[Record]) -> list[Entry]:
    for record in records:
        if sink.depth(record.id) is None:
            sink.add(record)
    return sink.finish()


def assert_there(store: Store, records: list[Record]) -> None:
    """Root leads to each, once, and to its bytes."""
    with store.reading() as view:
        for record in records:
            (entry,) = view.index.find(bytes(record.id))
            found = read_record(store.backend, entry)
            assert bytes(found.stored) == bytes(record.stored)


class Cut(Exception):
    """The line is cut."""


def cut_after(sink: Sink, records: list[Record]) -> None:
    for record in records:
        sink.add(record)
    raise Cut


# --- what arrives ------------------------------------------------------------------------------------------


def test_what_arrived_before_a_cut_is_there_for_the_next_attempt(tmp_path):
    store, records = folder_store(tmp_path / "s"), [blob(n) for n in range(20)]
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, records[:13])
    with store_sink(store) as sink:
        assert [sink.depth(record.id) for record in records] == [0] * 13 + [None] * 7
        assert sink.kept_bytes > 13 * 300
    receive(store, records)
    assert_there(store, records)
    assert list((tmp_path / "s" / FOLDER).iterdir()) == []


def store_sink(store: SharedFolder):
    return incoming(store, store.read())


def test_full_files_wait_too(tmp_path):
    store = folder_store(tmp_path / "s")
    records = [blob(n, TARGET_PACK // 3) for n in range(7)]
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, records[:6])
    kept = tmp_path / "s" / FOLDER
    assert sorted(path.suffix for path in kept.iterdir()) == ["", ".pack", ".pack"]
    assert not list((tmp_path / "s" / "packs").rglob("*.pack"))
    receive(store, records)
    assert_there(store, records)
    assert len(list((tmp_path / "s" / "packs").rglob("*.pack"))) == 4


@pytest.mark.parametrize("at", range(0, 1300, 97))
def test_a_torn_end_is_cut_off_and_what_is_before_it_stays(tmp_path, at):
    store, records = folder_store(tmp_path / "s"), [blob(n, 200) for n in range(6)]
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, records[:4])
    path = tmp_path / "s" / FOLDER / OPEN
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes(max(0, len(data) - at)))  # a length, and no bytes behind some place
    with store_sink(store) as sink:
        known = [record for record in records if sink.depth(record.id) is not None]
    ends = list(itertools.accumulate([HEAD_BYTES, *[len(data[HEAD_BYTES:]) // 4] * 4]))
    assert known == records[: sum(end <= at for end in ends[1:])]
    receive(store, records)
    assert_there(store, records)


def test_every_flipped_byte_costs_records_and_nothing_else(tmp_path):
    store, records = folder_store(tmp_path / "s"), [blob(n, 40) for n in range(3)]
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, records)
    path = tmp_path / "s" / FOLDER / OPEN
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with store_sink(store) as sink:
            for record, entry in zip(records, fill(sink, records), strict=True):
                assert bytes(read_record(store.backend, entry).stored) == record.stored
        shutil.rmtree(path.parent)
        path.parent.mkdir()


def test_a_full_file_that_is_not_what_it_was_is_fetched_again(tmp_path):
    store = folder_store(tmp_path / "s")
    records = [blob(n, TARGET_PACK // 3) for n in range(4)]
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, records)
    (full,) = (tmp_path / "s" / FOLDER).glob("*.pack")
    data = bytearray(full.read_bytes())
    data[-1] ^= 1
    full.write_bytes(data)
    with store_sink(store) as sink:
        assert [sink.depth(record.id) for record in records] == [None, None, 0, 0]
    receive(store, records)
    assert_there(store, records)


def test_a_record_counts_only_with_what_it_leans_on(tmp_path):
    store = folder_store(tmp_path / "s")
    base = blob(1)
    tuned = blob(2, 300, base)
    again = blob(3, 300, tuned)
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, [tuned, again])
    with store_sink(store) as sink:
        assert sink.depth(tuned.id) is None
        assert sink.depth(again.id) is None
    receive(store, [base])  # which says that everything is done
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, [again, tuned])
    with store_sink(store) as sink:
        assert (sink.depth(tuned.id), sink.depth(again.id)) == (1, 2)


def test_what_root_names_already_is_not_told_again(tmp_path):
    """Killed between the swap and what follows it."""
    store, records = folder_store(tmp_path / "s"), [blob(n) for n in range(5)]
    with begin(store, "fetch", ME, now()) as transaction, store_sink(store) as sink:
        transaction.adopt(fill(sink, records))
        transaction.publish(lambda _view: Update())
    assert list((tmp_path / "s" / FOLDER).glob("*.pack"))
    more = [*records, blob(9)]
    with store_sink(store) as sink:
        assert sink.kept_bytes == 0
    receive(store, [more[-1]])
    assert_there(store, more)


def test_finished_packs_outlive_a_collection_of_strays(tmp_path):
    store, records = folder_store(tmp_path / "s"), [blob(n) for n in range(5)]
    receive(store, records, publish=False)
    for path in list((tmp_path / "s" / "packs").rglob("*.pack")):
        path.unlink()  # a collection found that root does not name them
        path.parent.rmdir()
    with store_sink(store) as sink:
        assert all(sink.depth(record.id) == 0 for record in records)
    receive(store, records)
    assert_there(store, records)


def test_who_takes_over_packs_waits_for_a_collection_that_deletes_some(tmp_path):
    store = folder_store(tmp_path / "s")
    held = store.locks.take(STRAYS, exclusive=True, wait=True)
    entered = threading.Event()

    def transfer() -> None:
        with store_sink(folder_store(tmp_path / "s")):
            entered.set()

    thread = threading.Thread(target=transfer)
    thread.start()
    assert not entered.wait(0.3)
    held.release()
    assert entered.wait(20)
    thread.join()


def test_a_collection_deletes_strays_under_their_lock(tmp_path):
    repository, _one, _two = two_versions(tmp_path)
    stray = repository.store / "packs" / "ab" / ("ab" * 32 + ".pack")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left")
    held = repository.locks.take(STRAYS, exclusive=True, wait=True)
    thread = threading.Thread(target=lambda: gc(repository, Collecting(now())))
    thread.start()
    thread.join(1)
    assert thread.is_alive()
    assert stray.exists()
    held.release()
    thread.join(20)
    assert not stray.exists()


def test_without_hard_links_packs_are_copied(tmp_path):
    records = [blob(n) for n in range(5)]
    folder_store(tmp_path / "s")
    store = folder_store(
        tmp_path / "s", FaultIO(counted=("link",), fail_at=1, error=errno.EPERM, for_ever=True)
    )
    receive(store, records)
    assert_there(store, records)


def test_a_second_transfer_hears_that_there_is_one(tmp_path):
    store = folder_store(tmp_path / "s")
    with store_sink(store), pytest.raises(Busy) as caught, store_sink(store):
        pass
    assert caught.value.hint


def test_a_cut_says_what_is_kept(tmp_path):
    store = folder_store(tmp_path / "s")
    with pytest.raises(StorageError) as caught, store_sink(store) as sink:
        sink.expected = 90_000
        sink.add(blob(1, 30_000))
        raise StorageError("the line is dead", hint="check the cable")
    assert "30.1 kB of 90.0 kB arrived and are kept" in caught.value.message
    assert caught.value.hint == "check the cable; run it again to go on"
    assert caught.value.exit_code == 3


def test_a_cut_before_anything_came_promises_nothing(tmp_path):
    store = folder_store(tmp_path / "s")
    with pytest.raises(StorageError, match="dead") as caught, store_sink(store):
        raise StorageError("dead", hint="check the cable")
    assert (caught.value.message, caught.value.hint) == ("dead", "check the cable")


def test_few_calls_for_many_records(tmp_path):
    folder_store(tmp_path / "s")
    io = FaultIO(counted=("write", "sync"))
    store = folder_store(tmp_path / "s", io)
    with pytest.raises(Cut), incoming(store, store.read()) as sink:
        before = io.steps
        cut_after(sink, [blob(n, 100) for n in range(2000)])
    assert io.steps - before <= 3


# --- kills and power cuts where they arrive ----------------------------------------------------------------


def test_a_kill_at_any_step_loses_a_quarter_of_a_megabyte_at_most(tmp_path):
    records = [blob(n, 100_000) for n in range(12)]
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        folder_store(folder)

        def act(io: FileIO, folder: Path = folder) -> None:
            receive(folder_store(folder, io), records)

        killed = run_killed(act, step, CHANGING)
        store = folder_store(folder)
        receive(store, [record for record in records if bytes(record.id) not in known(store)])
        assert_there(store, records)
        shutil.rmtree(folder)
        if not killed:
            break
    assert step > 20


def known(store: Store) -> set[bytes]:
    with store.reading() as view:
        return {entry.id for entry in view.index.entries()}


def test_what_was_written_before_a_kill_is_kept(tmp_path):
    folder_store(tmp_path / "s")
    records = [blob(n, 100_000) for n in range(12)]

    def act(io: FileIO) -> None:
        store = folder_store(tmp_path / "s", io)
        with incoming(store, store.read()) as sink:
            fill(sink, records)

    assert run_killed(act, 1, ("sync",))
    with store_sink(folder_store(tmp_path / "s")) as sink:
        assert all(sink.depth(record.id) == 0 for record in records)


def test_a_power_cut_at_any_step_leaves_what_can_be_gone_on_with(tmp_path):
    records = [blob(n, 150_000) for n in range(4)]
    folder = tmp_path / "s"
    folder_store(folder)
    before, io = snapshot(folder), Recorder()
    receive(folder_store(folder, io), records)
    model, rng = PowerCut(folder, before, io.trace), random.Random(5)
    for cut in range(len(io.trace) + 1):
        for state in model.states(cut, 2, rng):
            place = tmp_path / "state"
            lay_out(state, place)
            store = folder_store(place)
            missing = [record for record in records if bytes(record.id) not in known(store)]
            assert not missing or cut < len(io.trace)
            receive(store, missing)
            assert_there(store, records)
            shutil.rmtree(place)


def test_what_a_disk_refused_to_make_durable_is_not_believed_later(tmp_path):
    folder_store(tmp_path / "s")
    io = FaultIO(counted=("sync",), fail_at=1, error=errno.EIO)
    store = folder_store(tmp_path / "s", io)
    with pytest.raises(StorageError), store_sink(store) as sink:
        fill(sink, [blob(1)])
    assert io.failed
    with store_sink(store) as sink:
        assert sink.depth(blob(1).id) is None


class Watching(Monitor):
    """Keeps what the progress of the transfer says."""

    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None
        self.advances: list[int] = []

    def start(self, task: str, total_bytes: int | None = None) -> None:
        if task == "transfer":
            self.total, self.advances = total_bytes, []

    def advance(self, count_bytes: int) -> None:
        self.advances.append(count_bytes)


def test_what_is_here_already_counts_as_done_from_the_start(tmp_path):
    two_versions(tmp_path / "theirs")
    make_repository(tmp_path / "ours")
    remote = Remote("origin", str(tmp_path / "theirs"))
    io = FaultIO(counted=("link",), fail_at=1, error=errno.ENOSPC)
    with pytest.raises(StorageError, match="arrived and are kept"):
        fetch(open_repository(tmp_path / "ours", io), remote, FetchRequest(), ME, now())
    watching = Watching()
    fetch(Repository.open(FileIO(), tmp_path / "ours", watching), remote, FetchRequest(), ME, now())
    assert watching.total == watching.advances[0] > 1000
    assert sum(watching.advances[1:]) == 0


def test_a_clone_that_is_killed_at_any_step_goes_on(tmp_path):
    theirs = tmp_path / "theirs"
    two_versions(theirs)
    wanted = work_tree(theirs)
    kills = 0
    for step in itertools.count(1, 11):
        folder = tmp_path / "ours"

        def act(io: FileIO, folder: Path = folder) -> None:
            clone(
                io, str(theirs), folder, Monitor(), CloneRequest(), ME, now(), base=tmp_path, environment={}
            )  # fmt: skip

        killed = run_killed(act, step, CHANGING)
        kills += killed
        if killed:
            act(FileIO())
        assert work_tree(folder) == wanted
        assert_sound(folder)
        shutil.rmtree(folder)
        if not killed:
            break
    assert kills > 5


# --- how long it is kept -----------------------------------------------------------------------------------


def test_what_nobody_goes_on_with_is_deleted_when_it_is_old(tmp_path):
    store = folder_store(tmp_path / "s")
    with pytest.raises(Cut), store_sink(store) as sink:
        cut_after(sink, [blob(1)])
    path = tmp_path / "s" / FOLDER / OPEN
    written = path.stat().st_mtime_ns
    assert remove_kept(store.io, store.store, store.locks, written)
    assert path.exists()
    with store_sink(store):
        assert not remove_kept(store.io, store.store, store.locks)
    assert remove_kept(store.io, store.store, store.locks, written + 1)
    assert not path.parent.exists()
    assert remove_kept(store.io, store.store, store.locks)


def test_a_collection_deletes_what_is_as_old_as_what_it_empties_the_trash_of(tmp_path):
    repository, _one, _two = two_versions(tmp_path)
    with pytest.raises(Cut), incoming(repository, repository.read()) as sink:
        cut_after(sink, [blob(1)])
    path = repository.store / FOLDER / OPEN
    time = Timestamp(path.stat().st_mtime_ns // 1000 + 10 * 86_400_000_000, 0)
    gc(repository, Collecting(time, trash_days=11))
    assert path.exists()
    gc(repository, Collecting(time, trash_days=9))
    assert not path.exists()


def test_a_purge_leaves_nothing_of_a_transfer_that_was_cut(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.random.default_rng(1).bytes(3000))
    snapshot_of(repository, "one")
    (tmp_path / "secret.bin").unlink()
    (tmp_path / "kept.txt").write_text("kept")
    snapshot_of(repository, "two")
    view = repository.read()
    secrets = [KINDS[entry.kind](entry.id) for entry in view.index.entries() if entry.kind == 0]
    records = [read_record(repository.backend, view.objects.entries(one)[0]) for one in secrets]
    with pytest.raises(Cut), incoming(repository, view) as sink:
        cut_after(sink, records)
    purged = purge(repository, Purging(("secret.bin",), ME, now(), rewrite=True))
    assert not (repository.store / FOLDER).exists()
    assert purged.ended.proof.clean


# --- what is sent ------------------------------------------------------------------------------------------


class Line(MemoryBackend):
    """A store at the end of a line that breaks: after so many puts, before or behind what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[int] = []
        self.left: int | None = None
        self.late = False

    def put(self, key, pieces):
        if not key.startswith("packs/"):
            return super().put(key, pieces)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                if self.late and self.left == -1:
                    self.sent.append(sum(memoryview(piece).nbytes for piece in pieces))
                    super().put(key, pieces)
                raise StorageError("the line is dead", hint="try again")
        self.sent.append(sum(memoryview(piece).nbytes for piece in pieces))
        return super().put(key, pieces)


def bucket(backend: MemoryBackend) -> BucketStore:
    store = BucketStore(backend, Monitor())
    if not list(backend.list("root")):
        store.roots.swap(None, Root(extra={"default_branch": "main"}))
    return store


def send(local: SharedFolder, remote: Store, records: list[Record], address: str = ADDRESS) -> list[Entry]:
    """As a push does."""
    with (
        begin(remote, "push", ME, now()) as transaction,
        outgoing(local, remote, transaction.view, address) as sink,
    ):
        entries = fill(sink, records)
        transaction.adopt(entries)
        transaction.publish(lambda _view: Update())
        sink.done()
    return entries


@pytest.fixture
def small_packs(monkeypatch):
    """Packs of three records."""
    monkeypatch.setattr(outgoing_module, "LEAST", 1200)


def test_what_was_sent_before_a_cut_is_not_sent_again(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(20)]
    line.left = 4
    with pytest.raises(StorageError, match="arrived and are kept"):
        send(local, remote, records)
    line.left = None
    send(local, remote, records)
    assert_there(remote, records)
    assert len(line.sent) == 7
    assert list((tmp_path / "s" / FOLDER).iterdir()) == []


def test_a_lost_answer_counts_as_one(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(20)]
    line.left, line.late = 4, True
    with pytest.raises(StorageError):
        send(local, remote, records)
    line.left = None
    send(local, remote, records)
    assert_there(remote, records)
    assert len(line.sent) == 7


def test_another_push_takes_over_what_the_first_has_sent(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(12)]
    line.left = 2
    with pytest.raises(StorageError):
        send(local, remote, records[:9])
    line.left, line.sent = None, []
    send(local, remote, [*records[:2], *records[6:]])
    assert sum(line.sent) < 7 * 420


def test_a_pack_that_is_gone_is_sent_again(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(9)]
    line.left = 2
    with pytest.raises(StorageError):
        send(local, remote, records)
    line.left = None
    key, _size = next(line.list("packs/"))
    line.delete(key)
    send(local, remote, records)
    assert_there(remote, records)


def test_a_pack_that_is_condemned_is_sent_again(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(9)]
    line.left = 2
    with pytest.raises(StorageError):
        send(local, remote, records)
    line.left = None
    view = remote.read()
    packs = [bytes.fromhex(key[9:-5]) for key, _size in line.list("packs/")]
    fossils = tuple(Fossil(pack, 1, False) for pack in sorted(packs))
    remote.roots.swap(view.raw, view.root.with_changes(epoch=1, fossils=fossils))
    entries = send(local, remote, records)
    assert not {entry.pack for entry in entries} & set(packs)
    assert_there(remote, records)


def test_a_pack_of_another_length_is_not_taken_for_ours(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(9)]
    line.left = 2
    with pytest.raises(StorageError):
        send(local, remote, records)
    line.left = None
    key, _size = next(line.list("packs/"))
    data = line.get(key)
    line.delete(key)
    line.put(key, [data[:-1]])
    entries = send(local, remote, records)
    assert key not in {pack_key(entry.pack) for entry in entries}


def test_what_was_sent_to_one_store_is_not_looked_for_in_another(tmp_path, small_packs):
    local, line, other = folder_store(tmp_path / "s"), Line(), Line()
    records = [blob(n) for n in range(9)]
    line.left = 2
    with pytest.raises(StorageError):
        send(local, bucket(line), records)
    send(local, bucket(other), records, "s3://another")
    assert_there(bucket(other), records)
    line.left, line.sent = None, []
    send(local, bucket(line), records)
    assert len(line.sent) == 1


def test_a_record_that_was_sent_counts_only_with_what_it_leans_on(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, base = bucket(line), blob(1, 1000)
    tuned = blob(2, 1000, base)
    line.left = 1
    with pytest.raises(StorageError):
        send(local, remote, [base, tuned, blob(3, 1000)])
    line.left = 2
    with pytest.raises(StorageError):
        send(local, remote, [base, tuned, blob(3, 1000), blob(4, 1000)])
    line.left = None
    packs = {key: line.get(key) for key, _size in line.list("packs/")}
    for key, data in packs.items():
        if bytes(base.id) in data and bytes(tuned.id) not in data:
            line.delete(key)
    sink = Outgoing(line, remote.read().objects, Journal(local.io, local.store, local.locks, ADDRESS))
    assert sink.depth(base.id) is None
    assert sink.depth(tuned.id) is None
    sink.close()


def test_every_flipped_byte_of_the_journal_costs_packs_and_nothing_else(tmp_path, small_packs):
    local, line = folder_store(tmp_path / "s"), Line()
    remote, records = bucket(line), [blob(n) for n in range(9)]
    line.left = 2
    with pytest.raises(StorageError):
        send(local, remote, records)
    line.left = None
    (path,) = (tmp_path / "s" / FOLDER).iterdir()
    data = path.read_bytes()
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        journal = Journal(local.io, local.store, local.locks, ADDRESS)
        assert len(journal.sent) < 3
        sink = Outgoing(line, remote.read().objects, journal)
        for record, entry in zip(records, sorted_by(records, fill(sink, records)), strict=True):
            assert bytes(read_record(line, entry).stored) == record.stored
        sink.close()


def sorted_by(records: list[Record], entries: list[Entry]) -> list[Entry]:
    places = {bytes(record.id): number for number, record in enumerate(records)}
    return sorted(entries, key=lambda entry: places[entry.id])


def test_a_torn_journal_is_written_on_behind_what_is_whole(tmp_path, small_packs):
    local = folder_store(tmp_path / "s")
    line, records = Line(), [blob(n) for n in range(30)]
    remote = bucket(line)
    for left in (2, 3):
        line.left = left
        with pytest.raises(StorageError):
            send(local, remote, records)
        (path,) = (tmp_path / "s" / FOLDER).iterdir()
        path.write_bytes(path.read_bytes()[:-1])
    line.left = None
    before = len(line.sent)
    send(local, remote, records)
    assert_there(remote, records)
    assert len(line.sent) - before <= 6


@pytest.mark.parametrize("megabytes", [3, 40])
def test_packs_grow_with_what_is_there(tmp_path, megabytes):
    local, line = folder_store(tmp_path / "s"), Line()
    send(local, bucket(line), [blob(n, 100_000) for n in range(megabytes * 10)])
    total = sum(line.sent)
    before = 0
    for length in line.sent:
        assert length <= max(before / 32, LEAST)
        before += length
    assert len(line.sent) <= total / LEAST * 1.3 + 1


def test_a_push_to_a_folder_that_is_killed_at_any_step_goes_on(tmp_path, small_packs):
    records = [blob(n) for n in range(9)]
    for step in itertools.count(1):
        place = tmp_path / str(step)
        for name in ("local", "remote"):
            folder_store(place / name)

        def act(io: FileIO, place: Path = place) -> None:
            send(folder_store(place / "local", io), folder_store(place / "remote", io), records)

        killed = run_killed(act, step, CHANGING)
        local, remote = folder_store(place / "local"), folder_store(place / "remote")
        send(local, remote, [record for record in records if bytes(record.id) not in known(remote)])
        assert_there(remote, records)
        shutil.rmtree(place)
        if not killed:
            break
    assert step > 20
