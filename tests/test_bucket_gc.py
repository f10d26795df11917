"""Collections of a bucket beside writers and each other, at any interleaving of their operations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import mvc.collection.swapping
import mvc.sharing.bucket
import mvc.transaction
from mvc.backends import NotFound
from mvc.backends.memory import MemoryBackend
from mvc.collection.bucket import Moment, collect_bucket
from mvc.collection.collect import Effort
from mvc.collection.log import expire
from mvc.errors import Busy, DamageError, RootMoved, TakenForGarbage
from mvc.history.reader import read_commit, read_manifest, read_tree
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, TreeId
from mvc.objects import Commit, Manifest, Part, Tree, TreeEntry
from mvc.odb.pack import pack_key
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.refs import encode_target
from mvc.remotes.direct import DirectSink
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.transaction import Update, begin
from tests.engine import ME, now
from tests.turns import Actor, Turns, play

FUTURE = 1 << 60
"""Everything in the log is older."""

SHARED = [b"piece %d " % number * 40 for number in range(3)]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Actors wait for their turns, not for clocks; and one thread each."""
    still = SimpleNamespace(sleep=lambda _seconds: None)
    monkeypatch.setattr(mvc.transaction, "time", still)
    monkeypatch.setattr(mvc.collection.swapping, "time", still)
    monkeypatch.setattr(mvc.sharing.bucket, "ordered_map", lambda call, items, **_options: map(call, items))


def version(ref: str, contents: list[bytes]) -> Iterator[tuple[type, bytes]]:
    """The objects of a version with some files, each after what it refers to."""
    entries = []
    for number, content in enumerate(contents):
        blob = BlobId.of(content)
        yield BlobId, content
        file = Manifest("opaque", len(content), hashlib.sha256(content).digest(), (Part(len(content), blob),))
        yield ManifestId, file.to_bytes()
        entries.append(TreeEntry(f"f{number}", 0, ManifestId.of(file.to_bytes())))
    tree = Tree(tuple(entries)).to_bytes()
    yield TreeId, tree
    yield CommitId, Commit(TreeId.of(tree), (), ME, now(), ref).to_bytes()


def commit(store: BucketStore, ref: str, contents: list[bytes]) -> CommitId:
    """Put a version and move a ref to it."""
    with begin(store, f"commit {ref}", ME, now()) as tx:
        for kind, plain in version(ref, contents):
            made = tx.writer.put(kind, plain)
        tx.publish(lambda _view: Update(refs={ref: encode_target(made)}, locate=(made, ())))
    return made


def bucket(backend: MemoryBackend | None = None) -> BucketStore:
    return BucketStore.create(backend or MemoryBackend(), Monitor(), "memory://test", branch="main")


def opened(backend: MemoryBackend) -> BucketStore:
    return BucketStore.open(backend, Monitor(), "memory://test")


def with_garbage() -> MemoryBackend:
    """A bucket in which nothing leads to a version any more, but the log."""
    backend = MemoryBackend()
    store = bucket(backend)
    commit(store, "refs/heads/kept", [SHARED[0], b"kept" * 50])
    commit(store, "refs/heads/gone", SHARED)
    with begin(store, "branch -D gone", ME, now()) as tx:
        tx.publish(lambda _view: Update(refs={"refs/heads/gone": None}))
    return backend


def collect(store: BucketStore, time: int = 0, grace: int = 0) -> object:
    return collect_bucket(store, FUTURE, Effort(), Moment(time, grace))


def contents(store: BucketStore, ref: str) -> list[bytes]:
    """The files of a version, every byte of it read."""
    view = store.read()
    target = view.refs.get(ref)
    assert isinstance(target, CommitId), ref
    found = []
    for entry in read_tree(view.objects, read_commit(view.objects, target).tree).entries:
        parts = read_manifest(view.objects, entry.id).parts
        found.append(b"".join(view.objects.get(part.blob) for part in parts))
    return found


def assert_sound(backend: MemoryBackend) -> None:
    """Everything that root leads to is there, byte by byte."""
    store = opened(backend)
    view = store.read()
    assert not list(view.index.damage())
    list(view.operations())
    for name, _value in list(view.refs.values()):
        contents(store, name)
    for entry in view.index.entries():
        view.objects.get({0: BlobId, 1: ManifestId, 2: TreeId, 3: CommitId}[entry.kind](entry.id))


