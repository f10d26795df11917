"""Stores far away and stores of random content, for tests of what goes from one to another."""

from __future__ import annotations

import random
from collections.abc import Iterable

from mvc.backends import Backend
from mvc.backends.memory import MemoryBackend
from mvc.codecs import Step
from mvc.codecs.frames import compress
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import Commit, Manifest, Part, Person, Tag, Timestamp, Tree, TreeEntry
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Record
from mvc.refs import encode_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.negotiate import Missing, missing
from mvc.remotes.sink import Sink
from mvc.remotes.transfer import Plan, plan, transfer
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.store import Store
from mvc.transaction import Update, begin
from mvc.upkeep.check import Checker
from mvc.upkeep.mark import references
from tests.engine import ME, now

MAIN = "refs/heads/main"


class Far(MemoryBackend):
    """A store in memory that counts what is read of it, and says that it is far away."""

    request_bytes = 128 << 10

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, int]] = []

    def get(self, key: str) -> bytes:
        data = super().get(key)
        self.requests.append((key, len(data)))
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        data = super().get_range(key, offset, length)
        self.requests[-1] = (key, length)  # in place of that of the whole
        return data

    def read_bytes(self, prefix: str = "packs/") -> int:
        """Bytes that were read of keys that begin so."""
        return sum(length for key, length in self.requests if key.startswith(prefix))


def bucket(backend: Backend | None = None) -> BucketStore:
    """A store in memory with nothing in it."""
    store = BucketStore(MemoryBackend() if backend is None else backend, Monitor())
    store.roots.swap(None, Root(extra={"default_branch": "main"}))
    return store


class Moved:
    """What a move was about."""

    def __init__(self, found: Missing, planned: Plan) -> None:
        self.found = found
        self.plan = planned


def move(
    source: Store,
    target: Store,
    names: Iterable[str] = (MAIN,),
    *,
    verify: bool = True,
    exact: bool = False,
    sink: Sink | None = None,
    **options,
) -> Moved:
    """Bring refs of one store into another one."""
    names = list(names)
    with source.reading() as view, begin(target, "fetch", ME, now()) as transaction:
        here = transaction.view.objects
        tips = [identity for name in names if (identity := view.refs.get(name)) is not None]
        found = missing(view.objects, here, tips, monitor=Monitor(), **options)
        sink = sink or DirectSink(target.backend)
        planned = plan(view.objects, here, found, sink, exact=exact)
        transaction.adopt(transfer(view.objects, here, planned, sink, target.monitor, verify=verify))
        refs = {name: view.refs.value(name) for name in names}
        transaction.publish(lambda _view: Update(refs=refs))
    return Moved(found, planned)


def check(store: Store) -> None:
    """Fail unless everything that a store's refs lead to is there and sound."""
    with store.reading() as view:
        starts = {view.refs.get(name): name for name in view.refs.names("refs/")}
        report = Checker(view.backend, view.index, view.objects, starts, lambda _count: None).full()
    assert report.damage == [], report.damage


def ids(store: Store) -> set[bytes]:
    """Every object that a store's index has."""
    with store.reading() as view:
        return {entry.id for entry in view.index.entries()}


def closure(objects: ObjectDatabase, *tips: ObjectId) -> set[ObjectId]:
    """All objects that some lead to, by what the objects themselves say."""
    found: set[ObjectId] = set()
    stack = list(tips)
    while stack:
        identity = stack.pop()
        if identity not in found:
            found.add(identity)
            if not isinstance(identity, BlobId):
                stack += references(objects, identity)
    return found


# --- stores of random content ------------------------------------------------------------------------------
def plain_record(identity: ObjectId, plain: bytes) -> Record:
    """A record that stores bytes as they are."""
    return Record(identity, len(plain), 0, (), None, (), plain)


def leaning_record(identity: ObjectId, plain: bytes, base: ObjectId, base_plain: bytes, depth: int) -> Record:
    """A record that cannot be decoded without its base."""
    frame = compress(plain, 3, base_plain)
    step = Step("zstd", 1, {"dictionary": True}, len(frame))
    return Record(identity, len(plain), depth, (step,), None, (Base(base, 0, len(base_plain)),), frame)