# --- one after the other ------------------------------------------------------------------------------------
def test_what_nothing_needs_is_condemned_and_deleted_by_a_later_run():
    backend = with_garbage()
    store = opened(backend)
    packs = {key for key, _size in backend.list("packs/")}
    done = collect(store, time=1000, grace=100)
    assert done.garbage.records > 0
    assert packs <= {key for key, _size in backend.list("packs/")}  # readers may still be at it
    collect(opened(backend), time=1099, grace=100)
    assert packs <= {key for key, _size in backend.list("packs/")}
    collect(opened(backend), time=1100, grace=100)
    assert len(packs & {key for key, _size in backend.list("packs/")}) == 1  # that of what is kept
    assert_sound(backend)
    root = opened(backend).read().root
    assert not root.retired or max(item.epoch for item in root.retired) == root.epoch


def test_collecting_again_and_again_changes_nothing():
    backend = with_garbage()
    for time in (0, 10, 20):
        collect(opened(backend), time=time, grace=5)
    collect(opened(backend), time=30, grace=5)
    before = dict(backend._objects)
    collect(opened(backend), time=40, grace=5)
    assert backend._objects == before


def test_a_reader_of_an_old_root_reads_on_within_the_grace():
    backend = with_garbage()
    view = opened(backend).read()
    for time in range(0, 90, 10):
        collect(opened(backend), time=time, grace=100)
        commit(opened(backend), f"refs/heads/{time}", [b"new %d" % time * 30])
    for entry in view.index.entries():
        view.objects.get({0: BlobId, 1: ManifestId, 2: TreeId, 3: CommitId}[entry.kind](entry.id))


def test_a_clock_that_ran_ahead_holds_nothing_up_for_ever():
    backend = with_garbage()
    collect(opened(backend), time=1 << 50, grace=100)
    collect(opened(backend), time=1000, grace=100)
    collect(opened(backend), time=1100, grace=100)
    assert not [fossil for fossil in opened(backend).read().root.fossils if not fossil.deleted]


def test_strays_are_condemned_first_and_never_deleted_at_once():
    backend = with_garbage()
    stray = "packs/ab/" + "ab" * 32 + ".pack"
    backend.put(stray, [b"put by somebody on his way"])
    backend.put("segments/" + "cd" * 32 + ".seg", [b"so was this"])
    backend.put("packs/readme", [b"not ours"])
    collect(opened(backend), time=1000, grace=100)
    assert backend.get(stray)
    assert bytes.fromhex("ab" * 32) in opened(backend).read().index.dead_packs
    collect(opened(backend), time=2000, grace=100)
    collect(opened(backend), time=3000, grace=100)
    left = {key for key, _size in backend.list("")}
    assert stray not in left and "segments/" + "cd" * 32 + ".seg" not in left
    assert "packs/readme" in left


def test_a_writer_whose_packs_were_taken_for_garbage_hears_of_it():
    for grace in (100, 0):
        backend = with_garbage()
        store = opened(backend)
        with begin(store, "slow", ME, now()) as tx:
            identity = tx.writer.put(BlobId, b"on its way" * 50)
            tx.writer.flush()
            collect(opened(backend), time=1000, grace=grace)
            with pytest.raises(TakenForGarbage):
                tx.publish(lambda _view: Update())
        assert identity not in opened(backend).read().objects
        assert_sound(backend)


def test_what_leaves_the_list_of_condemned_packs_is_deleted_by_then(monkeypatch):
    backend = with_garbage()
    collect(opened(backend), time=1000, grace=100)
    store = opened(backend)
    unlisted: list[str] = []
    swap = store.roots.swap

    def looking(expected: bytes | None, root: Root) -> None:
        still = {fossil.pack for fossil in root.fossils if not fossil.deleted}
        for fossil in store.read().root.fossils:
            if not fossil.deleted and fossil.pack not in still:
                unlisted.append(pack_key(fossil.pack))
                assert not list(backend.list(unlisted[-1]))
        swap(expected, root)

    monkeypatch.setattr(store.roots, "swap", looking)
    collect(store, time=2000, grace=100)
    assert unlisted


def test_the_piece_that_the_next_operation_makes_is_not_condemned():
    backend = with_garbage()
    while opened(backend).read().root.oplog.next_piece() is None:
        commit(opened(backend), "refs/heads/kept", [b"once more" * 9])
    log = opened(backend).read().root.oplog
    log.append(log.recent[0], backend)  # a writer who was killed before his swap
    collect_bucket(opened(backend), None, Effort(), Moment(1000, 100))
    commit(opened(backend), "refs/heads/kept", [b"after all" * 9])
    assert_sound(backend)