class Made:
    """A history as plain objects, and records of them at random: leaning on each other to any depth, several
    of some objects, and pieces that nothing refers to but a record leans on."""

    def __init__(self, seed: int, versions: int, *, branches: int = 2) -> None:
        self.random = random.Random(seed)
        self.plain: dict[ObjectId, bytes] = {}
        self.refs: dict[str, ObjectId] = {}
        self.outside = [self._blob() for _ in range(3)]
        tips: list[list[CommitId]] = [[] for _ in range(branches)]
        files: list[ManifestId] = []
        for number in range(versions):
            files += [self._file() for _ in range(self.random.randint(1, 2))]
            line = self.random.choice(tips)
            parents = tuple(line[-1:])
            if self.random.random() < 0.3:
                others = [other[-1] for other in tips if other and other is not line]
                parents = tuple(dict.fromkeys((*parents, *others)))
            line.append(self._version(number, self.random.sample(files, min(3, len(files))), parents))
        for number, line in enumerate(tips):
            if line:
                self.refs["refs/heads/main" if not number else f"refs/heads/b{number}"] = line[-1]
        self.refs.setdefault(MAIN, next(iter(self.refs.values())))
        main = self.refs[MAIN]
        assert isinstance(main, CommitId)
        tag = Tag(main, "v1", Person("A", ""), Timestamp(0, 0), "")
        self.refs["refs/tags/v1"] = self._put(TagId, tag.to_bytes())

    def _put(self, kind, plain: bytes):
        identity = kind.of(plain)
        self.plain[identity] = plain
        return identity

    def _blob(self) -> BlobId:
        near = self.random.choice([one for one in self.plain.values() if len(one) > 300] or [b""])
        fresh = self.random.randbytes(self.random.randint(40, 400))
        return self._put(BlobId, fresh + near[:300])

    def _file(self) -> ManifestId:
        known = [one for one in self.plain if isinstance(one, BlobId) and one not in self.outside]
        blobs = [self._blob() for _ in range(self.random.randint(1, 3))]
        blobs += self.random.sample(known, min(len(known), self.random.randint(0, 2)))
        parts = tuple(Part(len(self.plain[blob]), blob) for blob in blobs)
        size = sum(part.length for part in parts)
        import hashlib

        digest = hashlib.sha256(b"".join(self.plain[blob] for blob in blobs)).digest()
        return self._put(ManifestId, Manifest("opaque", size, digest, parts).to_bytes())

    def _version(self, number: int, files: list[ManifestId], parents: tuple[CommitId, ...]) -> CommitId:
        inner = Tree.of([TreeEntry(f"f{at}", 0, identity) for at, identity in enumerate(files[1:])])
        entries = [TreeEntry("first", 0, files[0])]
        if inner.entries:
            entries.append(TreeEntry("folder", 2, self._put(TreeId, inner.to_bytes())))
        tree = self._put(TreeId, Tree.of(entries).to_bytes())
        commit = Commit(tree, parents, Person("A", ""), Timestamp(number, 0), f"v{number}")
        return self._put(CommitId, commit.to_bytes())

    def records(self) -> list[Record]:
        """Records of every object, each behind what it leans on."""
        depths: dict[ObjectId, int] = {}
        records: list[Record] = []
        waiting = list(self.plain)
        self.random.shuffle(waiting)
        for identity in waiting + self.random.sample(waiting, len(waiting) // 4):
            bases = [one for one, depth in depths.items() if depth < 7 and one != identity]
            if isinstance(identity, BlobId):
                bases = [one for one in bases if isinstance(one, BlobId)]
            plain = self.plain[identity]
            if bases and self.random.random() < 0.7:
                base = self.random.choice(bases)
                depth = depths[base] + 1 + self.random.randint(0, 1)
                record = leaning_record(identity, plain, base, self.plain[base], depth)
            else:
                record = plain_record(identity, plain)
            known = depths.get(identity)
            depths[identity] = record.depth if known is None else min(known, record.depth)
            records.append(record)
        return records

    def store(self, backend: Backend | None = None) -> BucketStore:
        """A store with all of it, in several packs and segments."""
        store = bucket(backend)
        records = self.records()
        lots = self.random.randint(1, 4)
        for number in range(lots):
            sink = DirectSink(store.backend)
            for record in records[number::lots]:
                sink.add(record)
                if self.random.random() < 0.1:
                    sink.finish()
            with begin(store, "fill", ME, now()) as transaction:
                transaction.adopt(sink.finish())
                refs = {
                    name: encode_target(identity, self.plain_target(identity))
                    for name, identity in self.refs.items()
                }
                transaction.publish(lambda _view, refs=refs: Update(refs=refs))
        return store

    def plain_target(self, identity: ObjectId) -> CommitId | None:
        """The commit that a tag means."""
        return Tag.from_bytes(self.plain[identity]).target if isinstance(identity, TagId) else None