def test_a_swap_whose_reply_was_lost_deletes_nothing_that_it_named(monkeypatch):
    """The reply to a commit's swap is lost, and another one follows before the writer looks again."""
    backend = with_garbage()
    store = opened(backend)
    swap = store.roots.swap

    def lost(expected: bytes | None, root: Root) -> None:
        monkeypatch.setattr(store.roots, "swap", swap)
        swap(expected, root)
        expire(opened(backend), FUTURE)  # the log does not tell of it any more
        moved = RootMoved("somebody else was faster, before or after")
        moved.perhaps_done = True
        raise moved

    monkeypatch.setattr(store.roots, "swap", lost)
    commit(store, "refs/heads/kept", [b"acknowledged late" * 9])
    assert contents(opened(backend), "refs/heads/kept") == [b"acknowledged late" * 9]
    assert_sound(backend)


# --- at any interleaving ------------------------------------------------------------------------------------
def _just(update: Update, _view: object) -> Update:
    return update


class Scene:
    """Two writers, one of whom takes over what he had put when he has to try again, and two collectors."""

    def __init__(self) -> None:
        self.backend = with_garbage()
        self.acknowledged: dict[str, list[bytes]] = {"refs/heads/kept": [SHARED[0], b"kept" * 50]}
        self.clock = 0

    def store(self, actor: Actor) -> BucketStore:
        return BucketStore(Turns(self.backend, actor), Monitor())

    def writer(self, actor: Actor) -> None:
        for number in range(2):
            files = [SHARED[number], b"%d of %s" % (number, actor.name.encode()) * 20, SHARED[2]]
            ref = f"refs/heads/{actor.name}"
            while True:
                try:
                    commit(self.store(actor), ref, files)
                    break
                except (Busy, DamageError):
                    continue  # a reader of an older root, whose grace is over, reads root again
            self.acknowledged[ref] = files

    def pusher(self, actor: Actor) -> None:
        ref = f"refs/heads/{actor.name}"
        files = [b"pushed" * 40, SHARED[1]]
        objects = list(version(ref, files))
        put: dict[bytes, list[Entry]] = {}
        while True:
            try:
                store = self.store(actor)
                with begin(store, "push", ME, now()) as tx:
                    lost = store.lost_packs(list(put))
                    for name in [*put]:
                        if name in tx.view.index.dead_packs or name in lost:
                            del put[name]
                    tx.adopt(entry for entries in put.values() for entry in entries)
                    there = {entry.id for entries in put.values() for entry in entries}
                    for kind, plain in objects:
                        if bytes(kind.of(plain)) not in there:
                            sink = DirectSink(store.backend)
                            sink.add(
                                ObjectWriter(store.read().objects, Monitor()).prepare(kind.of(plain), plain)
                            )
                            entries = sink.finish()
                            put[entries[0].pack] = entries
                            tx.adopt(entries)
                    moved = Update(refs={ref: encode_target(CommitId.of(objects[-1][1]))})
                    tx.publish(partial(_just, moved))
                break
            except (Busy, DamageError):
                continue
        self.acknowledged[ref] = files

    def collector(self, actor: Actor) -> None:
        for _time in range(2):
            self.clock += 1
            try:
                collect(self.store(actor), time=self.clock, grace=0)
            except (Busy, DamageError, NotFound):
                continue

    def play(self, plan: list[tuple[int, int, str]]) -> None:
        acts: dict[Actor, Callable[[], None]] = {}
        for name, act in (
            ("writer", self.writer),
            ("gc1", self.collector),
            ("pusher", self.pusher),
            ("gc2", self.collector),
        ):
            actor = Actor(name)
            acts[actor] = lambda act=act, actor=actor: act(actor)
        play(acts, plan)
        store = opened(self.backend)
        for ref, files in self.acknowledged.items():
            assert contents(store, ref) == files, ref
        assert_sound(self.backend)
        collect(opened(self.backend), time=self.clock + 10, grace=0)
        for ref, files in self.acknowledged.items():
            assert contents(opened(self.backend), ref) == files, ref
        assert_sound(self.backend)


TURNS = st.tuples(st.integers(0, 3), st.integers(1, 60), st.sampled_from(["", "", "", "lose"]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TURNS, max_size=25))
@example([])
def test_no_acknowledged_version_loses_anything_at_any_interleaving(plan):
    Scene().play(plan)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(TURNS, max_size=12), st.integers(0, 3), st.integers(0, 120))
def test_nor_when_somebody_is_killed(plan, victim, turns):
    Scene().play([*plan, (victim, turns, ""), (victim, 1, "kill")])
